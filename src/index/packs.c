/* SPDX-License-Identifier: MIT
 * Packs: their durable length, and how many of their bytes objects still refer to.
 *
 * Live bytes change with every object, but a transaction touches only a few packs: the changes are
 * summed up in memory and written once, before the commit. Invariant: in committed state a pack's
 * live bytes are the sum of the segments that lie in it (index_check proves it).
 */
#include "index_int.h"

int ix_live_add(struct index *ix, uint32_t pack, int64_t delta)
{
	struct ix_txn *t = &ix->txn;

	/* The last one is the likely one: a batch fills one pack after the other. */
	for (size_t i = t->nlive; i-- > 0;) {
		if (t->live[i].pack == pack) {
			t->live[i].delta += delta;
			return 0;
		}
	}
	if (t->nlive == t->live_cap) {
		size_t cap = t->live_cap ? t->live_cap * 2 : 16;
		struct ix_live *p = reallocarray(t->live, cap, sizeof(*p));

		if (!p)
			return ix_txn_fail(ix, -ENOMEM);
		t->live = p;
		t->live_cap = cap;
	}
	t->live[t->nlive++] = (struct ix_live){.pack = pack, .delta = delta};
	return 0;
}

int ix_live_flush(struct index *ix)
{
	struct ix_txn *t = &ix->txn;

	for (size_t i = 0; i < t->nlive; i++) {
		sqlite3_stmt *st;
		int r;

		if (t->live[i].delta == 0)
			continue;
		r = ix_wstmt(ix, SQL_PACK_LIVE, &st);
		if (r < 0)
			return r;
		sqlite3_bind_int64(st, 1, t->live[i].pack);
		sqlite3_bind_int64(st, 2, t->live[i].delta);
		r = ix_wrun(ix, st, NULL);
		if (r < 0)
			return r;
	}
	t->nlive = 0;
	return 0;
}

int index_pack_set(struct index *ix, const struct pack_len *len)
{
	sqlite3_stmt *st;
	int r;

	if (len->bytes > INT64_MAX)
		return -EINVAL;
	r = ix_wstmt(ix, SQL_PACK_SET, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, len->pack);
	sqlite3_bind_int64(st, 2, (int64_t)len->bytes);
	sqlite3_bind_int64(st, 3, len->frames);
	return ix_wrun(ix, st, NULL);
}

int index_pack_del(struct index *ix, uint32_t pack)
{
	sqlite3_stmt *st;
	uint64_t live;
	int r = ix_live_flush(ix);

	if (r == 0)
		r = ix_wstmt(ix, SQL_PACK_GET, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, pack);
	r = ix_wstep(ix, st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = ix_col_u64(st, 0, &live);
	ix_reset(st);
	if (r < 0)
		return r;
	if (live)
		return -EBUSY;
	r = ix_wstmt(ix, SQL_PACK_DEL, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, pack);
	return ix_wrun(ix, st, NULL);
}

static int pack_row(sqlite3_stmt *st, struct pack_row *p)
{
	int r = ix_col_u32(st, 0, &p->len.pack);

	if (r == 0)
		r = ix_col_u64(st, 1, &p->len.bytes);
	if (r == 0)
		r = ix_col_u32(st, 2, &p->len.frames);
	if (r == 0)
		r = ix_col_u64(st, 3, &p->live_bytes);
	return r;
}

static int pack_list(struct ix_conn *c, struct pack_row **ret, size_t *ret_n)
{
	cleanup_free struct pack_row *v = NULL;
	cleanup_stmt sqlite3_stmt *st = NULL;
	size_t n = 0, cap = 0;
	int r = ix_stmt(c, SQL_PACK_LIST, &st);

	if (r < 0)
		return r;
	while ((r = ix_step(c, st)) == 1) {
		if (n == cap) {
			struct pack_row *p;

			cap = cap ? cap * 2 : 64;
			p = reallocarray(v, cap, sizeof(*p));
			if (!p)
				return -ENOMEM;
			v = p;
		}
		r = pack_row(st, &v[n++]);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = steal_ptr(v);
	*ret_n = n;
	return 0;
}

int index_pack_list(struct index *ix, struct pack_row **ret, size_t *ret_n)
{
	struct ix_conn *c = ix_reader_get(ix);
	int r = pack_list(c, ret, ret_n);

	ix_reader_put(ix, c);
	return r;
}
