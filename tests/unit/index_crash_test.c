/* SPDX-License-Identifier: MIT
 * src/index when things go wrong: damage, a kill at the commit, a full disk. The last test
 * measures. SPILLFS_INDEX_FLIPS=ROUNDS and SPILLFS_INDEX_BENCH=FILES make it longer than its quick
 * default.
 */
#include "spill/index.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "spill/durable.h"
#include "index_util.h"

/* ---- damage ------------------------------------------------------------------------------ */

/* Everything one may ask of an index; the answers do not matter, coming back does. */
static void ask_everything(struct index *ix)
{
	struct file_row rows[64];
	struct tomb tombs[8];
	struct pack_row *p = NULL;
	struct hot_id from = {0};
	struct index_totals t;
	struct object *o;
	struct obj_id id;
	uint64_t v;
	int64_t s;
	size_t n;

	for (int state = -1; state <= RES_PARTIAL; state++)
		index_file_list(ix, state, from, rows, 64);
	for (uint64_t i = 1; i < 400; i += 3) {
		struct file_row f;
		uint8_t sha[32];

		if (index_object_get(ix, (struct obj_id){i}, &o) == 0)
			object_free(o);
		make_sha(sha, i);
		index_object_find(ix, sha, 100 + i, 100 + i, &id);
		index_file_get(ix, hot(i), &f);
	}
	index_file_by_obj(ix, (struct obj_id){5}, rows, 64);
	index_tomb_list(ix, tombs, 8);
	if (index_pack_list(ix, &p, &n) == 0)
		free(p);
	index_meta_get(ix, "next_obj", &v);
	index_layer_used_get(ix, "x", &s);
	index_object_size_known(ix, 1 << 20);
	index_totals(ix, &t);
	n = 0;
	index_check(ix, count_problem, &n);
	if (index_begin(ix) == 0) {
		index_object_newid(ix, &id);
		put_plain(ix, id.v, 1 << 20);
		put_file(ix, 10, id.v, RES_PREMIGRATED);
		index_file_state(ix, hot(20), RES_PREMIGRATED);
		index_file_del(ix, hot(30));
		index_object_ref(ix, (struct obj_id){30}, -1);
		index_object_delete(ix, (struct obj_id){30});
		index_commit(ix);
	}
}

static int copy_file(const char *from, const char *to)
{
	cleanup_fd int in = open(from, O_RDONLY),
		       out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char buf[65536];
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write_full(out, buf, (size_t)n) < 0)
			return -1;
	return n < 0 || in < 0 || out < 0 ? -1 : 0;
}

TEST(damaged_database)
{
	const char *env = getenv("SPILLFS_INDEX_FLIPS");
	int rounds = env ? atoi(env) : 150, refused = 0;
	char *dir = fresh_dir(), db[160], good[160], aux[170];
	unsigned seed = 12345;
	struct index *ix = NULL;
	struct stat st;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	CHECK_EQ(fill(ix, 1, 2000), 0);
	index_close(ix);
	snprintf(db, sizeof(db), "%s/index.db", dir);
	snprintf(good, sizeof(good), "%s/good.db", dir);
	CHECK_EQ(rename(db, good), 0);
	CHECK_EQ(stat(good, &st), 0);
	for (int i = 0; i < rounds; i++) {
		int fd, r, flips = 1 + rand_r(&seed) % 40;

		CHECK_EQ(copy_file(good, db), 0);
		fd = open(db, O_RDWR);
		for (int k = 0; k < flips; k++) {
			/* Every other round hits the header and the schema page. */
			off_t at = rand_r(&seed) % (i % 2 ? st.st_size : 8192);
			uint8_t b = (uint8_t)rand_r(&seed);

			CHECK_EQ(pwrite(fd, &b, 1, at), 1);
		}
		if (i % 10 == 0)
			CHECK_EQ(ftruncate(fd, rand_r(&seed) % st.st_size), 0);
		close(fd);
		ix = NULL;
		r = index_open(&ix, dir, i % 3 == 0, false);
		if (r == 0)
			ask_everything(ix);
		else
			refused++;
		if (r != 0 && r != -EUCLEAN && r != -EPROTONOSUPPORT && r != -ENOMEM)
			TEST_FAIL("round %d: %s", i, strerror(-r));
		index_close(r == 0 ? ix : NULL);
		unlink(db);
		for (const char **s = (const char *[]){"-wal", "-shm", NULL}; *s; s++) {
			snprintf(aux, sizeof(aux), "%s%s", db, *s);
			unlink(aux);
		}
	}
	CHECK(refused > 0);
	CHECK(refused < rounds);
}

