/* SPDX-License-Identifier: MIT
 * Partial files: where each chunk is, and moving them (see overflow.h).
 *
 * Why the map needs no record of its own: a chunk goes to the overflow when it has no data in the
 * hot inode, or after its data was copied there and synced; it never comes back alone. So which
 * chunks are there is told by the overflow file's own data ranges, at any time and after any crash:
 *
 *	begin    overflow file made, its name synced; marker "partial" synced; first chunk
 *	migrate  copy, fdatasync, chunk counts from now on, punch the hot bytes
 *	truncate hot inode first, synced: what lies behind its size in the overflow is cut when
 *loaded fsync    overflow, then hot inode (which has the size and the times) return   copy all,
 *fdatasync, marker dropped, fsync, overflow file removed spill    as any file (release.c); the
 *overflow file goes once the marker says "spilled"
 *
 * Overflow files that no marker names are removed by the scan after an unclean stop.
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define RESERVE  (16ull << 20) /* of the store: index, deletes, the batch that makes room */
#define COPY_BUF (256u << 10)

struct overflow {
	int fd;
	uint64_t nchunks; /* room in bits */
	uint64_t *bits;   /* chunks that are here */
};

/* ---- locks -------------------------------------------------------------------------------------
 */

void io_locks_init(struct tier *t)
{
	pthread_rwlockattr_t a;

	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (unsigned i = 0; i < IO_STRIPES; i++)
		pthread_rwlock_init(&t->io[i], &a);
	pthread_rwlockattr_destroy(&a);
}

void io_locks_done(struct tier *t)
{
	for (unsigned i = 0; i < IO_STRIPES; i++)
		pthread_rwlock_destroy(&t->io[i]);
}

unsigned io_stripe(const struct node *n)
{
	return (unsigned)((n->nodeid * 0x9e3779b97f4a7c15ull) >> 32) % IO_STRIPES;
}

void io_shared(struct tier *t, const struct node *n)
{
	pthread_rwlock_rdlock(&t->io[io_stripe(n)]);
}

void io_exclusive(struct tier *t, const struct node *n)
{
	pthread_rwlock_wrlock(&t->io[io_stripe(n)]);
}

void io_unlock(struct tier *t, const struct node *n)
{
	pthread_rwlock_unlock(&t->io[io_stripe(n)]);
}

/* ---- the map -----------------------------------------------------------------------------------
 */

static bool here(const struct overflow *o, uint64_t chunk)
{
	return chunk < o->nchunks && o->bits[chunk / 64] >> (chunk % 64) & 1;
}

static int set_here(struct overflow *o, uint64_t chunk)
{
	if (chunk >= o->nchunks) {
		uint64_t n = MAX(o->nchunks * 2, (chunk / 64 + 1) * 64);
		uint64_t *v = realloc(o->bits, n / 8);

		if (!v)
			return -ENOMEM;
		memset(v + o->nchunks / 64, 0, (n - o->nchunks) / 8);
		o->bits = v;
		o->nchunks = n;
	}
	o->bits[chunk / 64] |= 1ull << (chunk % 64);
	return 0;
}

/* The end of the run of chunks, beginning at off, that are where off's is; at most end. */
static uint64_t run_end(const struct overflow *o, uint64_t off, uint64_t end)
{
	uint64_t c = off / OVERFLOW_CHUNK;
	bool is = here(o, c);

	do
		c++;
	while (c * OVERFLOW_CHUNK < end && here(o, c) == is);
	return MIN(end, c * OVERFLOW_CHUNK);
}

static int read_map(struct overflow *o)
{
	off_t pos = 0, end;

	while ((pos = lseek(o->fd, pos, SEEK_DATA)) >= 0) {
		end = lseek(o->fd, pos, SEEK_HOLE);
		if (end < 0)
			break;
		for (uint64_t c = (uint64_t)pos / OVERFLOW_CHUNK;
		     c * OVERFLOW_CHUNK < (uint64_t)end; c++) {
			int r = set_here(o, c);

			if (r)
				return r;
		}
		pos = end;
	}
	return errno == ENXIO ? 0 : -errno;
}

