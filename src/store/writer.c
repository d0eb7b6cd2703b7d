/* SPDX-License-Identifier: MIT
 * The batch writer: which object goes into which frame of which pack.
 *
 * A frame's number is given out when its first byte has a place: for a large object when the frame
 * is full, for the shared frame of small objects when it is begun. So the shared frame may lie
 * behind frames with higher numbers, and stays open (well filled) while large objects pass by. A
 * pack is only left after its shared frame was written.
 */
#include "store_int.h"
#include "spill/durable.h"

static int sticky(struct store_writer *w, int r)
{
	if (r < 0 && !w->err)
		w->err = r;
	return r;
}

/* Writer thread. w->parts only changes while the pipeline is drained. */
static int sink(void *ctx, const struct job *j)
{
	struct store_writer *w = ctx;

	return part_append_frame(w->parts, j);
}

int store_writer_begin(struct store *s, struct store_writer **ret)
{
	struct store_writer *w;
	bool busy;
	int r;

	if (s->read_only)
		return -EROFS;
	pthread_mutex_lock(&s->lock);
	busy = s->writing;
	s->writing = true;
	pthread_mutex_unlock(&s->lock);
	if (busy)
		return -EBUSY;
	w = calloc(1, sizeof(*w));
	r = w ? pipe_new(&w->pipe, s->opts.threads, s->opts.level, s->seed, sink, w) : -ENOMEM;
	if (r) {
		free(w);
		pthread_mutex_lock(&s->lock);
		s->writing = false;
		pthread_mutex_unlock(&s->lock);
		return r;
	}
	w->s = s;
	*ret = w;
	return 0;
}

static void writer_free(struct store_writer *w)
{
	struct store *s = w->s;

	pipe_free(w->pipe);
	while (w->parts) {
		struct part *p = w->parts;

		w->parts = p->next;
		part_free(p);
	}
	free(w->big.segs);
	free(w);
	atomic_store(&s->batch_bytes, 0);
	pthread_mutex_lock(&s->lock);
	s->writing = false;
	pthread_mutex_unlock(&s->lock);
}

/* ---- placing frames
 * ---------------------------------------------------------------------------------- */
static void close_shared(struct store_writer *w)
{
	if (w->shared)
		pipe_submit(w->pipe, steal_ptr(w->shared));
}

/* Directory and trailer for everything so far in the current pack. */
static int finish_part(struct store_writer *w)
{
	int r;

	close_shared(w);
	r = pipe_drain(w->pipe);
	return r ?: part_finish(w->parts);
}

/* Where the current pack ends at most, once everything on its way is in it. */
static uint64_t expected_end(const struct store_writer *w)
{
	uint64_t shared = w->shared ? FRAME_HDR_LEN + (uint64_t)w->shared->ulen : 0;

	return atomic_load(&w->parts->pos) + pipe_pending(w->pipe) + shared;
}

/* Be in a pack with room for one more frame. */
static int make_room(struct store_writer *w)
{
	uint64_t max = MAX(w->s->opts.pack_bytes, (uint64_t)PACK_HDR_LEN + FRAME_DISK_MAX);
	struct part *p = w->parts, *n;
	int r;

	if (p && expected_end(w) + FRAME_DISK_MAX <= max)
		return 0;
	if (p && p->next_frame == (p->old ? p->old->n : 0) && p->created)
		return 0; /* an empty pack takes at least one */
	if (p) {
		r = finish_part(w);
		if (r)
			return r;
		part_hint(p);
	}
	r = part_open(w->s, p != NULL, &n);
	if (r)
		return r;
	if (p)
		w->done_bytes += atomic_load(&p->pos) - p->begin_len;
	n->next = p;
	w->parts = n;
	return 0;
}

