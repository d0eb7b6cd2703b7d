/* SPDX-License-Identifier: MIT
 * Operations on names. The kernel holds the directories' locks while we work, so (parent, name) is
 * stable; whoever removes a name opens what it stood for first, because the tier must know when a
 * last link goes.
 */
#include "fs_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* The directory of a request: its node and an fd of it. */
struct at {
	struct tier *t;
	struct node *dir;
	struct node_fd fd;
};

static int at_get(fuse_req_t req, fuse_ino_t ino, struct at *a)
{
	a->t = fs_of(req)->t;
	int r = node_get(req, ino, &a->dir);

	if (r)
		return r;
	r = tier_fd_get(a->t, a->dir, &a->fd);
	if (r)
		tier_put(a->t, a->dir);
	return r;
}

static void at_put(struct at *a)
{
	tier_fd_put(a->t, &a->fd);
	tier_put(a->t, a->dir);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *f = fs_of(req);
	struct node *dir;
	int r = node_get(req, parent, &dir);

	if (r) {
		reply_err(req, r);
		return;
	}
	r = reply_lookup(req, dir, name);
	if (r == -ENOENT) { /* remembered by the kernel: names appear only through us */
		struct fuse_entry_param e = {.entry_timeout = ENTRY_TIMEOUT};

		fuse_reply_entry(req, &e);
	} else if (r) {
		reply_err(req, r);
	}
	tier_put(f->t, dir);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	tier_forget(fs_of(req)->t, ino, nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *v)
{
	for (size_t i = 0; i < count; i++)
		tier_forget(fs_of(req)->t, v[i].ino, v[i].nlookup);
	fuse_reply_none(req);
}

enum make_kind { MAKE_DIR, MAKE_NODE, MAKE_LINK };

static void reply_found(fuse_req_t req, struct node *dir, const char *name)
{
	int r = reply_lookup(req, dir, name);

	if (r)
		reply_err(req, r);
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, enum make_kind kind,
		 mode_t mode, dev_t rdev, const char *target)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);
	struct at a;
	int r = at_get(req, parent, &a);

	if (r) {
		reply_err(req, r);
		return;
	}
	struct state_intent was;
	bool again = intent_begin(req, 0, 0, &was);

	creds_enter(c->uid, c->gid, c->umask);
	if (kind == MAKE_DIR)
		r = mkdirat(a.fd.fd, name, mode);
	else if (kind == MAKE_NODE)
		r = mknodat(a.fd.fd, name, mode, rdev);
	else
		r = symlinkat(target, a.fd.fd, name);
	r = r ? -errno : 0;
	creds_leave();
	if (r == -EEXIST && again && born_since(a.fd.fd, name, &was))
		r = 0;
	if (r) {
		reply_err(req, r);
	} else {
		if (kind == MAKE_NODE && S_ISREG(mode))
			tier_created(a.t);
		reply_found(req, a.dir, name);
	}
	at_put(&a);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, MAKE_DIR, mode, 0, NULL);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make(req, parent, name, MAKE_NODE, mode, rdev, NULL);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	make(req, parent, name, MAKE_LINK, 0, 0, target);
}

/* 0: no such inode. */
static uint64_t ino_of(int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? 0 : st.st_ino;
}

static uint64_t ino_at(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) ? 0 : st.st_ino;
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct node_fd src;
	struct node *n;
	struct at a;
	int r = at_get(req, newparent, &a);

	if (r) {
		reply_err(req, r);
		return;
	}
	struct state_intent was;
	bool again = intent_begin(req, 0, 0, &was);

	r = node_get(req, ino, &n);
	if (!r) {
		r = tier_fd_get(a.t, n, &src);
		if (!r) {
			if (linkat(src.fd, "", a.fd.fd, newname, AT_EMPTY_PATH))
				r = -errno;
			if (r == -EEXIST && again && ino_of(src.fd) == ino_at(a.fd.fd, newname) &&
			    changed_since(a.fd.fd, newname, &was))
				r = 0;
			tier_fd_put(a.t, &src);
		}
		if (!r)
			tier_meta_changed(a.t, n);
		tier_put(a.t, n);
	}
	if (r)
		reply_err(req, r);
	else
		reply_found(req, a.dir, newname);
	at_put(&a);
}

