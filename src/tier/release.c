/* SPDX-License-Identifier: MIT
 * Release: turn premigrated files into stubs. Short, and cancellable by any open.
 *
 *   begin   open count zero, lease granted, unchanged since the snapshot, marker SPILLING
 *   sync    one sync for the whole batch (no lock is held; an open takes its file back meanwhile)
 *   punch   not cancelled, lease still ours: punch, times, marker SPILLED
 *
 * The open count (kept under the node lock) misses nothing that comes through the mount, the lease
 * nothing that does not; neither suffices alone. While the marker is on disk the data is not
 * changed: an open for writing waits until the marker is durably gone. So whatever a crash leaves
 * under a SPILLING marker is either the object's data or holes.
 */
#include "gate.h"
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Up to this many files are synced one by one; more go with one syncfs. */
#define FSYNC_EACH 8

#define RUN 32 /* entries that a thread takes at once */

static bool unchanged(const struct release_entry *e, const struct stat *st)
{
	return st->st_size == e->st.st_size && st->st_mtim.tv_sec == e->st.st_mtim.tv_sec &&
	       st->st_mtim.tv_nsec == e->st.st_mtim.tv_nsec &&
	       st->st_ctim.tv_sec == e->st.st_ctim.tv_sec &&
	       st->st_ctim.tv_nsec == e->st.st_ctim.tv_nsec;
}

static void fill_marker(const struct release_entry *e, enum residency state, struct marker *m)
{
	*m = (struct marker){
		.state = state,
		.obj = e->obj,
		.size = (uint64_t)e->st.st_size,
		.ctime_valid = true,
		.blocks = e->st.st_blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)e->st.st_blocks,
	};
	memcpy(m->hash16, e->hash16, sizeof(m->hash16));
	ts_to_ns(&e->st.st_mtim, &m->mtime_ns);
	ts_to_ns(&e->st.st_ctim, &m->ctime_ns);
}

/* End of an entry's release, whatever came of it. [N] */
static void finish_locked(struct tier *t, struct release_entry *e, int err)
{
	e->n->rel = NULL;
	e->err = err;
	node_wake(t, e->n);
}

/* What the inode said before: nothing, or "partial". */
static int marker_back(const struct node *n, int fd)
{
	return n->over ? overflow_marker(fd) : hot_marker_drop(fd);
}

static void drop_fd(struct release_entry *e)
{
	if (e->fd >= 0)
		close(e->fd); /* the lease goes with it */
	e->fd = -1;
}

static void begin(struct tier *t, struct release_entry *e)
{
	struct node *n = e->n;
	struct marker mk;
	struct stat st;
	int r = 0;

	e->fd = -1;
	node_lock(t, n);
	if (n->opens || n->rel || n->cold ||
	    node_has(n, NODE_BUSY | NODE_DAMAGED | NODE_STALE_MARKER)) {
		node_unlock(t, n);
		e->err = -EBUSY;
		return;
	}
	n->rel = e;
	node_unlock(t, n);

	int fd = node_open(t, n, O_RDWR | O_NOFOLLOW | O_NOATIME | O_NONBLOCK);

	if (fd < 0)
		r = fd == -EWOULDBLOCK ? -EBUSY : fd;
	else if (fcntl(fd, F_SETLEASE, F_WRLCK))
		r = -EBUSY;
	else
		gate_unwatch(t, fd);
	node_lock(t, n);
	e->fd = fd;
	e->leased = true;
	if (!r && e->cancelled)
		r = -EBUSY;
	if (r) { /* at once: whoever waited for this must find no lease, and no release */
		drop_fd(e);
		finish_locked(t, e, r);
		node_unlock(t, n);
		return;
	}
	node_wake(t, n);
	node_unlock(t, n);
	if (fstat(fd, &st))
		r = -errno;
	if (!r && !unchanged(e, &st)) /* nor has it got a capability, which would show in ctime */
		r = -EBUSY;
	if (!r) {
		e->started = true; /* times shown are the snapshot's from here on */
		fill_marker(e, RES_SPILLING, &mk);
		r = hot_marker_set(fd, &mk);
		if (r == -ERANGE || r == -E2BIG)
			r = -ENOSPC;
	}
	if (r) {
		if (e->started) {
			marker_back(n, fd);
			d_fsync(fd);
		}
		node_lock(t, n);
		drop_fd(e);
		finish_locked(t, e, r);
		node_unlock(t, n);
	}
}

