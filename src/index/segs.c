/* SPDX-License-Identifier: MIT
 * An object's segments and ranges, as rows and back, and the rules they obey. The rules are checked
 * both ways: what comes in must not break them, and what a damaged page yields must not get out.
 */
#include "index_int.h"

#define RANGE_LEN 16
#define OBJ_PACK  5 /* first column of the inline segment: pack, frame, off */

static bool segs_valid(const struct object *o)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < o->nsegs; i++) {
		const struct seg *s = &o->segs[i];

		if (s->stream_off != at || s->len == 0 || s->len > o->stream_len - at ||
		    s->off >= FRAME_SIZE)
			return false;
		at += s->len;
	}
	return at == o->stream_len;
}

static bool ranges_valid(const struct object *o)
{
	uint64_t end = 0, sum = 0;

	if (o->nranges == 0)
		return o->stream_len == o->size || o->stream_len == 0;
	for (uint32_t i = 0; i < o->nranges; i++) {
		const struct range *g = &o->ranges[i];

		if (g->len == 0 || g->off > o->size || g->len > o->size - g->off ||
		    (i > 0 && g->off <= end))
			return false;
		end = g->off + g->len;
		sum += g->len;
	}
	return sum == o->stream_len;
}

bool ix_object_valid(const struct object *o)
{
	return o->id.v > 0 && o->id.v <= INT64_MAX && o->size <= INT64_MAX &&
	       o->stream_len <= o->size && segs_valid(o) && ranges_valid(o);
}

/* The one segment of a usual object, out of its own row. */
static int load_inline(sqlite3_stmt *row, struct object *o)
{
	struct seg *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	o->segs = s;
	o->nsegs = 1;
	s->len = o->stream_len;
	r = ix_col_u32(row, OBJ_PACK, &s->pack);
	if (r == 0)
		r = ix_col_u32(row, OBJ_PACK + 1, &s->frame);
	if (r == 0)
		r = ix_col_u32(row, OBJ_PACK + 2, &s->off);
	return r;
}

static int load_seg(sqlite3_stmt *st, uint64_t at, struct seg *s)
{
	int r = ix_col_u64(st, 0, &s->len);

	s->stream_off = at;
	if (r == 0)
		r = ix_col_u32(st, 1, &s->pack);
	if (r == 0)
		r = ix_col_u32(st, 2, &s->frame);
	if (r == 0)
		r = ix_col_u32(st, 3, &s->off);
	return r;
}

/* row must still be stepped: while it is, both statements see the same snapshot. */
int ix_segs_load(struct ix_conn *c, sqlite3_stmt *row, struct object *o)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	uint32_t cap = 0;
	uint64_t at = 0;
	int r;

	if (sqlite3_column_type(row, OBJ_PACK) != SQLITE_NULL)
		return load_inline(row, o);
	r = ix_stmt(c, SQL_SEG_GET, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)o->id.v);
	while ((r = ix_step(c, st)) == 1) {
		if (o->nsegs == cap) {
			struct seg *p;

			if (cap > UINT32_MAX / 2)
				return -EUCLEAN;
			cap = cap ? cap * 2 : 4;
			p = reallocarray(o->segs, cap, sizeof(*p));
			if (!p)
				return -ENOMEM;
			o->segs = p;
		}
		r = load_seg(st, at, &o->segs[o->nsegs]);
		if (r < 0)
			return r;
		at += o->segs[o->nsegs++].len;
	}
	return r;
}

int ix_segs_store(struct index *ix, const struct object *o)
{
	if (o->nsegs < 2)
		return 0;
	for (uint32_t i = 0; i < o->nsegs; i++) {
		sqlite3_stmt *st;
		int r = ix_wstmt(ix, SQL_SEG_PUT, &st);

		if (r < 0)
			return r;
		sqlite3_bind_int64(st, 1, (int64_t)o->id.v);
		sqlite3_bind_int64(st, 2, i);
		sqlite3_bind_int64(st, 3, (int64_t)o->segs[i].len);
		sqlite3_bind_int64(st, 4, o->segs[i].pack);
		sqlite3_bind_int64(st, 5, o->segs[i].frame);
		sqlite3_bind_int64(st, 6, o->segs[i].off);
		r = ix_wrun(ix, st, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int ix_ranges_load(sqlite3_stmt *row, int col, struct object *o)
{
	const uint8_t *p;
	size_t n;

	if (sqlite3_column_type(row, col) == SQLITE_NULL)
		return 0;
	p = sqlite3_column_blob(row, col);
	n = (size_t)sqlite3_column_bytes(row, col);
	if (!p || n == 0 || n % RANGE_LEN)
		return -EUCLEAN;
	n /= RANGE_LEN;
	o->ranges = calloc(n, sizeof(*o->ranges));
	if (!o->ranges)
		return -ENOMEM;
	o->nranges = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		o->ranges[i].off = get_le64(p + i * RANGE_LEN);
		o->ranges[i].len = get_le64(p + i * RANGE_LEN + 8);
	}
	return 0;
}

int ix_ranges_pack(const struct object *o, uint8_t **ret, size_t *ret_len)
{
	size_t n = o->nranges;
	uint8_t *p;

	*ret = NULL;
	*ret_len = 0;
	if (n == 0)
		return 0;
	p = reallocarray(NULL, n, RANGE_LEN);
	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		put_le64(p + i * RANGE_LEN, o->ranges[i].off);
		put_le64(p + i * RANGE_LEN + 8, o->ranges[i].len);
	}
	*ret = p;
	*ret_len = n * RANGE_LEN;
	return 0;
}