/* A job with its place. */
static int new_frame(struct store_writer *w, struct job **ret)
{
	struct job *j;
	int r = make_room(w);

	if (!r)
		r = pipe_job(w->pipe, &j);
	if (r)
		return r;
	j->pack = w->parts->no;
	j->frame = w->parts->next_frame++;
	*ret = j;
	return 0;
}

static int add_record(struct store_writer *w, const struct object *o)
{
	int r = dir_builder_add(&w->parts->recs, o);

	if (!r && dir_builder_bytes(&w->parts->recs) > DIR_SOFT_BYTES)
		r = finish_part(w);
	return r;
}

/* ---- small objects
 * ---------------------------------------------------------------------------------------- */
static int place_small(struct store_writer *w, const void *data, uint32_t len, struct seg *seg)
{
	struct job *j = w->shared;
	int r;

	if (j && len < FRAME_SIZE && len <= FRAME_SIZE - j->ulen) {
		*seg = (struct seg){0, len, j->pack, j->frame, j->ulen};
		memcpy(j->in + j->ulen, data, len);
		j->ulen += len;
		return 0;
	}
	r = new_frame(w, &j);
	if (r)
		return r;
	*seg = (struct seg){0, len, j->pack, j->frame, 0};
	memcpy(j->in, data, len);
	j->ulen = len;
	if (len == FRAME_SIZE || (w->shared && w->shared->ulen <= len)) {
		pipe_submit(w->pipe, j); /* the one with more room stays open */
	} else {
		close_shared(w);
		w->shared = j;
	}
	return 0;
}

int store_writer_small(struct store_writer *w, const struct object *meta, const void *data,
		       size_t len, struct seg *ret_seg)
{
	struct object o = *meta;
	struct seg seg;
	int r;

	if (w->err)
		return w->err;
	if (len > FRAME_SIZE || len != meta->stream_len)
		return -EINVAL;
	o.segs = &seg;
	o.nsegs = 1;
	if (!dir_fits(&o))
		return -EFBIG;
	if (len) {
		r = place_small(w, data, (uint32_t)len, &seg);
	} else {
		r = w->parts ? 0 : make_room(w);
		if (!r)
			seg = (struct seg){.pack = w->parts->no, .frame = w->parts->next_frame};
		o.nsegs = 0;
	}
	if (!r)
		r = add_record(w, &o);
	if (!r)
		*ret_seg = seg;
	return sticky(w, r);
}

/* ---- large objects
 * -------------------------------------------------------------------------------------------- */
int store_writer_large_begin(struct store_writer *w, struct obj_id id)
{
	if (w->err)
		return w->err;
	if (w->big.open)
		return -EBUSY;
	memset(&w->big, 0, sizeof(w->big));
	w->big.open = true;
	w->big.id = id;
	return 0;
}

/* Append a frame to the segments: most often the last one just grows. */
static int add_seg(struct store_writer *w, const struct job *j)
{
	struct seg *g = w->big.nsegs ? &w->big.segs[w->big.nsegs - 1] : NULL;

	if (g && g->pack == j->pack && g->len % FRAME_SIZE == 0 &&
	    g->frame + g->len / FRAME_SIZE == j->frame) {
		g->len += j->ulen;
		return 0;
	}
	if (w->big.nsegs == w->big.cap) {
		uint32_t cap = w->big.cap ? w->big.cap * 2 : 4;
		struct seg *a = realloc(w->big.segs, cap * sizeof(*a));

		if (!a)
			return -ENOMEM;
		w->big.segs = a;
		w->big.cap = cap;
	}
	w->big.segs[w->big.nsegs++] =
		(struct seg){w->big.len - j->ulen, j->ulen, j->pack, j->frame, 0};
	return 0;
}

/* The frame is complete: now it gets its number. */
static int submit_large(struct store_writer *w)
{
	int r = make_room(w);

	if (r)
		return r;
	w->large->pack = w->parts->no;
	w->large->frame = w->parts->next_frame;
	r = add_seg(w, w->large);
	if (r)
		return r;
	w->parts->next_frame++;
	pipe_submit(w->pipe, steal_ptr(w->large));
	return 0;
}

