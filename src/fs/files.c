/* SPDX-License-Identifier: MIT
 * Open files.
 */
#include "fs_int.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>

#define SPACE_WAIT_MS  5000
#define SPACE_WAIT_MAX 12 /* times: a minute in all */
#define PACE_MS        200
#define FILL_MAX       (128u << 10) /* a frame: no larger one is decoded for an open */

/* ino: the handle's, which a daemon that has lost its handles goes by. */
static struct file *file_of(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct file *file = fi ? handle_get(fs_of(req)->h, HANDLE_FILE, fi->fh) : NULL;

	if (likely(file) || !fi)
		return file;
	file = resume_late(fs_of(req), HANDLE_FILE, fi->fh);
	return file ? file
		    : stray_get(fs_of(req), ino, fi->fh, (fi->flags & O_ACCMODE) != O_RDONLY);
}

static int hot_flags(const struct fs *f, int flags)
{
	flags = hot_access(f, flags);
	flags &= O_ACCMODE | O_TRUNC | O_DIRECT | O_NOATIME | O_APPEND;
	return f->o.noatime ? flags | O_NOATIME : flags;
}

int handle_file(struct fs *f, struct node *n, int flags, struct file *file,
		struct abi_open_out *out)
{
	struct state_slot what = {
		.unique = cur_raw.unique,
		.nodeid = node_id(n),
		.flags = flags,
		.backing = file_backing(file),
	};
	uint64_t fh;

	tier_handle(n, &what.fh);
	int r = handle_put(f->h, HANDLE_FILE, file, &what, &fh);

	if (!r)
		open_out(out, fh, file);
	return r;
}

static int open_node(fuse_req_t req, struct node *n, int flags, struct abi_open_out *out,
		     struct file **ret)
{
	struct fs *f = fs_of(req);
	int r = tier_open_file(f->t, n, hot_flags(f, flags), ret);

	if (r)
		return r;
	r = handle_file(f, n, hot_flags(f, flags), *ret, out);
	if (r)
		tier_release_file(f->t, *ret);
	else
		tier_used(f->t, n, (uint32_t)fuse_req_ctx(req)->pid);
	return r;
}

/* The kernel may trust attributes for long that a mapping now changes unseen. */
static void distrust_attr(struct fs *f, struct node *n, int flags, const struct file *file)
{
	if (file_backing(file) && (flags & O_ACCMODE) != O_RDONLY)
		fuse_lowlevel_notify_inval_inode(f->se, node_id(n), -1, 0);
}

/* Most stubs are small and opened to be read from end to end: hand their pages over together with
 * the open. Before the reply: no write can come in between (tier_fill_begin), and a page that the
 * kernel has locked for a READ is answered by another thread. Not before Linux 6.11, which left the
 * rest of the last page as it was (CVE-2024-44947). */
static void fill_pages(struct fs *f, fuse_ino_t ino, int flags, struct file *file)
{
	struct fuse_bufvec bv = FUSE_BUFVEC_INIT(0);
	size_t len;

	if (!f->fill || flags & O_DIRECT || file_drops_pages(file) ||
	    !tier_fill_begin(f->t, file, FILL_MAX, &len))
		return;
	bv.buf[0].mem = io_buffer();
	if (bv.buf[0].mem && tier_read(f->t, file, bv.buf[0].mem, len, 0) == (ssize_t)len) {
		bv.buf[0].size = len;
		fuse_lowlevel_notify_store(f->se, ino, 0, &bv, 0);
		later.frames = true;
	}
	tier_fill_end(f->t, file);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct fuse_open_in *in = raw_arg(sizeof(*in));
	bool kill = in && in->open_flags & ABI_OPEN_KILL_SUIDGID;
	struct fs *f = fs_of(req);
	struct node *n;
	int r = node_get(req, ino, &n);

	if (r) {
		reply_err(req, r);
		return;
	}
	struct stat st;

	kill = kill && !tier_getattr(f->t, n, &st) && fsetid_drop(req, &st);
	struct abi_open_out out;
	struct file *file;

	r = open_node(req, n, fi->flags, &out, &file);
	if (kill)
		fsetid_restore();
	if (!r) {
		distrust_attr(f, n, fi->flags, file);
		fill_pages(f, ino, fi->flags, file);
	}
	tier_put(f->t, n);
	if (r)
		reply_err(req, r);
	else if (fuse_reply_buf(req, (char *)&out, sizeof(out)) < 0)
		tier_release_file(f->t, handle_take(f->h, HANDLE_FILE, out.fh));
}