/* ---- a kill at the commit ---------------------------------------------------------------- */

/* In a child: ten batches of ten, dying or failing at the step named by fault. */
static int run_batches(const char *dir, const char *fault)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct index *ix = NULL;
		int r = index_open(&ix, dir, true, false);

		setenv("SPILLFS_FAULT", fault, 1);
		durable_arm();
		for (int i = 0; r == 0 && i < 10; i++)
			r = fill(ix, 1 + (uint64_t)i * 10, 10);
		_exit(r == 0 ? 0 : 9);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return status;
}

TEST(killed_at_the_commit)
{
	int n;

	for (n = 1; n <= 30; n++) {
		char *dir = fresh_dir(), fault[32];
		struct index *ix = NULL;
		struct index_totals t;
		int status;

		snprintf(fault, sizeof(fault), "%d:kill", n);
		status = run_batches(dir, fault);
		CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL
					  : WIFEXITED(status) && WEXITSTATUS(status) == 0);
		CHECK_EQ(index_open(&ix, dir, false, false), 0);
		CHECK_EQ(index_check(ix, print_problem, NULL), 0);
		CHECK_EQ(index_totals(ix, &t), 0);
		/* Steps 2k-1 and 2k stand before and after commit k. */
		CHECK_EQ(t.files_spilled, 10 * MIN(10, n / 2));
		CHECK_EQ(t.objects, t.files_spilled);
		index_close(ix);
		if (!WIFSIGNALED(status))
			break;
	}
	CHECK_EQ(n, 21);
}

TEST(failed_commit_changes_nothing)
{
	char *dir = fresh_dir();
	struct index *ix = NULL;
	struct index_totals t;
	int status = run_batches(dir, "5:enospc");

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_totals(ix, &t), 0);
	CHECK_EQ(t.files_spilled, 20);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);
}

/* ---- a full disk ------------------------------------------------------------------------- */

/* Fill a 2 MiB disk to the brim. Returns the number of objects in the index, or -errno. */
static int64_t fill_up(struct index *ix)
{
	struct index_totals before, after;
	uint64_t n = 0;
	int r;

	do {
		index_totals(ix, &before);
		r = fill(ix, n + 1, 500);
		n += r == 0 ? 500 : 0;
	} while (r == 0 && n < 100000);
	index_totals(ix, &after);
	if (r != -ENOSPC)
		return r < 0 ? r : -ERANGE;
	return same_totals(&before, &after) && after.objects == n ? (int64_t)n : -EBADMSG;
}

/* Runs in a child. 0, or the line that failed. */
static int full_disk_main(const char *dir)
{
	char ballast[160];
	struct index *ix = NULL;
	struct index_totals t;
	int64_t n;
	int fd;

	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	fd = open(ballast, O_CREAT | O_WRONLY, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, 512 << 10) || index_open(&ix, dir, true, false) < 0)
		return __LINE__;
	n = fill_up(ix);
	if (n <= 0) {
		printf("  fill_up: %s\n", strerror((int)-n));
		return __LINE__;
	}
	/* Reading goes on; after some space came back, so does writing. */
	if (index_check(ix, print_problem, NULL) != 0)
		return __LINE__;
	if (unlink(ballast) < 0 || ftruncate(fd, 0) < 0 || close(fd) < 0)
		return __LINE__;
	if (fill(ix, (uint64_t)n + 1, 500) != 0)
		return __LINE__;
	if (index_check(ix, print_problem, NULL) != 0)
		return __LINE__;
	index_close(ix);
	if (index_open(&ix, dir, false, false) < 0 || index_totals(ix, &t) < 0)
		return __LINE__;
	index_close(ix);
	return t.objects == (uint64_t)n + 500 ? 0 : __LINE__;
}

