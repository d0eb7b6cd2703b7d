/* SPDX-License-Identifier: MIT
 * The content of a partial file: reading, writing, and the rest of what files can do.
 */
#include "overflow_int.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>

ssize_t overflow_read(const struct overflow *o, int fd, void *buf, size_t len, uint64_t off)
{
	size_t done = 0, asked = len;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (off >= (uint64_t)st.st_size)
		return 0;
	len = (size_t)MIN(len, (uint64_t)st.st_size - off);
	while (done < len) {
		uint64_t pos = off + done, end = over_run_end(o, pos, off + len);
		bool is = over_here(o, pos / OVERFLOW_CHUNK);
		/* At the end as much as was asked for: O_DIRECT wants whole blocks. */
		size_t want = !is && end == off + len ? asked - done : end - pos;
		ssize_t n = pread_full(is ? o->fd : fd, (char *)buf + done, want, (off_t)pos);

		if (n < 0)
			return done ? (ssize_t)done : n;
		n = MIN(n, (ssize_t)(end - pos));
		memset((char *)buf + done + n, 0, end - pos - (size_t)n);
		done += end - pos;
	}
	return (ssize_t)done;
}

/* The hot bytes of a chunk go over; afterwards it counts as here. [io exclusive] */
static int migrate(struct tier *t, struct node *n, int fd, uint64_t chunk)
{
	struct overflow *o = n->over;
	off_t pos = (off_t)(chunk * OVERFLOW_CHUNK), end = pos + OVERFLOW_CHUNK;
	off_t data = lseek(fd, pos, SEEK_DATA);

	if (data < 0 && errno != ENXIO)
		return -errno;
	if (data < 0 || data >= end) {
		int r = over_set(o, chunk);

		/* What xfs gave the file for its growth would stay. */
		return r ? r : d_punch(fd, pos, OVERFLOW_CHUNK);
	}
	if (!overflow_room(t, OVERFLOW_CHUNK))
		return -ENOSPC;
	cleanup_fd int rd = node_open(t, n, O_RDONLY | O_NOFOLLOW | O_NOATIME);
	cleanup_free char *buf = malloc(OVERFLOW_CHUNK);

	if (rd < 0 || !buf)
		return rd < 0 ? rd : -ENOMEM;
	atomic_store(&t->overflow_dirty, true);
	ssize_t got = pread_full(rd, buf, OVERFLOW_CHUNK, pos);
	int r = got < 0 ? (int)got : d_pwrite(o->fd, buf, (size_t)got, pos);

	if (!r)
		r = overflow_sync(o);
	if (r) {
		over_clean(o, chunk);
		return r;
	}
	r = over_set(o, chunk);
	if (!r)
		r = overflow_sync(o);
	if (r)
		return r;
	over_count(o);
	r = d_punch(fd, pos, OVERFLOW_CHUNK);
	if (r) /* twice there, and equal; the hot bytes do not count any more */
		log_warn("a chunk that moved to the store keeps its space: %s", strerror(-r));
	return 0;
}