/* The name was free a moment ago and is not now (another mount of the hot directory): open what is
 * there. */
static int open_existing(fuse_req_t req, struct node *dir, const char *name, int flags,
			 struct abi_open_out *out, struct node **ret, struct stat *st)
{
	struct fs *f = fs_of(req);
	struct file *file;
	int r = tier_lookup(f->t, dir, name, ret, st);

	if (r)
		return r;
	r = S_ISREG(st->st_mode) ? open_node(req, *ret, flags, out, &file) : -EEXIST;
	if (!r) {
		distrust_attr(f, *ret, flags, file);
	} else {
		tier_forget(f->t, node_id(*ret), 1);
		tier_put(f->t, *ret);
	}
	return r;
}

static int create_new(fuse_req_t req, struct node *dir, const char *name, int fd, int flags,
		      struct abi_open_out *out, struct node **ret, struct stat *st)
{
	struct fs *f = fs_of(req);
	struct file *file = NULL;
	int r = tier_lookup_fd(f->t, dir, name, fd, ret, st);

	if (r) {
		close(fd);
		return r;
	}
	tier_created(f->t);
	r = tier_adopt_file(f->t, *ret, fd, hot_flags(f, flags), &file);
	if (!r)
		r = handle_file(f, *ret, hot_flags(f, flags), file, out);
	if (r) {
		if (file)
			tier_release_file(f->t, file);
		tier_forget(f->t, node_id(*ret), 1);
		tier_put(f->t, *ret);
		return r;
	}
	return 0;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);
	struct fs *f = fs_of(req);
	struct {
		struct fuse_entry_out entry;
		struct abi_open_out open;
	} out;
	struct node *dir, *n;
	struct node_fd dfd;
	struct stat st;
	int r = node_get(req, parent, &dir);

	if (r) {
		reply_err(req, r);
		return;
	}
	r = tier_fd_get(f->t, dir, &dfd);
	if (r) {
		tier_put(f->t, dir);
		reply_err(req, r);
		return;
	}
	struct state_intent was;
	bool again = intent_begin(req, 0, 0, &was);

	creds_enter(c->uid, c->gid, c->umask);
	int fd;

	do {
		fd = openat(dfd.fd, name,
			    (hot_flags(f, fi->flags) & ~(O_TRUNC | O_APPEND)) | O_CREAT | O_EXCL |
				    O_NOFOLLOW | O_CLOEXEC,
			    mode);
		r = fd < 0 ? -errno : 0;
	} while (r && tier_fds_short(f->t, r));
	creds_leave();
	if (!r)
		r = create_new(req, dir, name, fd, fi->flags, &out.open, &n, &st);
	else if (r == -EEXIST &&
		 (!(fi->flags & O_EXCL) || (again && born_since(dfd.fd, name, &was))))
		r = open_existing(req, dir, name, fi->flags, &out.open, &n, &st);
	tier_fd_put(f->t, &dfd);
	tier_put(f->t, dir);
	if (r) {
		reply_err(req, r);
		return;
	}
	created_out(&out.entry, n, &st);
	if (fuse_reply_buf(req, (char *)&out, sizeof(out)) < 0) {
		tier_release_file(f->t, handle_take(f->h, HANDLE_FILE, out.open.fh));
		tier_forget(f->t, node_id(n), 1);
	}
	tier_put(f->t, n);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req);
	struct file *file = file_of(req, ino, fi);
	int lost = file ? 0 : handle_lost_backing(f->h, fi->fh);

	end_backing_released(f, file ? file_backing(file) : lost);
	struct file *known = handle_take(f->h, HANDLE_FILE, fi->fh);

	fault_point(f, "release");
	if (known)
		tier_release_file(f->t, known);
	else if (file)
		stray_release(f, fi->fh);
	else if (lost && !handles_backing(f->h, lost))
		backing_close(f, lost);
	fuse_reply_err(req, 0);
}

