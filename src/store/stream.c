/* SPDX-License-Identifier: MIT
 * store_stream: a stored stream from its first byte to its last, always from the pack files. Long
 * streams are decoded ahead by threads of their own; the sink runs in the caller's thread, in
 * order.
 *
 * Small objects share a frame, and whoever verifies a batch asks for the same frame thirty times:
 * the last frame decoded here is remembered, for MEMO_NS at most, as it was read from the file.
 */
#include "store_int.h"

#define MEMO_NS        (2 * UINT64_C(1000000000))
#define LONG_FRAMES    16u /* shorter streams are not worth a thread */
#define STREAM_THREADS 8u

static uint64_t stream_len(const struct seg *segs, uint32_t nsegs)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < nsegs; i++)
		n += segs[i].len;
	return n;
}

static bool memo_get(struct store *s, const struct piece *pc, uint8_t *dst, uint32_t *ret_ulen)
{
	struct memo *m = &s->memo;
	bool hit;

	pthread_mutex_lock(&s->pool_lock);
	hit = m->data && m->t_ns && m->pack == pc->pack && m->frame == pc->frame &&
	      clock_mono_ns() - m->t_ns < MEMO_NS;
	if (hit) {
		memcpy(dst, m->data, m->ulen);
		*ret_ulen = m->ulen;
	}
	pthread_mutex_unlock(&s->pool_lock);
	return hit;
}

static void memo_set(struct store *s, const struct piece *pc, const uint8_t *src, uint32_t ulen,
		     uint64_t t_ns)
{
	struct memo *m = &s->memo;

	pthread_mutex_lock(&s->pool_lock);
	if (!m->data)
		m->data = malloc(FRAME_SIZE);
	if (m->data) {
		memcpy(m->data, src, ulen);
		m->pack = pc->pack;
		m->frame = pc->frame;
		m->ulen = ulen;
		m->t_ns = t_ns;
	}
	pthread_mutex_unlock(&s->pool_lock);
}

/* Decode the whole frame of a piece into plain[FRAME_SIZE] and check that the piece lies inside. */
static int load_piece(struct store *s, const struct piece *pc, struct scratch *sc, uint8_t *plain,
		      struct store_pos *pos)
{
	uint64_t t_ns = clock_mono_ns();
	struct ptable *t = NULL;
	struct pack *p = NULL;
	uint32_t ulen = 0;
	int r = 0;

	*pos = (struct store_pos){.pack = pc->pack, .frame = pc->frame};
	if (pc->len == FRAME_SIZE || !memo_get(s, pc, plain, &ulen)) {
		r = pack_get(s, pc->pack, &p);
		if (r)
			return r;
		r = pack_table(s, p, &t);
		if (!r && (pc->frame >= t->n || t->e[pc->frame].off == 0))
			r = -EUCLEAN;
		if (!r) {
			ulen = t->e[pc->frame].ulen;
			pos->offset = t->e[pc->frame].off;
			r = frame_read(s, p, pc->frame, &t->e[pc->frame], sc, plain, true);
		}
		if (!r && pc->len < ulen)
			memo_set(s, pc, plain, ulen, t_ns);
		ptable_unref(t);
		pack_put(s, p);
	}
	if (!r && (pc->off > ulen || pc->len > ulen - pc->off))
		r = -EUCLEAN;
	return r;
}

static int stream_short(struct store *s, const struct seg *segs, uint32_t nsegs, store_sink_fn fn,
			void *ctx, struct store_pos *pos)
{
	struct scratch *sc;
	struct piece pc;
	uint64_t off = 0;
	uint32_t seg = 0;
	int r = scratch_get(s, &sc);

	if (r)
		return r;
	while ((r = piece_at(segs, nsegs, off, FRAME_SIZE, &seg, &pc)) > 0) {
		r = load_piece(s, &pc, sc, sc->plain, pos);
		if (!r)
			r = fn(ctx, sc->plain + pc.off, pc.len, off);
		if (r)
			break;
		off += pc.len;
	}
	scratch_put(s, sc);
	return r;
}

/* ---- long streams: a ring of slots, filled by threads, emptied in order
 * ---------------------------- */
