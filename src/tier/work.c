/* SPDX-License-Identifier: MIT
 * Spilling and recalling a tree on request, and for the policy: walk, collect batches, report.
 */
#include "work.h"
#include "ahead.h"
#include "overflow.h"

#include <fcntl.h>
#include <sys/stat.h>

#define PROGRESS_NS 200000000ull

static bool report(struct work *k, const char *path)
{
	uint64_t now = clock_mono_ns();

	if (winding_down(k->t))
		return false;
	if (!k->fn || now - k->reported_ns < PROGRESS_NS)
		return true;
	k->reported_ns = now;
	k->w.current = path;
	bool go = k->fn(k->ctx, &k->w);

	k->w.current = NULL;
	return go;
}

static void fail(struct work *k, const char *path, int err)
{
	if (err == -EBUSY)
		k->w.files_busy++;
	else
		k->w.files_failed++;
	if (k->note)
		k->note(k->ctx, path, err);
}

static void no_room(struct work *k, const char *path)
{
	k->w.files_no_room++;
	if (k->note)
		fail(k, path, -ENOSPC);
}

int work_finish(struct work *k)
{
	struct spill_batch *b = k->batch;

	if (!b)
		return 0;
	k->batch = NULL;
	return spill_batch_finish(b, &k->w, k->note, k->ctx);
}

int work_spill_file(void *ctx, int dirfd, const char *name, const struct stat *st, const char *path)
{
	struct work *k = ctx;
	int r;

	k->w.files_seen++;
	ahead_used(k->ahead, st, path);
	if (!report(k, path))
		return -EINTR;
	/* Nothing to free: empty, or a stub already; a partial file is spilled to be compressed. */
	if (st->st_size == 0 || (st->st_blocks == 0 && !store_overflow_files(k->t->store))) {
		k->w.files_skipped++;
		return 0;
	}
	for (;;) {
		if (!k->batch) {
			r = spill_batch_new(k->t, k->min_age_sec, k->min_size, &k->batch);
			if (r)
				return r;
			spill_batch_ahead(k->batch, k->ahead);
			if (k->copy_only)
				spill_batch_copy_only(k->batch);
			k->in_batch = 0;
			/* asked under spill_lock: see tier_pause */
			if (k->enough && pause_active(k->t))
				return WORK_ENOUGH;
		}
		r = spill_batch_add(k->batch, dirfd, name, path);
		if (r != SPILL_NO_ROOM || !spill_batch_full(k->batch))
			break;
		r = work_finish(k); /* then it is the first of the next */
		if (r)
			return r;
	}
	if (r == SPILL_DONE_BEFORE || r == SPILL_NOT_ELIGIBLE)
		k->w.files_skipped++;
	else if (r == SPILL_IS_PINNED)
		k->w.files_pinned++;
	else if (r == SPILL_IS_BUSY)
		fail(k, path, -EBUSY);
	else if (r == SPILL_NO_ROOM)
		no_room(k, path);
	else if (r < 0)
		fail(k, path, r);
	if (r == SPILL_QUEUED)
		k->in_batch += (uint64_t)st->st_size;
	if (!spill_batch_full(k->batch) && (!k->batch_bytes || k->in_batch < k->batch_bytes))
		return 0;
	bool alone = spill_batch_alone(k->batch);

	r = work_finish(k);
	/* A smaller one may fit. */
	if (r == -ENOSPC && alone && !k->note) {
		k->w.files_no_room++;
		return 0;
	}
	if (!r && k->enough && k->enough(k->ctx))
		return WORK_ENOUGH;
	return r;
}

int work_spill_tree(struct work *k, const char *path)
{
	int unread = 0;

	if (!k->note && pin_keeps(k->t, path, NULL)) /* all of it, and nobody wants a count */
		return 0;
	k->ahead = ahead_begin(k->t, path);
	int r = walk_tree(hot_root_fd(k->t->hot), path, work_spill_file, k, &unread);
	int f = work_finish(k);

	ahead_end(steal_ptr(k->ahead));

	if (unread)
		fail(k, path, unread);

	return r ? r : f;
}

static int spill_path(struct work *k, const char *path, struct tier_work *ret)
{
	struct tier *t = k->t;

	if (atomic_load(&t->frozen))
		return -EROFS;
	atomic_fetch_add(&t->working, 1);
	int r = work_spill_tree(k, path);

	atomic_fetch_sub(&t->working, 1);

	*ret = k->w;
	return r;
}

int tier_spill_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
		    void *ctx, struct tier_work *ret)
{
	struct work k = {.t = t, .fn = fn, .note = note, .ctx = ctx};

	return spill_path(&k, path, ret);
}

int tier_premigrate_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
			 void *ctx, struct tier_work *ret)
{
	struct work k = {.t = t, .fn = fn, .note = note, .ctx = ctx, .copy_only = true};

	return spill_path(&k, path, ret);
}

/* ---- recall
 * -------------------------------------------------------------------------------------- */

static int recall_file(void *ctx, int dirfd, const char *name, const struct stat *st,
		       const char *path)
{
	struct work *k = ctx;
	struct tier *t = k->t;
	struct node *n;
	struct stat now;
	int r;

	k->w.files_seen++;
	if (!report(k, path))
		return -EINTR;
	if (st->st_size == 0) {
		k->w.files_skipped++;
		return 0;
	}
	cleanup_fd int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0; /* gone meanwhile */
	r = node_of_fd(t, fd, &n, &now);
	if (r) {
		fail(k, path, r);
		return 0;
	}
	node_lock(t, n);
	r = node_learn(t, n, fd, &now);
	if (!r)
		node_settle(t, n);
	if (!r && node_has(n, NODE_DAMAGED)) {
		r = -EIO;
	} else if (!r && (node_is_cold(n) || n->over)) {
		r = n->over ? overflow_return(t, n) : recall_node(t, n, true);
		if (!r) {
			k->w.files_done++;
			k->w.bytes_done += (uint64_t)now.st_size;
		}
	} else if (!r) {
		k->w.files_skipped++;
	}
	node_unlock(t, n);
	tier_put(t, n);
	if (r)
		fail(k, path, r);
	/* A full disk fails every file that follows, too. */
	return r == -ENOSPC ? r : 0;
}

int tier_recall_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
		     void *ctx, struct tier_work *ret)
{
	struct work k = {.t = t, .fn = fn, .note = note, .ctx = ctx};

	atomic_fetch_add(&t->working, 1);
	int unread = 0, r = walk_tree(hot_root_fd(t->hot), path, recall_file, &k, &unread);

	if (unread) /* what is in there may not be back */
		fail(&k, path, unread);
	if (!r)
		r = janitor_flush(t);
	atomic_fetch_sub(&t->working, 1);
	*ret = k.w;
	return r;
}
