/* SPDX-License-Identifier: MIT
 * The payload of a directory frame: the frame table of a part of the pack, and one record per
 * object completed there. From these alone the index can be rebuilt. Byte map: FORMAT.md.
 *
 * The parser believes nothing: every count is checked against the bytes that are left, every
 * sum against overflow, and an object is only reported when its ranges and segments are consistent.
 */
#include "store_int.h"

#define OBJ_SPARSE 1u /* low bit of an object's first number */
#define RECORD_MAX (DIR_MAX_ULEN / 2)

void dir_builder_init(struct dir_builder *b, uint32_t pack)
{
	*b = (struct dir_builder){.pack = pack};
}

void dir_builder_free(struct dir_builder *b)
{
	buf_free(&b->recs);
	buf_free(&b->shas);
}

size_t dir_builder_bytes(const struct dir_builder *b)
{
	return b->recs.len + b->shas.len;
}

static void put_ranges(struct buf *r, const struct object *o)
{
	uint64_t end = 0;

	buf_put_uv(r, o->size);
	buf_put_uv(r, o->nranges);
	for (uint32_t i = 0; i < o->nranges; i++) {
		buf_put_uv(r, o->ranges[i].off - end);
		buf_put_uv(r, o->ranges[i].len);
		end = o->ranges[i].off + o->ranges[i].len;
	}
}

/* Small objects lie one behind the other, so that most of these numbers are 0. */
static void put_segs(struct dir_builder *b, const struct object *o)
{
	for (uint32_t i = 0; i < o->nsegs; i++) {
		const struct seg *g = &o->segs[i];
		uint32_t expect = g->frame == b->prev_frame ? b->prev_end : 0;

		buf_put_sv(&b->recs, (int64_t)g->pack - b->pack);
		buf_put_sv(&b->recs, (int64_t)g->frame - b->prev_frame);
		buf_put_sv(&b->recs, (int64_t)g->off - expect);
		if (i + 1 < o->nsegs) /* the last one takes the rest of the stream */
			buf_put_uv(&b->recs, g->len);
		b->prev_frame = g->frame + (uint32_t)((g->off + g->len) / FRAME_SIZE);
		b->prev_end = (uint32_t)((g->off + g->len) % FRAME_SIZE);
	}
}

bool dir_fits(const struct object *o)
{
	return (uint64_t)o->nranges * 20 + (uint64_t)o->nsegs * 26 <= RECORD_MAX;
}

int dir_builder_add(struct dir_builder *b, const struct object *o)
{
	bool sparse = o->nranges || o->stream_len != o->size;
	uint32_t nsegs = o->stream_len ? o->nsegs : 0;

	if (!dir_fits(o))
		return -EFBIG;
	buf_put_sv(&b->recs, (int64_t)(o->id.v - b->prev_id));
	buf_put_uv(&b->recs, (uint64_t)nsegs << 1 | (sparse ? OBJ_SPARSE : 0));
	buf_put_uv(&b->recs, o->stream_len);
	if (sparse)
		put_ranges(&b->recs, o);
	if (nsegs)
		put_segs(b, o);
	buf_put(&b->shas, o->sha, sizeof(o->sha));
	b->prev_id = o->id.v;
	b->nobjects++;
	return b->recs.failed || b->shas.failed ? -ENOMEM : 0;
}

int dir_builder_finish(struct dir_builder *b, bool full, uint64_t prev_dir,
		       const struct fpos *frames, size_t n, struct buf *ret)
{
	struct buf out = {0};
	uint64_t pos = PACK_HDR_LEN;
	uint32_t expect = 0;

	buf_put_uv(&out, full);
	buf_put_uv(&out, prev_dir);
	buf_put_uv(&out, n);
	for (size_t i = 0; i < n; i++) {
		const struct fpos *f = &frames[i];

		buf_put_uv(&out, f->e.off - pos);
		buf_put_sv(&out, (int64_t)f->frame - expect);
		buf_put_uv(&out, f->e.clen);
		buf_put_uv(&out, f->e.ulen == FRAME_SIZE ? 0 : f->e.ulen);
		pos = f->e.off + FRAME_HDR_LEN + f->e.clen;
		expect = f->frame + 1;
	}
	buf_put_uv(&out, b->nobjects);
	buf_put(&out, b->recs.p, b->recs.len);
	buf_put(&out, b->shas.p, b->shas.len);
	if (out.failed || b->recs.failed || b->shas.failed) {
		buf_free(&out);
		return -ENOMEM;
	}
	dir_builder_free(b);
	dir_builder_init(b, b->pack);
	*ret = out;
	return 0;
}

/* ---- parsing
 * -------------------------------------------------------------------------------------- */
struct parse {
	struct cur c;
	uint32_t pack;
	uint64_t id;
	uint32_t prev_frame, prev_end;
};

static int parse_frames(struct parse *p, uint64_t self_off, const struct dir_cb *cb)
{
	uint64_t n = cur_uv(&p->c), pos = PACK_HDR_LEN;
	int64_t expect = 0;

	if (n > cur_left(&p->c) / 4)
		return -EUCLEAN;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t gap = cur_uv(&p->c);
		int64_t frame = cur_sv(&p->c);
		uint64_t clen = cur_uv(&p->c), ulen = cur_uv(&p->c);
		struct fpos f;
		int r;

		if (ulen == 0)
			ulen = FRAME_SIZE;
		if (p->c.bad || gap > self_off || clen == 0 || ulen > FRAME_SIZE || clen > ulen ||
		    __builtin_add_overflow(frame, expect, &frame) || frame < 0 ||
		    frame >= UINT32_MAX)
			return -EUCLEAN;
		f = (struct fpos){(uint32_t)frame, {pos + gap, (uint32_t)clen, (uint32_t)ulen}};
		pos += gap + FRAME_HDR_LEN + clen;
		expect = frame + 1;
		if (pos > self_off)
			return -EUCLEAN;
		r = cb->frame ? cb->frame(cb->ctx, &f) : 0;
		if (r)
			return r;
	}
	return 0;
}

