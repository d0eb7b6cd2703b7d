/* SPDX-License-Identifier: MIT
 * Reading ahead of a tree that is being spilled. Small files are read one after the other, each
 * with a wait for its inode and its blocks, and not at all while a batch is finished. A thread
 * walks the same tree in the same order some way before, and asks for what will be needed.
 *
 * It has a file open for a moment only, long before the lease of its release is taken; but not one
 * with several names, which may be in its release by another.
 */
#include "work.h"

#include <fcntl.h>
#include <sys/stat.h>

#define AHEAD_BYTES (48u << 20)
#define BEHIND      (1u << 20) /* closer to who follows it is no use */
#define FILE_BYTES  (4u << 20) /* of one file; the kernel reads ahead in the rest of it */
#define LOOK_NS     1000000

struct ahead {
	struct tier *t;
	const char *path;
	pthread_t thread;
	atomic_bool stop;
	_Atomic uint64_t used; /* bytes of the files that were taken in since */
	uint64_t asked;        /* and of those we were at */
};

static uint64_t bytes_of(const struct stat *st)
{
	return MIN((uint64_t)st->st_blocks * 512, (uint64_t)st->st_size);
}

/* Room before who follows; false: end. */
static bool wait_for_turn(struct ahead *a)
{
	while (!atomic_load(&a->stop) && !winding_down(a->t)) {
		if (a->asked < atomic_load(&a->used) + AHEAD_BYTES)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
	return false;
}

static int ask(void *ctx, int dirfd, const char *name, const struct stat *st, const char *path)
{
	struct ahead *a = ctx;
	uint64_t bytes = bytes_of(st);

	(void)path;
	if (!wait_for_turn(a))
		return -EINTR;
	if (bytes && st->st_nlink == 1 && a->asked >= atomic_load(&a->used) + BEHIND) {
		cleanup_fd int fd = openat(
			dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);

		if (fd >= 0)
			posix_fadvise(fd, 0, (off_t)MIN(bytes, (uint64_t)FILE_BYTES),
				      POSIX_FADV_WILLNEED);
	}
	a->asked += bytes;
	return 0;
}

static void *main_ahead(void *arg)
{
	struct ahead *a = arg;

	walk_tree(hot_root_fd(a->t->hot), a->path, ask, a, NULL);
	return NULL;
}

struct ahead *ahead_begin(struct tier *t, const char *path)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->t = t;
	a->path = path;
	a->asked = BEHIND;
	if (thread_start(&a->thread, "spill-ahead", main_ahead, a)) {
		free(a);
		return NULL;
	}
	return a;
}

void ahead_used(struct ahead *a, const struct stat *st)
{
	if (a)
		atomic_fetch_add(&a->used, bytes_of(st));
}

void ahead_end(struct ahead *a)
{
	if (!a)
		return;
	atomic_store(&a->stop, true);
	pthread_join(a->thread, NULL);
	free(a);
}
