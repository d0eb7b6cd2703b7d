/* SPDX-License-Identifier: MIT
 * The end of a spill batch: what is durable when (the table in ARCHITECTURE.md).
 *
 *   packs fsynced; read back and compared; rows SPILLING and epoch_next committed; the hot root's
 * epoch; release; rows SPILLED and epoch committed
 */
#include "ahead.h"
#include "batch.h"

#include <xxhash.h>

#define RELEASE_FILES 256 /* descriptors and leases held at once */
#define VERIFY_RUN    32  /* neighbours: most share frames */

struct verify_sink {
	XXH3_state_t *xx;
	struct sha256 *sha;
};

static int verify_piece(void *ctx, const void *data, size_t len, uint64_t off)
{
	struct verify_sink *v = ctx;

	(void)off;
	if (v->xx)
		XXH3_64bits_update(v->xx, data, len);
	else
		sha256_update(v->sha, data, len);
	return 0;
}

/* Read the object back from the pack and compare with what was read from the hot tier. buf:
 * FRAME_SIZE bytes. Small objects share frames: those are decoded once, through the frame cache. */
static int verify(struct tier *t, const struct bobj *bo, uint8_t *buf)
{
	const struct object *o = bo->o;
	struct store_pos bad = {0};
	int r;

	if (bo->trusted && !bo->have_xx)
		return 0;
	if (!bo->have_xx)
		return object_verify(t->store, o, false);
	if (o->stream_len < FRAME_SIZE) {
		ssize_t n = store_read(t->store, o->segs, o->nsegs, buf, o->stream_len, 0, &bad);

		if (n != (ssize_t)o->stream_len)
			return n < 0 ? (int)n : -EUCLEAN;
		return XXH3_64bits(buf, o->stream_len) == bo->xx ? 0 : -EBADMSG;
	}
	struct verify_sink v = {.xx = XXH3_createState()};

	if (!v.xx)
		return -ENOMEM;
	XXH3_64bits_reset(v.xx);
	r = store_stream(t->store, o->segs, o->nsegs, verify_piece, &v, &bad);
	if (!r && XXH3_64bits_digest(v.xx) != bo->xx)
		r = -EBADMSG;
	XXH3_freeState(v.xx);
	return r;
}

/* The batch's objects, in the order in which they went into the pack. */
struct verify_work {
	struct tier *t;
	struct bobj **v;
	struct parallel p;
};

static void *verify_some(void *arg)
{
	struct verify_work *w = arg;
	cleanup_free uint8_t *buf = malloc(FRAME_SIZE);
	size_t i, end;

	while (parallel_next(&w->p, &i, &end)) {
		for (; i < end; i++) {
			struct bobj *bo = w->v[i];

			bo->err = buf ? verify(w->t, bo, buf) : -ENOMEM;
			if (bo->err)
				log_err("object %llu: reading back from the store failed: %s; the "
					"file stays in the hot tier",
					(unsigned long long)bo->o->id.v, strerror(-bo->err));
		}
	}
	return NULL;
}

static int verify_all(struct spill_batch *b)
{
	struct verify_work w = {.t = b->t, .p.run = VERIFY_RUN};

	w.v = calloc(b->n, sizeof(*w.v));
	if (!w.v)
		return -ENOMEM;
	for (size_t i = 0; i < b->n; i++) {
		struct bobj *bo = b->v[i]->bo;

		if (!bo->listed)
			w.v[w.p.n++] = bo;
		bo->listed = true;
	}
	parallel_do(&w.p, "verify", verify_some, &w);
	free(w.v);
	return 0;
}

static struct file_row row_of(struct spill_batch *b, const struct entry *e, enum residency state)
{
	struct file_row row = {
		.id = node_hot_id(b->t, e->rel.n),
		.obj = e->bo->o->id,
		.state = state,
	};

	if (state == RES_PREMIGRATED) {
		row.size = (uint64_t)e->rel.st.st_size;
		ts_to_ns(&e->rel.st.st_mtim, &row.mtime_ns);
		ts_to_ns(&e->rel.st.st_ctim, &row.ctime_ns);
		row.snap_ns = e->rel.snap_ns;
	}
	return row;
}

static int commit_or_not(struct spill_batch *b, int r, struct freed *fr)
{
	if (r)
		index_rollback(b->t->ix);
	else
		r = index_commit(b->t->ix);
	if (r)
		freed_forget(fr);
	else
		freed_release(b->t, fr);
	return r;
}

/* Rows (SPILLING, or PREMIGRATED when nothing is released), objects, pack lengths and the coming
 * epoch: one transaction. Copies alone change nothing in the hot tier, so they need no epoch. */
