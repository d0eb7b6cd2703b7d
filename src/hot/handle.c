/* SPDX-License-Identifier: MIT
 * Who is who in the hot tier: inode identity, node ids, and opening an inode without a path.
 *
 * An inode number alone does not name a file for ever, because numbers are reused; the generation
 * in the kernel's file handle makes it unique. Where the handle is nothing but (ino, generation),
 * it can be packed into a 64-bit node id and rebuilt from it, so that no table of handles has to
 * be kept or survive a crash. The layouts (fixed since the kernel's NFS server hands them out;
 * fields in host byte order, include/linux/exportfs.h and fs/{ext4,xfs,btrfs}/):
 *
 *	ext4   type 0x01, 8 bytes   u32 ino, u32 gen
 *	xfs    type 0x81, 12 bytes  u64 ino, u32 gen
 *	       type 0x01, 8 bytes   u32 ino, u32 gen	(mounted with inode32)
 *	btrfs  type 0x4d, 20 bytes  u64 objectid, u64 root_objectid, u32 gen
 *
 * Invariant: a node id or hot_id is only ever made from a handle that these rules turn back into
 * the very same handle; everything else is passed on as an opaque handle.
 */
#include "hot_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>

#define FH_INO32 0x01
#define FH_XFS64 0x81
#define FH_BTRFS 0x4d

/* The kernel's struct file_handle ends in a flexible array: give it room. */
union kernel_fh {
	struct file_handle h;
	uint8_t room[sizeof(struct file_handle) + HOT_FH_MAX];
};

static int fh_get(int dirfd, const char *name, struct hot_fh *ret, int *ret_mnt_id)
{
	union kernel_fh k;

	k.h.handle_bytes = HOT_FH_MAX;
	if (name_to_handle_at(dirfd, name, &k.h, ret_mnt_id, *name ? 0 : AT_EMPTY_PATH))
		return -errno;
	ret->type = k.h.handle_type;
	ret->len = (uint8_t)k.h.handle_bytes;
	memcpy(ret->bytes, k.h.f_handle, ret->len);
	return 0;
}

