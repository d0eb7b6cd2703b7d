/* SPDX-License-Identifier: MIT
 * The hot bind: <run>/hot shows the bare directory DIR, for root only, whatever is mounted over
 * DIR.
 *
 * It is a non-recursive clone: what others mount below DIR later does not show in it. It is made
 * private before the guard is mounted: a clone of a shared mount is its peer, and a mount on DIR
 * would appear on top of the clone's root as well, which would hide the very thing it is there to
 * show.
 */
#include "mnt_int.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x4
#endif
#ifndef SYS_open_tree /* Linux 5.2; the same number on every architecture */
#define SYS_open_tree  428
#define SYS_move_mount 429
#endif

static int clone_tree(const char *path)
{
	long fd = syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

static int attach_tree(int tree, const char *at)
{
	long r = syscall(SYS_move_mount, tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH);

	return r < 0 ? -errno : 0;
}

/* ---- taking the bare directory from under the guard
 * ------------------------------------------------ */
struct below {
	const char *dir;
	unsigned guards; /* that lie on it */
	int fd;
};

/* In a mount namespace of this thread alone the guard can be lifted without anybody seeing what is
 * below. The clone is not part of that namespace and outlives it. */
static void *below_main(void *arg)
{
	struct below *b = arg;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		b->fd = -errno;
		return NULL;
	}
	for (; b->guards; b->guards--)
		if (umount2(b->dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
			b->fd = -errno;
			return NULL;
		}
	b->fd = clone_tree(b->dir);
	return NULL;
}

static int count_guards(const char *dir, unsigned *ret)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	int r = mnt_table_read(&t);

	*ret = 0;
	for (size_t i = 0; i < t.n; i++)
		*ret += !strcmp(t.v[i].point, dir) && guard_is(&t.v[i], dir);
	return r < 0 || *ret ? r : -ESTALE;
}

static int clone_below(const char *dir)
{
	struct below b = {.dir = dir, .fd = -EIO};
	pthread_t t;
	int r = count_guards(dir, &b.guards);

	if (!r)
		r = thread_start(&t, "spill-below", below_main, &b);

	if (r < 0)
		return r;
	pthread_join(t, NULL);
	return b.fd;
}

/* ---- the bind
 * ---------------------------------------------------------------------------------------- */
bool hot_bind_is(const char *run)
{
	cleanup_free char *hot = path_join(run, RUN_HOT);
	int a = mnt_id_at(run), b = hot ? mnt_id_at(hot) : -1;

	return a >= 0 && b >= 0 && a != b;
}

static bool same_dir(const char *a, const char *b)
{
	struct stat sa, sb;

	return !lstat(a, &sa) && !lstat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int hot_bind_up(const char *dir, const char *run, bool covered)
{
	cleanup_free char *hot = path_join(run, RUN_HOT);
	cleanup_fd int tree = -1;
	int r;

	if (!hot)
		return -ENOMEM;
	if (hot_bind_is(run)) {
		/* Under the guard it is the only way to the directory, and right by construction.
		 */
		if (covered || same_dir(dir, hot))
			return 0;
		r = hot_bind_down(run);
		if (r < 0)
			return r;
	}
	if (mkdir(hot, 0700) < 0 && errno != EEXIST)
		return -errno;
	tree = covered ? clone_below(dir) : clone_tree(dir);
	if (tree < 0)
		return tree;
	r = attach_tree(tree, hot);
	if (r < 0)
		return r;
	if (mount(NULL, hot, NULL, MS_PRIVATE, NULL) < 0) {
		r = -errno;
		umount2(hot, MNT_DETACH | UMOUNT_NOFOLLOW);
		return r;
	}
	return 1;
}

int hot_bind_down(const char *run)
{
	cleanup_free char *hot = path_join(run, RUN_HOT);

	if (!hot)
		return -ENOMEM;
	while (hot_bind_is(run))
		if (umount2(hot, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return -errno;
	return 0;
}

int mnt_hot_fd(const char *dir)
{
	cleanup_free char *run = mnt_run_dir(dir);
	cleanup_free char *hot = run ? path_join(run, RUN_HOT) : NULL;
	int fd;

	if (!hot)
		return -ENOMEM;
	if (!hot_bind_is(run))
		return -ENOENT;
	fd = open(hot, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Only what was set here is taken back: the mount it was cloned from may be noatime itself. */
int mnt_hot_noatime(const char *dir, bool on)
{
	cleanup_free char *run = mnt_run_dir(dir);
	cleanup_free char *hot = run ? path_join(run, RUN_HOT) : NULL;
	cleanup_free char *note = run ? path_join(run, RUN_NOATIME) : NULL;
	struct mount_attr a = {
		.attr_clr = MOUNT_ATTR__ATIME,
		.attr_set = on ? MOUNT_ATTR_NOATIME : MOUNT_ATTR_RELATIME,
	};

	if (!hot || !note)
		return -ENOMEM;
	if (!on && access(note, F_OK))
		return 0;
	int r = on ? mnt_run_put(dir, RUN_NOATIME, "1") : 0;

	if (!r && mount_setattr(AT_FDCWD, hot, AT_SYMLINK_NOFOLLOW, &a, sizeof(a)) < 0)
		r = -errno;
	return r || on ? r : mnt_run_put(dir, RUN_NOATIME, NULL);
}
