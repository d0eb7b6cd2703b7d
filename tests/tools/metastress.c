/* SPDX-License-Identifier: MIT
 * metastress: changes of names whose every result is known before, by several processes at once.
 *What a file system answers wrong when its daemon dies (an operation lost, done twice, or reported
 *so) shows as an unexpected result.
 *
 *	metastress DIR SECONDS WORKERS
 *
 * Each worker has a directory of its own; pairs of workers also fight for lock files made with
 *O_EXCL, and nobody may get one that somebody else holds. Prints the number of operations and the
 *longest time one took. SIGTERM ends it early, in good order. Exit: 0, or 1 with the first
 *surprise.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

struct shared {
	atomic_int failed, stop;
	atomic_ullong ops, longest_us;
	atomic_int holder[64]; /* of each lock file: pid */
};

static struct shared *sh;
static unsigned me;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void surprise(const char *what, long long got, long long want, int err)
{
	fprintf(stderr, "metastress: worker %u: %s = %lld (%s), should be %lld\n", me, what, got,
		got < 0 ? strerror(err) : "no error", want);
	atomic_store(&sh->failed, 1);
	_exit(1);
}

static void done(uint64_t since)
{
	unsigned long long us = now_us() - since, old = atomic_load(&sh->longest_us);

	atomic_fetch_add(&sh->ops, 1);
	while (us > old && !atomic_compare_exchange_weak(&sh->longest_us, &old, us))
		;
}

/* Do it, timed; then `right` is said of got and errno as err. */
#define TRY(got, call, right, what, want)                                                          \
	do {                                                                                       \
		uint64_t t_ = now_us();                                                            \
		(got) = (call);                                                                    \
		int err = errno;                                                                   \
		done(t_);                                                                          \
		if (!(right))                                                                      \
			surprise(what, (got), (want), err);                                        \
	} while (0)
#define WANT_FD(fd, call) TRY(fd, call, (fd) >= 0, #call, 3)
#define WANT(call, want)  TRY(got, call, got == (want), #call, want)
#define WANT_ERR(call, e) TRY(got, call, got == -1 && err == (e), #call " (should fail)", -1)

static void one_round(unsigned n)
{
	char text[64], back[64];
	long long got;
	struct stat st, st2;
	int fd, len = snprintf(text, sizeof(text), "worker %u round %u", me, n);

	WANT_FD(fd, open("f", O_RDWR | O_CREAT | O_EXCL, 0640));
	WANT(write(fd, text, (size_t)len), len);
	WANT(fstat(fd, &st), 0);
	WANT_ERR(open("f", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
	WANT(link("f", "hard"), 0);
	WANT(stat("hard", &st2), 0);
	if (st2.st_nlink != 2 || st2.st_ino != st.st_ino)
		surprise("st_nlink after link", (long long)st2.st_nlink, 2, 0);
	WANT(rename("f", "g"), 0);
	WANT_ERR(stat("f", &st2), ENOENT);
	WANT(unlink("hard"), 0);
	WANT(symlink("g", "soft"), 0);
	WANT(readlink("soft", back, sizeof(back)), 1);
	WANT(mkdir("d", 0755), 0);
	WANT_ERR(mkdir("d", 0755), EEXIST);
	WANT(rename("g", "d/g"), 0);
	WANT_ERR(rmdir("d"), ENOTEMPTY);
	WANT(mknod("fifo", S_IFIFO | 0600, 0), 0);
	WANT(renameat2(AT_FDCWD, "fifo", AT_FDCWD, "soft", RENAME_EXCHANGE), 0);
	WANT(lstat("soft", &st2), 0);
	if (!S_ISFIFO(st2.st_mode))
		surprise("type after an exchange", st2.st_mode, S_IFIFO, 0);
	WANT_ERR(renameat2(AT_FDCWD, "fifo", AT_FDCWD, "soft", RENAME_NOREPLACE), EEXIST);
	WANT(setxattr("d/g", "user.x", "1", 1, XATTR_CREATE), 0);
	WANT_ERR(setxattr("d/g", "user.x", "2", 1, XATTR_CREATE), EEXIST);
	WANT(removexattr("d/g", "user.x"), 0);
	WANT_ERR(removexattr("d/g", "user.x"), ENODATA);
	WANT(chmod("d/g", 0600), 0);
	WANT(truncate("d/g", len + 10), 0);
	WANT(unlink("d/g"), 0);
	/* open, without a name */
	memset(back, 0, sizeof(back));
	WANT(pread(fd, back, sizeof(back), 0), len + 10);
	if (memcmp(back, text, (size_t)len))
		surprise("contents of an open file without a name", 0, 1, 0);
	WANT(fstat(fd, &st2), 0);
	if (st2.st_nlink || st2.st_ino != st.st_ino)
		surprise("st_nlink of an open file without a name", (long long)st2.st_nlink, 0, 0);
	WANT(close(fd), 0);
	WANT(rmdir("d"), 0);
	WANT(unlink("fifo"), 0);
	WANT(unlink("soft"), 0);
	WANT_FD(fd, open(".", O_RDWR | O_TMPFILE, 0600));
	WANT(write(fd, text, (size_t)len), len);
	WANT(pread(fd, back, (size_t)len, 0), len);
	WANT(close(fd), 0);
}

/* Whoever makes the file has the lock. */
static void one_fight(unsigned lock)
{
	char name[32];
	int fd, none = 0;
	long long got;
	uint64_t t = now_us();

	snprintf(name, sizeof(name), "../lock.%u", lock);
	do {
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (fd < 0 && errno != EEXIST)
			surprise("open of a lock file", fd, 3, errno);
		if (fd < 0)
			usleep(200);
	} while (fd < 0);
	done(t);
	if (!atomic_compare_exchange_strong(&sh->holder[lock], &none, (int)getpid()))
		surprise("a lock that somebody has, taken again: holder", none, 0, 0);
	close(fd);
	atomic_store(&sh->holder[lock], 0);
	WANT(unlink(name), 0);
}

static _Noreturn void worker(const char *dir, unsigned n, time_t end)
{
	char sub[32];

	me = n;
	snprintf(sub, sizeof(sub), "w%u", n);
	if (chdir(dir) || (mkdir(sub, 0755) && errno != EEXIST) || chdir(sub))
		surprise("chdir", -1, 0, errno);
	for (unsigned i = 0;
	     time(NULL) < end && !atomic_load(&sh->failed) && !atomic_load(&sh->stop); i++) {
		one_round(i);
		one_fight(n / 2 % 64);
	}
	if (chdir("..") || rmdir(sub))
		surprise("rmdir of the worker's directory", -1, 0, errno);
	_exit(0);
}

static void stop(int sig)
{
	(void)sig;
	atomic_store(&sh->stop, 1);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: metastress DIR SECONDS WORKERS\n");
		return 2;
	}
	time_t end = time(NULL) + atoi(argv[2]);
	unsigned n = (unsigned)atoi(argv[3]);
	int bad = 0;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return 2;
	signal(SIGTERM, stop);
	for (unsigned i = 0; i < n; i++) {
		if (fork() == 0) {
			signal(SIGTERM, SIG_IGN);
			worker(argv[1], i, end);
		}
	}
	for (int status; wait(&status) > 0;)
		bad |= status;
	printf("ops %llu longest_us %llu\n", (unsigned long long)atomic_load(&sh->ops),
	       (unsigned long long)atomic_load(&sh->longest_us));
	return bad || atomic_load(&sh->failed) ? 1 : 0;
}
