/* SPDX-License-Identifier: MIT
 * The guard: a small read-only file system over DIR, there before anything else of ours and still
 * there when everything else has failed. Invariant: from the first start on nobody sees the bare
 * directory, whose stubs read as zeros, unless mnt_guard_down was asked for.
 *
 * An ext2 on a loop device where there are any, because cAdvisor (in kubelet) accounts our mount to
 * its source device; otherwise a read-only tmpfs.
 *
 * Propagation: the guard, and spillfs on top of it, take what DIR's own mount has. Under a shared
 * mount they are shared too: services in slave namespaces must see the guard as everybody else
 * does, and kubelet demands shared mounts below /var. Only the hot bind is private. No mount of
 * others is changed.
 */
#include "mnt_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define GUARD_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define DEAD_MAX    32 /* dead mounts stacked on one another */

static int fail(char **ret_msg, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(char **ret_msg, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_msg, fmt, ap) < 0)
		*ret_msg = NULL;
	va_end(ap);
	return r;
}

/* DIR itself, without asking the file system mounted there. */
static int check_dir(const char *dir, char **ret_msg)
{
	cleanup_fd int fd = -1;
	char c;

	if (readlink(dir, &c, 1) >= 0)
		return fail(ret_msg, -ELOOP, "%s is a symbolic link; name the directory itself",
			    dir);
	fd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		int r = -errno;

		return fail(ret_msg, r, "%s: %s", dir, strerror(-r));
	}
	return 0;
}

/* Find the state; dead mounts are taken off, with everything that was mounted on them. */
static int clear_dead(const char *dir, enum mnt_state *ret, char **ret_msg)
{
	int r;

	for (int i = 0; i < DEAD_MAX; i++) {
		r = mnt_probe(dir, ret, NULL);
		if (r == -ETIMEDOUT)
			return fail(ret_msg, r, "the spillfs on %s does not answer", dir);
		if (r < 0)
			return fail(ret_msg, r, "%s: %s", dir, strerror(-r));
		if (*ret != MNT_DEAD)
			return 0;
		if (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
			r = -errno;
			return fail(ret_msg, r, "cannot unmount the dead spillfs on %s: %s", dir,
				    strerror(-r));
		}
	}
	return fail(ret_msg, -EBUSY, "too many dead mounts on %s", dir);
}

static int check_submounts(const char *dir, char **ret_msg)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	const struct mnt_entry *e;
	int r = mnt_table_read(&t);

	if (r < 0)
		return fail(ret_msg, r, "cannot read the mount table: %s", strerror(-r));
	e = mnt_below(&t, dir);
	if (e)
		return fail(ret_msg, -EBUSY, "%s is mounted below %s; unmount it first", e->point,
			    dir);
	return 0;
}

/* ---- the two kinds
 * ------------------------------------------------------------------------------------- */
/* An image that is right already is not written again: it may be attached in another mount
 * namespace. */
static int image_file(const char *run, const char *dir)
{
	cleanup_free char *path = path_join(run, RUN_IMAGE);
	cleanup_free char *tmp = path_join(run, RUN_IMAGE ".new");
	cleanup_free uint8_t *img = malloc(GUARD_IMAGE_BYTES), *old = malloc(GUARD_IMAGE_BYTES);
	uint8_t sha[SHA256_LEN];
	cleanup_fd int fd = -1;
	int r;

	if (!path || !tmp || !img || !old)
		return -ENOMEM;
	/* A UUID of its own for each DIR, or udev's links by UUID would fight. */
	sha256_once(dir, strlen(dir), sha);
	sha[6] = (uint8_t)((sha[6] & 0x0f) | 0x80);
	sha[8] = (uint8_t)((sha[8] & 0x3f) | 0x80);
	guard_image_build(img, sha);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		if (pread_full(fd, old, GUARD_IMAGE_BYTES, 0) == GUARD_IMAGE_BYTES &&
		    !memcmp(img, old, GUARD_IMAGE_BYTES))
			return steal_fd(&fd);
		close(steal_fd(&fd));
	}
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_full(fd, img, GUARD_IMAGE_BYTES);
	if (!r && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(tmp);
		return r;
	}
	close(steal_fd(&fd));
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : steal_fd(&fd);
}

