/* SPDX-License-Identifier: MIT
 * fsdiff: differential tester. Does the same random operations on a plain directory A and on a
 * mount B over the same kind of file system and insists on the same results: return values,
 * errnos, data, attributes, xattrs, listings, and at the end the whole trees.
 *
 *	fsdiff [options] A B
 *	--seed S       first seed (default 1)          --seeds N   how many (default 10)
 *	--ops N        operations in a run (400)       --time SEC  stop after that long (whole runs)
 *	--spill 'CMD %s'   between operations CMD is called for random files of B; may be given
 *		       more than once; exit codes 0 and 23 (in use) are fine, others are differences
 *	--every K      on average one such call each K operations (4)
 *	--replay S:I,J,K   only these operations of seed S, telling each
 *	--plant KIND   pretend that B differs (errno mode data list xattr tree): tests the tester
 *	--passthrough  leave out what the kernel's FUSE passthrough does not do: turn O_DIRECT on
 *and off, or O_APPEND off, by fcntl(2); keep a flock(2) by a mapping
 *	--coarse       change times have a clock tick's granularity: two changes may leave the same
 *	--no-minimize  do not look for a shorter trace
 * Exit: 0 no difference, 1 a difference (seed and shortest trace found are printed), 2 usage or
 * set-up, 3 hang.
 *
 * The parts are compiled as one object, since each test program is one: see the files for their
 * themes. Invariant: a run depends on its seed and list of operations only, so that any subset can
 * be replayed.
 */
#include "fsdiff/tree.c"
#include "fsdiff/side.c"
#include "fsdiff/ops_names.c"
#include "fsdiff/ops_data.c"
#include "fsdiff/ops_xattr.c"
#include "fsdiff/gen.c"
#include "fsdiff/known.c"

#include <ftw.h>
#include <getopt.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_CMDS 4

static struct side side_a = {.root = -1}, side_b = {.root = -1, .is_b = true};
static char *cmds[MAX_CMDS];
static unsigned ncmds, every = 4;
static bool tell; /* print each operation */
static unsigned long done_ops, done_cmds, busy_cmds;

/* ---- a fresh directory for each run ------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type, (void)f;
	if (remove(path) < 0 && errno != ENOENT)
		die("remove %s: %s", path, strerror(errno));
	return 0;
}

static void side_fresh(struct side *s)
{
	char *p = NULL;
	struct stat st;

	if (s->root >= 0)
		close(s->root);
	if (asprintf(&p, "%s/run", s->dir) < 0)
		abort();
	if (lstat(p, &st) == 0 && nftw(p, remove_one, 64, FTW_DEPTH | FTW_PHYS) < 0)
		die("remove %s: %s", p, strerror(errno));
	umask(0);
	if (mkdir(p, 0777) < 0 || (s->root = open(p, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		die("%s: %s", p, strerror(errno));
	free(p);
	for (int i = 0; i < NSLOTS; i++)
		s->slot[i] = -1;
}

/* ---- commands on files of B -------------------------------------------------------------- */

static char **files_of_b;
static size_t nfiles_of_b;

static int note_file(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)type, (void)f;
	if (S_ISREG(st->st_mode) && nfiles_of_b < 4096)
		files_of_b[nfiles_of_b++] = strdup(path);
	return 0;
}

