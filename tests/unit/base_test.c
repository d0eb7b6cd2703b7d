/* SPDX-License-Identifier: MIT
 * src/base: codec, clocks, hashes, file reads, work queue, and the fault injection of the durable
 * waist.
 */
#include "spill/base.h"
#include "spill/durable.h"
#include "test.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

/* A new empty file in the test directory. */
static int scratch(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", test_tmpdir(), name);
	return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

TEST(little_endian)
{
	static const uint8_t want[] = {8, 7, 6, 5, 4, 3, 2, 1};
	uint8_t b[8];

	put_le64(b, 0x0102030405060708);
	CHECK_MEM(b, want, 8);
	CHECK(get_le64(b) == 0x0102030405060708);
	CHECK_EQ(get_le32(b), 0x05060708);
	CHECK_EQ(get_le16(b), 0x0708);
	put_le32(b, 0xfffefdfc);
	CHECK(get_le32(b) == 0xfffefdfc);
}

TEST(clock_runs)
{
	uint64_t a = clock_mono_ns(), b = clock_mono_ns();

	CHECK(b >= a);
	CHECK(clock_wall_ns() > 1500000000ll * 1000000000);
}

TEST(time_round_trip)
{
	static const int64_t t[] = {0,          1,           -1,        999999999,
				    -999999999, -1000000000, INT64_MAX, INT64_MIN};
	int64_t back;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct timespec ts = ns_to_ts(t[i]);

		CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
		CHECK(ts_to_ns(&ts, &back));
		CHECK_EQ(back, t[i]);
	}
}

TEST(time_out_of_range)
{
	struct timespec late = {.tv_sec = INT64_MAX}, early = {.tv_sec = INT64_MIN};
	struct timespec just = ns_to_ts(INT64_MAX), before = ns_to_ts(INT64_MIN);
	int64_t ns = 42;

	just.tv_nsec++;
	before.tv_nsec--;
	CHECK(!ts_to_ns(&late, &ns));
	CHECK(!ts_to_ns(&early, &ns));
	CHECK(!ts_to_ns(&just, &ns));
	CHECK(!ts_to_ns(&before, &ns));
	CHECK_EQ(ns, 42);
}

TEST(sha256_vectors)
{
	/* FIPS 180-4 examples: "" and "abc". */
	static const char empty[] =
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	uint8_t d[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];
	struct sha256 *h;

	sha256_once("", 0, d);
	hex_encode(d, sizeof(d), hex);
	CHECK_STR(hex, empty);
	CHECK_EQ(sha256_new(&h), 0);
	for (int i = 0; i < 2; i++) {
		sha256_update(h, "a", 1);
		sha256_update(h, "bc", 2);
		sha256_final(h, d);
		hex_encode(d, sizeof(d), hex);
		CHECK_STR(hex, abc);
		sha256_reset(h);
	}
	sha256_free(h);
	sha256_free(NULL);
}

TEST(hash64_vector)
{
	/* XXH3-64 of nothing, seed 0, from the reference implementation: stored on disk, must not
	 * change. */
	CHECK(hash64("", 0) == 0x2d06800538d394c2);
	CHECK(hash64("a", 1) != hash64("b", 1));
}