/* The inode that name stands for, to hold it: what is deleted must not be lost to who has it open.
 */
static int hold(const struct at *a, const char *name)
{
	int fd, r;

	do {
		fd = openat(a->fd.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? -errno : fd;
	} while (r < 0 && tier_fds_short(a->t, r));
	return r;
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	struct at a;
	int r = at_get(req, parent, &a);

	if (r) {
		reply_err(req, r);
		return;
	}
	struct state_intent was;
	bool again = intent_begin(req, 0, 0, &was);
	int victim = hold(&a, name);

	r = victim < 0 ? victim : tier_may_delete(a.t, victim);
	if (r == -ENOENT && again) { /* what its going means is found by the scan after a death */
		reply_err(req, 0);
		at_put(&a);
		return;
	}
	if (!r && !flags)
		tier_unlinking(a.t, victim);
	if (!r && unlinkat(a.fd.fd, name, flags))
		r = -errno;
	fault_point(fs_of(req), "unlink");
	if (!r)
		tier_unlinked(a.t, steal_fd(&victim));
	if (victim >= 0)
		close(victim);
	reply_err(req, r);
	at_put(&a);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, 0);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, AT_REMOVEDIR);
}

/* The user changed the ctime of the inode behind fd by renaming it. */
static void renamed(struct tier *t, int fd)
{
	if (fd >= 0)
		tier_meta_changed_fd(t, fd);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned flags)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);
	struct at from, to;
	int r = at_get(req, parent, &from);

	if (r) {
		reply_err(req, r);
		return;
	}
	r = at_get(req, newparent, &to);
	if (r) {
		at_put(&from);
		reply_err(req, r);
		return;
	}
	cleanup_fd int src = hold(&from, name);
	int dst = flags & RENAME_NOREPLACE ? -1 : hold(&to, newname);

	if (dst == -EMFILE || dst == -ENFILE || dst == -ENOMEM)
		r = dst;
	else if (!(flags & RENAME_EXCHANGE))
		r = tier_may_delete(to.t, dst);

	struct state_intent was;
	uint64_t ino = ino_of(src);
	bool again = intent_begin(req, ino, 0, &was);
	/* A whiteout or what was exchanged for it may stand in the old place. */
	bool done = again && ino != was.a && was.a && ino_at(to.fd.fd, newname) == was.a;

	if (dst >= 0 && !(flags & RENAME_EXCHANGE))
		tier_unlinking(to.t, dst);
	/* RENAME_WHITEOUT makes a device node, which belongs to the caller. */
	if (flags & RENAME_WHITEOUT)
		creds_enter(c->uid, c->gid, 0);
	if (!r && !done && renameat2(from.fd.fd, name, to.fd.fd, newname, flags))
		r = -errno;
	if (flags & RENAME_WHITEOUT)
		creds_leave();
	fault_point(fs_of(req), "rename");
	if (!r && !done) {
		renamed(from.t, src);
		if (flags & RENAME_EXCHANGE)
			renamed(from.t, dst);
		else if (dst >= 0)
			tier_unlinked(from.t, steal_fd(&dst));
	}
	if (dst >= 0)
		close(dst);
	reply_err(req, r);
	at_put(&to);
	at_put(&from);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char buf[4097];
	struct at a;
	int r = at_get(req, ino, &a);

	if (r) {
		reply_err(req, r);
		return;
	}
	ssize_t n = readlinkat(a.fd.fd, "", buf, sizeof(buf) - 1);

	if (n < 0) {
		reply_err(req, -errno);
	} else {
		buf[n] = 0;
		fuse_reply_readlink(req, buf);
	}
	at_put(&a);
}