/* CMD is split at blanks; %s stands for the path. No shell: names may hold anything. */
static int run_command(const char *cmd, const char *path)
{
	char *copy = strdup(cmd), *argv[32], *save = NULL;
	int n = 0, status;
	pid_t pid;

	for (char *w = strtok_r(copy, " ", &save); w && n < 31; w = strtok_r(NULL, " ", &save))
		argv[n++] = strcmp(w, "%s") == 0 ? (char *)path : w;
	argv[n] = NULL;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		die("%s: %s", cmd, strerror(errno));
	free(copy);
	done_cmds++;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Moving a file's bytes must not be visible in its attributes. But nobody can set a ctime: when
 * data come back, it is the time of that. */
static bool command_on(struct text *why, const char *cmd, const char *path)
{
	struct stat a, b;
	bool had = lstat(path, &a) == 0 && S_ISREG(a.st_mode);
	int rc = run_command(cmd, path);

	if (tell)
		printf("  B: %s [%s] exit %d\n", cmd, path, rc);
	if (rc == 23)
		busy_cmds++;
	if (rc != 0 && rc != 23) {
		say(why, "'%s' on %s: exit code %d\n", cmd, path, rc);
		return false;
	}
	if (!had)
		return true;
	if (lstat(path, &b) < 0) {
		say(why, "'%s': %s has gone: %s\n", cmd, path, strerror(errno));
		return false;
	}
	if (a.st_size == b.st_size && ts_ns(&a.st_mtim) == ts_ns(&b.st_mtim) &&
	    (ts_ns(&a.st_ctim) == ts_ns(&b.st_ctim) || strstr(cmd, "recall")) &&
	    a.st_mode == b.st_mode && a.st_nlink == b.st_nlink && a.st_ino == b.st_ino &&
	    (a.st_blocks == 0) >= (b.st_blocks == 0))
		return true;
	say(why,
	    "'%s' changes attributes of %s: size %lld -> %lld mtime %lld -> %lld ctime %lld -> "
	    "%lld "
	    "blocks %lld -> %lld ino %llu -> %llu\n",
	    cmd, path, (long long)a.st_size, (long long)b.st_size, (long long)ts_ns(&a.st_mtim),
	    (long long)ts_ns(&b.st_mtim), (long long)ts_ns(&a.st_ctim),
	    (long long)ts_ns(&b.st_ctim), (long long)a.st_blocks, (long long)b.st_blocks,
	    (unsigned long long)a.st_ino, (unsigned long long)b.st_ino);
	return false;
}

static bool maybe_command(struct text *why, uint64_t seed, unsigned index)
{
	struct rng r = {seed ^ ((uint64_t)index << 32) ^ 0x5350494c4c};
	char *dir = NULL;
	bool same = true;

	rng_next(&r);
	if (!ncmds || !rng_one_in(&r, every))
		return true;
	if (asprintf(&dir, "%s/run", side_b.dir) < 0)
		abort();
	files_of_b = calloc(4096, sizeof(*files_of_b));
	nfiles_of_b = 0;
	nftw(dir, note_file, 64, FTW_PHYS);
	qsort(files_of_b, nfiles_of_b, sizeof(*files_of_b), cmp_str);
	const char *cmd = cmds[rng_below(&r, ncmds)];
	if (rng_one_in(&r, 8))
		same = command_on(why, cmd, dir);
	else if (nfiles_of_b)
		same = command_on(why, cmd, files_of_b[rng_below(&r, (uint32_t)nfiles_of_b)]);
	for (size_t i = 0; i < nfiles_of_b; i++)
		free(files_of_b[i]);
	free(files_of_b);
	free(dir);
	return same;
}

/* ---- whole trees ------------------------------------------------------------------------- */

static void side_tree(struct side *s, const struct tree_opts *o)
{
	enter_side(s);
	tree_text(&s->out, o);
	go_home();
}

static bool same_trees(struct text *why, const char *when)
{
	struct tree_opts o = {.now_ns = g.now_ns, .full_bytes = 64 << 20};
	const char *a, *b;

	side_tree(&side_a, &o);
	side_tree(&side_b, &o);
	a = side_a.out.s;
	b = side_b.out.s;
	if (strcmp(a, b) == 0 && !g.plant)
		return true;
	if (strcmp(a, b) == 0 && (strcmp(g.plant, "tree") != 0 || !strstr(b, "data=")))
		return true;
	while (*a && *b) {
		size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n");

		if (la != lb || memcmp(a, b, la) != 0)
			break;
		a += la + (a[la] != 0);
		b += lb + (b[lb] != 0);
	}
	say(why, "trees differ %s\n  A: %.*s\n  B: %.*s\n", when, (int)strcspn(a, "\n"), a,
	    (int)strcspn(b, "\n"), b);
	return false;
}

/* st_blocks, when everything is on disk. ext4: equal, but for two blocks of extent tree (how many
 * extents there are is the allocator's luck). Elsewhere, and with spilling: a file with other
 * bytes than zeros has blocks, since tar and cp take st_blocks == 0 for "all zeros". */
static struct text *blocks_why;

static int check_blocks_of(const char *path, const struct stat *sa, int type, struct FTW *f)
{
	struct stat sb;

	(void)type, (void)f;
	if (!S_ISREG(sa->st_mode))
		return 0;
	if (fstatat(side_b.root, path, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (g.exact_layout && llabs((long long)sa->st_blocks - (long long)sb.st_blocks) > 16) {
		say(blocks_why, "st_blocks of \"%s\": A %lld, B %lld\n", path,
		    (long long)sa->st_blocks, (long long)sb.st_blocks);
		return 1;
	}
	if (sb.st_blocks == 0 && sa->st_blocks != 0) {
		int fd = openat(side_b.root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : pread(fd, iobuf, IO_MAX, 0);

		if (fd >= 0)
			close(fd);
		for (ssize_t i = 0; i < n; i++)
			if (iobuf[i]) {
				say(blocks_why, "st_blocks of \"%s\" is 0 but there is data\n",
				    path);
				return 1;
			}
	}
	return 0;
}

static bool same_blocks(struct text *why)
{
	int r;

	if (g.exact_layout && (syncfs(side_a.root) < 0 || syncfs(side_b.root) < 0)) {
		say(why, "syncfs: %s\n", strerror(errno));
		return false;
	}
	blocks_why = why;
	if (fchdir(side_a.root) < 0)
		die("fchdir: %s", strerror(errno));
	r = nftw(".", check_blocks_of, 64, FTW_PHYS);
	go_home();
	return r == 0;
}

static bool same_at_end(struct text *why)
{
	char *dir = NULL;
	bool same = same_trees(why, "with files open");

	side_close(&side_a);
	side_close(&side_b);
	if (!same || !same_trees(why, "after closing") || !same_blocks(why))
		return false;
	if (asprintf(&dir, "%s/run", side_b.dir) < 0)
		abort();
	for (unsigned i = 0; same && i < ncmds; i++)
		same = command_on(why, cmds[i], dir) && same_trees(why, cmds[i]);
	free(dir);
	return same;
}

/* ---- runs -------------------------------------------------------------------------------- */

static bool do_op(struct text *why, const struct op *o)
{
	alarm(120);
	done_ops++;
	if (maybe_known(o)) {
		run_op(&side_b, o);
		if (is_known(o, side_b.out.s))
			return true;
		run_op(&side_a, o);
	} else {
		run_op(&side_a, o);
		run_op(&side_b, o);
	}
	alarm(0);
	if (tell)
		printf("%u uid %u umask %03o: %s\n", o->index, creds[o->cred].uid, o->umask,
		       side_a.out.s);
	if (strcmp(side_a.out.s, side_b.out.s) == 0)
		return true;
	say(why, "operation %u as uid %u umask %03o\n  A: %s\n  B: %s\n", o->index,
	    creds[o->cred].uid, o->umask, side_a.out.s, side_b.out.s);
	return false;
}

/* True: no difference. Else *why says what, *ret_used how many operations were done. */
static bool run(uint64_t seed, const unsigned *list, size_t n, struct text *why, size_t *ret_used)
{
	static struct op o;
	bool same = true;
	size_t i;

	text_clear(why);
	side_fresh(&side_a);
	side_fresh(&side_b);
	for (i = 0; same && i < n; i++) {
		gen_op(seed, list[i], &o);
		same = maybe_command(why, seed, list[i]) && do_op(why, &o);
	}
	*ret_used = i;
	if (same)
		same = same_at_end(why);
	side_close(&side_a);
	side_close(&side_b);
	return same;
}

/* Leave out ever smaller pieces while some difference stays (Zeller's ddmin, bounded by time). */
static size_t minimize(uint64_t seed, unsigned *list, size_t n)
{
	time_t end = time(NULL) + 60;
	unsigned *try = malloc(n * sizeof(*try));
	struct text why = {0};
	size_t used;

	for (size_t piece = n / 2; piece >= 1 && time(NULL) < end; piece /= 2) {
		for (size_t at = 0; at < n && time(NULL) < end;) {
			size_t cut = piece < n - at ? piece : n - at, k = n - cut;

			memcpy(try, list, at * sizeof(*try));
			memcpy(try + at, list + at + cut, (n - at - cut) * sizeof(*try));
			if (k && !run(seed, try, k, &why, &used)) {
				memcpy(list, try, k * sizeof(*try));
				n = used < k ? used : k;
			} else {
				at += cut;
			}
		}
	}
	free(why.s);
	free(try);
	return n;
}

static void report(uint64_t seed, unsigned *list, size_t n, const struct text *first, bool shorten)
{
	struct text why = {0};
	size_t used;

	printf("fsdiff: DIFFERENCE with seed %llu: %s", (unsigned long long)seed, first->s);
	fflush(stdout);
	if (shorten) {
		if (run(seed, list, n, &why, &used))
			printf("fsdiff: the same run again shows no difference (timing?)\n");
		else
			n = minimize(seed, list, n);
	}
	printf("trace of %zu operations:\n", n);
	tell = true;
	run(seed, list, n, &why, &used);
	tell = false;
	printf("now: %s\nreplay with: --replay %llu:", why.len ? why.s : "no difference",
	       (unsigned long long)seed);
	for (size_t i = 0; i < n; i++)
		printf("%s%u", i ? "," : "", list[i]);
	printf(" %s %s\n", side_a.dir, side_b.dir);
	fflush(stdout);
	free(why.s);
}

static int replay(char *spec)
{
	uint64_t seed = strtoull(spec, &spec, 0);
	unsigned list[20000];
	struct text why = {0};
	size_t n = 0, used;
	bool same;

	while (*spec && n < sizeof(list) / sizeof(list[0]))
		list[n++] = (unsigned)strtoul(spec + 1, &spec, 10);
	tell = true;
	same = run(seed, list, n, &why, &used);
	printf("fsdiff: %s%s\n", same ? "no difference" : "DIFFERENCE: ", why.s);
	return same ? 0 : 1;
}

static void on_alarm(int sig)
{
	static const char msg[] = "fsdiff: an operation does not come back within 120 s\n";

	(void)sig;
	(void)!write(2, msg, sizeof(msg) - 1);
	_exit(3);
}

static void set_up(void)
{
	struct utsname u;
	struct statfs sf;
	unsigned major_no = 0, minor_no = 0;
	struct timespec now;

	if (geteuid() != 0)
		die("needs root");
	g.home = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g.cwd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	clock_gettime(CLOCK_REALTIME, &now);
	g.now_ns = ts_ns(&now) - 10000000000;
	if (statfs(side_a.dir, &sf) < 0)
		die("%s: %s", side_a.dir, strerror(errno));
	g.spill = ncmds > 0;
	g.exact_layout = sf.f_type == 0xEF53 && !g.spill; /* EXT4_SUPER_MAGIC */
	g.btrfs = sf.f_type == 0x9123683E;                /* BTRFS_SUPER_MAGIC */
	g.xfs = sf.f_type == 0x58465342;                  /* XFS_SUPER_MAGIC */
	/* Opening a stub for writing recalls it, which moves ctime where a plain open does not.
	 * Multigrain timestamps came with Linux 6.13: a change after a stat always shows in ctime.
	 */
	uname(&u);
	sscanf(u.release, "%u.%u", &major_no, &minor_no);
	g.ctime = !g.spill && !g.coarse && (major_no > 6 || (major_no == 6 && minor_no >= 13));
	signal(SIGBUS, on_fault);
	signal(SIGSEGV, on_fault);
	signal(SIGALRM, on_alarm);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {
		{"seed", 1, 0, 's'},        {"seeds", 1, 0, 'n'},  {"ops", 1, 0, 'o'},
		{"time", 1, 0, 't'},        {"spill", 1, 0, 'S'},  {"every", 1, 0, 'e'},
		{"replay", 1, 0, 'r'},      {"plant", 1, 0, 'p'},  {"no-minimize", 0, 0, 'm'},
		{"passthrough", 0, 0, 'd'}, {"coarse", 0, 0, 'c'}, {0, 0, 0, 0}};
	uint64_t seed = 1, seeds = 10, i;
	unsigned nops = 400;
	time_t limit = 0, start = time(NULL);
	bool shorten = true, same = true;
	char *spec = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			seeds = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			nops = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 't':
			limit = strtol(optarg, NULL, 0);
			break;
		case 'S':
			if (ncmds == MAX_CMDS)
				die("at most %d --spill", MAX_CMDS);
			cmds[ncmds++] = optarg;
			break;
		case 'e':
			every = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'r':
			spec = optarg;
			break;
		case 'p':
			g.plant = optarg;
			break;
		case 'd':
			g.passthrough = true;
			break;
		case 'c':
			g.coarse = true;
			break;
		case 'm':
			shorten = false;
			break;
		default:
			return 2;
		}
	}
	if (optind + 2 != argc || nops == 0 || every == 0)
		die("usage: fsdiff [options] A B (see the top of fsdiff.c)");
	side_a.dir = argv[optind];
	side_b.dir = argv[optind + 1];
	set_up();
	if (spec)
		return replay(spec);

	unsigned *list = malloc(nops * sizeof(*list));
	struct text why = {0};
	for (i = 0; same && i < seeds && (!limit || time(NULL) - start < limit); i++) {
		size_t used;

		for (unsigned k = 0; k < nops; k++)
			list[k] = k;
		same = run(seed + i, list, nops, &why, &used);
		if (!same)
			report(seed + i, list, used, &why, shorten);
	}
	if (same)
		printf("fsdiff: no difference in %llu runs, %lu operations, %lu commands (%lu "
		       "busy)\n",
		       (unsigned long long)i, done_ops, done_cmds, busy_cmds);
	free(list);
	free(why.s);
	return same ? 0 : 1;
}
