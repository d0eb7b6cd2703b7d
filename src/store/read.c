/* SPDX-License-Identifier: MIT
 * store_read: random access to a stored stream. Whole frames are decoded straight into the caller's
 * buffer; parts of frames go through the frame cache.
 */
#include "store_int.h"

int piece_at(const struct seg *segs, uint32_t nsegs, uint64_t pos, uint64_t max, uint32_t *seg,
	     struct piece *ret)
{
	const struct seg *g;
	uint64_t in, left, frame;

	while (*seg < nsegs && pos >= segs[*seg].stream_off &&
	       pos - segs[*seg].stream_off >= segs[*seg].len)
		++*seg;
	if (*seg >= nsegs)
		return 0;
	g = &segs[*seg];
	if (pos < g->stream_off || g->off >= FRAME_SIZE) /* a gap: damaged rows */
		return -EUCLEAN;
	in = g->off + (pos - g->stream_off);
	left = g->len - (pos - g->stream_off);
	frame = g->frame + in / FRAME_SIZE;
	if (frame >= UINT32_MAX)
		return -EUCLEAN;
	ret->pack = g->pack;
	ret->frame = (uint32_t)frame;
	ret->off = (uint32_t)(in % FRAME_SIZE);
	ret->len = (uint32_t)MIN(MIN(left, max), (uint64_t)(FRAME_SIZE - ret->off));
	return 1;
}

/* The pack that the running read uses; pieces come in runs of the same one. */
struct reader {
	struct store *s;
	struct pack *pack;
	struct ptable *table;
	struct scratch *sc;
};

static void reader_drop(struct reader *rd)
{
	if (!rd->pack)
		return;
	ptable_unref(rd->table);
	pack_put(rd->s, rd->pack);
	rd->pack = NULL;
	rd->table = NULL;
}

static void reader_done(struct reader *rd)
{
	reader_drop(rd);
	if (rd->sc)
		scratch_put(rd->s, rd->sc);
}

/* Find the frame of a piece in its pack's table. */
static int reader_find(struct reader *rd, const struct piece *pc, const struct fent **ret)
{
	const struct fent *e;
	int r;

	if (!rd->sc) {
		r = scratch_get(rd->s, &rd->sc);
		if (r)
			return r;
	}
	if (!rd->pack || rd->pack->no != pc->pack) {
		reader_drop(rd);
		r = pack_get(rd->s, pc->pack, &rd->pack);
		if (r)
			return r;
		r = pack_table(rd->s, rd->pack, &rd->table);
		if (r) {
			pack_put(rd->s, rd->pack);
			rd->pack = NULL;
			return r;
		}
	}
	if (pc->frame >= rd->table->n)
		return -EUCLEAN;
	e = &rd->table->e[pc->frame];
	if (e->off == 0 || pc->off > e->ulen || pc->len > e->ulen - pc->off)
		return -EUCLEAN;
	*ret = e;
	return 0;
}

/* ---- ahead: small files share frames, and who reads a tree asks for the frames in the order in
 * which it was spilled. The second of two in a row makes its thread decode the third, after it has
 * answered: store_read_ahead. */
static _Thread_local struct piece next; /* len 0: none */

static void ahead_after(const struct piece *pc)
{
	next = (struct piece){.pack = pc->pack, .frame = pc->frame + 1, .len = 1};
}

static void ahead_filled(struct store *s, const struct piece *pc)
{
	uint64_t now = (uint64_t)pc->pack << 32 | pc->frame;

	if (atomic_exchange_explicit(&s->last_filled, now, memory_order_relaxed) + 1 == now)
		ahead_after(pc);
}

/* The first who uses a frame that was decoded ahead goes on. */
static void ahead_used(struct centry *e, const struct piece *pc)
{
	if (atomic_load_explicit(&e->ahead, memory_order_relaxed) &&
	    atomic_exchange(&e->ahead, false))
		ahead_after(pc);
}

