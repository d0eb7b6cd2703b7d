/* SPDX-License-Identifier: MIT
 * Objects: put, get, find by content, count references, delete. Every change keeps the live bytes
 * of the packs in step (packs.c).
 */
#include "index_int.h"

static int64_t hash_part(const uint8_t *sha, int part)
{
	uint64_t v = 0;

	/* Big-endian, so that h0's upper half is the first four bytes as one reads them. */
	for (int i = 0; i < 8; i++)
		v = v << 8 | sha[part * 8 + i];
	return (int64_t)v;
}

static void hash_unpack(uint8_t *sha, int part, int64_t h)
{
	uint64_t v = (uint64_t)h;

	for (int i = 7; i >= 0; i--, v >>= 8)
		sha[part * 8 + i] = (uint8_t)v;
}

void object_free(struct object *o)
{
	if (!o)
		return;
	free(o->segs);
	free(o->ranges);
	free(o);
}

static void object_freep(struct object **o)
{
	object_free(*o);
}

/* SQLite keeps no checksums, and a frame's own says nothing about whose bytes they are: a wrong
 * number here would serve another file's data. */
static uint32_t object_sum(const struct object *o)
{
	uint8_t head[8 * 3 + 16];
	uint64_t h;

	put_le64(head, o->id.v);
	put_le64(head + 8, o->size);
	put_le64(head + 16, o->stream_len);
	memcpy(head + 24, o->sha, 16);
	h = hash64(head, sizeof(head));
	for (uint32_t i = 0; i < o->nsegs; i++) {
		const struct seg *g = &o->segs[i];
		uint8_t b[8 * 6];

		put_le64(b, h);
		put_le64(b + 8, g->stream_off);
		put_le64(b + 16, g->len);
		put_le64(b + 24, g->pack);
		put_le64(b + 32, g->frame);
		put_le64(b + 40, g->off);
		h = hash64(b, sizeof(b));
	}
	for (uint32_t i = 0; i < o->nranges; i++) {
		uint8_t b[8 * 3];

		put_le64(b, h);
		put_le64(b + 8, o->ranges[i].off);
		put_le64(b + 16, o->ranges[i].len);
		h = hash64(b, sizeof(b));
	}
	return (uint32_t)(h ^ h >> 32);
}

static bool sum_fits(sqlite3_stmt *st, const struct object *o)
{
	return sqlite3_column_type(st, 10) == SQLITE_NULL ||
	       sqlite3_column_int64(st, 10) == (int64_t)object_sum(o);
}

int ix_object_load(struct ix_conn *c, sqlite3_stmt *st, struct object **ret)
{
	cleanup_(object_freep) struct object *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	hash_unpack(o->sha, 0, sqlite3_column_int64(st, 1));
	hash_unpack(o->sha, 1, sqlite3_column_int64(st, 2));
	r = ix_col_u64(st, 0, &o->id.v);
	if (r == 0)
		r = ix_col_u64(st, 3, &o->size);
	if (r == 0)
		r = ix_col_u32(st, 4, &o->refs);
	if (r == 0) {
		o->stream_len = o->size;
		if (sqlite3_column_type(st, 8) != SQLITE_NULL)
			r = ix_col_u64(st, 8, &o->stream_len);
	}
	if (r == 0)
		r = ix_segs_load(c, st, o);
	if (r == 0)
		r = ix_ranges_load(st, 9, o);
	if (r < 0)
		return r;
	if (!ix_object_valid(o) || !sum_fits(st, o))
		return -EUCLEAN;
	*ret = steal_ptr(o);
	return 0;
}

static int object_get(struct ix_conn *c, struct obj_id id, struct object **ret)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int r = ix_stmt(c, SQL_OBJ_GET, &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)id.v);
	r = ix_step(c, st);
	return r == 1 ? ix_object_load(c, st, ret) : r < 0 ? r : -ENOENT;
}

int index_object_get(struct index *ix, struct obj_id id, struct object **ret)
{
	struct ix_conn *c = ix_conn_get(ix);
	int r = object_get(c, id, ret);

	ix_conn_put(ix, c);
	return r;
}

int index_object_find(struct index *ix, const uint8_t sha[32], uint64_t size, uint64_t stream_len,
		      struct obj_id *ret)
{
	struct ix_conn *c = ix_conn_get(ix);
	sqlite3_stmt *st;
	int r = ix_stmt(c, SQL_OBJ_FIND, &st);

	if (r == 0) {
		sqlite3_bind_int64(st, 1, hash_part(sha, 0));
		sqlite3_bind_int64(st, 2, hash_part(sha, 1));
		sqlite3_bind_int64(st, 3, (int64_t)size);
		sqlite3_bind_int64(st, 4, (int64_t)stream_len);
		r = ix_step(c, st);
		if (r == 1)
			r = ix_col_u64(st, 0, &ret->v);
		else if (r == 0)
			r = -ENOENT;
		ix_reset(st);
	}
	ix_conn_put(ix, c);
	return r;
}