static int index_batch(struct spill_batch *b, const struct pack_len *lens, size_t nlens,
		       uint64_t epoch)
{
	struct index *ix = b->t->ix;
	struct freed fr = {0};
	int r = index_begin(ix);

	if (r)
		return r;
	/* An object found by its content may have lost its last file since; nobody can delete one
	 * from here on. */
	for (size_t i = 0; i < BOBJ_BUCKETS; i++)
		for (struct bobj *bo = b->table[i]; bo; bo = bo->next) {
			struct object *o = NULL;

			if (!bo->fresh && !bo->err && index_object_get(ix, bo->o->id, &o))
				bo->err = -EBUSY;
			object_free(o);
		}
	for (size_t i = 0; i < nlens && !r; i++)
		r = index_pack_set(ix, &lens[i]);
	for (size_t i = 0; i < BOBJ_BUCKETS && !r; i++)
		for (struct bobj *bo = b->table[i]; bo && !r; bo = bo->next)
			if (bo->fresh && !bo->err && bo->files)
				r = index_object_put(ix, bo->o); /* refs 0, counted by the rows */
	for (size_t i = 0; i < b->n && !r; i++) {
		struct file_row row;

		if (b->v[i]->bo->err)
			continue;
		row = row_of(b, b->v[i], b->copy_only ? RES_PREMIGRATED : RES_SPILLING);
		r = row_replace(b->t, &row, &fr);
	}
	if (!r && !b->copy_only)
		r = epoch_announce(b->t, epoch);
	return commit_or_not(b, r, &fr);
}

static int index_done(struct spill_batch *b, uint64_t epoch)
{
	struct index *ix = b->t->ix;
	struct freed fr = {0};
	int r = index_begin(ix);

	if (r)
		return r;
	for (size_t i = 0; i < b->n && !r; i++) {
		struct entry *e = b->v[i];

		if (e->bo->err)
			continue;
		if (e->rel.done) {
			r = index_file_state(ix, node_hot_id(b->t, e->rel.n), RES_SPILLED);
			if (r == -ENOENT)
				r = 0; /* deleted meanwhile, and the janitor was quicker */
		} else {
			struct file_row row = row_of(b, e, RES_PREMIGRATED);

			r = row_replace(b->t, &row, &fr);
		}
	}
	if (!r)
		r = index_meta_set(ix, "epoch", epoch);
	return commit_or_not(b, r, &fr);
}

static void release_all(struct spill_batch *b)
{
	struct release_entry *v[RELEASE_FILES];
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		struct entry *e = b->v[i];

		if (e->bo->err) {
			e->rel.err = e->bo->err;
			continue;
		}
		e->rel.obj = e->bo->o->id;
		memcpy(e->rel.hash16, e->bo->o->sha, 16);
		v[n++] = &e->rel;
		if (n == RELEASE_FILES) {
			release_batch(b->t, v, n);
			n = 0;
		}
	}
	if (n)
		release_batch(b->t, v, n);
}

/* The next batch may have more room to go by, or must make do with less. */
static void learn_room(const struct spill_batch *b, int r)
{
	struct tier *t = b->t;

	if (r != -ENOSPC) {
		t->batch_cap = t->batch_cap < BATCH_BYTES / 2 ? t->batch_cap * 2 : 0;
	} else if (b->n <= 1) {
		t->too_large = b->need;
		t->too_large_room = b->room;
	} else {
		t->batch_cap = MAX(b->bytes / 2, BATCH_MIN);
	}
}

int spill_batch_finish(struct spill_batch *b, struct tier_work *w, tier_note_fn note, void *ctx)
{
	struct tier *t = b->t;
	cleanup_free struct pack_len *lens = NULL;
	uint64_t epoch = epoch_after(t->epoch), stored = 0;
	size_t nlens = 0;
	int r = b->err;

	if (b->w) {
		if (!r)
			r = store_writer_commit(b->w, &lens, &nlens, &stored);
		if (r)
			store_writer_abort(b->w);
		learn_room(b, r);
	}
	/* Row changes still queued are older than ours: they must not come after. */
	if (!r && b->n)
		r = janitor_flush(t);
	if (!r && b->n) {
		r = verify_all(b);
	}
	if (!r && b->n) {
		r = index_batch(b, lens, nlens, epoch);
		if (r && nlens)
			log_err("spilling: the index cannot be written: %s", strerror(-r));
	}
	if (!r && b->copy_only)
		store_moved(t->store, UINT64_MAX); /* the index counts them now */
	for (size_t i = 0; !r && !b->copy_only && i < b->n; i++)
		if (b->v[i]->rel.had_copy)
			atomic_fetch_add(&t->releasing_bytes, data_bytes(&b->v[i]->rel.st));
	if (!r && b->n && !b->copy_only)
		r = epoch_hot_set(t, epoch);
	for (size_t i = 0; !r && b->copy_only && i < b->n; i++) {
		b->v[i]->rel.err = b->v[i]->bo->err;
		b->v[i]->rel.done = !b->v[i]->rel.err;
	}
	if (!r && b->n && !b->copy_only) {
		ahead_clear(b->ahead);
		release_all(b);
		int d = index_done(b, epoch);

		if (d) /* rows say SPILLING: right, and put straight at the next mount */
			log_err("spilling: the index cannot be written: %s", strerror(-d));
	}
	for (size_t i = 0; i < b->n; i++) {
		struct release_entry *e = &b->v[i]->rel;
		int err = r ? r : e->err;

		if (e->done) {
			w->files_done++;
			w->bytes_done += (uint64_t)e->st.st_size;
			w->freed_bytes += e->freed_bytes;
			continue;
		}
		if (err == -EBUSY)
			w->files_busy++;
		else
			w->files_failed++;
		if (note)
			note(ctx, e->path, err ? err : -EIO);
	}
	if (!r)
		w->bytes_stored += stored;
	atomic_store(&t->releasing_bytes, 0);
	ahead_go(b->ahead, false);
	batch_free(b); /* while no other batch can look at the nodes' flags */
	pthread_mutex_unlock(&t->spill_lock);
	return r;
}