struct slot {
	struct scratch *sc;
	struct piece pc;
	struct store_pos pos;
	int err;
	bool done;
};

struct ahead {
	struct store *s;
	const struct seg *segs;
	uint32_t nsegs;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock: where the next piece begins, how many were claimed and consumed */
	uint64_t off;
	uint32_t seg;
	uint64_t claimed, consumed;
	bool end, stop;
	unsigned nslots;
	struct slot slot[2 * STREAM_THREADS + 2];
};

static void *ahead_main(void *arg)
{
	struct ahead *a = arg;

	pthread_mutex_lock(&a->lock);
	for (;;) {
		struct slot *sl;
		int r;

		while (!a->stop && !a->end && a->claimed - a->consumed >= a->nslots)
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->stop || a->end)
			break;
		sl = &a->slot[a->claimed % a->nslots];
		sl->done = false;
		r = piece_at(a->segs, a->nsegs, a->off, FRAME_SIZE, &a->seg, &sl->pc);
		if (r <= 0) {
			a->end = true;
			if (r == 0)
				break;
			sl->err = r;
			sl->done = true;
			a->claimed++;
			break;
		}
		a->claimed++;
		a->off += sl->pc.len;
		pthread_mutex_unlock(&a->lock);
		r = load_piece(a->s, &sl->pc, sl->sc, sl->sc->plain, &sl->pos);
		pthread_mutex_lock(&a->lock);
		sl->err = r;
		sl->done = true;
		pthread_cond_broadcast(&a->changed);
	}
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static int consume(struct ahead *a, store_sink_fn fn, void *ctx, struct store_pos *pos)
{
	uint64_t off = 0;
	int r = 0;

	pthread_mutex_lock(&a->lock);
	while (!r) {
		struct slot *sl = &a->slot[a->consumed % a->nslots];

		while (!(a->end && a->consumed == a->claimed) &&
		       !(a->consumed < a->claimed && sl->done))
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->consumed == a->claimed)
			break;
		pthread_mutex_unlock(&a->lock);
		*pos = sl->pos;
		r = sl->err ?: fn(ctx, sl->sc->plain + sl->pc.off, sl->pc.len, off);
		off += sl->pc.len;
		pthread_mutex_lock(&a->lock);
		a->consumed++;
		pthread_cond_broadcast(&a->changed);
	}
	a->stop = true;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	return r;
}

static int stream_long(struct store *s, const struct seg *segs, uint32_t nsegs, unsigned threads,
		       store_sink_fn fn, void *ctx, struct store_pos *pos)
{
	struct ahead a = {.s = s, .segs = segs, .nsegs = nsegs};
	pthread_t tid[STREAM_THREADS];
	unsigned n = 0;
	int r = 0;

	while (a.nslots < 2 * threads + 2) {
		r = scratch_get(s, &a.slot[a.nslots].sc);
		if (r)
			break;
		a.nslots++;
	}
	pthread_mutex_init(&a.lock, NULL);
	pthread_cond_init(&a.changed, NULL);
	while (!r && n < threads) {
		r = thread_start(&tid[n], "spill-decode", ahead_main, &a);
		if (!r)
			n++;
	}
	if (n) /* fewer threads than wished do too */
		r = consume(&a, fn, ctx, pos);
	for (unsigned i = 0; i < n; i++)
		pthread_join(tid[i], NULL);
	while (a.nslots)
		scratch_put(s, a.slot[--a.nslots].sc);
	pthread_mutex_destroy(&a.lock);
	pthread_cond_destroy(&a.changed);
	return r;
}

int store_stream(struct store *s, const struct seg *segs, uint32_t nsegs, store_sink_fn fn,
		 void *ctx, struct store_pos *ret_bad)
{
	uint64_t frames = stream_len(segs, nsegs) / FRAME_SIZE;
	unsigned threads = MIN(s->opts.threads, STREAM_THREADS);
	struct store_pos pos = {0};
	int r;

	if (frames >= LONG_FRAMES && threads > 1)
		r = stream_long(s, segs, nsegs, threads, fn, ctx, &pos);
	else
		r = stream_short(s, segs, nsegs, fn, ctx, &pos);
	if (r && ret_bad)
		*ret_bad = pos;
	return r;
}
