/* SPDX-License-Identifier: MIT
 * Writers who pass us by are seen by nobody: the disk fills, and they get ENOSPC while there is
 * much that spilling could still free. The gate makes them wait in write(2).
 *
 * It is open below the critical mark. Closed, it opens for a moment whenever so much was freed as
 * can be written in that time, so that they get on as fast as spilling does; nearly at the end of
 * the disk it does not, and they wait longer. It is open as well where waiting helps nobody:
 * nothing can be freed, or spilling is paused; then the disk says ENOSPC.
 *
 * A file is watched from an open for writing on, unless the disk is nearly empty. The gate's thread
 * looks at the disk as often as it could fill, and only while such files are open.
 */
#include "gate.h"

#include "rounds.h"

#include <fcntl.h>
#include <sys/stat.h>

#define WATCH_FROM     25                   /* percent in use */
#define FILL_RATE      UINT64_C(4000000000) /* bytes a second; how fast a disk may fill at most */
#define LOOK_MIN_MS    5
#define LOOK_MAX_MS    1000
#define LOOK_OPEN_MS   50 /* beyond the mark, where waiting helps nobody */
#define LOOK_CLOSED_MS 5
#define QUANTUM        (UINT64_C(16) << 20) /* freed, before it opens for a moment */
#define QUANTUM_SHARE  64                   /* of small disks */
#define BUSY_SHARE     20 /* closing it, with many files open, takes no more than that of a CPU */
#define BUSY_MAX_NS    UINT64_C(1000000000)
#define BRINK          95 /* percent, and less than that left: nobody is let on for a moment */
#define BRINK_ROOM     (UINT64_C(4) << 30)
#define PACE_MS        200        /* otherwise nobody waits longer, for a MiB, */
#define PACE_BYTES     (1u << 20) /* and so much may be written in that time without waiting */
#define WAIT_MS        2000       /* there; who deletes the file waits as long */
#define TRY_NS         UINT64_C(1100000000) /* a round that comes sooner looks at no files anew */
#define TRIES          2                    /* rounds of spilling, all in vain */
#define QUIET_NS       UINT64_C(1000000000) /* a file is open so long after the grant */

struct gated {
	struct node *n;
	uint64_t ino;
};

struct gate {
	struct hold *hold;
	pthread_t thread;
	pthread_mutex_t lock; /* over a table shard only */
	struct gated *v;      /* who is open for such writers; lock */
	size_t cap;
	_Atomic size_t n;            /* changed under lock */
	_Atomic uint64_t watched_ns; /* when somebody was last, 0: nobody since hold_forget */
	atomic_bool closed;          /* the thread sets it, */
	atomic_bool vain;            /* and this: open as nothing can be freed */
	dev_t dev;
	bool called;           /* look, there is somebody again; auto_lock */
	_Atomic int64_t spare; /* bytes that may be written though it is closed */
	/* The thread's: */
	uint64_t free_bytes;        /* when it was closed */
	uint64_t since_ns, vain_ns; /* when the disk was below the mark; the last vain round seen */
	unsigned tries;             /* vain rounds since then */
	uint64_t spare_ns, kick_ns; /* when there was some last; the next kick */
	uint64_t closed_ns, took_ns; /* when it was, and for how long that kept the thread busy */
};

bool gate_works(const struct tier *t)
{
	return t->gate;
}

/* Does waiting help, as far as anybody knows? */
static bool may_help(struct tier *t)
{
	return !atomic_load(&t->frozen) && !pause_active(t) && !winding_down(t);
}

bool gate_serves(struct tier *t)
{
	return t->gate && !atomic_load(&t->gate->vain) && may_help(t);
}

/* Index of n, or -1. Few are open for writing at a time. Locked. */
static ssize_t find(const struct gate *g, const struct node *n)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].n == n)
			return (ssize_t)i;
	return -1;
}

/* Without memory it is not in the list, and never waits. Locked. */
static void list(struct tier *t, struct node *n)
{
	struct gate *g = t->gate;
	uint64_t ino = node_hot_id(t, n).ino;

	if (!ino || find(g, n) >= 0) /* 0: in another subvolume of btrfs */
		return;
	if (g->n == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 64;
		struct gated *v = realloc(g->v, cap * sizeof(*v));

		if (!v)
			return;
		g->v = v;
		g->cap = cap;
	}
	g->v[g->n] = (struct gated){n, ino};
	g->n++;
}

