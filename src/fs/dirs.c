/* SPDX-License-Identifier: MIT
 * Open directories. Offsets are the hot file system's own d_off cookies, so a position stays valid
 * as long as it would there.
 */
#include "fs_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DIR_BUF 32768

struct dirh {
	struct node *n;
	int fd;
	pthread_mutex_t lock;
	off_t next;      /* offset that buf[pos] stands for */
	size_t pos, len; /* unread part of buf */
	bool eof;
	char buf[DIR_BUF];
};

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req);
	struct node_fd nfd;
	struct node *n;
	uint64_t fh;
	int r = node_get(req, ino, &n);

	if (r) {
		reply_err(req, r);
		return;
	}
	struct dirh *d = calloc(1, sizeof(*d));

	r = d ? tier_fd_get(f->t, n, &nfd) : -ENOMEM;
	if (!r) {
		d->fd = openat(nfd.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME);
		if (d->fd < 0)
			r = -errno;
		tier_fd_put(f->t, &nfd);
	}
	if (!r) {
		r = handle_put(f->h, HANDLE_DIR, d, &fh);
		if (r)
			close(d->fd);
	}
	if (r) {
		free(d);
		tier_put(f->t, n);
		reply_err(req, r);
		return;
	}
	pthread_mutex_init(&d->lock, NULL);
	d->n = n; /* the handle keeps the reference */
	fi->fh = fh;
	fi->keep_cache = 1;
	if (fuse_reply_open(req, fi) < 0) {
		handle_take(f->h, HANDLE_DIR, fh);
		close(d->fd);
		tier_put(f->t, n);
		free(d);
	}
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req);
	struct dirh *d = handle_take(f->h, HANDLE_DIR, fi->fh);

	(void)ino;
	if (d) {
		close(d->fd);
		tier_put(f->t, d->n);
		pthread_mutex_destroy(&d->lock);
		free(d);
	}
	fuse_reply_err(req, 0);
}

int dir_fd(struct fs *f, uint64_t fh)
{
	struct dirh *d = handle_get(f->h, HANDLE_DIR, fh);

	return d ? d->fd : -EBADF;
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	int fd = dir_fd(fs_of(req), fi->fh);

	(void)ino;
	if (fd < 0)
		reply_err(req, fd);
	else
		reply_err(req, (datasync ? fdatasync(fd) : fsync(fd)) ? -errno : 0);
}

/* The entry at the current position, or NULL at the end or on an error. */
static struct dirent64 *peek(struct dirh *d, int *ret_err)
{
	if (d->pos == d->len && !d->eof) {
		ssize_t n = getdents64(d->fd, d->buf, sizeof(d->buf));

		if (n < 0) {
			*ret_err = -errno;
			return NULL;
		}
		d->pos = 0;
		d->len = (size_t)n;
		d->eof = n == 0;
	}
	return d->pos < d->len ? (struct dirent64 *)(void *)(d->buf + d->pos) : NULL;
}

static int seek_to(struct dirh *d, off_t off)
{
	if (off == d->next && off)
		return 0;
	if (lseek(d->fd, off, SEEK_SET) < 0)
		return -errno;
	d->pos = d->len = 0;
	d->eof = false;
	d->next = off;
	return 0;
}

static bool dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Append one entry; 0 when it does not fit. */
static size_t add_plain(fuse_req_t req, const struct dirent64 *e, char *buf, size_t room)
{
	struct stat st = {.st_ino = e->d_ino, .st_mode = (mode_t)e->d_type << 12};
	size_t n = fuse_add_direntry(req, buf, room, e->d_name, &st, e->d_off);

	return n > room ? 0 : n;
}

/* -ENOENT: the entry went away meanwhile. */
static ssize_t add_plus(fuse_req_t req, struct dirh *d, const struct dirent64 *e, char *buf,
			size_t room)
{
	struct fuse_entry_param p = {0};
	struct fs *f = fs_of(req);
	struct node *n = NULL;

	if (dot(e->d_name)) {
		p.attr.st_ino = e->d_ino;
		p.attr.st_mode = (mode_t)e->d_type << 12;
	} else {
		int r;

		if (fuse_add_direntry_plus(req, NULL, 0, e->d_name, NULL, 0) > room)
			return 0;
		r = tier_lookup(f->t, d->n, e->d_name, &n, &p.attr);
		if (r)
			return r;
		p.ino = node_id(n);
		p.attr_timeout = attr_timeout(&p.attr);
		p.entry_timeout = ENTRY_TIMEOUT;
	}
	size_t len = fuse_add_direntry_plus(req, buf, room, e->d_name, &p, e->d_off);

	if (len > room) {
		if (n)
			tier_forget(f->t, p.ino, 1);
		len = 0;
	}
	tier_put(f->t, n);
	return (ssize_t)len;
}

static void read_dir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	struct dirh *d = handle_get(fs_of(req)->h, HANDLE_DIR, fi->fh);
	char *buf = io_buffer();
	struct dirent64 *e;
	size_t done = 0;
	int r;

	size = MIN(size, IO_MAX);
	if (!d || !buf) {
		reply_err(req, d ? -ENOMEM : -EBADF);
		return;
	}
	pthread_mutex_lock(&d->lock);
	r = seek_to(d, off);
	while (!r && (e = peek(d, &r))) {
		ssize_t n = plus ? add_plus(req, d, e, buf + done, size - done)
				 : (ssize_t)add_plain(req, e, buf + done, size - done);

		if (n == -ENOENT || n == -ESTALE)
			n = 0; /* removed meanwhile: passed over */
		else if (n == 0)
			break; /* full */
		else if (n < 0)
			r = (int)n;
		if (r)
			break;
		done += (size_t)n;
		d->pos += e->d_reclen;
		d->next = e->d_off;
	}
	pthread_mutex_unlock(&d->lock);
	if (r && !done)
		reply_err(req, r);
	else
		fuse_reply_buf(req, buf, done);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	read_dir(req, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)ino;
	read_dir(req, size, off, fi, true);
}