/* The hot descriptor was opened with the flags of the open; fcntl(2) may have turned O_DIRECT on or
 * off since. Then one more descriptor serves this request. Returns it, or -1: the usual one is
 * right. */
static int fd_of_mode(const struct file *file, int fd, bool direct, int accmode)
{
	if (!(file_flags(file) & O_DIRECT) == !direct)
		return -1;
	return hot_reopen(fd, accmode | (direct ? O_DIRECT : 0));
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct file *file = file_of(req, ino, fi);
	void *buf = io_buffer();

	if (!file || !buf) {
		reply_err(req, file ? -ENOMEM : -EBADF);
		return;
	}
	/* The kernel reads such a file itself, but for readahead(2) and fadvise(2), which would
	 * leave pages that no passthrough write changes. */
	if (file_backing(file)) {
		reply_err(req, -EIO);
		return;
	}
	size = MIN(size, IO_MAX);
	bool direct = fi->flags & O_DIRECT;
	bool other = !(file_flags(file) & O_DIRECT) != !direct;
	struct tier *t = fs_of(req)->t;
	cleanup_(tier_file_fd_put) struct file_fd h =
		other ? tier_file_fd(t, file) : (struct file_fd){.fd = -1};
	cleanup_fd int own = h.fd < 0 ? -1 : fd_of_mode(file, h.fd, direct, O_RDONLY);
	ssize_t n = own < 0 ? tier_read(t, file, buf, size, (uint64_t)off)
			    : tier_read_direct(t, file, own, buf, size, (uint64_t)off);

	tier_file_fd_put(&h); /* once it is answered, a RELEASE may free the file */
	if (n < 0)
		reply_err(req, (int)n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

/* Content was changed for somebody who may not keep setuid and setgid bits. The kernel takes size
 * and times for changed then, not the mode: statx(2) of STATX_MODE alone would go on showing them.
 */
static void suidgid_gone(struct fs *f, fuse_ino_t ino)
{
	fsetid_restore();
	fuse_lowlevel_notify_inval_inode(f->se, ino, -1, 0);
}

/* Wait for spilling to make room. Half of the threads may: the other half always serves those who
 * wait for nothing, and the deletes that make room too. */
static bool wait_space(struct fs *f, uint64_t end)
{
	bool yes = false;

	if (atomic_fetch_add(&f->waiting, 1) < FS_THREADS_MAX / 2)
		yes = tier_wait_space(f->t, SPACE_WAIT_MS, end);
	atomic_fetch_sub(&f->waiting, 1);
	return yes;
}

/* Writers that outrun spilling are slowed down near the critical mark, a little each time. */
static void pace(struct fs *f, size_t bytes, uint64_t end)
{
	if (!tier_written(f->t, bytes) || tier_absorbs(f->t, end))
		return;
	if (atomic_fetch_add(&f->waiting, 1) < FS_THREADS_MAX / 2)
		tier_pace(f->t, PACE_MS);
	atomic_fetch_sub(&f->waiting, 1);
}

/* Write all of it; on a full hot tier wait for spilling to make room. Returns bytes or -errno. */
static ssize_t write_waiting(struct fs *f, struct file *file, int fd, const char *buf, size_t size,
			     off_t off, bool strip)
{
	size_t done = 0;
	unsigned waits = 0;
	bool last = false;

	while (done < size) {
		ssize_t n = tier_write(f->t, file, fd, buf + done, size - done,
				       (uint64_t)off + done, strip);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n == -EINTR)
			continue;
		int err = n < 0 ? (int)n : -EIO;

		if (err == -ENOSPC && waits++ < SPACE_WAIT_MAX &&
		    wait_space(f, (uint64_t)off + size))
			continue;
		if (err == -ENOSPC && !last) { /* what was kept back, if anything was */
			tier_use_brim(f->t);
			last = true;
			continue;
		}
		return done ? (ssize_t)done : err;
	}
	return (ssize_t)done;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	const struct fuse_write_in *in = raw_arg(sizeof(*in));
	bool kill = in && in->write_flags & ABI_WRITE_KILL_SUIDGID;
	struct fs *f = fs_of(req);
	struct file *file = file_of(req, ino, fi);
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(f->t, file);
	int fd = h.fd;

	if (fd < 0) {
		reply_err(req, fd == -EXDEV ? -EBADF : fd);
		return;
	}
	/* Pages written back from a shared mapping end where the file ends, which O_DIRECT does not
	 * take. */
	bool direct = fi->flags & O_DIRECT && !fi->writepage;
	cleanup_fd int own = fd_of_mode(file, fd, direct, O_WRONLY);

	if (own >= 0)
		fd = own;
	if (direct) { /* the hot file wants aligned memory */
		void *al = io_buffer();

		if (al && size <= IO_MAX) {
			memcpy(al, buf, size);
			buf = al;
		}
	}
	struct stat st;

	pace(f, size, (uint64_t)off + size);
	kill = kill && !fstat(fd, &st) && fsetid_drop(req, &st);
	ssize_t n = write_waiting(f, file, fd, buf, size, off, kill);

	if (kill)
		suidgid_gone(f, ino);
	tier_file_fd_put(&h); /* once it is answered, a RELEASE may free the file */
	if (n < 0 && direct)
		side_effect_note(req, ino, DIRECT_WRITE_FAILED);
	if (n < 0)
		reply_err(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}

/* Requests without a flag of their own for it (FALLOCATE, COPY_FILE_RANGE) change content too. */
static bool content_kills_suidgid(fuse_req_t req, int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_mode & (S_ISUID | S_ISGID) &&
	       !caller_has_cap(req, CAP_FSETID) && fsetid_drop(req, &st);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct file *file = file_of(req, ino, fi);

	reply_err(req, file ? tier_fsync(fs_of(req)->t, file, datasync) : -EBADF);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct fs *f = fs_of(req);
	struct file *file = file_of(req, ino, fi);
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(f->t, file);
	int r, fd = h.fd;
	unsigned waits = 0;

	if (fd < 0) {
		reply_err(req, fd == -EXDEV ? -EBADF : fd);
		return;
	}
	bool kill = content_kills_suidgid(req, fd);

	do {
		r = tier_fallocate(f->t, file, mode, off, len);
	} while (r == -EINTR || (r == -ENOSPC && waits++ < SPACE_WAIT_MAX && wait_space(f, 0)));
	if (kill)
		suidgid_gone(f, ino);
	tier_file_fd_put(&h);
	reply_err(req, r);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct file *file = file_of(req, ino, fi);
	int64_t r = file ? tier_seek(fs_of(req)->t, file, off, whence) : -EBADF;

	if (r < 0)
		reply_err(req, (int)r);
	else
		fuse_reply_lseek(req, r);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct fs *f = fs_of(req);
	struct file *in = file_of(req, ino_in, fi_in), *out = file_of(req, ino_out, fi_out);
	cleanup_(tier_file_fd_put) struct file_fd h_in = tier_file_fd(f->t, in);
	cleanup_(tier_file_fd_put) struct file_fd h_out = tier_file_fd(f->t, out);
	int fd_in = h_in.fd, fd_out = h_out.fd;

	if (fd_in < 0 ||
	    fd_out < 0) { /* EXDEV (source is a stub): the kernel copies through its page cache */
		tier_file_fd_put(&h_in);
		tier_file_fd_put(&h_out);
		reply_err(req, fd_in < 0 ? fd_in : fd_out);
		return;
	}
	bool kill = content_kills_suidgid(req, fd_out);
	ssize_t n = tier_copy_range(f->t, in, off_in, out, off_out, len, (unsigned)flags);

	if (kill)
		suidgid_gone(f, ino_out);
	tier_file_fd_put(&h_in);
	tier_file_fd_put(&h_out);
	if (n < 0)
		reply_err(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}
