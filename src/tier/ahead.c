/* SPDX-License-Identifier: MIT
 * Reading ahead of a tree that is being spilled. Small files are read one after the other, each
 * with a wait for its inode and its blocks, and not at all while a batch is finished. A thread
 * walks the same tree in the same order some way before, and asks for what will be needed.
 *
 * It has a file open for a moment only, and would refuse a release its lease then. So it opens none
 * that was taken in (ahead_clear), none with several names, which may be in its release by another,
 * and nothing but while its own batch has spill_lock: another's may be releasing just this file.
 */
#include "ahead.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define AHEAD_BYTES (48u << 20)
#define FILE_BYTES  (4u << 20) /* of one file; the kernel reads ahead in the rest of it */
#define LOOK_NS     4000000

struct ahead {
	struct tier *t;
	const char *path;
	pthread_t thread;
	atomic_bool stop;
	uint64_t asked; /* bytes of the files we were at */
	pthread_mutex_t lock;
	uint64_t used;             /* and of those that were taken in since; lock */
	char at[4096];             /* the last of these; lock */
	pthread_mutex_t open_lock; /* while a file is open; inside spill_lock, outside lock */
	pthread_cond_t went;       /* go or stop */
	bool go;                   /* open_lock */
};

static uint64_t bytes_of(const struct stat *st)
{
	return MIN((uint64_t)st->st_blocks * 512, (uint64_t)st->st_size);
}

/* Is path still before who follows? *ret_used: how far that one is. */
static bool is_first(struct ahead *a, const char *path, uint64_t *ret_used)
{
	pthread_mutex_lock(&a->lock);
	bool first = walk_after(path, a->at);

	*ret_used = a->used;
	pthread_mutex_unlock(&a->lock);
	return first;
}

/* Room before who follows: 1; behind it: 0; -EINTR: end. Files may have come and gone between the
 * two walks, so the sums only say how far, not which is first. */
static int wait_for_turn(struct ahead *a, const char *path)
{
	while (!atomic_load(&a->stop) && !winding_down(a->t)) {
		uint64_t used;
		bool first = is_first(a, path, &used);

		if (a->asked < used || !first)
			a->asked = used;
		if (a->asked < used + AHEAD_BYTES)
			return first;
		nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
	return -EINTR;
}

static void will_need(int dirfd, const char *name, uint64_t bytes)
{
	cleanup_fd int fd =
		openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		posix_fadvise(fd, 0, (off_t)MIN(bytes, (uint64_t)FILE_BYTES), POSIX_FADV_WILLNEED);
}

static void read_it(struct ahead *a, int dirfd, const char *name, uint64_t bytes, const char *path)
{
	uint64_t used;

	pthread_mutex_lock(&a->open_lock);
	while (!a->go && !atomic_load(&a->stop))
		pthread_cond_wait(&a->went, &a->open_lock);
	if (a->go && is_first(a, path, &used)) /* it may have been overtaken meanwhile */
		will_need(dirfd, name, bytes);
	pthread_mutex_unlock(&a->open_lock);
}

static int ask(void *ctx, int dirfd, const char *name, const struct stat *st, const char *path)
{
	struct ahead *a = ctx;
	uint64_t bytes = bytes_of(st);
	int r = wait_for_turn(a, path);

	if (r <= 0)
		return r;
	if (bytes && st->st_nlink == 1)
		read_it(a, dirfd, name, bytes, path);
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
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->open_lock, NULL);
	pthread_cond_init(&a->went, NULL);
	if (thread_start(&a->thread, "spill-ahead", main_ahead, a)) {
		free(a);
		return NULL;
	}
	return a;
}

void ahead_go(struct ahead *a, bool go)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->open_lock);
	a->go = go;
	pthread_cond_signal(&a->went);
	pthread_mutex_unlock(&a->open_lock);
}

void ahead_clear(struct ahead *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->open_lock);
	pthread_mutex_unlock(&a->open_lock);
}

void ahead_used(struct ahead *a, const struct stat *st, const char *path)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->used += bytes_of(st);
	snprintf(a->at, sizeof(a->at), "%s", path);
	pthread_mutex_unlock(&a->lock);
}

void ahead_end(struct ahead *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->open_lock);
	atomic_store(&a->stop, true);
	pthread_cond_signal(&a->went);
	pthread_mutex_unlock(&a->open_lock);
	pthread_join(a->thread, NULL);
	free(a);
}
