/* SPDX-License-Identifier: MIT
 * Directories. The kernel is told once (ENOSYS to OPENDIR, since 5.1) that there are no directory
 * handles: no round trip for opendir(3) and closedir(3), and names stay in its directory cache,
 * which it drops at its own changes; all changes come through us. Offsets are the hot file system's
 * own d_off cookies, so a position stays valid as long as it would there.
 *
 * Not on btrfs: it gives new names ever higher cookies and ends a listing where the directory ended
 * when it was opened. Opened anew for each READDIR, a loop that renames what it lists would never
 * end; so there a handle keeps the descriptor of the opening.
 */
#include "fs_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DIR_BUF 32768

/* A descriptor to read or sync directory n with, or -errno. */
static int dir_open(struct fs *f, struct node *n)
{
	struct node_fd nfd;
	int fd, r = tier_fd_get(f->t, n, &nfd);

	if (r)
		return r;
	do {
		fd = openat(nfd.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME);
		r = fd < 0 ? -errno : fd;
	} while (r < 0 && tier_fds_short(f->t, r));
	tier_fd_put(f->t, &nfd);
	return r;
}

/* A position in a directory. No lock: the kernel asks for one part of an open directory at a time.
 */
struct dirh {
	int fd;
	off_t next;      /* the offset that buf[pos] stands for */
	size_t pos, len; /* unread part of buf */
	char buf[DIR_BUF];
};

struct dirh *dirh_new(struct fs *f, struct node *n, int *ret_err)
{
	struct dirh *d = malloc(sizeof(*d));
	int fd = d ? dir_open(f, n) : -ENOMEM;

	*ret_err = MIN(fd, 0);
	if (fd < 0) {
		free(d);
		return NULL;
	}
	d->fd = fd;
	d->next = 0;
	d->pos = d->len = 0;
	return d;
}

void dirh_free(struct dirh *d)
{
	if (!d)
		return;
	close(d->fd);
	free(d);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct state_slot what = {.unique = cur_raw.unique, .nodeid = ino};
	struct fs *f = fs_of(req);
	struct dirh *d;
	struct node *n;

	if (!f->dir_handles) {
		reply_err(req, -ENOSYS);
		return;
	}
	int r = node_get(req, ino, &n);

	if (r) {
		reply_err(req, r);
		return;
	}
	d = dirh_new(f, n, &r);
	tier_put(f->t, n);
	if (!r)
		r = handle_put(f->h, HANDLE_DIR, d, &what, &fi->fh);
	if (r) {
		dirh_free(d);
		reply_err(req, r);
	} else if (fuse_reply_open(req, fi) < 0) {
		dirh_free(handle_take(f->h, HANDLE_DIR, fi->fh));
	}
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	dirh_free(handle_take(fs_of(req)->h, HANDLE_DIR, fi->fh));
	fuse_reply_err(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req);
	struct node *n;
	int r = node_get(req, ino, &n);

	(void)fi;
	if (!r) {
		cleanup_fd int fd = dir_open(f, n);

		r = fd < 0 ? fd : (datasync ? fdatasync(fd) : fsync(fd)) ? -errno : 0;
		tier_put(f->t, n);
	}
	reply_err(req, r);
}

/* Append one entry; 0 when it does not fit. */
static size_t add_plain(fuse_req_t req, const struct dirent64 *e, char *buf, size_t room)
{
	struct stat st = {.st_ino = e->d_ino, .st_mode = (mode_t)e->d_type << 12};
	size_t n = fuse_add_direntry(req, buf, room, e->d_name, &st, e->d_off);

	return n > room ? 0 : n;
}

/* -ENOENT: the entry went away meanwhile. */
static ssize_t add_plus(fuse_req_t req, struct node *dir, const struct dirent64 *e, char *buf,
			size_t room)
{
	struct fuse_entry_param p = {0};
	struct fs *f = fs_of(req);
	unsigned epoch = tier_attr_epoch(f->t, NULL);
	struct node *n = NULL;

	if (is_dot(e->d_name)) {
		p.attr.st_ino = e->d_ino;
		p.attr.st_mode = (mode_t)e->d_type << 12;
	} else {
		int r;

		if (fuse_add_direntry_plus(req, NULL, 0, e->d_name, NULL, 0) > room)
			return 0;
		r = tier_lookup_listed(f->t, dir, e->d_name, &n, &p.attr);
		if (r)
			return r;
		p.ino = node_id(n);
		p.attr_timeout = attr_timeout(f, n, &p.attr, epoch);
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

/* Entries from off on. Returns bytes in buf or -errno. */
static ssize_t read_entries(fuse_req_t req, struct node *dir, struct dirh *d, char *buf,
			    size_t size, off_t off, bool plus)
{
	/* An entry takes up four to six times as much in a reply with attributes: little is read
	 * that does not fit. */
	size_t ask = MIN(plus ? MAX(size / 5, (size_t)1024) : size, sizeof(d->buf));
	size_t done = 0;

	if (off != d->next || !off) { /* a seek moves the end of the listing (btrfs) */
		if (lseek(d->fd, off, SEEK_SET) < 0)
			return -errno;
		d->next = off;
		d->pos = d->len = 0;
	}
	for (;;) {
		if (d->pos == d->len) {
			ssize_t got = getdents64(d->fd, d->buf, ask);

			if (got <= 0)
				return done || !got ? (ssize_t)done : -errno;
			d->pos = 0;
			d->len = (size_t)got;
		}
		struct dirent64 *e = (struct dirent64 *)(void *)(d->buf + d->pos);
		ssize_t n = plus ? add_plus(req, dir, e, buf + done, size - done)
				 : (ssize_t)add_plain(req, e, buf + done, size - done);

		if (n == 0)
			return (ssize_t)done; /* full */
		if (n < 0 && n != -ENOENT && n != -ESTALE)
			return done ? (ssize_t)done : n;
		if (n > 0) /* else removed meanwhile: passed over */
			done += (size_t)n;
		d->pos += e->d_reclen;
		d->next = e->d_off;
	}
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi, bool plus)
{
	struct fs *f = fs_of(req);
	struct dirh *d = f->dir_handles ? handle_get(f->h, HANDLE_DIR, fi->fh) : NULL, once;
	char *buf = io_buffer();
	struct node *n;
	int r = node_get(req, ino, &n);

	if (r || !buf) {
		reply_err(req, r ? r : -ENOMEM);
		if (!r)
			tier_put(f->t, n);
		return;
	}
	long before = tier_disk_reads();
	cleanup_fd int own = d ? -1 : dir_open(f, n);

	if (!d) {
		once.fd = own;
		once.next = -1;
		once.pos = once.len = 0;
		d = &once;
	}
	ssize_t done = d->fd < 0
			       ? d->fd
			       : read_entries(req, n, d, buf, MIN(size, (size_t)IO_MAX), off, plus);

	if (plus && !off && done > 0 && tier_walked(f->t, n, tier_disk_reads() != before))
		later.dir = ino;
	tier_put(f->t, n);
	if (done < 0)
		reply_err(req, (int)done);
	else
		fuse_reply_buf(req, buf, (size_t)done);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, fi, true);
}