/* Decode the frame for the cache entry that we own. */
static int fill_entry(struct reader *rd, const struct piece *pc, struct centry *e, bool asked)
{
	const struct fent *fe = NULL;
	uint8_t *data = NULL;
	int r = reader_find(rd, pc, &fe);

	if (!r) {
		data = malloc(fe->ulen);
		r = data ? frame_read(rd->s, rd->pack, pc->frame, fe, rd->sc, data, asked)
			 : -ENOMEM;
	}
	if (r) {
		free(data);
		data = NULL;
	}
	cache_fill(rd->s->cache, e, data, r ? 0 : fe->ulen, r);
	return r;
}

static int copy_from(struct store *s, struct centry *e, const struct piece *pc, void *dst)
{
	bool ok = pc->off <= e->ulen && pc->len <= e->ulen - pc->off;

	if (ok)
		memcpy(dst, e->data + pc->off, pc->len);
	cache_put(s->cache, e);
	return ok ? 0 : -EUCLEAN;
}

static int read_piece(struct reader *rd, const struct piece *pc, void *dst)
{
	struct store *s = rd->s;
	struct centry *e = cache_peek(s->cache, pc->pack, pc->frame);
	const struct fent *fe;
	bool owner = false;
	int r;

	if (e) {
		atomic_fetch_add_explicit(&s->c_cached, 1, memory_order_relaxed);
		ahead_used(e, pc);
		return copy_from(s, e, pc, dst);
	}
	r = reader_find(rd, pc, &fe);
	if (r)
		return r;
	if (pc->off == 0 && pc->len == fe->ulen)
		return frame_read(s, rd->pack, pc->frame, fe, rd->sc, dst, true);
	r = cache_begin(s->cache, pc->pack, pc->frame, &e, &owner);
	if (r)
		return r;
	if (owner) {
		r = fill_entry(rd, pc, e, true);
		if (r) {
			cache_put(s->cache, e);
			return r;
		}
		ahead_filled(s, pc);
	} else {
		atomic_fetch_add_explicit(&s->c_cached, 1, memory_order_relaxed);
		ahead_used(e, pc);
	}
	return copy_from(s, e, pc, dst);
}

static void bad_pos(struct reader *rd, const struct piece *pc, struct store_pos *ret)
{
	const struct fent *e = NULL;

	if (!ret)
		return;
	*ret = (struct store_pos){.pack = pc->pack, .frame = pc->frame};
	if (rd->pack && rd->pack->no == pc->pack && rd->table && pc->frame < rd->table->n) {
		e = &rd->table->e[pc->frame];
		ret->offset = e->off;
	}
}

ssize_t store_read(struct store *s, const struct seg *segs, uint32_t nsegs, void *buf, size_t len,
		   uint64_t off, struct store_pos *ret_bad)
{
	struct reader rd = {.s = s};
	uint32_t seg = 0;
	size_t done = 0;
	int r = 0;

	next.len = 0;
	while (done < len) {
		struct piece pc;

		r = piece_at(segs, nsegs, off + done, len - done, &seg, &pc);
		if (r <= 0)
			break;
		r = read_piece(&rd, &pc, (uint8_t *)buf + done);
		if (r) {
			bad_pos(&rd, &pc, ret_bad);
			break;
		}
		done += pc.len;
	}
	reader_done(&rd);
	return r < 0 ? r : (ssize_t)done;
}

/* A pack that is being written may be cut and its numbers used again: nothing of it is decoded
 * without being asked for. */
static bool settled(struct store *s, const struct pack *p)
{
	pthread_mutex_lock(&s->lock);
	bool yes = !p->in_batch && !p->removed;

	pthread_mutex_unlock(&s->lock);
	return yes;
}

void store_read_ahead(struct store *s)
{
	struct piece pc = next;
	struct reader rd = {.s = s};
	const struct fent *fe;
	struct centry *e;
	bool owner;

	next.len = 0;
	/* An empty place at the pack's end, or where a frame was freed, is no error here. */
	if (!pc.len || reader_find(&rd, &pc, &fe) || !settled(s, rd.pack) ||
	    cache_begin(s->cache, pc.pack, pc.frame, &e, &owner)) {
		reader_done(&rd);
		return;
	}
	if (owner && !fill_entry(&rd, &pc, e, false))
		atomic_store(&e->ahead, true);
	cache_put(s->cache, e);
	reader_done(&rd);
}