int guard_mount_ext2(const char *dir, const char *run, const char **ret_step)
{
	cleanup_fd int image = image_file(run, dir);
	cleanup_fd int loop = -1;
	char dev[32];

	*ret_step = "the guard's image cannot be written";
	if (image < 0)
		return image;
	*ret_step = "no loop device";
	loop = loop_attach(image, dev);
	if (loop < 0)
		return loop;
	*ret_step = "ext2 cannot be mounted";
	/* Few kernels still build the old driver; ext4's reads ext2 under either name. */
	if (!mount(dev, dir, "ext2", GUARD_FLAGS, NULL))
		return 0;
	if (errno == ENODEV && !mount(dev, dir, "ext4", GUARD_FLAGS, NULL))
		return 0;
	return -errno;
}

static int mount_tmpfs(const char *dir)
{
	/* mount(2) with MS_RDONLY makes the tmpfs itself read-only, too. */
	if (mount(GUARD_TMPFS_SOURCE, dir, "tmpfs", GUARD_FLAGS, "size=4k,mode=0555") < 0)
		return -errno;
	return 0;
}

/* ---- public
 * ---------------------------------------------------------------------------------------------- */
static int put_guard(const char *dir, const char *run, char **ret_msg)
{
	const char *step;
	int made, r;

	r = check_submounts(dir, ret_msg);
	if (r < 0)
		return r;
	made = hot_bind_up(dir, run, false);
	if (made < 0)
		return fail(ret_msg, made, "cannot bind %s to %s/" RUN_HOT ": %s", dir, run,
			    strerror(-made));
	if (guard_mount_ext2(dir, run, &step) == 0)
		return 0;
	r = mount_tmpfs(dir);
	if (r < 0) {
		if (made)
			hot_bind_down(run);
		return fail(ret_msg, r, "cannot mount the guard on %s: %s", dir, strerror(-r));
	}
	return 0;
}

int mnt_guard_up(const char *dir, char **ret_msg)
{
	cleanup_free char *run = mnt_run_dir(dir);
	enum mnt_state state;
	int r;

	*ret_msg = NULL;
	if (!run)
		return -ENOMEM;
	r = check_dir(dir, ret_msg);
	if (r < 0)
		return r;
	if (path_below(run, dir))
		return fail(ret_msg, -EINVAL, "%s would hide %s", dir, run);
	/* Two starts at once (fstab and a unit) must not both put a guard. */
	cleanup_fd int lock = run_lock(run);

	if (lock < 0)
		return fail(ret_msg, lock, "cannot lock the directory of %s: %s", run,
			    strerror(-lock));
	r = clear_dead(dir, &state, ret_msg);
	if (r < 0)
		return r;
	if (state == MNT_LIVE)
		return fail(ret_msg, -EALREADY, "a spillfs is mounted on %s", dir);
	r = run_dir_make(run);
	if (!r) /* before the guard: whatever comes of this start, doctor finds the guard by it */
		r = mnt_run_put(dir, "dir", dir);
	if (r < 0)
		return fail(ret_msg, r, "cannot make %s: %s", run, strerror(-r));
	if (state == MNT_GUARDED) {
		r = hot_bind_up(dir, run, true);
		if (r < 0)
			return fail(ret_msg, r,
				    "cannot reach the directory below the guard on %s: %s", dir,
				    strerror(-r));
	} else {
		r = put_guard(dir, run, ret_msg);
		if (r < 0)
			return r;
	}
	r = mnt_hot_fd(dir);
	if (r < 0)
		return fail(ret_msg, r, "cannot open %s/" RUN_HOT ": %s", run, strerror(-r));
	return r;
}

int mnt_guard_down(const char *dir)
{
	cleanup_free char *run = mnt_run_dir(dir);
	enum mnt_state state;
	int r;

	if (!run)
		return -ENOMEM;
	cleanup_fd int lock = run_lock(run);

	if (lock < 0)
		return lock;
	r = mnt_probe(dir, &state, NULL);
	if (r < 0)
		return r;
	if (state == MNT_LIVE || state == MNT_DEAD)
		return -EBUSY;
	while (state == MNT_GUARDED) { /* twice where an anchor lies on a tmpfs guard */
		/* Somebody stands in it. It is empty: let it go with its last user. */
		if (umount2(dir, UMOUNT_NOFOLLOW) < 0 &&
		    (errno != EBUSY || umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0))
			return -errno;
		r = mnt_probe(dir, &state, NULL);
		if (r < 0)
			return r;
	}
	if (state != MNT_BARE)
		return -EBUSY;
	r = hot_bind_down(run);
	if (!r)
		run_dir_remove(run);
	return r;
}