static int over_new(int fd, struct overflow **ret)
{
	struct overflow *o = calloc(1, sizeof(*o));
	int r = o ? 0 : -ENOMEM;

	if (o) {
		o->fd = fd;
		r = read_map(o);
	}
	if (r) {
		free(o ? o->bits : NULL);
		free(o);
		return r;
	}
	*ret = o;
	return 0;
}

void overflow_free(struct overflow *o)
{
	if (!o)
		return;
	close(o->fd);
	free(o->bits);
	free(o);
}

int overflow_load(struct tier *t, struct node *n, int hot)
{
	struct stat os, st;
	int r = 0, fd = store_overflow_open(t->store, node_hot_id(t, n), false);

	if (fd < 0)
		return fd;
	/* Cut off by a truncation whose second half a crash prevented. */
	if (fstat(fd, &os) || fstat(hot, &st))
		r = -errno;
	else if (os.st_size > st.st_size && !atomic_load(&t->frozen))
		r = d_ftruncate(fd, st.st_size);
	if (!r)
		r = over_new(fd, &n->over);
	if (r)
		close(fd);
	else
		atomic_store(&n->res, RES_PARTIAL);
	return r;
}

/* ---- begin and end -----------------------------------------------------------------------------
 */

bool overflow_wanted(struct tier *t, uint64_t end)
{
	return end > OVERFLOW_MIN && t->cfg->overflow && t->cfg->auto_spill &&
	       !atomic_load(&t->frozen) && !pause_active(t);
}

bool overflow_room(struct tier *t, uint64_t len)
{
	return atomic_load(&t->overflow_room) >= (long long)len;
}

void overflow_refresh(struct tier *t)
{
	pthread_mutex_lock(&t->space_lock);
	uint64_t room = t->space.free_bytes;

	pthread_mutex_unlock(&t->space_lock);
	atomic_store(&t->overflow_room, room > RESERVE ? (long long)(room - RESERVE) : 0);
}

int overflow_marker(int fd)
{
	struct marker mk = {.state = RES_PARTIAL};

	return hot_marker_set(fd, &mk);
}

static void gone_tomb(struct tier *t, struct node *n)
{
	struct file_row row = {.id = node_hot_id(t, n)};

	defer_put(t, DEFER_TOMB, &row);
}

int overflow_begin(struct tier *t, struct node *n, int fd)
{
	struct hot_id id = node_hot_id(t, n);
	struct overflow *o;
	struct stat st;

	if (!id.ino || fstat(fd, &st))
		return -EBUSY;
	/* Whoever had it open for passthrough may have a mapping that writes to the hot inode. */
	node_lock(t, n);
	bool busy = n->passed || n->rel || n->cold ||
		    node_has(n, NODE_MAPPED | NODE_BUSY | NODE_DAMAGED | NODE_STALE_MARKER);

	node_unlock(t, n);
	if (busy)
		return -EBUSY;
	int ofd = store_overflow_open(t->store, id, true);

	if (ofd < 0)
		return ofd;
	int r = over_new(ofd, &o);

	if (r) {
		close(ofd);
		store_overflow_remove(t->store, id);
		return r;
	}
	/* The kernel drops these at any write, which most will now not be for it. */
	if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
		r = d_fremovexattr(fd, "security.capability");
	if (!r)
		r = overflow_marker(fd);
	if (!r)
		r = d_fsync(fd);
	if (r) {
		if (!hot_marker_drop(fd) && !d_fsync(fd))
			store_overflow_remove(t->store, id);
		overflow_free(o);
		return r == -ERANGE || r == -E2BIG ? -ENOSPC : r;
	}
	node_lock(t, n);
	n->over = o;
	atomic_store(&n->res, RES_PARTIAL);
	node_unlock(t, n);
	if (!st.st_nlink)
		gone_tomb(t, n);
	return 0;
}

/* Take node->over away. [io exclusive, or nobody has it open] */
static void detach(struct tier *t, struct node *n, enum residency res)
{
	node_lock(t, n);
	struct overflow *o = steal_ptr(n->over);

	if (res == RES_RESIDENT)
		atomic_store(&n->res, res);
	node_unlock(t, n);
	overflow_free(o);
	int r = store_overflow_remove(t->store, node_hot_id(t, n));

	if (r)
		log_warn("an overflow file cannot be removed (%s); the next mount tries again",
			 strerror(-r));
}

void overflow_spilled(struct tier *t, struct node *n)
{
	if (n->over)
		detach(t, n, RES_SPILLED);
}

