/* SPDX-License-Identifier: MIT
 * Holding other processes back, on real file systems.
 */
#include "spill/hot.h"
#include "loopfs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#define ON_ONE(fs, name)                                                                           \
	TEST(fs##_##name)                                                                          \
	{                                                                                          \
		if (too_old())                                                                     \
			SKIP("pre-content events came with Linux 6.14");                           \
		loopfs_run(&loopfs_##fs, name);                                                    \
	}
#define ON_ALL(name) ON_ONE(ext4, name) ON_ONE(xfs, name) ON_ONE(btrfs, name)

static bool too_old(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	return uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2 ||
	       major * 1000 + minor < 6014;
}

static bool always(void *ctx, const struct stat *st, uint64_t off, uint64_t len)
{
	(void)st, (void)off, (void)len;
	return atomic_load((atomic_bool *)ctx);
}

struct set {
	struct hot *hot;
	struct hold *hold;
	atomic_bool wait;
	int fd;
};

static bool set_up(struct set *s, const char *dir)
{
	cleanup_fd int root = open(dir, O_PATH | O_DIRECTORY);
	const char *why;

	*s = (struct set){.wait = true};
	int r = hot_open(&s->hot, root, &why);

	if (!r)
		r = hold_new(&s->hold, s->hot, always, &s->wait);
	if (r) {
		TEST_FAIL("no hold: %s", strerror(-r));
		return false;
	}
	s->fd = openat(hot_root_fd(s->hot), "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	hold_limit(s->hold, 30000);
	return s->fd >= 0;
}

static void tear_down(struct set *s)
{
	close(s->fd);
	hold_free(s->hold);
	hot_close(s->hot);
}

/* Another process, which opens the file, says so, waits for a word, writes or reads, and says so.
 */
static int other(const struct set *s, bool reads)
{
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, p))
		return -1;
	if (!fork()) {
		int fd = openat(hot_root_fd(s->hot), "file", reads ? O_RDONLY : O_WRONLY);
		char c = 'x';

		(void)!write(p[1], &c, 1);
		(void)!read(p[1], &c, 1);
		ssize_t n = reads ? read(fd, &c, 1) : write(fd, &c, 1);

		c = n < 0 ? 'e' : 'd';
		(void)!write(p[1], &c, 1);
		_exit(0);
	}
	close(p[1]);
	return p[0];
}

/* What it says within ms, or 0. */
static char says(int sock, int ms)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	char c = 0;

	return poll(&p, 1, ms) == 1 && read(sock, &c, 1) == 1 ? c : 0;
}

static void go(int sock)
{
	(void)!write(sock, "g", 1);
}

static void held_until_off(const char *dir)
{
	struct set s;

	if (!set_up(&s, dir))
		return;
	CHECK_EQ(hold_watch(s.hold, s.fd), 0);
	int a = other(&s, false);

	CHECK_EQ(says(a, 5000), 'x');
	hold_on(s.hold);
	CHECK_EQ(hold_again(s.hold, s.fd), 0);
	go(a);
	CHECK_EQ(says(a, 300), 0);
	hold_off(s.hold);
	CHECK_EQ(says(a, 5000), 'd');
	close(a);
	/* Nothing is watched for it any more, but what is open can be held again. */
	a = other(&s, false);
	CHECK_EQ(says(a, 5000), 'x');
	hold_forget(s.hold);
	hold_on(s.hold);
	CHECK_EQ(hold_again(s.hold, s.fd), 0);
	int late = other(&s, false); /* watched now: by hold_again */
	CHECK_EQ(says(late, 5000), 'x');
	go(a);
	go(late);
	CHECK_EQ(says(a, 300), 0);
	CHECK_EQ(says(late, 0), 0);
	/* Its own limit, and the callback's word. */
	hold_limit(s.hold, 50);
	CHECK_EQ(says(a, 5000), 'd');
	CHECK_EQ(says(late, 5000), 'd');
	close(a);
	close(late);
	hold_limit(s.hold, 30000);
	s.wait = false;
	a = other(&s, true);
	CHECK_EQ(says(a, 5000), 'x');
	go(a);
	CHECK_EQ(says(a, 5000), 'd');
	close(a);
	/* What the process does itself is not held, and who waits goes on when it is freed. */
	s.wait = true;
	CHECK_EQ(pwrite(s.fd, "z", 1, 0), 1);
	a = other(&s, false);
	CHECK_EQ(says(a, 5000), 'x');
	go(a);
	CHECK_EQ(says(a, 300), 0);
	tear_down(&s);
	CHECK_EQ(says(a, 5000), 'd');
	close(a);
}
ON_ALL(held_until_off)

/* Without hold_unwatch the punch waits for the thread, and the thread for the lease: 45 s. */
static void own_lease(const char *dir)
{
	static const char data[65536] = {1};
	struct set s;

	if (!set_up(&s, dir))
		return;
	hold_on(s.hold);
	CHECK_EQ(hold_watch(s.hold, s.fd), 0);
	CHECK_EQ(pwrite(s.fd, data, sizeof(data), 0), sizeof(data));
	close(s.fd);
	s.fd = openat(hot_root_fd(s.hot), "file", O_RDWR | O_CLOEXEC);
	CHECK_EQ(fcntl(s.fd, F_SETLEASE, F_WRLCK), 0);
	uint64_t start = clock_mono_ns();

	hold_unwatch(s.hold, s.fd);
	CHECK_EQ(hot_punch_all(s.fd, sizeof(data)), 0);
	CHECK(clock_mono_ns() - start < 20000000000);
	tear_down(&s);
}
ON_ALL(own_lease)
TEST_MAIN
