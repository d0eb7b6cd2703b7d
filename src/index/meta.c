/* SPDX-License-Identifier: MIT
 * Small named numbers, and when each layer was last used.
 */
#include "index_int.h"

int ix_meta_get(struct ix_conn *c, const char *key, uint64_t *ret)
{
	sqlite3_stmt *st;
	int r = ix_stmt(c, SQL_META_GET, &st);

	if (r < 0)
		return r;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	r = ix_step(c, st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = sqlite3_column_type(st, 0) == SQLITE_INTEGER ? 0 : -EUCLEAN;
	if (r == 0)
		*ret = (uint64_t)sqlite3_column_int64(st, 0); /* all 64 bits are the caller's */
	ix_reset(st);
	return r;
}

int index_meta_get(struct index *ix, const char *key, uint64_t *ret)
{
	struct ix_conn *c = ix_reader_get(ix);
	int r = ix_meta_get(c, key, ret);

	ix_reader_put(ix, c);
	return r;
}

int index_meta_set(struct index *ix, const char *key, uint64_t v)
{
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_META_SET, &st);

	if (r < 0)
		return r;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, (int64_t)v);
	return ix_wrun(ix, st, NULL);
}

int index_layer_used_set(struct index *ix, const char *key, int64_t when_ns)
{
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_LAYER_SET, &st);

	if (r < 0)
		return r;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, when_ns);
	return ix_wrun(ix, st, NULL);
}

int index_layer_used_get(struct index *ix, const char *key, int64_t *ret_ns)
{
	struct ix_conn *c = ix_reader_get(ix);
	sqlite3_stmt *st;
	int r = ix_stmt(c, SQL_LAYER_GET, &st);

	if (r == 0) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		r = ix_step(c, st);
		if (r == 1) {
			r = sqlite3_column_type(st, 0) == SQLITE_INTEGER ? 0 : -EUCLEAN;
			if (r == 0)
				*ret_ns = sqlite3_column_int64(st, 0);
			ix_reset(st);
		} else if (r == 0) {
			r = -ENOENT;
		}
	}
	ix_reader_put(ix, c);
	return r;
}

int index_meta_put(struct index *ix, const char *key, uint64_t v)
{
	int r = index_begin(ix);

	if (r)
		return r;
	r = index_meta_set(ix, key, v);
	if (r) {
		index_rollback(ix);
		return r;
	}
	return index_commit(ix);
}