static int copy_run(struct tier *t, const struct overflow *o, int fd, void *buf, off_t pos,
		    off_t end)
{
	while (pos < end) {
		size_t want = (size_t)MIN((off_t)COPY_BUF, end - pos);
		ssize_t got = pread_full(o->fd, buf, want, pos);

		if (got <= 0)
			return got ? (int)got : -EIO;
		int r = d_pwrite(fd, buf, (size_t)got, pos);

		if (r)
			return r;
		if (t->work)
			atomic_fetch_add(t->work, 1);
		pos += got;
	}
	return 0;
}

static int copy_back(struct tier *t, const struct overflow *o, int fd)
{
	cleanup_free void *buf = malloc(COPY_BUF);
	off_t pos = 0, end;
	int r = buf ? 0 : -ENOMEM;

	while (!r && (pos = lseek(o->fd, pos, SEEK_DATA)) >= 0) {
		end = lseek(o->fd, pos, SEEK_HOLE);
		r = end < 0 ? -errno : copy_run(t, o, fd, buf, pos, end);
		pos = end;
	}
	if (!r && pos < 0 && errno != ENXIO) /* not the end: it cannot be read */
		r = -errno;
	return r;
}

static int return_fd(struct tier *t, const struct overflow *o, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	int r = copy_back(t, o, fd);

	if (!r)
		r = d_fdatasync(fd);
	if (r) { /* the overflow counts as long as the marker is there */
		for (uint64_t c = 0; c < o->nchunks; c++)
			if (here(o, c))
				d_punch(fd, (off_t)(c * OVERFLOW_CHUNK), OVERFLOW_CHUNK);
		d_futimens(fd, times);
		return r;
	}
	r = d_futimens(fd, times);
	if (!r)
		r = hot_marker_drop(fd);
	if (!r)
		r = d_fsync(fd);
	if (r)
		overflow_marker(fd);
	return r;
}

static int empty_fd(int fd)
{
	int r = d_ftruncate(fd, 0);

	if (!r)
		r = hot_marker_drop(fd);
	return r ? r : d_fsync(fd);
}

static int take_back(struct tier *t, struct node *n, bool keep)
{
	node_busy_set(n);
	node_unlock(t, n);
	io_exclusive(t, n);
	cleanup_fd int fd = node_open(t, n, O_RDWR | O_NOFOLLOW | O_NOATIME);
	int r = fd < 0 ? fd : 0;

	if (!r && n->over) {
		r = keep ? return_fd(t, n->over, fd) : empty_fd(fd);
		if (!r)
			detach(t, n, RES_RESIDENT);
	}
	io_unlock(t, n);
	if (!r && t->attr_changed)
		t->attr_changed(t->attr_ctx, node_id(n));
	node_lock(t, n);
	node_busy_clear(t, n);
	return r;
}

int overflow_return(struct tier *t, struct node *n)
{
	return take_back(t, n, true);
}

int overflow_empty(struct tier *t, struct node *n)
{
	return take_back(t, n, false);
}

/* ---- reading and writing -----------------------------------------------------------------------
 */