static int parse_ranges(struct parse *p, struct object *o)
{
	uint64_t end = 0, sum = 0, n;

	o->size = cur_uv(&p->c);
	n = cur_uv(&p->c);
	if (p->c.bad || n > cur_left(&p->c) / 2 || o->size > INT64_MAX)
		return -EUCLEAN;
	o->nranges = (uint32_t)n;
	o->ranges = n ? calloc(n, sizeof(*o->ranges)) : NULL;
	if (n && !o->ranges)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t gap = cur_uv(&p->c), len = cur_uv(&p->c), off;

		if (p->c.bad || len == 0 || (i && gap == 0) ||
		    __builtin_add_overflow(end, gap, &off) ||
		    __builtin_add_overflow(off, len, &end) || end > o->size)
			return -EUCLEAN;
		o->ranges[i] = (struct range){off, len};
		sum += len; /* disjoint and inside size: cannot overflow */
	}
	return sum == o->stream_len ? 0 : -EUCLEAN;
}

static int parse_segs(struct parse *p, struct object *o, uint64_t n)
{
	uint64_t pos = 0;

	if (p->c.bad || n > cur_left(&p->c) / 3 || (n == 0) != (o->stream_len == 0))
		return -EUCLEAN;
	o->nsegs = (uint32_t)n;
	o->segs = n ? calloc(n, sizeof(*o->segs)) : NULL;
	if (n && !o->segs)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		int64_t pack = cur_sv(&p->c), frame = cur_sv(&p->c), off = cur_sv(&p->c);
		uint64_t len = i + 1 < n ? cur_uv(&p->c) : o->stream_len - pos, last;

		if (p->c.bad || __builtin_add_overflow(pack, p->pack, &pack) || pack < 0 ||
		    pack > UINT32_MAX || __builtin_add_overflow(frame, p->prev_frame, &frame) ||
		    frame < 0 || frame >= UINT32_MAX || len == 0 || len > o->stream_len - pos)
			return -EUCLEAN;
		if (__builtin_add_overflow(off, frame == p->prev_frame ? p->prev_end : 0, &off) ||
		    off < 0 || off >= FRAME_SIZE)
			return -EUCLEAN;
		last = (uint64_t)frame + ((uint64_t)off + len) / FRAME_SIZE;
		if (last >= UINT32_MAX)
			return -EUCLEAN;
		o->segs[i] = (struct seg){pos, len, (uint32_t)pack, (uint32_t)frame, (uint32_t)off};
		p->prev_frame = (uint32_t)last;
		p->prev_end = (uint32_t)(((uint64_t)off + len) % FRAME_SIZE);
		pos += len;
	}
	return pos == o->stream_len ? 0 : -EUCLEAN;
}

static int parse_object(struct parse *p, struct object *o)
{
	uint64_t head, id = p->id + (uint64_t)cur_sv(&p->c);
	int r = 0;

	p->id = id;
	o->id.v = id;
	head = cur_uv(&p->c);
	o->stream_len = cur_uv(&p->c);
	o->size = o->stream_len;
	if (p->c.bad || o->stream_len > INT64_MAX)
		return -EUCLEAN;
	if (head & OBJ_SPARSE)
		r = parse_ranges(p, o);
	return r ?: parse_segs(p, o, head >> 1);
}

static int parse_objects(struct parse *p, const struct dir_cb *cb)
{
	uint64_t n = cur_uv(&p->c);
	const uint8_t *sha;

	if (p->c.bad || n > cur_left(&p->c) / 35)
		return -EUCLEAN;
	p->c.end -= n * 32;
	sha = p->c.end;
	for (uint64_t i = 0; i < n; i++, sha += 32) {
		struct object o = {0};
		int r = parse_object(p, &o);

		memcpy(o.sha, sha, 32);
		if (!r && cb->object)
			r = cb->object(cb->ctx, &o);
		free(o.segs);
		free(o.ranges);
		if (r)
			return r;
	}
	return cur_left(&p->c) ? -EUCLEAN : 0;
}

int dir_parse(const uint8_t *buf, size_t len, uint32_t pack, uint64_t self_off,
	      const struct dir_cb *cb, struct dir_info *ret)
{
	struct parse p = {.c = {.p = buf, .end = buf + len}, .pack = pack};
	uint64_t flags = cur_uv(&p.c), prev = cur_uv(&p.c);
	int r;

	if (p.c.bad || flags > 1 || (prev && (prev < PACK_HDR_LEN || prev >= self_off)))
		return -EUCLEAN;
	*ret = (struct dir_info){.full = flags & 1, .prev = prev};
	r = parse_frames(&p, self_off, cb);
	return r ?: parse_objects(&p, cb);
}

int dir_unpack(const uint8_t *b, const struct frame_hdr *h, uint8_t **ret)
{
	cleanup_free uint8_t *p = malloc(h->ulen);

	if (!p)
		return -ENOMEM;
	if (h->type == FRAME_DIR_RAW)
		memcpy(p, b + FRAME_HDR_LEN, h->ulen);
	else if (ZSTD_decompress(p, h->ulen, b + FRAME_HDR_LEN, h->clen) != h->ulen)
		return -EUCLEAN;
	*ret = steal_ptr(p);
	return 0;
}