/* Undo a marker that was set; a waiting open for writing goes on only after it is durably gone. */
static void cancel(struct tier *t, struct release_entry *e, int err)
{
	int r = marker_back(e->n, e->fd);

	if (!r)
		r = d_fsync(e->fd);
	node_lock(t, e->n);
	if (r) {
		/* The marker cannot be taken back, so it holds: the object has the data, and a
		 * recall (an open for writing) tries again. To grant the hot data now could lose a
		 * write after a crash. */
		struct marker mk;

		fill_marker(e, RES_SPILLING, &mk);
		log_warn("%s: its stub marker cannot be dropped (%s): served from the store from "
			 "now on",
			 e->path, strerror(-r));
		e->n->cold = cold_new(&mk);
		if (e->n->cold)
			atomic_store(&e->n->res, RES_SPILLED);
		else
			node_flag(e->n, NODE_DAMAGED, 0);
	}
	drop_fd(e);
	finish_locked(t, e, err);
	node_unlock(t, e->n);
}

static void punch(struct tier *t, struct release_entry *e)
{
	struct timespec times[2] = {e->st.st_atim, e->st.st_mtim};
	struct node *n = e->n;
	struct marker mk;
	struct cold *c;

	fill_marker(e, RES_SPILLED, &mk);
	c = cold_new(&mk);
	node_lock(t, n);
	if (!c || e->cancelled || n->opens || fcntl(e->fd, F_GETLEASE) != F_WRLCK) {
		e->cancelled = true;
		node_unlock(t, n);
		cold_unref(c);
		cancel(t, e, c ? -EBUSY : -ENOMEM);
		return;
	}
	n->cold = c;
	node_busy_set(n);
	node_unlock(t, n);

	struct stat before, st;
	bool known = !fstat(e->fd, &before);

	/* From the first punch on the file is a stub, whatever fails: the marker is durable. */
	int r = hot_punch_all(e->fd, mk.size);

	if (r == -EPERM) { /* nothing was punched */
		node_lock(t, n);
		n->cold = NULL;
		node_unlock(t, n);
		cold_unref(c);
		cancel(t, e, -EBUSY);
		node_lock(t, n);
		node_busy_clear(t, n);
		node_unlock(t, n);
		return;
	}
	if (known && !fstat(e->fd, &st) && st.st_blocks < before.st_blocks)
		e->freed_bytes = (uint64_t)(before.st_blocks - st.st_blocks) * 512;
	/* At once: until then statfs counts it twice. */
	if (e->had_copy)
		atomic_fetch_sub(&t->releasing_bytes, data_bytes(&e->st));
	else
		store_moved(t->store, e->freed_bytes);
	if (r)
		log_warn("%s: punching failed (%s): a stub all the same, its space is not free yet",
			 e->path, strerror(-r));
	r = d_futimens(e->fd, times);
	if (!r)
		r = hot_marker_set(e->fd, &mk);
	if (r) { /* the marker on disk says SPILLING and has the times */
		node_lock(t, n);
		c->state = RES_SPILLING;
		node_unlock(t, n);
	}

	node_lock(t, n);
	drop_fd(e);
	atomic_store(&n->res, RES_SPILLED);
	mapping_gone(t, n); /* the lease proved it */
	node_flag(n, 0, NODE_PASSED);
	e->done = true;
	finish_locked(t, e, 0);
	node_unlock(t, n);
	overflow_spilled(t, n);
	node_lock(t, n);
	node_busy_clear(t, n);
	node_unlock(t, n);
	atomic_fetch_add(&t->n_spilled_bytes, mk.size);
}

/* Entries do not know each other: threads take runs of them. */
struct release_work {
	struct tier *t;
	struct release_entry **v;
	int err; /* of the sync */
	struct parallel p;
};

static void *begin_some(void *arg)
{
	struct release_work *w = arg;
	size_t i, end;

	while (parallel_next(&w->p, &i, &end))
		for (; i < end; i++)
			begin(w->t, w->v[i]);
	return NULL;
}

static void *punch_some(void *arg)
{
	struct release_work *w = arg;
	size_t i, end;

	while (parallel_next(&w->p, &i, &end)) {
		for (; i < end; i++) {
			if (w->v[i]->fd < 0)
				continue;
			if (w->err)
				cancel(w->t, w->v[i], w->err);
			else
				punch(w->t, w->v[i]);
		}
	}
	return NULL;
}

void release_batch(struct tier *t, struct release_entry **v, size_t n)
{
	struct release_work w = {.t = t, .v = v, .p = {.n = n, .run = RUN}};
	size_t started = 0;

	parallel_do(&w.p, "release", begin_some, &w);
	for (size_t i = 0; i < n; i++)
		started += v[i]->fd >= 0;
	if (!started)
		return;
	if (started > FSYNC_EACH) {
		w.err = d_syncfs(hot_root_fd(t->hot));
	} else {
		for (size_t i = 0; i < n && !w.err; i++)
			if (v[i]->fd >= 0)
				w.err = d_fsync(v[i]->fd);
	}
	atomic_store(&w.p.next, 0);
	parallel_do(&w.p, "release", punch_some, &w);
}