bool index_object_size_known(struct index *ix, uint64_t size)
{
	struct ix_conn *c;
	sqlite3_stmt *st;
	bool known;

	if (size < (uint64_t)IX_LARGE || size > INT64_MAX)
		return false;
	c = ix_conn_get(ix);
	known = ix_stmt(c, SQL_OBJ_LARGE, &st) == 0;
	if (known) {
		sqlite3_bind_int64(st, 1, (int64_t)size);
		known = ix_step(c, st) == 1; /* a damaged index only costs a chance to dedup */
		ix_reset(st);
	}
	ix_conn_put(ix, c);
	return known;
}

static int account_live(struct index *ix, const struct object *o, int sign)
{
	for (uint32_t i = 0; i < o->nsegs; i++) {
		int r = ix_live_add(ix, o->segs[i].pack, sign * (int64_t)o->segs[i].len);

		if (r < 0)
			return r;
	}
	return 0;
}

int index_object_put(struct index *ix, const struct object *o)
{
	cleanup_free uint8_t *ranges = NULL;
	size_t ranges_len;
	sqlite3_stmt *st;
	int r;

	if (!ix_object_valid(o) || o->id.v == INT64_MAX)
		return -EINVAL;
	r = ix_ranges_pack(o, &ranges, &ranges_len);
	if (r == 0)
		r = ix_wstmt(ix, SQL_OBJ_PUT, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)o->id.v);
	sqlite3_bind_int64(st, 2, hash_part(o->sha, 0));
	sqlite3_bind_int64(st, 3, hash_part(o->sha, 1));
	sqlite3_bind_int64(st, 4, (int64_t)o->size);
	sqlite3_bind_int64(st, 5, o->refs);
	if (o->nsegs == 1) {
		sqlite3_bind_int64(st, 6, o->segs[0].pack);
		sqlite3_bind_int64(st, 7, o->segs[0].frame);
		sqlite3_bind_int64(st, 8, o->segs[0].off);
	}
	if (o->stream_len != o->size)
		sqlite3_bind_int64(st, 9, (int64_t)o->stream_len);
	if (ranges)
		sqlite3_bind_blob64(st, 10, ranges, ranges_len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 11, object_sum(o));
	r = ix_wrun(ix, st, NULL);
	if (r < 0)
		return r;
	r = ix_segs_store(ix, o);
	if (r == 0)
		r = account_live(ix, o, 1);
	if (r < 0) /* segments of an object that was not there: damage */
		return ix_txn_fail(ix, r == -EEXIST ? -EUCLEAN : r);
	ix->txn.objects++;
	if (o->id.v >= ix->txn.next_obj) { /* a rebuild brings its own ids */
		ix->txn.next_obj = o->id.v + 1;
		ix->txn.next_obj_dirty = true;
	}
	return 0;
}

int64_t index_object_ref(struct index *ix, struct obj_id id, int delta)
{
	sqlite3_stmt *st;
	uint32_t refs;
	int64_t v;
	int r = ix_wstmt(ix, SQL_OBJ_REFS, &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)id.v);
	r = ix_wstep(ix, st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = ix_col_u32(st, 0, &refs);
	ix_reset(st);
	if (r < 0)
		return r;
	v = (int64_t)refs + delta;
	if (v < 0 || v > UINT32_MAX)
		return -EUCLEAN; /* somebody miscounted; check finds out who */
	r = ix_wstmt(ix, SQL_OBJ_SET_REFS, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)id.v);
	sqlite3_bind_int64(st, 2, v);
	r = ix_wrun(ix, st, NULL);
	return r < 0 ? r : v;
}

int index_object_delete(struct index *ix, struct obj_id id)
{
	cleanup_(object_freep) struct object *o = NULL;
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_OBJ_DEL, &st);

	if (r == 0)
		r = object_get(&ix->w, id, &o);
	if (r < 0)
		return r;
	if (o->refs)
		return -EBUSY;
	sqlite3_bind_int64(st, 1, (int64_t)id.v);
	r = ix_wrun(ix, st, NULL);
	if (r == 0 && o->nsegs > 1) {
		r = ix_wstmt(ix, SQL_SEG_DEL, &st);
		if (r == 0) {
			sqlite3_bind_int64(st, 1, (int64_t)id.v);
			r = ix_wrun(ix, st, NULL);
		}
	}
	if (r == 0)
		r = account_live(ix, o, -1);
	if (r == 0)
		ix->txn.objects--;
	return r;
}

int index_object_newid(struct index *ix, struct obj_id *ret)
{
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_META_SET, &st); /* only to know that the transaction stands */

	if (r < 0)
		return r;
	if (ix->txn.next_obj >> OBJ_ID_BITS)
		return -EOVERFLOW;
	ret->v = ix->txn.next_obj++;
	ix->txn.next_obj_dirty = true;
	return 0;
}