int store_writer_large_data(struct store_writer *w, const void *data, size_t len)
{
	int r = w->err;

	if (!r && !w->big.open)
		return -EINVAL;
	while (!r && len) {
		size_t n;

		if (!w->large) {
			r = pipe_job(w->pipe, &w->large);
			if (r)
				break;
		}
		n = MIN(len, (size_t)(FRAME_SIZE - w->large->ulen));
		memcpy(w->large->in + w->large->ulen, data, n);
		w->large->ulen += (uint32_t)n;
		w->big.len += n;
		data = (const uint8_t *)data + n;
		len -= n;
		if (w->large->ulen == FRAME_SIZE)
			r = submit_large(w);
	}
	return sticky(w, r);
}

int store_writer_large_drop(struct store_writer *w)
{
	if (w->large)
		pipe_return(w->pipe, steal_ptr(w->large));
	free(w->big.segs);
	memset(&w->big, 0, sizeof(w->big));
	return w->err;
}

int store_writer_large_end(struct store_writer *w, struct object *meta)
{
	struct object o = *meta;
	int r = w->err;

	if (r)
		return r;
	if (!w->big.open || w->big.len != meta->stream_len || w->big.id.v != meta->id.v)
		return -EINVAL;
	if (w->large)
		r = submit_large(w);
	if (!r && !w->parts) /* an empty stream, the first thing in the batch */
		r = make_room(w);
	o.segs = w->big.segs;
	o.nsegs = w->big.nsegs;
	if (!r && !dir_fits(&o)) {
		store_writer_large_drop(w);
		return -EFBIG;
	}
	if (!r)
		r = add_record(w, &o);
	if (r)
		return sticky(w, r);
	meta->segs = steal_ptr(w->big.segs);
	meta->nsegs = w->big.nsegs;
	memset(&w->big, 0, sizeof(w->big));
	return 0;
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------------
 */
uint64_t store_writer_bytes(const struct store_writer *w)
{
	const struct part *p = w->parts;

	return w->done_bytes + (p ? atomic_load(&p->pos) - p->begin_len : 0);
}

/* Everything on disk, then the names of new packs. */
static int sync_parts(struct store_writer *w)
{
	bool created = false;
	int r = 0;

	for (struct part *p = w->parts; p && !r; p = p->next) {
		r = part_sync(p);
		created |= p->created;
	}
	return r || !created ? r : d_fsync(w->s->packsfd);
}

int store_writer_commit(struct store_writer *w, struct pack_len **ret_lens, size_t *ret_n,
			uint64_t *ret_bytes)
{
	struct pack_len *lens;
	size_t n = 0, i;
	int r = w->err;

	if (r)
		return r;
	if (w->big.open)
		return -EINVAL;
	if (w->parts)
		r = finish_part(w);
	if (!r)
		r = sync_parts(w);
	if (r)
		return sticky(w, r == -EDQUOT ? -ENOSPC : r);
	for (struct part *p = w->parts; p; p = p->next)
		n++;
	lens = calloc(n ? n : 1, sizeof(*lens));
	if (!lens)
		return sticky(w, -ENOMEM);
	i = n;
	for (struct part *p = w->parts; p; p = p->next) {
		lens[--i] = (struct pack_len){p->no, atomic_load(&p->pos), p->next_frame};
		part_publish(p);
	}
	if (ret_bytes)
		*ret_bytes = store_writer_bytes(w);
	writer_free(w);
	*ret_lens = lens;
	*ret_n = n;
	return 0;
}

void store_writer_abort(struct store_writer *w)
{
	/* No thread may write behind the cut. */
	pipe_free(steal_ptr(w->pipe));
	for (struct part *p = w->parts; p; p = p->next)
		part_undo(p);
	writer_free(w);
}