ssize_t overflow_read(const struct overflow *o, int fd, void *buf, size_t len, uint64_t off)
{
	struct stat st;
	size_t done = 0;

	if (fstat(fd, &st))
		return -errno;
	if (off >= (uint64_t)st.st_size)
		return 0;
	len = (size_t)MIN(len, (uint64_t)st.st_size - off);
	while (done < len) {
		uint64_t pos = off + done, end = run_end(o, pos, off + len);
		bool is = here(o, pos / OVERFLOW_CHUNK);
		ssize_t n = pread_full(is ? o->fd : fd, (char *)buf + done, end - pos, (off_t)pos);

		if (n < 0)
			return done ? (ssize_t)done : n;
		/* The overflow file ends where its last byte was written. */
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
	if (data < 0 || data >= end)
		return set_here(o, chunk);
	if (!overflow_room(t, OVERFLOW_CHUNK))
		return -ENOSPC;
	cleanup_fd int rd = node_open(t, n, O_RDONLY | O_NOFOLLOW | O_NOATIME);
	cleanup_free char *buf = malloc(OVERFLOW_CHUNK);

	if (rd < 0 || !buf)
		return rd < 0 ? rd : -ENOMEM;
	ssize_t got = pread_full(rd, buf, OVERFLOW_CHUNK, pos);
	int r = got < 0 ? (int)got : d_pwrite(o->fd, buf, (size_t)got, pos);

	if (!r)
		r = d_fdatasync(o->fd);
	if (!r)
		r = set_here(o, chunk);
	else
		d_punch(o->fd, pos,
			OVERFLOW_CHUNK); /* or the half of it would count at the next load */
	if (r)
		return r;
	atomic_fetch_sub(&t->overflow_room, (long long)got);
	r = d_punch(fd, pos, OVERFLOW_CHUNK);
	if (r) /* twice there, and equal; the hot bytes do not count any more */
		log_warn("a chunk that moved to the store keeps its space: %s", strerror(-r));
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
	uint64_t pos = off;
	int r = 0;

	while (pos < *end && !r) {
		uint64_t c = pos / OVERFLOW_CHUNK, stop = MIN(*end, (c + 1) * OVERFLOW_CHUNK);
		bool is = here(n->over, c);

		/* Where there are blocks already the hot tier needs none. */
		if (!is && tight && !all_data(fd, pos, stop)) {
			r = migrate(t, n, fd, c);
			is = !r;
		}
		if (pos == off)
			*over = is;
		else if (is != *over)
			break;
		pos = stop;
	}
	if (r && pos == off)
		return r;
	*end = pos;
	return 0;
}

static ssize_t write_over(struct tier *t, struct overflow *o, int fd, const struct stat *st,
			  const void *buf, size_t len, uint64_t off, bool strip)
{
	struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

	if (!overflow_room(t, len))
		return -ENOSPC;
	ssize_t n = pwrite(o->fd, buf, len, (off_t)off); /* user effect */

	if (n < 0)
		return -errno;
	atomic_fetch_sub(&t->overflow_room, (long long)n);
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
	uint64_t end = run_end(o, off, off + len);
	bool over = here(o, off / OVERFLOW_CHUNK);
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
	if (over)
		return write_over(t, o, fd, &st, buf, end - off, off, strip);
	ssize_t w = pwrite(fd, buf, end - off, (off_t)off); /* user effect */

	return w < 0 ? -errno : w;
}

/* ---- the rest of what files can do -------------------------------------------------------------
 */

int overflow_truncate(struct overflow *o, int fd, uint64_t size)
{
	struct stat st;

	if (fstat(o->fd, &st))
		return -errno;
	if (ftruncate(fd, (off_t)size)) /* user effect */
		return -errno;
	if ((uint64_t)st.st_size <= size)
		return 0;
	int r = d_fsync(fd);

	if (!r)
		r = d_ftruncate(o->fd, (off_t)size);
	if (!r) /* or it could come back over what is written there next */
		r = d_fdatasync(o->fd);
	for (uint64_t c = (size + OVERFLOW_CHUNK - 1) / OVERFLOW_CHUNK; !r && c < o->nchunks; c++)
		o->bits[c / 64] &= ~(1ull << (c % 64));
	return r;
}

int overflow_sync(const struct overflow *o)
{
	return d_fdatasync(o->fd);
}

int overflow_punch(const struct overflow *o, uint64_t off, uint64_t len)
{
	return d_punch(o->fd, (off_t)off, (off_t)len);
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
		uint64_t end = run_end(o, off, size);
		int src = here(o, off / OVERFLOW_CHUNK) ? o->fd : fd;
		off_t r = lseek(src, (off_t)off, whence);

		if (r < 0 && errno != ENXIO)
			return -errno;
		if (r < 0 && whence == SEEK_HOLE) /* behind the overflow file's end */
			return (int64_t)off;
		if (r >= 0 && (uint64_t)r < end)
			return r;
		off = end;
	}
	return whence == SEEK_HOLE ? (int64_t)size : -ENXIO;
}

