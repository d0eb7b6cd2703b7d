/* SPDX-License-Identifier: MIT
 * Opening the hot tier: the one fd through which it is reached, and the questions to its file
 * system that must be answered before anything is mounted over it.
 *
 * Why probe: a missing feature found later would be found by a half-done spill. The probe is an
 * unlinked file in the root directory, so nothing is left behind whatever happens. A full disk is
 * the very thing spillfs is started against: running out of space while probing proves nothing
 * and is not an error.
 */
#include "hot_int.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define PROBE_XATTR "trusted.spill.probe"

bool hot_xattr_reserved(const char *name)
{
	size_t n = strlen(MARKER_XATTR);

	/* The whole subtree, so that a later version's records are hidden from this one too. */
	return !strncmp(name, MARKER_XATTR, n) && (!name[n] || name[n] == '.');
}

static bool no_space(int e)
{
	return e == -ENOSPC || e == -EDQUOT;
}

/* An fd of a file without a name. */
static int probe_file(int dirfd)
{
	char name[48];
	int fd = openat(dirfd, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return -errno;
	snprintf(name, sizeof(name), ".spillfs-probe-%ld", (long)getpid());
	fd = openat(dirfd, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	unlinkat(dirfd, name, 0); /* not durable: a probe */
	return fd;
}

static int probe_xattr(int fd, const char **ret_why)
{
	const uint8_t val[MARKER_LEN] = {0};

	/* not durable: on the nameless probe file */
	if (!fsetxattr(fd, PROBE_XATTR, val, sizeof(val), 0) || no_space(-errno))
		return 0;
	if (errno == EOPNOTSUPP)
		*ret_why = "the hot file system has no trusted.* extended attributes: use ext4, "
			   "xfs or btrfs";
	else if (errno == EPERM)
		*ret_why = "trusted.* extended attributes are refused: run as root with "
			   "CAP_SYS_ADMIN in the initial user namespace";
	else
		*ret_why = "setting an extended attribute on the hot file system failed";
	return -errno;
}

/* At offset 0 of an empty file: a file system that cannot punch says so before it looks. */
static int probe_punch(int fd, const char **ret_why)
{
	/* not durable: on the nameless probe file */
	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) || no_space(-errno))
		return 0;
	if (errno == EOPNOTSUPP || errno == ENOSYS) {
		*ret_why = "the hot file system cannot punch holes (FALLOC_FL_PUNCH_HOLE): use "
			   "ext4, xfs or btrfs";
		return -EOPNOTSUPP;
	}
	*ret_why = "punching a hole on the hot file system failed";
	return -errno;
}

static int probe_effects(const struct hot *h, const char **ret_why)
{
	cleanup_fd int fd = probe_file(h->fd);
	int r;

	if (no_space(fd))
		return 0;
	if (fd < 0) {
		*ret_why = fd == -EROFS ? "the hot file system is mounted read-only"
					: "cannot create a file in the hot directory";
		return fd;
	}
	r = probe_xattr(fd, ret_why);
	return r < 0 ? r : probe_punch(fd, ret_why);
}

static enum hot_type type_of_magic(const struct statfs *sfs)
{
	switch ((unsigned long)sfs->f_type) {
	case EXT4_SUPER_MAGIC: /* ext2 and ext3 too: same handles */
		return HOT_EXT4;
	case XFS_SUPER_MAGIC:
		return HOT_XFS;
	case BTRFS_SUPER_MAGIC:
		return HOT_BTRFS;
	default:
		return HOT_OTHER;
	}
}

static int open_root(struct hot *h, int dirfd, const char **ret_why)
{
	struct statfs sfs;
	struct stat st;

	*ret_why = "cannot open the hot directory";
	h->fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->fd < 0)
		return -errno;
	if (fstat(h->fd, &st) || fstatfs(h->fd, &sfs))
		return -errno;
	h->dev = st.st_dev;
	h->type = type_of_magic(&sfs);
	return 0;
}

int hot_open(struct hot **ret, int dirfd, const char **ret_why)
{
	struct hot *h = calloc(1, sizeof(*h));
	int r;

	if (!h) {
		*ret_why = "out of memory";
		return -ENOMEM;
	}
	h->fd = -1;
	r = open_root(h, dirfd, ret_why);
	if (!r)
		r = handle_probe(h, ret_why);
	if (!r)
		r = probe_effects(h, ret_why);
	if (r < 0) {
		hot_close(h);
		return r;
	}
	*ret_why = NULL;
	*ret = h;
	return 0;
}

void hot_close(struct hot *h)
{
	if (!h)
		return;
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

int hot_root_fd(const struct hot *h)
{
	return h->fd;
}

enum hot_type hot_fs_type(const struct hot *h)
{
	return h->type;
}

dev_t hot_dev(const struct hot *h)
{
	return h->dev;
}

int hot_statfs(const struct hot *h, struct statvfs *ret)
{
	return fstatvfs(h->fd, ret) ? -errno : 0;
}
