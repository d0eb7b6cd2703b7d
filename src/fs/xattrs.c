/* SPDX-License-Identifier: MIT
 * Extended attributes, POSIX ACLs among them, straight to the hot inode; our own are hidden and
 * refused.
 */
#include "fs_int.h"

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define LIST_MAX 65536

struct xat {
	struct node *n;
	struct node_fd fd;
	char path[32];
};

static int xat_get(fuse_req_t req, fuse_ino_t ino, struct xat *x)
{
	struct tier *t = fs_of(req)->t;
	int r = node_get(req, ino, &x->n);

	if (r)
		return r;
	r = tier_fd_get(t, x->n, &x->fd);
	if (r)
		tier_put(t, x->n);
	else
		hot_fd_path(x->fd.fd, x->path);
	return r;
}

static void xat_put(fuse_req_t req, struct xat *x)
{
	tier_fd_put(fs_of(req)->t, &x->fd);
	tier_put(fs_of(req)->t, x->n);
}

static bool has_xattr(const struct xat *x, const char *name)
{
	return getxattr(x->path, name, NULL, 0) >= 0;
}

/* Setting an access ACL clears the setgid bit for a caller outside the file's group without
 * CAP_FSETID, as posix_acl_update_mode() does; libfuse 3.14 has no way to receive the kernel's flag
 * for it. */
static bool acl_kills_sgid(fuse_req_t req, const struct xat *x, struct stat *st)
{
	if (stat(x->path, st) || !(st->st_mode & S_ISGID))
		return false;
	return !caller_in_group(req, st->st_gid) && !caller_has_cap(req, CAP_FSETID);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct stat st;
	struct xat x;
	int r = hot_xattr_reserved(name) ? -EPERM : xat_get(req, ino, &x);

	if (r) {
		reply_err(req, r);
		return;
	}
	bool hold = !strcmp(name, "security.capability");

	if (hold) {
		tier_caps_come(fs_of(req)->t, x.n);
		r = tier_hold(fs_of(req)->t, x.n);
		if (r) {
			xat_put(req, &x);
			reply_err(req, r);
			return;
		}
	}
	bool kill = !strcmp(name, "system.posix_acl_access") && acl_kills_sgid(req, &x, &st);

	struct state_intent was;
	bool again = intent_begin(req, flags & XATTR_CREATE && has_xattr(&x, name), 0, &was);

	if (setxattr(x.path, name, value, size, flags))
		r = -errno;
	if (r == -EEXIST && again && !was.a) /* it is there because we did it */
		r = 0;
	if (!r && kill && !stat(x.path, &st))
		hot_chmod(x.fd.fd, st.st_mode & 07777 & ~(mode_t)S_ISGID);
	if (!r)
		tier_meta_changed(fs_of(req)->t, x.n);
	if (hold)
		tier_unhold(fs_of(req)->t, x.n);
	xat_put(req, &x);
	reply_err(req, r);
}

/* The kernel asks for the capabilities of every new file at the first write. */
static bool no_caps(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct node *n;

	if (strcmp(name, "security.capability") || node_get(req, ino, &n))
		return false;
	bool none = tier_no_caps(n);

	tier_put(fs_of(req)->t, n);
	return none;
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *buf = size ? io_buffer() : NULL;
	struct xat x;
	int r = hot_xattr_reserved(name) || no_caps(req, ino, name) ? -ENODATA
								    : xat_get(req, ino, &x);

	if (r) {
		reply_err(req, r);
		return;
	}
	ssize_t n = getxattr(x.path, name, buf, MIN(size, LIST_MAX));

	r = n < 0 ? -errno : 0;
	xat_put(req, &x);
	if (r)
		reply_err(req, r);
	else if (!size)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	/* The hot file system would hide trusted.* from callers without CAP_SYS_ADMIN, but it sees
	 * us. */
	bool all = fuse_req_ctx(req)->uid == 0 || !tier_hides_trusted(fs_of(req)->t);
	char *buf = io_buffer();
	size_t out = 0;
	struct xat x;
	int r = buf ? xat_get(req, ino, &x) : -ENOMEM;

	if (r) {
		reply_err(req, r);
		return;
	}
	ssize_t n = listxattr(x.path, buf, LIST_MAX);

	r = n < 0 ? -errno : 0;
	xat_put(req, &x);
	for (ssize_t i = 0; i < n;) {
		size_t len = strlen(buf + i) + 1;
		bool show =
			!hot_xattr_reserved(buf + i) && (all || strncmp(buf + i, "trusted.", 8));

		if (show) {
			memmove(buf + out, buf + i, len);
			out += len;
		}
		i += (ssize_t)len;
	}
	if (r)
		reply_err(req, r);
	else if (!size)
		fuse_reply_xattr(req, out);
	else if (out > size)
		reply_err(req, -ERANGE);
	else
		fuse_reply_buf(req, buf, out);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct xat x;
	int r = hot_xattr_reserved(name) ? -ENODATA : xat_get(req, ino, &x);

	if (r) {
		reply_err(req, r);
		return;
	}
	struct state_intent was;
	bool again = intent_begin(req, has_xattr(&x, name), 0, &was);

	if (removexattr(x.path, name))
		r = -errno;
	if (r == -ENODATA && again && was.a)
		r = 0;
	if (!r)
		tier_meta_changed(fs_of(req)->t, x.n);
	if (!r && !strcmp(name, "security.capability"))
		side_effect_note(req, ino, CAPS_REMOVED);
	xat_put(req, &x);
	reply_err(req, r);
}