TEST(read_whole_file)
{
	cleanup_fd int dir = open(test_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int fd = scratch("whole");
	char big[5000];
	char *s = NULL;
	size_t len = 0;

	memset(big, 'x', sizeof(big));
	CHECK_EQ(write_full(fd, big, sizeof(big)), 0);
	CHECK_EQ(read_file(dir, "whole", 5000, &s, &len), 0);
	CHECK_EQ(len, 5000);
	CHECK_EQ(strlen(s), 5000);
	free(steal_ptr(s));
	CHECK_EQ(read_file(dir, "whole", 4999, &s, &len), -EFBIG);
	CHECK_EQ(read_file(dir, "whole", 0, &s, &len), -EFBIG);
	CHECK_EQ(read_file(dir, "whole", SIZE_MAX, &s, NULL), 0);
	free(steal_ptr(s));
	CHECK_EQ(read_file(dir, "absent", 10, &s, &len), -ENOENT);
	CHECK_EQ(read_file(dir, ".", 10, &s, &len), -EISDIR);
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_EQ(read_file(dir, "whole", 0, &s, &len), 0);
	CHECK_STR(s, "");
	free(s);
}

TEST(read_file_without_a_size)
{
	char *s = NULL;

	CHECK_EQ(read_file(AT_FDCWD, "/proc/self/stat", 1 << 16, &s, NULL), 0);
	CHECK(strlen(s) > 10);
	free(s);
}

TEST(pread_short_at_eof)
{
	cleanup_fd int fd = scratch("short");
	char buf[16];

	CHECK_EQ(write_full(fd, "0123456789", 10), 0);
	CHECK_EQ(pread_full(fd, buf, 16, 4), 6);
	CHECK_MEM(buf, "456789", 6);
	CHECK_EQ(pread_full(fd, buf, 16, 10), 0);
	CHECK_EQ(pread_full(-1, buf, 16, 0), -EBADF);
}

/* What a log line looks like, caught from stderr. */
static void log_line(const char *name, char *buf, size_t size)
{
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	if (pipe(fds) < 0)
		return;
	dup2(fds[1], STDERR_FILENO);
	errno = ENOTTY;
	log_warn("bad name %s", name);
	log_debug("not shown");
	if (errno != ENOTTY)
		log_warn("errno was not kept");
	dup2(saved, STDERR_FILENO);
	close(fds[1]);
	close(saved);
	n = read(fds[0], buf, size - 1);
	buf[n < 0 ? 0 : n] = 0;
	close(fds[0]);
}

TEST(log_one_line)
{
	char buf[2048], longname[4000];

	log_init("unit", LOG_L_INFO, false);
	log_line("a\nb\033[31m", buf, sizeof(buf));
	CHECK_STR(buf, "unit: warning: bad name a?b?[31m\n");
	memset(longname, 'y', sizeof(longname));
	longname[sizeof(longname) - 1] = 0;
	log_line(longname, buf, sizeof(buf));
	CHECK(strlen(buf) > 900 && strlen(buf) < 1100);
	CHECK_EQ(buf[strlen(buf) - 1], '\n');
}

/* A log daemon in a mount namespace of ours; -1 when there can be none. */
static int fake_log_daemon(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev", "tmpfs", 0, NULL) || bind(fd, (void *)&sa, sizeof(sa)))
		return -1;
	return fd;
}

/* In a child. 0: as it should be; 77: cannot run; else the number of the step that went wrong. */
static int talk_to_syslog(void)
{
	char buf[2048];
	ssize_t n;
	int fd = fake_log_daemon();

	if (fd < 0)
		return 77;
	log_init("unit", LOG_L_INFO, true);
	log_err("pack %d\nis damaged", 7);
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	buf[n < 0 ? 0 : n] = 0;
	if (strncmp(buf, "<27>", 4) || !strstr(buf, "]: error: pack 7?is damaged"))
		return 1;
	alarm(20); /* a log daemon that does not read must not stop us */
	for (int i = 0; i < 5000; i++)
		log_info("line %d", i);
	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
	log_info("again");
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	buf[n < 0 ? 0 : n] = 0;
	if (!strstr(buf, " lines lost) again"))
		return 2;
	close(fd); /* restarted: the old socket is dead, a new one listens */
	unlink("/dev/log");
	fd = fake_log_daemon();
	log_info("to the new one");
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	buf[n < 0 ? 0 : n] = 0;
	return strstr(buf, "to the new one") ? 0 : 3;
}

TEST(syslog_never_blocks)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(talk_to_syslog());
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		SKIP("no mount namespace of our own (root is needed)");
	CHECK_EQ(WEXITSTATUS(status), 0);
}

/* ---- work queue -------------------------------------------------------------------------------
 */
struct counted {
	atomic_int done;
	int delay_ms; /* of item 1 */
};

