/* SPDX-License-Identifier: MIT
 * The content of open files: from the hot inode, from the store, or from both (partial files).
 *
 * Everything here holds the node's io lock while it moves data, so that a chunk does not change its
 * place under it (overflow.h). What passes us by does not come here, and is never partial.
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>

ssize_t content_read(struct tier *t, struct node *n, int fd, void *buf, size_t len, uint64_t off)
{
	io_shared(t, n);
	ssize_t r = n->over ? overflow_read(n->over, fd, buf, len, off)
			    : pread_full(fd, buf, len, (off_t)off);

	io_unlock(t, n);
	return r;
}

ssize_t tier_read(struct tier *t, struct file *f, void *buf, size_t len, uint64_t off)
{
	if (f->cold) {
		/* Entered before the look: what is recalled and freed now waits for this read. */
		unsigned parity = read_enter(t);
		bool cold = node_is_cold(f->n);
		ssize_t n = cold ? cold_read(t, f->cold, buf, len, off) : 0;

		read_exit(t, parity);
		if (cold)
			return n;
	}
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(t, f);

	if (h.fd == -EXDEV && !f->cold) /* its marker could not be taken back: see cancel() */
		return -EIO;
	if (h.fd == -EXDEV)
		return cold_read(t, f->cold, buf, len, off);
	return h.fd < 0 ? h.fd : content_read(t, f->n, h.fd, buf, len, off);
}

ssize_t tier_read_direct(struct tier *t, struct file *f, int fd, void *buf, size_t len,
			 uint64_t off)
{
	return content_read(t, f->n, fd, buf, len, off);
}

bool tier_absorbs(struct tier *t, uint64_t end)
{
	return overflow_wanted(t, end) && overflow_room(t, OVERFLOW_CHUNK);
}

/* With the exclusive lock: the file may become partial. */
static ssize_t write_moving(struct tier *t, struct node *n, int fd, const void *buf, size_t len,
			    uint64_t off, bool force, bool strip)
{
	/* Our own descriptor: an error of the user's earlier writes is for the user's fsync to
	 * tell. */
	cleanup_fd int own = node_open(t, n, O_RDWR | O_NOFOLLOW | O_NOATIME);
	ssize_t r = own < 0 ? own : 0;

	if (!r && !n->over) /* most of it is written back before anybody has to wait for us */
		r = d_fdatasync(own);
	io_exclusive(t, n);
	if (!r && !n->over)
		r = overflow_begin(t, n, own);
	if (!r) {
		r = overflow_write(t, n, fd, buf, len, off, false, force, strip);
	} else {
		/* Not now, or not here: as any file. */
		r = pwrite(fd, buf, len, (off_t)off); /* user effect */
		if (r < 0)
			r = -errno;
	}
	io_unlock(t, n);
	return r;
}

ssize_t tier_write(struct tier *t, struct file *f, int fd, const void *buf, size_t len,
		   uint64_t off, bool strip)
{
	struct node *n = f->n;
	bool may = overflow_wanted(t, off + len), full = false, brim = auto_at_brim(t);
	ssize_t r = -EAGAIN;

	io_shared(t, n);
	if (n->over) {
		r = overflow_write(t, n, fd, buf, len, off, true, false, strip);
		full = r == -ENOSPC;
	} else if (brim) {
		r = -ENOSPC;
		full = true;
	} else if (!may || !atomic_load(&t->pressed) || !overflow_room(t, len)) {
		r = pwrite(fd, buf, len, (off_t)off); /* user effect */
		if (r < 0)
			r = -errno;
		full = r == -ENOSPC;
	}
	io_unlock(t, n);
	if (r == -EAGAIN || (full && (may || n->over)))
		r = write_moving(t, n, fd, buf, len, off, full, strip);
	return r;
}

int tier_fsync(struct tier *t, struct file *f, bool datasync)
{
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(t, f);
	int r = 0;

	if (h.fd < 0) /* a stub opened for reading has nothing to write back */
		return h.fd == -EXDEV ? 0 : h.fd;
	io_shared(t, f->n);
	if (f->n->over)
		r = overflow_sync(f->n->over);
	if (!r)
		r = openfds_sync(t, f, h.fd, datasync);
	io_unlock(t, f->n);
	return r;
}

static int truncate_at(struct tier *t, struct node *n, int fd, uint64_t size)
{
	int r;

	io_exclusive(t, n);
	if (n->over)
		r = overflow_truncate(n->over, fd, size);
	else
		r = ftruncate(fd, (off_t)size) ? -errno : 0; /* user effect */
	io_unlock(t, n);
	return r;
}