static int copy_chunk(struct overflow *o, int fd, char *buf, off_t pos, off_t end)
{
	off_t data = pos, hole;

	while ((data = lseek(o->fd, data, SEEK_DATA)) >= 0 && data < end) {
		hole = lseek(o->fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		hole = MIN(hole, end);
		ssize_t got = pread_full(o->fd, buf, (size_t)(hole - data), data);

		if (got != hole - data)
			return got < 0 ? (int)got : -EIO;
		int r = d_pwrite(fd, buf, (size_t)got, data);

		if (r)
			return r;
		data = hole;
	}
	return data < 0 && errno != ENXIO ? -errno : 0;
}

/* The way back, when the store is full and the hot tier is not: the whole chunk, or what is written
 * to it would have two places. Until its bit is durably gone what is in the hot inode does not
 * count. [io exclusive] */
static int bring_back(struct tier *t, struct node *n, uint64_t chunk, uint64_t size)
{
	struct overflow *o = n->over;
	off_t pos = (off_t)(chunk * OVERFLOW_CHUNK);
	cleanup_fd int fd = node_open(t, n, O_RDWR | O_NOFOLLOW | O_NOATIME);
	cleanup_free char *buf = malloc(OVERFLOW_CHUNK);

	if (fd < 0 || !buf)
		return fd < 0 ? fd : -ENOMEM;
	int r = d_punch(fd, pos, OVERFLOW_CHUNK);

	if (!r)
		r = copy_chunk(o, fd, buf, pos, (off_t)MIN((uint64_t)pos + OVERFLOW_CHUNK, size));
	if (!r)
		r = d_fdatasync(fd);
	if (r) {
		d_punch(fd, pos, OVERFLOW_CHUNK);
		return r;
	}
	r = over_clear(o, chunk);
	if (r) /* which of the two counts nobody knows: they stay, and are equal */
		return r;
	over_clean(o, chunk);
	over_count(o);
	return 0;
}

static bool all_data(int fd, uint64_t off, uint64_t end)
{
	off_t hole = lseek(fd, (off_t)off, SEEK_HOLE);

	return hole >= 0 && (uint64_t)hole >= end;
}

/* The part of [off, end) that goes to one place; *over: which. [io exclusive] */
static int place(struct tier *t, struct node *n, int fd, uint64_t off, uint64_t *end, bool force,
		 bool *over)
{
	bool tight = force || atomic_load(&t->pressed);
	uint64_t stop;

	for (uint64_t pos = off; pos < *end; pos = stop) {
		uint64_t c = pos / OVERFLOW_CHUNK;

		stop = MIN(*end, (c + 1) * OVERFLOW_CHUNK);
		bool is = over_here(n->over, c);

		/* Where there are blocks already the hot tier needs none. */
		if (!is && tight && stop <= OVERFLOW_MAX && !all_data(fd, pos, stop)) {
			int r = migrate(t, n, fd, c);

			if (r && pos != off) {
				*end = pos;
				return 0;
			}
			/* Without room there it may still fit here. */
			if (r && (force || r != -ENOSPC))
				return r;
			is = !r;
		}
		if (pos == off)
			*over = is;
		if (is != *over) {
			*end = pos;
			return 0;
		}
	}
	return 0;
}

static ssize_t write_over(struct tier *t, struct overflow *o, int fd, const struct stat *st,
			  const void *buf, size_t len, uint64_t off, bool strip)
{
	struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

	if (!overflow_room(t, len))
		return -ENOSPC;
	atomic_store_explicit(&t->overflow_dirty, true, memory_order_relaxed);
	ssize_t n = pwrite(o->fd, buf, len, (off_t)off); /* user effect */

	if (n < 0)
		return -errno;
	over_count(o);
	/* The inode is the hot one: its size, its times, its mode. */
	uint64_t end = off + (uint64_t)n;
	int r = end > (uint64_t)st->st_size ? ftruncate(fd, (off_t)end) /* user effect */
					    : futimens(fd, now);        /* user effect */

	if (r)
		return -errno;
	mode_t drop = (st->st_mode & S_ISUID) | (st->st_mode & S_IXGRP ? st->st_mode & S_ISGID : 0);

	if (strip && drop && fchmod(fd, st->st_mode & 07777 & ~drop))
		return -errno;
	return n;
}

ssize_t overflow_write(struct tier *t, struct node *n, int fd, const void *buf, size_t len,
		       uint64_t off, bool shared, bool force, bool strip)
{
	struct overflow *o = n->over;
	uint64_t end = over_run_end(o, off, off + len);
	bool over = over_here(o, off / OVERFLOW_CHUNK);
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (shared) {
		if (over ? off + len > (uint64_t)st.st_size : atomic_load(&t->pressed))
			return -EAGAIN;
	} else {
		end = off + len;
		int r = place(t, n, fd, off, &end, force, &over);

		if (r)
			return r;
	}
	if (over) {
		ssize_t w = write_over(t, o, fd, &st, buf, end - off, off, strip);

		if (w != -ENOSPC || shared)
			return w;
		int r = bring_back(t, n, off / OVERFLOW_CHUNK, (uint64_t)st.st_size);

		if (r)
			return r;
		end = MIN(end, (off / OVERFLOW_CHUNK + 1) * OVERFLOW_CHUNK);
	}
	ssize_t w = pwrite(fd, buf, end - off, (off_t)off); /* user effect */

	return w < 0 ? -errno : w;
}

int overflow_truncate(struct overflow *o, int fd, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (ftruncate(fd, (off_t)size)) /* user effect */
		return -errno;
	if ((uint64_t)st.st_size <= size)
		return 0;
	int r = d_fsync(fd);

	if (!r)
		r = over_cut(o, size);
	if (!r) /* or it could come back when the file grows again */
		r = overflow_sync(o);
	over_count(o);
	return r;
}

int overflow_sync(struct overflow *o)
{
	int r = d_fdatasync(o->fd);

	if (r)
		atomic_store(&o->err, r);
	return r ? r : atomic_load(&o->err);
}

int overflow_punch(struct overflow *o, uint64_t off, uint64_t len)
{
	int r = off < OVERFLOW_MAX ? d_punch(o->fd, (off_t)off, (off_t)MIN(len, OVERFLOW_MAX - off))
				   : 0;

	over_count(o);
	return r;
}

int64_t overflow_seek(const struct overflow *o, int fd, uint64_t off, int whence)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	uint64_t size = (uint64_t)st.st_size;

	if (off >= size)
		return -ENXIO;
	while (off < size) {
		uint64_t end = over_run_end(o, off, size);
		int src = over_here(o, off / OVERFLOW_CHUNK) ? o->fd : fd;
		off_t r = lseek(src, (off_t)off, whence);

		if (r < 0 && errno != ENXIO)
			return -errno;
		if (r < 0 && whence == SEEK_HOLE) /* behind the source's last data */
			return (int64_t)off;
		if (r >= 0 && (uint64_t)r < end)
			return r;
		off = end;
	}
	return whence == SEEK_HOLE ? (int64_t)size : -ENXIO;
}

uint64_t overflow_blocks(const struct overflow *o)
{
	return atomic_load(&o->blocks);
}

int overflow_ranges(const struct overflow *o, int fd, uint64_t size, struct range **ret,
		    uint32_t *ret_n, bool *ret_dense)
{
	struct range *v = NULL;
	uint32_t n = 0, cap = 0;
	uint64_t pos = 0;

	while (pos < size) {
		int64_t data = overflow_seek(o, fd, pos, SEEK_DATA);

		if (data == -ENXIO)
			break;
		int64_t hole = data < 0 ? data : overflow_seek(o, fd, (uint64_t)data, SEEK_HOLE);

		if (hole < 0 || n == HOT_RANGES_MAX) {
			free(v);
			return hole < 0 ? (int)hole : -E2BIG;
		}
		if (n == cap) {
			cap = cap ? 2 * cap : 16;
			struct range *w = reallocarray(v, cap, sizeof(*w));

			if (!w) {
				free(v);
				return -ENOMEM;
			}
			v = w;
		}
		v[n++] = (struct range){(uint64_t)data, (uint64_t)(hole - data)};
		pos = (uint64_t)hole;
	}
	*ret_dense = n == 1 && v[0].off == 0 && v[0].len == size;
	if (*ret_dense) {
		free(v);
		v = NULL;
		n = 0;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}