static void count_item(void *ctx, void *item)
{
	struct counted *c = ctx;

	if ((uintptr_t)item == 1 && c->delay_ms)
		poll(NULL, 0, c->delay_ms);
	atomic_fetch_add(&c->done, 1);
}

struct tally {
	struct parallel p;
	atomic_uint seen[1000];
};

static void *tally_some(void *arg)
{
	struct tally *t = arg;
	size_t i, end;

	while (parallel_next(&t->p, &i, &end))
		for (; i < end; i++)
			atomic_fetch_add(&t->seen[i], 1);
	return NULL;
}

TEST(parallel_takes_each_once)
{
	static const size_t n[] = {0, 1, 31, 32, 33, 1000};

	for (size_t k = 0; k < ARRAY_SIZE(n); k++) {
		struct tally t = {.p = {.n = n[k], .run = 32}};

		parallel_do(&t.p, "unit", tally_some, &t);
		for (size_t i = 0; i < ARRAY_SIZE(t.seen); i++)
			CHECK_EQ(atomic_load(&t.seen[i]), i < n[k]);
	}
}

TEST(workq_does_everything)
{
	struct counted c = {0};
	struct workq *q;

	CHECK_EQ(workq_new(&q, "unit", 0, 1, count_item, &c), -EINVAL);
	CHECK_EQ(workq_new(&q, "unit", 1, 0, count_item, &c), -EINVAL);
	CHECK_EQ(workq_new(&q, "a-name-too-long-for-top", 3, 4, count_item, &c), 0);
	workq_drain(q);
	for (uintptr_t i = 0; i < 5000; i++)
		workq_put(q, (void *)i);
	workq_drain(q);
	CHECK_EQ(atomic_load(&c.done), 5000);
	for (uintptr_t i = 0; i < 10; i++)
		workq_put(q, (void *)i);
	workq_free(q);
	CHECK_EQ(atomic_load(&c.done), 5010);
	workq_free(NULL);
}

TEST(workq_drain_waits_for_the_slow_one)
{
	struct counted c = {.delay_ms = 50};
	struct workq *q;

	CHECK_EQ(workq_new(&q, "unit", 2, 8, count_item, &c), 0);
	for (uintptr_t i = 1; i <= 4; i++) /* item 1 is slow, 2 to 4 overtake it */
		workq_put(q, (void *)i);
	workq_drain(q);
	CHECK_EQ(atomic_load(&c.done), 4);
	workq_free(q);
}

static void append_item(void *ctx, void *item)
{
	char *s = ctx;

	s[strlen(s)] = (char)(uintptr_t)item;
}

TEST(workq_is_first_in_first_out)
{
	char s[27] = "";
	struct workq *q;

	CHECK_EQ(workq_new(&q, "unit", 1, 3, append_item, s), 0);
	for (int i = 'a'; i <= 'z'; i++)
		workq_put(q, (void *)(uintptr_t)i);
	workq_free(q);
	CHECK_STR(s, "abcdefghijklmnopqrstuvwxyz");
}

static void *return_mask(void *arg)
{
	pthread_sigmask(SIG_BLOCK, NULL, arg);
	return NULL;
}

