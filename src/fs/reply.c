/* SPDX-License-Identifier: MIT
 * Replies, in one place.
 */
#include "fs_int.h"

#include <sys/stat.h>

/* Attributes change behind the kernel's back in one more way: allocation settles (delayed
 * allocation, trimming after the last close) for some time after a file was changed. A small file
 * on ext4 has its blocks counted from the first. */
#define SETTLE_SEC  60
#define SETTLE_SIZE (16 << 10) /* four extents at most: all in the inode */

double attr_timeout(const struct fs *f, struct node *n, const struct stat *st, unsigned epoch)
{
	struct timespec now;

	if (!S_ISREG(st->st_mode))
		return ENTRY_TIMEOUT;
	if (!tier_attr_stable(f->t, n, epoch))
		return 0;
	if (f->o.blocks_at_once && st->st_size <= SETTLE_SIZE &&
	    (uint64_t)st->st_blocks * 512 >= (uint64_t)st->st_size)
		return ENTRY_TIMEOUT;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now.tv_sec - st->st_ctim.tv_sec < SETTLE_SEC ? 1 : ENTRY_TIMEOUT;
}

void fill_attr(struct fuse_attr *a, const struct stat *st)
{
	*a = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

/* The attributes are good for the permission check of the open that is being answered: nobody can
 * have mapped the file yet. */
#define CREATED_NSEC 100000000

void created_out(struct fuse_entry_out *out, struct node *n, const struct stat *st)
{
	*out = (struct fuse_entry_out){
		.nodeid = node_id(n),
		.entry_valid = (uint64_t)ENTRY_TIMEOUT,
		.attr_valid_nsec = CREATED_NSEC,
	};
	fill_attr(&out->attr, st);
}

/* A mediated file's content changes through the kernel's own pages only, so they stay valid over
 * opens; but for those from before a passthrough open. */
void open_out(struct abi_open_out *out, uint64_t fh, const struct file *file)
{
	int id = file_backing(file);

	*out = (struct abi_open_out){
		.fh = fh,
		.open_flags = FOPEN_NOFLUSH | (id ? ABI_FOPEN_PASSTHROUGH : 0) |
			      (id || file_drops_pages(file) ? 0 : FOPEN_KEEP_CACHE),
		.backing_id = id,
	};
}

void reply_err(fuse_req_t req, int err)
{
	/* Structure and checksum errors are for our log; an application gets EIO. */
	if (err == -EBADMSG || err == -EUCLEAN || err == -EPROTONOSUPPORT)
		err = -EIO;
	fuse_reply_err(req, -err);
}

int node_get(fuse_req_t req, fuse_ino_t ino, struct node **ret)
{
	return tier_get(fs_of(req)->t, ino, ret);
}

static void reply_node(fuse_req_t req, struct node *n, const struct stat *st, unsigned epoch)
{
	struct fs *f = fs_of(req);
	uint64_t id = node_id(n);
	struct fuse_entry_param e = {
		.ino = id,
		.attr = *st,
		.attr_timeout = attr_timeout(f, n, st, epoch),
		.entry_timeout = ENTRY_TIMEOUT,
	};

	if (fuse_reply_entry(req, &e) < 0)
		tier_forget(f->t, id, 1);
	tier_put(f->t, n);
}

int reply_lookup(fuse_req_t req, struct node *dir, const char *name)
{
	struct fs *f = fs_of(req);
	unsigned epoch = tier_attr_epoch(f->t, NULL);
	struct node *n;
	struct stat st;
	int r = tier_lookup(f->t, dir, name, &n, &st);

	if (!r)
		reply_node(req, n, &st, epoch);
	return r;
}
