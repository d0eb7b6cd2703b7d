/* SPDX-License-Identifier: MIT
 * O_TMPFILE. libfuse has the operation only since 3.17, so FUSE_TMPFILE is answered from the read
 * hook, with the kernel's own structures, for every version alike.
 */
#include "fs_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Make the file: node with one lookup counted, file handle. */
static int make(struct fs *f, const struct fuse_in_header *h, const struct fuse_create_in *in,
		struct abi_open_out *oo, struct node **ret, struct stat *st)
{
	struct file *file = NULL;
	struct node_fd dfd;
	struct node *dir;
	int flags = hot_access(f, (int)in->flags);
	int r = tier_get(f->t, h->nodeid, &dir);

	if (r)
		return r;
	r = tier_fd_get(f->t, dir, &dfd);
	if (r) {
		tier_put(f->t, dir);
		return r;
	}
	creds_enter(h->uid, h->gid, in->umask);
	int fd;

	do {
		fd = openat(dfd.fd, ".",
			    (flags & (O_ACCMODE | O_EXCL | O_DIRECT | O_NOATIME)) | O_TMPFILE |
				    O_CLOEXEC,
			    in->mode);
		r = fd < 0 ? -errno : 0;
	} while (r && tier_fds_short(f->t, r));
	creds_leave();
	tier_fd_put(f->t, &dfd);
	if (!r) {
		r = tier_lookup_fd(f->t, dir, "", fd, ret, st);
		if (r)
			close(fd);
	}
	tier_put(f->t, dir);
	if (r)
		return r;
	tier_created(f->t);
	r = tier_adopt_file(f->t, *ret, fd, flags & (O_ACCMODE | O_DIRECT | O_NOATIME), &file);
	if (!r)
		r = handle_file(f, *ret, flags & (O_ACCMODE | O_DIRECT | O_NOATIME), file, oo);
	if (r) {
		if (file)
			tier_release_file(f->t, file);
		tier_forget(f->t, node_id(*ret), 1);
		tier_put(f->t, *ret);
	}
	return r;
}

void tmpfile_answer(struct fs *f, int devfd, const uint8_t *req, size_t len)
{
	const struct fuse_in_header *h = (const void *)req;
	const struct fuse_create_in *in = (const void *)(req + sizeof(*h));
	struct fuse_out_header oh = {.len = sizeof(oh), .unique = h->unique};
	struct fuse_entry_out eo;
	struct abi_open_out oo;
	struct iovec iov[3] = {{&oh, sizeof(oh)}, {&eo, sizeof(eo)}, {&oo, sizeof(oo)}};
	struct node *n = NULL;
	struct stat st;
	int r = len >= sizeof(*h) + sizeof(*in) ? make(f, h, in, &oo, &n, &st) : -EIO;

	if (r) {
		oh.error = r;
		if (writev(devfd, iov, 1) < 0)
			log_debug("tmpfile: reply: %s", strerror(errno));
		return;
	}
	created_out(&eo, n, &st);
	oh.len = sizeof(oh) + sizeof(eo) + sizeof(oo);
	if (writev(devfd, iov, 3) < 0) { /* the caller was interrupted */
		tier_release_file(f->t, handle_take(f->h, HANDLE_FILE, oo.fh));
		tier_forget(f->t, node_id(n), 1);
	}
	tier_put(f->t, n);
}