TEST(threads_get_no_signals)
{
	sigset_t there, here;
	pthread_t t;

	CHECK_EQ(thread_start(&t, "unit", return_mask, &there), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	pthread_sigmask(SIG_BLOCK, NULL, &here);
	CHECK(sigismember(&there, SIGTERM) == 1 && sigismember(&there, SIGIO) == 1);
	CHECK(sigismember(&here, SIGTERM) == 0);
}

/* ---- durable waist -----------------------------------------------------------------------------
 */
static void arm(const char *spec)
{
	if (spec)
		setenv("SPILLFS_FAULT", spec, 1);
	else
		unsetenv("SPILLFS_FAULT");
	durable_arm();
}

TEST(durable_effects)
{
	cleanup_fd int dir = open(test_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int fd = scratch("effects");
	struct timespec ts[2] = {{.tv_sec = 1, .tv_nsec = 2}, {.tv_sec = -3, .tv_nsec = 4}};
	char buf[8192], val[8];
	struct stat st;
	int r;

	memset(buf, 'd', sizeof(buf));
	arm(NULL);
	CHECK_EQ(d_pwrite(fd, buf, sizeof(buf), 4096), 0);
	CHECK_EQ(d_pwrite(fd, buf, 0, 0), 0);
	CHECK_EQ(d_fsync(fd), 0);
	CHECK_EQ(d_fdatasync(fd), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 12288);
	r = d_punch(fd, 4096, 4096);
	if (r == -EOPNOTSUPP)
		SKIP("no hole punching in the temporary directory");
	CHECK_EQ(r, 0);
	CHECK_EQ(pread_full(fd, buf, 1, 4096), 1);
	CHECK_EQ(buf[0], 0);
	CHECK_EQ(d_reserve(fd, 12288, 4096), 0);
	CHECK_EQ(d_futimens(fd, ts), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 12288);
	CHECK_EQ(st.st_mtim.tv_sec, -3);
	CHECK_EQ(d_ftruncate(fd, 10), 0);
	CHECK_EQ(d_rename(dir, "effects", dir, "renamed"), 0);
	CHECK_EQ(d_unlink(dir, "effects"), -ENOENT);
	CHECK_EQ(d_fremovexattr(fd, "user.spilltest"), 0);
	r = d_fsetxattr(fd, "user.spilltest", "v", 1);
	CHECK(r == 0 || r == -EOPNOTSUPP);
	CHECK(r || fgetxattr(fd, "user.spilltest", val, sizeof(val)) == 1);
	CHECK_EQ(d_unlink(dir, "renamed"), 0);
	CHECK_EQ(d_fsync(-1), -EBADF);
	CHECK_EQ(durable_count(), 0);
}

TEST(durable_fails_the_nth)
{
	cleanup_fd int fd = scratch("nth");
	struct stat st;

	arm("2:enospc");
	CHECK_EQ(d_pwrite(fd, "one", 3, 0), 0);
	CHECK_EQ(d_pwrite(fd, "two", 3, 3), -ENOSPC);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 3);
	CHECK_EQ(d_pwrite(fd, "two", 3, 3), 0);
	CHECK_EQ(durable_count(), 3);
	arm("1:eio");
	CHECK_EQ(durable_count(), 0);
	CHECK_EQ(d_step("commit"), -EIO);
	CHECK_EQ(d_step("commit"), 0);
	arm(NULL);
}

/* The signal that ended a child which armed spec and wrote three bytes in two calls; 0: it lived.
 */
static int die_with(const char *spec, int fd)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		close(STDERR_FILENO);
		arm(spec);
		(void)d_pwrite(fd, "x", 1, 0);
		(void)d_pwrite(fd, "yz", 2, 1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(durable_kills_before_the_effect)
{
	cleanup_fd int fd = scratch("kill");
	struct stat st;

	CHECK_EQ(die_with("2:kill", fd), SIGKILL);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 1);
	CHECK_EQ(die_with("3:kill", fd), 0);
}

TEST(durable_refuses_a_bad_fault)
{
	static const char *const bad[] = {
		"kill", "0:kill", "-1:kill", "1:", "1:nonsense", "1", "x:eio"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(die_with(bad[i], -1), SIGABRT);
}

TEST(durable_trace)
{
	cleanup_fd int fd = scratch("traced");
	char path[PATH_MAX], *s = NULL;

	snprintf(path, sizeof(path), "%s/trace", test_tmpdir());
	setenv("SPILLFS_FAULT_TRACE", path, 1);
	arm(NULL);
	CHECK_EQ(d_pwrite(fd, "x", 1, 0), 0);
	CHECK_EQ(d_step("index commit"), 0);
	CHECK_EQ(d_fsync(fd), 0);
	unsetenv("SPILLFS_FAULT_TRACE");
	arm(NULL);
	CHECK_EQ(d_fsync(fd), 0);
	CHECK_EQ(read_file(AT_FDCWD, path, 4096, &s, NULL), 0);
	CHECK_STR(s, "1 pwrite\n2 step index commit\n3 fsync\n");
	free(s);
}

TEST_MAIN