int tier_ftruncate(struct tier *t, struct file *f, uint64_t size)
{
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(t, f);

	return h.fd < 0 ? h.fd : truncate_at(t, f->n, h.fd, size);
}

int tier_truncate(struct tier *t, struct node *n, uint64_t size)
{
	char p[32];

	node_lock(t, n);
	int r = make_ready(t, n, true, size == 0);

	if (!r)
		n->opens++;
	bool over = !r && n->over;

	node_unlock(t, n);
	if (r)
		return r;
	/* truncate(2), not ftruncate(2): the two differ in whether an equal size changes times. */
	cleanup_fd int fd = node_open(t, n, (over ? O_RDWR : O_PATH) | O_NOFOLLOW);

	if (fd < 0) {
		r = fd;
	} else if (over) {
		r = truncate_at(t, n, fd, size);
	} else {
		io_exclusive(t, n);
		r = truncate(hot_fd_path(fd, p), (off_t)size) ? -errno : 0; /* user effect */
		io_unlock(t, n);
	}
	node_lock(t, n);
	n->opens--;
	node_unlock(t, n);
	return r;
}

/* Space in a partial file is not reserved: what is written later finds room in the store. */
static int fallocate_over(struct node *n, int fd, int mode, off_t off, off_t len)
{
	struct stat st;
	int r = 0;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		/* In this order: what is stale in the hot inode must not outlive the overflow's. */
		r = d_punch(fd, off, len);
		if (!r)
			r = overflow_punch(n->over, (uint64_t)off, (uint64_t)len);
	}
	if (r || mode & FALLOC_FL_KEEP_SIZE)
		return r;
	if (fstat(fd, &st))
		return -errno;
	if (off + len > st.st_size && ftruncate(fd, off + len)) /* user effect */
		return -errno;
	return 0;
}

static int fallocate_hot(int fd, int mode, off_t off, off_t len)
{
	return fallocate(fd, mode, off, len) ? -errno : 0; /* user effect */
}

int tier_fallocate(struct tier *t, struct file *f, int mode, off_t off, off_t len)
{
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(t, f);
	int r, fd = h.fd;

	if (fd < 0)
		return fd;
	io_shared(t, f->n);
	bool over = f->n->over;

	if (!over)
		r = fallocate_hot(fd, mode, off, len);
	io_unlock(t, f->n);
	if (over) {
		io_exclusive(t, f->n);
		r = f->n->over ? fallocate_over(f->n, fd, mode, off, len)
			       : fallocate_hot(fd, mode, off, len);
		io_unlock(t, f->n);
	}
	return r;
}

ssize_t tier_copy_range(struct tier *t, struct file *in, off_t off_in, struct file *out,
			off_t off_out, size_t len, unsigned flags)
{
	cleanup_(tier_file_fd_put) struct file_fd h_in = tier_file_fd(t, in);
	cleanup_(tier_file_fd_put) struct file_fd h_out = tier_file_fd(t, out);
	int fd_in = h_in.fd, fd_out = h_out.fd;

	if (fd_in < 0 || fd_out < 0)
		return fd_in < 0 ? fd_in : fd_out;
	/* Two locks of one kind: in one order for all. */
	struct node *a = in->n, *b = out->n;

	if (io_stripe(a) > io_stripe(b)) {
		a = out->n;
		b = in->n;
	}
	bool both = io_stripe(a) != io_stripe(b);

	io_shared(t, a);
	if (both)
		io_shared(t, b);
	/* The kernel copies through its page cache then, and the writes come one by one. */
	bool absorb = !out->backing && atomic_load(&t->pressed) &&
		      overflow_wanted(t, (uint64_t)off_out + len);
	ssize_t n = -EXDEV;

	if (!in->n->over && !out->n->over && !absorb) {
		/* user effect */
		n = copy_file_range(fd_in, &off_in, fd_out, &off_out, len, flags);
		if (n < 0)
			n = -errno;
	}
	if (both)
		io_unlock(t, b);
	io_unlock(t, a);
	return n;
}

int64_t tier_seek(struct tier *t, struct file *f, int64_t off, int whence)
{
	cleanup_(tier_file_fd_put) struct file_fd h = tier_file_fd(t, f);
	int fd = h.fd;

	if (fd >= 0) {
		io_shared(t, f->n);
		int64_t r = f->n->over
				    ? off < 0 ? -ENXIO
					      : overflow_seek(f->n->over, fd, (uint64_t)off, whence)
				    : lseek(fd, off, whence);

		if (r < 0 && !f->n->over)
			r = -errno;
		io_unlock(t, f->n);
		return r;
	}
	if (fd != -EXDEV)
		return fd;
	return f->cold ? cold_seek(f->cold->object, off, whence) : -EIO;
}
