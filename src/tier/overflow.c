/* SPDX-License-Identifier: MIT
 * Partial files: how they begin, come back, and end (see overflow.h).
 *
 *	begin     overflow file made, its name synced; marker "partial" synced; first chunk
 *	migrate   copy, fdatasync, map, fdatasync, punch the hot bytes
 *	truncate  hot inode first, synced; what lies behind its size is cut when loaded
 *	fsync     overflow, then hot inode (which has the size and the times)
 *	return    copy all, fdatasync, marker dropped, fsync, overflow file removed
 *	spill     as any file (release.c); the overflow file goes once the marker says "spilled"
 *
 * A chunk comes back alone only when the store is full: copy, fdatasync, map, fdatasync, punch the
 * overflow's bytes. Overflow files that no marker names are removed by the scan after
 * an unclean stop (overflow_tidy.c).
 */
#include "overflow_int.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define COPY_BUF  (256u << 10)
#define SILENT_NS UINT64_C(2000000000)

int overflow_load(struct tier *t, struct node *n, int hot)
{
	struct stat st;
	int r = 0, fd = store_overflow_open(t->store, node_hot_id(t, n), false);

	if (fd < 0)
		return fd;
	if (fstat(hot, &st))
		r = -errno;
	else
		r = over_open(t->store, fd, (uint64_t)st.st_size, atomic_load(&t->frozen),
			      &n->over);
	if (r)
		close(fd);
	else
		atomic_store(&n->res, RES_PARTIAL);
	return r;
}

bool overflow_wanted(struct tier *t, uint64_t end)
{
	return end > OVERFLOW_MIN && t->cfg->overflow && t->cfg->auto_spill &&
	       !atomic_load(&t->frozen) && !pause_active(t);
}

bool overflow_room(struct tier *t, uint64_t len)
{
	struct store_space sp;

	store_space_now(t->store, &sp);
	/* A store that does not answer takes nothing. */
	return sp.free_bytes >= len &&
	       clock_mono_ns() - atomic_load(&t->overflow_seen_ns) < SILENT_NS;
}

void overflow_refresh(struct tier *t)
{
	atomic_store(&t->overflow_seen_ns, clock_mono_ns());
}

int overflow_epoch(struct tier *t)
{
	if (!atomic_load(&t->overflow_dirty) || atomic_load(&t->frozen) ||
	    pthread_mutex_trylock(&t->spill_lock))
		return 0;
	atomic_store(&t->overflow_dirty, false);
	int r = epoch_bump(t);

	if (r)
		atomic_store(&t->overflow_dirty, true);
	pthread_mutex_unlock(&t->spill_lock);
	return r;
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
	/* Whoever had it open for passthrough may have a mapping of the hot inode. */
	node_lock(t, n);
	bool busy = n->passed || n->rel || n->cold ||
		    node_has(n, NODE_MAPPED | NODE_PASSED | NODE_BUSY | NODE_DAMAGED |
					NODE_STALE_MARKER);

	node_unlock(t, n);
	if (busy)
		return -EBUSY;
	int ofd = store_overflow_open(t->store, id, true);

	if (ofd < 0)
		return ofd;
	int r = over_new(t->store, ofd, &o);

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
	atomic_store(&t->overflow_dirty, true);
	node_lock(t, n);
	n->over = o;
	atomic_store(&n->res, RES_PARTIAL);
	node_unlock(t, n);
	if (fstat(fd, &st) || !st.st_nlink) /* since it can be seen that it is partial */
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
	if (!n->over)
		return;
	store_moved(t->store, overflow_blocks(n->over) * 512);
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

static int copy_back(struct tier *t, const struct overflow *o, int fd, uint64_t size)
{
	cleanup_free void *buf = malloc(COPY_BUF);
	off_t pos = 0, end;
	int r = buf ? 0 : -ENOMEM;

	while (!r && (pos = lseek(o->fd, pos, SEEK_DATA)) >= 0 && (uint64_t)pos < size) {
		end = lseek(o->fd, pos, SEEK_HOLE);
		r = end < 0 ? -errno
			    : copy_run(t, o, fd, buf, pos, (off_t)MIN((uint64_t)end, size));
		pos = end;
	}
	if (!r && pos < 0 && errno != ENXIO) /* not the end: it cannot be read */
		r = -errno;
	return r;
}

static int return_fd(struct tier *t, struct overflow *o, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	int r = atomic_load(&o->err);

	if (!r)
		r = copy_back(t, o, fd, (uint64_t)st.st_size);

	if (!r)
		r = d_fdatasync(fd);
	if (r) { /* the overflow counts as long as the marker is there */
		for (uint64_t c = 0; c < o->nchunks; c++)
			if (over_here(o, c))
				d_punch(fd, (off_t)(c * OVERFLOW_CHUNK), OVERFLOW_CHUNK);
		d_futimens(fd, times);
		return r;
	}
	r = d_futimens(fd, times);
	if (!r)
		r = hot_marker_drop(fd);
	if (!r)
		r = d_fsync(fd);
	if (r && overflow_marker(fd))
		log_err("a partial file's marker cannot be put back: it is what the hot tier has");
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

/* A spilled file that is opened for writing and does not fit. */
int overflow_from_object(struct tier *t, int fd, const struct object *o, const struct marker *mk,
			 struct hot_id id)
{
	struct overflow *over = NULL;
	struct stat st;
	int r = fstat(fd, &st) ? -errno : 0;
	int ofd = r ? r : store_overflow_open(t->store, id, true);

	if (ofd < 0)
		return ofd;
	struct timespec times[2] = {st.st_atim, st.st_mtim};

	r = over_new(t->store, ofd, &over);
	if (r)
		close(ofd);
	if (!r)
		r = overflow_room(t, o->stream_len) ? object_refill(t, ofd, o) : -ENOSPC;
	if (!r)
		r = d_fdatasync(ofd);
	if (!r)
		r = over_set_all(over, o->size);
	if (!r)
		r = d_fdatasync(ofd);
	if (over)
		over_count(over);
	overflow_free(over);
	if (r) {
		store_overflow_remove(t->store, id);
		return r;
	}
	atomic_store(&t->overflow_dirty, true);
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