static bool fh_same(const struct hot_fh *a, const struct hot_fh *b)
{
	return a->type == b->type && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

/* What a handle says; *ret_subvol is 0 but for btrfs. False when its layout is not one of ours. */
static bool fh_parse(enum hot_type type, const struct hot_fh *fh, struct hot_id *ret,
		     uint64_t *ret_subvol)
{
	uint32_t ino32;

	*ret_subvol = 0;
	if ((type == HOT_EXT4 || type == HOT_XFS) && fh->type == FH_INO32 && fh->len == 8) {
		memcpy(&ino32, fh->bytes, 4);
		memcpy(&ret->gen, fh->bytes + 4, 4);
		ret->ino = ino32;
		return true;
	}
	if (type == HOT_XFS && fh->type == FH_XFS64 && fh->len == 12) {
		memcpy(&ret->ino, fh->bytes, 8);
		memcpy(&ret->gen, fh->bytes + 8, 4);
		return true;
	}
	if (type == HOT_BTRFS && fh->type == FH_BTRFS && fh->len == 20) {
		memcpy(&ret->ino, fh->bytes, 8);
		memcpy(ret_subvol, fh->bytes + 8, 8);
		memcpy(&ret->gen, fh->bytes + 16, 4);
		return true;
	}
	return false;
}

/* Parse a handle that hot_fh_of_id can make again: of a known layout and in the root's subvolume.
 */
static bool fh_native(const struct hot *h, const struct hot_fh *fh, struct hot_id *ret)
{
	uint64_t subvol;

	return fh_parse(h->type, fh, ret, &subvol) && subvol == h->subvol;
}

bool hot_fh_of_id(const struct hot *h, struct hot_id id, struct hot_fh *ret)
{
	uint32_t ino32 = (uint32_t)id.ino;

	switch (h->fh_type) {
	case FH_INO32:
		if (id.ino > UINT32_MAX)
			return false;
		ret->len = 8;
		memcpy(ret->bytes, &ino32, 4);
		memcpy(ret->bytes + 4, &id.gen, 4);
		break;
	case FH_XFS64:
		ret->len = 12;
		memcpy(ret->bytes, &id.ino, 8);
		memcpy(ret->bytes + 8, &id.gen, 4);
		break;
	case FH_BTRFS:
		ret->len = 20;
		memcpy(ret->bytes, &id.ino, 8);
		memcpy(ret->bytes + 8, &h->subvol, 8);
		memcpy(ret->bytes + 16, &id.gen, 4);
		break;
	default:
		return false;
	}
	ret->type = h->fh_type;
	return true;
}

bool hot_fh_of_nodeid(const struct hot *h, uint64_t nodeid, struct hot_fh *ret)
{
	struct hot_id id = {.ino = (uint32_t)nodeid, .gen = (uint32_t)(nodeid >> 32)};

	return nodeid > 1 && hot_fh_of_id(h, id, ret);
}

struct hot_id hot_id_of_fh(const struct hot *h, const struct hot_fh *fh, uint64_t st_ino)
{
	struct hot_id id;
	uint64_t subvol;

	if (fh_parse(h->type, fh, &id, &subvol)) {
		if (subvol == h->subvol)
			return id;
		/* (ino, gen) of another subvolume may be that of a file in ours. */
		return (struct hot_id){0};
	}
	/* Not reversible, but two inodes that had the same number in turn still differ. */
	return (struct hot_id){.ino = st_ino, .gen = (uint32_t)hash64(fh->bytes, fh->len)};
}

static uint64_t nodeid_of(const struct hot *h, const struct hot_fh *fh, const struct stat *st)
{
	uint64_t nodeid;
	struct hot_id id;

	if (st->st_dev != h->dev || !fh_native(h, fh, &id) || id.ino > UINT32_MAX)
		return 0;
	nodeid = (uint64_t)id.gen << 32 | id.ino;
	return nodeid > 1 ? nodeid : 0; /* 0 and 1 mean something else */
}

/* Handle and attributes by name, in two system calls. Between them the name may have come to mean
 * another inode. If the numbers agree, that could only be a new inode which got the number of the
 * one just deleted; it would have been born, and its ctime with it, after `before`. (Two seconds:
 * file systems with 128-byte inodes cut times to full seconds.) 0 when this is ruled out,
 * -ENOENT, or -EAGAIN. */
static int identify_fast(const struct hot *h, int dirfd, const char *name, struct stat *st,
			 struct hot_fh *fh, int *mnt_id)
{
	struct timespec before;
	struct hot_id id;

	clock_gettime(CLOCK_REALTIME_COARSE, &before);
	int r = fh_get(dirfd, name, fh, mnt_id);

	if (r)
		return r == -ENOENT ? r : -EAGAIN;
	if (!fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW) && fh_native(h, fh, &id) &&
	    id.ino == st->st_ino && st->st_dev == h->dev && st->st_ctim.tv_sec < before.tv_sec - 2)
		return 0;
	return -EAGAIN;
}