void gate_add(struct tier *t, struct node *n, int fd)
{
	struct gate *g = t->gate;

	if (!g || atomic_load(&t->used) < WATCH_FROM)
		return;
	pthread_mutex_lock(&g->lock);
	bool first = !g->n;

	list(t, n);
	if (fd >= 0) {
		int r = hold_watch(g->hold, fd);

		if (r)
			log_debug("cannot watch a file that is written to: %s", strerror(-r));
		atomic_store(&g->watched_ns, clock_mono_ns());
	}
	pthread_mutex_unlock(&g->lock);
	if (!first)
		return;
	pthread_mutex_lock(&t->auto_lock);
	if (!g->called)
		pthread_cond_broadcast(&t->auto_cond);
	g->called = true;
	pthread_mutex_unlock(&t->auto_lock);
}

void gate_unwatch(struct tier *t, int fd)
{
	if (t->gate)
		hold_unwatch(t->gate->hold, fd);
}

void gate_remove(struct tier *t, struct node *n)
{
	struct gate *g = t->gate;

	if (!g || !atomic_load(&g->n))
		return;
	pthread_mutex_lock(&g->lock);
	ssize_t i = find(g, n);

	if (i >= 0)
		g->v[i] = g->v[--g->n];
	pthread_mutex_unlock(&g->lock);
}

/* Bytes off to off + len of the file are there: read, or written anew, they need no room (but on
 * btrfs, and where xfs shares them). Of a file with holes nobody knows. */
static bool is_there(const struct stat *st, uint64_t off, uint64_t len)
{
	uint64_t size = (uint64_t)st->st_size;

	return off < size && len <= size - off && (uint64_t)st->st_blocks * 512 >= size;
}

static bool spare(struct gate *g, uint64_t len)
{
	int64_t left = atomic_load(&g->spare);

	while (len <= PACE_BYTES && left >= (int64_t)len)
		if (atomic_compare_exchange_weak(&g->spare, &left, left - (int64_t)len))
			return true;
	return false;
}

/* A read that reaches the end of the file looks like a write that goes on there. */
static bool must_wait(void *ctx, const struct stat *st, uint64_t off, uint64_t len)
{
	struct gate *g = ctx;
	bool ours = false;

	if (st->st_dev != g->dev || is_there(st, off, len))
		return false;
	pthread_mutex_lock(&g->lock);
	for (size_t i = 0; i < g->n && !ours; i++)
		ours = g->v[i].ino == st->st_ino;
	pthread_mutex_unlock(&g->lock);
	return ours && !spare(g, len);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool listed(struct gate *g, const struct node *n)
{
	pthread_mutex_lock(&g->lock);
	bool yes = find(g, n) >= 0;

	pthread_mutex_unlock(&g->lock);
	return yes;
}

/* Those who opened their files before. */
static void hold_all(struct tier *t)
{
	struct gate *g = t->gate;

	pthread_mutex_lock(&g->lock);
	size_t n = g->n, got = 0;
	struct node **v = n ? malloc(n * sizeof(struct node *)) : NULL;

	for (; v && got < n; got++) { /* who is in the list has its file's reference */
		v[got] = g->v[got].n;
		node_ref(t, v[got]);
	}
	pthread_mutex_unlock(&g->lock);
	for (size_t i = 0; i < got; i++) {
		/* Not to be in the way of a lease (see hot.h) where it was closed meanwhile. */
		cleanup_fd int fd = listed(g, v[i]) ? node_open(t, v[i], O_PATH) : -1;

		pthread_mutex_lock(&g->lock);
		if (fd >= 0 && find(g, v[i]) >= 0)
			hold_again(g->hold, fd);
		pthread_mutex_unlock(&g->lock);
		tier_put(t, v[i]);
	}
	free(v);
}

static void set_closed(struct tier *t, bool closed)
{
	struct gate *g = t->gate;

	if (atomic_exchange(&g->closed, closed) == closed)
		return;
	if (!closed) {
		hold_off(g->hold);
		return;
	}
	uint64_t start = clock_mono_ns();

	hold_on(g->hold);
	hold_all(t);
	g->closed_ns = clock_mono_ns();
	g->took_ns = g->closed_ns - start;
}

/* Since the disk was below the mark, spilling has looked at all there is, more than once, and found
 * nothing. */
static bool in_vain(struct tier *t)
{
	struct gate *g = t->gate;
	uint64_t now = clock_mono_ns(), vain = atomic_load(&t->vain_ns);

	if (vain != g->vain_ns) {
		g->vain_ns = vain;
		g->tries = vain > g->since_ns ? g->tries + 1 : 0;
	}
	if (g->tries < TRIES && now >= g->kick_ns) {
		g->kick_ns = now + TRY_NS;
		auto_kick(t);
	}
	return g->tries >= TRIES;
}

static void below_the_mark(struct tier *t)
{
	struct gate *g = t->gate;

	set_closed(t, false);
	atomic_store(&g->vain, false);
	g->since_ns = clock_mono_ns();
	g->tries = 0;
	g->kick_ns = 0;
}

/* Open or close it. Returns when to look again, in ms. */
static unsigned look(struct tier *t)
{
	struct gate *g = t->gate;
	uint64_t now = clock_mono_ns();
	struct statvfs sv;

	if (!atomic_load(&g->n) || hot_statfs(t->hot, &sv)) {
		set_closed(t, false);
		return LOOK_MAX_MS;
	}
	uint64_t all = (uint64_t)sv.f_blocks * sv.f_frsize;
	uint64_t left = (uint64_t)sv.f_bavail * sv.f_frsize;
	unsigned used = policy_used_percent(&sv);
	bool brink = used >= BRINK && left < BRINK_ROOM, closed = atomic_load(&g->closed);
	bool tired = closed && now - g->closed_ns < MIN(BUSY_SHARE * g->took_ns, BUSY_MAX_NS);

	hold_limit(g->hold, brink ? WAIT_MS : PACE_MS);
	if (used < t->cfg->critical) {
		uint64_t ms = policy_room(&sv, t->cfg->critical) * 1000 / FILL_RATE;

		if (tired)
			return LOOK_CLOSED_MS;
		below_the_mark(t);
		return (unsigned)MIN(MAX(ms, LOOK_MIN_MS), LOOK_MAX_MS);
	}
	atomic_store(&g->vain, may_help(t) && in_vain(t));
	if (atomic_load(&g->vain) || !may_help(t)) {
		set_closed(t, false);
		return LOOK_OPEN_MS;
	}
	if (!brink && now - g->spare_ns >= PACE_MS * UINT64_C(1000000)) {
		atomic_store(&g->spare, PACE_BYTES);
		g->spare_ns = now;
	}
	if (closed && !brink && !tired &&
	    left >= g->free_bytes + MIN(QUANTUM, all / QUANTUM_SHARE)) {
		set_closed(t, false);
	} else {
		g->free_bytes = closed ? MIN(left, g->free_bytes) : left;
		set_closed(t, true);
	}
	return LOOK_CLOSED_MS;
}

/* All that were granted are open: they can be held when it is time. */
static void quiet(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	uint64_t ns = atomic_load(&g->watched_ns);

	if (ns && clock_mono_ns() - ns > QUIET_NS) {
		atomic_store(&g->watched_ns, 0);
		hold_forget(g->hold);
	}
	pthread_mutex_unlock(&g->lock);
}

/* auto_lock is held, and let go meanwhile. */
static void doze(struct tier *t, unsigned ms, bool callable)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until = ns_to_ts(until.tv_sec * 1000000000 + until.tv_nsec + ms * 1000000ll);
	while (!atomic_load(&t->stop) && !(callable && t->gate->called) &&
	       !pthread_cond_timedwait(&t->auto_cond, &t->auto_lock, &until))
		;
}