uint64_t overflow_blocks(const struct overflow *o)
{
	struct stat st;

	return fstat(o->fd, &st) ? 0 : (uint64_t)st.st_blocks;
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

/* ---- a spilled file that is opened for writing and does not fit --------------------------------
 */

int overflow_from_object(struct tier *t, int fd, const struct object *o, const struct marker *mk,
			 struct hot_id id)
{
	struct stat st;
	int r = fstat(fd, &st) ? -errno : 0;
	cleanup_fd int ofd = r ? r : store_overflow_open(t->store, id, true);

	if (ofd < 0)
		return ofd;
	struct timespec times[2] = {st.st_atim, st.st_mtim};

	r = overflow_room(t, o->stream_len) ? object_refill(t, ofd, o) : -ENOSPC;
	if (!r)
		r = d_fdatasync(ofd);
	if (r) {
		store_overflow_remove(t->store, id);
		return r;
	}
	atomic_fetch_sub(&t->overflow_room, (long long)o->stream_len);
	/* Both copies are whole: the marker says which one counts, and a leftover is swept. */
	r = overflow_marker(fd);
	if (!r)
		r = d_futimens(fd, times);
	if (!r)
		r = d_fsync(fd);
	if (r && !hot_marker_set(fd, mk) && !d_fsync(fd))
		store_overflow_remove(t->store, id);
	return r;
}

/* ---- leftovers, and what waits to be spilled ----------------------------------------------------
 */

struct listed {
	struct hot_id *v;
	size_t n, cap;
};

static int collect(void *ctx, struct hot_id id, uint64_t bytes)
{
	struct listed *l = ctx;

	(void)bytes;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct hot_id *v = reallocarray(l->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = id;
	return 0;
}

/* Remove it unless a marker counts on it, or that cannot be told. */
static void remove_unneeded(struct tier *t, struct hot_id id)
{
	struct hot_fh fh;
	struct marker mk;
	struct stat st;
	struct node *n;

	if (!hot_fh_of_id(t->hot, id, &fh))
		return;
	cleanup_fd int fd = hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);

	if (fd == -ESTALE)
		store_overflow_remove(t->store, id);
	if (fd < 0 || node_of_fd(t, fd, &n, &st))
		return;
	/* Not while it is being made, by a write or by an open of a stub. */
	io_shared(t, n);
	node_lock(t, n);
	bool busy = n->over || n->rel || node_has(n, NODE_BUSY);

	if (!busy)
		node_busy_set(n);
	node_unlock(t, n);
	if (busy) {
		io_unlock(t, n);
		tier_put(t, n);
		return;
	}
	int r = hot_marker_get(fd, &mk);

	/* Spilling: the copy in the packs is only proved when that is over. */
	bool needed = (r && r != -ENODATA) ||
		      (!r && (mk.state == RES_PARTIAL || mk.state == RES_SPILLING));

	if (!needed && !d_syncfs(hot_root_fd(t->hot)))
		store_overflow_remove(t->store, id);
	node_lock(t, n);
	node_busy_clear(t, n);
	node_unlock(t, n);
	io_unlock(t, n);
	tier_put(t, n);
}

void overflow_sweep(struct tier *t)
{
	struct listed l = {0};

	if (store_overflow_list(t->store, collect, &l))
		l.n = 0;
	for (size_t i = 0; i < l.n; i++)
		remove_unneeded(t, l.v[i]);
	free(l.v);
}

static void spill_listed(struct tier *t, struct hot_id id, struct spill_batch *b)
{
	char path[40];
	struct hot_fh fh;

	if (!hot_fh_of_id(t->hot, id, &fh))
		return;
	int fd = hot_open_fh(t->hot, &fh, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK);

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "(inode %llu)", (unsigned long long)id.ino);
	spill_batch_add_fd(b, fd, path);
}

void overflow_tidy(struct tier *t)
{
	struct spill_batch *b;
	struct tier_work w = {0};
	struct listed l = {0};
	int r = 0;

	if (!store_overflow_files(t->store) || atomic_load(&t->frozen))
		return;
	if (store_overflow_list(t->store, collect, &l))
		l.n = 0;
	for (size_t i = 0; i < l.n && !r && !atomic_load(&t->stop); i++) {
		/* One file a batch: they are large. */
		r = spill_batch_new(t, t->cfg->min_age_sec, t->cfg->min_size_bytes, &b);
		if (r)
			break;
		/* By inode nobody can tell what is below a pin; the walks spill those by path. */
		if (!pause_active(t) && !pins_any(t))
			spill_listed(t, l.v[i], b); /* an error of the store stays in b */
		r = spill_batch_finish(b, &w, NULL, NULL);
	}
	free(l.v);
}
