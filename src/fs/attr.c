/* SPDX-License-Identifier: MIT
 * getattr, setattr, statfs.
 */
#include "fs_int.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static void reply_attr(fuse_req_t req, struct node *n)
{
	struct fs *f = fs_of(req);
	unsigned epoch = tier_attr_epoch(f->t, n);
	struct stat st;
	int r = tier_getattr(f->t, n, &st);

	if (r)
		reply_err(req, r);
	else
		fuse_reply_attr(req, &st, attr_timeout(f, n, &st, epoch));
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req); /* the request is gone once it is answered */
	struct node *n;
	int r = node_get(req, ino, &n);

	(void)fi;
	if (r) {
		reply_err(req, r);
		return;
	}
	reply_attr(req, n);
	tier_put(f->t, n);
}

/* chown(2) and truncate(2) here would drop file capabilities. For a user's call the kernel has sent
 * REMOVEXATTR before; where it has not (overlayfs sets owner and size last when it copies a file
 * up), they must stay. */
struct caps {
	char path[32];
	char val[64];
	ssize_t len; /* none: < 1 */
};

/* A file with capabilities is never a stub; the hold keeps it so while they are missing. */
static int caps_save(struct fs *f, struct node *n, int fd, struct caps *c)
{
	c->len = tier_no_caps(n) ? 0
				 : getxattr(hot_fd_path(fd, c->path), "security.capability", c->val,
					    sizeof(c->val));
	if (c->len < 1)
		return 0;
	int r = tier_hold(f->t, n);

	if (!r)
		end_caps_begin(f, n, c->val, (size_t)c->len);
	return r;
}

/* After caps_save and the call, which gave err. */
static int caps_restore(struct fs *f, struct node *n, const struct caps *c, int err)
{
	if (c->len < 1)
		return err;
	fault_point(f, "caps");
	if (setxattr(c->path, "security.capability", c->val, (size_t)c->len, 0) && !err)
		err = -errno;
	end_caps_done(f);
	tier_unhold(f->t, n);
	return err;
}

static int set_owner_mode(struct fs *f, struct node *n, const struct stat *st, int set)
{
	struct node_fd fd;
	int r = tier_fd_get(f->t, n, &fd);

	if (r)
		return r;
	if (set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) || !(set & FUSE_SET_ATTR_MODE)) {
		uid_t uid = set & FUSE_SET_ATTR_UID ? st->st_uid : (uid_t)-1;
		gid_t gid = set & FUSE_SET_ATTR_GID ? st->st_gid : (gid_t)-1;

		struct caps caps;

		r = caps_save(f, n, fd.fd, &caps);
		if (!r) {
			if (fchownat(fd.fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
				r = -errno;
			r = caps_restore(f, n, &caps, r);
		}
	}
	/* After chown, which clears setuid and setgid bits. */
	if (!r && set & FUSE_SET_ATTR_MODE)
		r = hot_chmod(fd.fd, st->st_mode & 07777);
	tier_fd_put(f->t, &fd);
	if (!r)
		tier_meta_changed(f->t, n);
	return r;
}

static int set_size(fuse_req_t req, struct node *n, const struct stat *st,
		    struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req);
	const struct fuse_setattr_in *in = raw_arg(sizeof(*in));
	bool kill = in && in->valid & ABI_FATTR_KILL_SUIDGID;
	struct file *file = fi ? handle_get(f->h, HANDLE_FILE, fi->fh) : NULL;
	struct node_fd nfd;
	struct caps caps;
	struct stat now;

	/* After a direct write past the end that failed, the kernel truncates to the size it was.
	 */
	if (file && side_effect_take(req, node_id(n), DIRECT_WRITE_FAILED) &&
	    !tier_getattr(f->t, n, &now) && now.st_size == st->st_size)
		return 0;
	int r = tier_fd_get(f->t, n, &nfd);

	if (r)
		return r;
	r = caps_save(f, n, nfd.fd, &caps);
	if (r) {
		tier_fd_put(f->t, &nfd);
		return r;
	}
	kill = kill && !tier_getattr(f->t, n, &now) && fsetid_drop(req, &now);
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(f->t, file);

	if (h.fd >= 0) /* the open decides what is allowed, not today's mode or flags */
		r = tier_ftruncate(f->t, file, (uint64_t)st->st_size);
	else
		r = tier_truncate(f->t, n, (uint64_t)st->st_size);
	if (kill)
		fsetid_restore();
	r = caps_restore(f, n, &caps, r);
	tier_fd_put(f->t, &nfd);
	return r;
}

static int set_times(struct fs *f, struct node *n, const struct stat *st, int set)
{
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};

	if (set & FUSE_SET_ATTR_ATIME_NOW)
		ts[0].tv_nsec = UTIME_NOW;
	else if (set & FUSE_SET_ATTR_ATIME)
		ts[0] = st->st_atim;
	if (set & FUSE_SET_ATTR_MTIME_NOW)
		ts[1].tv_nsec = UTIME_NOW;
	else if (set & FUSE_SET_ATTR_MTIME)
		ts[1] = st->st_mtim;
	return tier_utimens(f->t, n, ts);
}

#define SET_OWNER_MODE (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_MODE)
#define SET_TIMES                                                                                  \
	(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |                     \
	 FUSE_SET_ATTR_MTIME_NOW)

#define SET_ANY (SET_OWNER_MODE | SET_TIMES | FUSE_SET_ATTR_SIZE)

/* chown(path, -1, -1) comes without a bit, changes ctime and clears setuid and setgid bits, which
 * only the owner may. A FALLOCATE or COPY_FILE_RANGE of somebody else announces itself in the same
 * way; the bits are cleared there then (files.c). And so does any write to a file with
 * capabilities, after REMOVEXATTR: op_setattr sees to that. */
static bool may_chown(fuse_req_t req, struct node *n)
{
	struct stat st;

	return !tier_getattr(fs_of(req)->t, n, &st) &&
	       (!(st.st_mode & (S_ISUID | S_ISGID)) || st.st_uid == fuse_req_ctx(req)->uid ||
		caller_has_cap(req, CAP_FOWNER));
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req);
	struct node *n;
	int r = node_get(req, ino, &n);

	if (r) {
		reply_err(req, r);
		return;
	}
	/* Any SETATTR is the one that was to follow: none later may take its place. */
	bool caps_removed = side_effect_take(req, node_id(n), CAPS_REMOVED);

	bool passed = !(set & SET_ANY) && passed_write(req, n, &r);

	if (set & SET_OWNER_MODE ||
	    (!(set & SET_ANY) && !passed && !caps_removed && may_chown(req, n)))
		r = set_owner_mode(f, n, st, set);
	if (!r && set & FUSE_SET_ATTR_SIZE)
		r = set_size(req, n, st, fi);
	if (!r && set & SET_TIMES)
		r = set_times(f, n, st, set);
	if (r)
		reply_err(req, r);
	else
		reply_attr(req, n);
	tier_put(f->t, n);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs sv = {0};

	(void)ino;
	tier_statfs(fs_of(req)->t, &sv);
	fuse_reply_statfs(req, &sv);
}