static void *gate_main(void *arg)
{
	struct tier *t = arg;
	struct gate *g = t->gate;

	pthread_mutex_lock(&t->auto_lock);
	while (!atomic_load(&t->stop)) {
		if (!atomic_load(&g->n) && !atomic_load(&g->watched_ns) &&
		    !atomic_load(&g->closed)) {
			g->called = false;
			pthread_cond_wait(&t->auto_cond, &t->auto_lock);
			continue;
		}
		g->called = false;
		pthread_mutex_unlock(&t->auto_lock);
		unsigned ms = look(t);

		quiet(g);
		pthread_mutex_lock(&t->auto_lock);
		doze(t, LOOK_MIN_MS, false); /* many small files come and go */
		doze(t, ms - LOOK_MIN_MS, true);
	}
	pthread_mutex_unlock(&t->auto_lock);
	set_closed(t, false);
	return NULL;
}

bool gate_closed(const struct tier *t)
{
	return t->gate && atomic_load(&t->gate->closed);
}

static void gate_free(struct gate *g)
{
	hold_free(g->hold);
	pthread_mutex_destroy(&g->lock);
	free(g->v);
	free(g);
}

void gate_start(struct tier *t)
{
	struct gate *g = calloc(1, sizeof(*g));
	int r = g ? -pthread_mutex_init(&g->lock, NULL) : -ENOMEM;

	if (r) {
		free(g);
		t->gate_err = r;
		return;
	}
	used_now(t); /* for those who have files open since before */
	g->dev = hot_dev(t->hot);
	t->gate = g; /* before the first event can come */
	r = hold_new(&g->hold, t->hot, must_wait, g);
	if (!r)
		r = thread_start(&g->thread, "gate", gate_main, t);
	if (r) {
		t->gate_err = r;
		t->gate = NULL;
		gate_free(g);
	}
}

void gate_stop(struct tier *t)
{
	struct gate *g = t->gate;

	if (!g)
		return;
	pthread_join(g->thread, NULL); /* t->stop is set */
	t->gate = NULL;
	gate_free(g);
}