static int identify_fd(int fd, struct stat *st, struct hot_fh *fh, int *mnt_id)
{
	int r = fh_get(fd, "", fh, mnt_id);

	if (r < 0)
		return r;
	return fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int identify(const struct hot *h, int dirfd, const char *name, struct stat *st,
		    struct hot_fh *fh, int *mnt_id)
{
	cleanup_fd int fd = -1;

	if (!*name)
		return identify_fd(dirfd, st, fh, mnt_id);
	int r = identify_fast(h, dirfd, name, st, fh, mnt_id);

	if (likely(!r) || r == -ENOENT)
		return r;
	/* Any doubt, any error: once more, holding the inode. */
	fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return identify_fd(fd, st, fh, mnt_id);
}

int hot_identify(const struct hot *h, int dirfd, const char *name, struct stat *ret_st,
		 struct hot_fh *ret_fh, uint64_t *ret_nodeid)
{
	struct hot_fh fh;
	struct stat st;
	int mnt_id, r;

	r = identify(h, dirfd, name, &st, &fh, &mnt_id);
	if (r < 0)
		return r;
	/* Another device of the same mount is a btrfs subvolume; of another mount, something
	 * mounted inside the hot tier, where our handles mean nothing. */
	if (unlikely(st.st_dev != h->dev && mnt_id != h->mnt_id))
		return -EXDEV;
	*ret_st = st;
	*ret_fh = fh;
	*ret_nodeid = nodeid_of(h, &fh, &st);
	return 0;
}

/* ext4 and btrfs take generation 0 in a handle for "any", and mke2fs -d makes inodes of generation
 * 0: after such an inode is deleted, its handle would open whoever got its number. */
static bool gen_zero(const struct hot *h, const struct hot_fh *fh)
{
	uint64_t subvol;
	struct hot_id id;

	return fh_parse(h->type, fh, &id, &subvol) && !id.gen;
}

int hot_open_fh(const struct hot *h, const struct hot_fh *fh, int flags)
{
	cleanup_fd int fd = -1;
	union kernel_fh k;
	struct hot_fh got;
	int mnt_id, r;

	if (fh->len > HOT_FH_MAX)
		return -EINVAL;
	k.h.handle_bytes = fh->len;
	k.h.handle_type = fh->type;
	memcpy(k.h.f_handle, fh->bytes, fh->len);
	fd = open_by_handle_at(h->fd, &k.h, flags | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (unlikely(gen_zero(h, fh))) {
		r = fh_get(fd, "", &got, &mnt_id);
		if (r < 0)
			return r;
		if (!fh_same(fh, &got))
			return -ESTALE;
	}
	return steal_fd(&fd);
}

int handle_probe(struct hot *h, const char **ret_why)
{
	cleanup_fd int fd = -1;
	struct hot_fh fh;
	struct hot_id id;
	struct stat st;
	int r;

	r = identify_fd(h->fd, &st, &fh, &h->mnt_id);
	if (r == -EOPNOTSUPP || r == -EOVERFLOW || r == -ENOSYS) {
		*ret_why = "the hot file system has no file handles (name_to_handle_at): use ext4, "
			   "xfs or btrfs";
		return -EOPNOTSUPP;
	}
	if (r < 0) {
		*ret_why = "name_to_handle_at on the hot directory failed";
		return r;
	}
	if (fh_parse(h->type, &fh, &id, &h->subvol) && id.ino == st.st_ino)
		h->fh_type = fh.type;
	else
		h->type = HOT_OTHER;
	fd = hot_open_fh(h, &fh, O_PATH);
	if (fd == -EPERM)
		*ret_why = "file handles are refused: run as root with CAP_DAC_READ_SEARCH in the "
			   "initial user namespace";
	else if (fd < 0)
		*ret_why = "the hot file system does not open its own file handles";
	return fd < 0 ? fd : 0;
}

const char *hot_fd_path(int fd, char buf[32])
{
	snprintf(buf, 32, "/proc/self/fd/%d", fd);
	return buf;
}

/* Linux 6.6, uapi/asm-generic/unistd.h. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

int hot_chmod(int fd, mode_t mode)
{
	static atomic_bool missing;
	char path[32];

	if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
		if (!syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH))
			return 0;
		/* EPERM: a seccomp filter's way to say the same, or the file's; then so says chmod.
		 */
		if (errno != ENOSYS && errno != EPERM)
			return -errno;
		if (errno == ENOSYS)
			atomic_store_explicit(&missing, true, memory_order_relaxed);
	}
	return chmod(hot_fd_path(fd, path), mode) ? -errno : 0;
}

int hot_utimens(int fd, const struct timespec ts[2])
{
	return utimensat(fd, "", ts, AT_EMPTY_PATH) ? -errno : 0; /* user effect */
}

int hot_reopen(int fd, int flags)
{
	char path[32];
	/* The path ends in a magic link, which must be followed. */
	int r = open(hot_fd_path(fd, path), (flags & ~O_NOFOLLOW) | O_CLOEXEC);

	return r < 0 ? -errno : r;
}