TEST(full_disk)
{
	const char *dir = fresh_dir();
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int r = 0xff;

		if (unshare(CLONE_NEWNS) == 0 &&
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		    mount("spill-test", dir, "tmpfs", 0, "size=2m") == 0)
			r = full_disk_main(dir);
		if (r && r != 0xff) {
			printf("  full_disk_main: line %d\n", r);
			r = 1;
		}
		fflush(stdout);
		_exit(r);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status) == 0xff)
		SKIP("cannot mount a tmpfs here");
	CHECK_EQ(WEXITSTATUS(status), 0);
}

/* ---- how large, how fast ----------------------------------------------------------------- */

static double since_sec(uint64_t t0)
{
	return (double)(clock_mono_ns() - t0) / 1e9;
}

/* Small spilled files, 70% of them with an object of their own, in one transaction, as a batch of
 * the spill engine would write them: dedup lookup, object, file. */
static int bench_fill(struct index *ix, uint64_t files)
{
	uint64_t objs = 0, stream = 0;
	struct obj_id id;
	int r = index_begin(ix);

	for (uint64_t i = 0; i < files && r == 0; i++) {
		uint64_t ino = 1000 + i + i / 7; /* directories and links in between */
		bool copy = i % 10 >= 7;
		uint64_t seed = copy ? hash64(&i, sizeof(i)) % objs : objs;
		uint64_t size = 200 + hash64(&seed, sizeof(seed)) % 8000;
		struct file_row f = {.id = {ino, (uint32_t)hash64(&ino, sizeof(ino))},
				     .state = RES_SPILLED};
		struct object o = {.size = size, .stream_len = size, .refs = 1, .nsegs = 1};
		struct seg seg = {.len = size,
				  .pack = (uint32_t)(stream >> 28),
				  .frame = (uint32_t)(stream >> 17) & 2047,
				  .off = stream & (FRAME_SIZE - 1)};

		make_sha(o.sha, seed);
		r = index_object_find(ix, o.sha, size, size, &id);
		if (r == 0) {
			int64_t refs = index_object_ref(ix, id, 1);

			r = refs < 0 ? (int)refs : 0;
		} else if (r == -ENOENT) {
			r = index_object_newid(ix, &id);
			o.id = id;
			o.segs = &seg;
			if (r == 0)
				r = index_object_put(ix, &o);
			objs++;
			stream += size;
		}
		f.obj = id;
		if (r == 0)
			r = index_file_put(ix, &f);
	}
	for (uint32_t p = 0; p <= stream >> 28 && r == 0; p++) {
		struct pack_len len = {.pack = p, .bytes = 1 << 27, .frames = 2049};

		r = index_pack_set(ix, &len);
	}
	if (r < 0) {
		index_rollback(ix);
		return r;
	}
	return index_commit(ix);
}

TEST(bytes_per_file_and_speed)
{
	const char *env = getenv("SPILLFS_INDEX_BENCH");
	uint64_t files = env ? strtoull(env, NULL, 0) : 50000, t0, lookups = 0;
	char *dir = fresh_dir();
	struct index *ix = NULL;
	struct index_totals t;
	double fill_sec, open_sec, get_sec, per_file;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	t0 = clock_mono_ns();
	CHECK_EQ(bench_fill(ix, files), 0);
	fill_sec = since_sec(t0);
	index_close(ix);
	t0 = clock_mono_ns();
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	open_sec = since_sec(t0);
	CHECK_EQ(index_totals(ix, &t), 0);
	per_file = (double)t.db_bytes / (double)files;
	t0 = clock_mono_ns();
	for (uint64_t i = 0; i < files; i++) {
		uint64_t k = i * 7919 % files, ino = 1000 + k + k / 7;
		struct file_row f;
		struct object *o;

		CHECK_EQ(index_file_get(ix, (struct hot_id){ino, (uint32_t)hash64(&ino, 8)}, &f),
			 0);
		CHECK_EQ(index_object_get(ix, f.obj, &o), 0);
		object_free(o);
		lookups += 2;
	}
	get_sec = since_sec(t0);
	printf("  %llu files, %llu objects: %.1f bytes/file, %.0f files/s put, "
	       "%.0f lookups/s, open %.0f ms\n",
	       (unsigned long long)files, (unsigned long long)t.objects, per_file,
	       (double)files / fill_sec, (double)lookups / get_sec, open_sec * 1e3);
	CHECK_EQ(t.files_spilled, files);
	CHECK(per_file <= 80);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);
}

TEST_MAIN
