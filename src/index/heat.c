/* SPDX-License-Identifier: MIT
 * Heat of files and layers: what the tier knows of their use, kept over restarts.
 */
#include "index_int.h"

int index_layer_score_set(struct index *ix, const char *key, uint32_t score)
{
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_LAYER_SCORE_SET, &st);

	if (r < 0)
		return r;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, score);
	return ix_wrun(ix, st, NULL);
}

int index_layer_score_get(struct index *ix, const char *key, uint32_t *ret)
{
	struct ix_conn *c = ix_reader_get(ix);
	sqlite3_stmt *st;
	int r = ix_stmt(c, SQL_LAYER_SCORE_GET, &st);

	if (r == 0) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		r = ix_step(c, st);
		if (r == 1) {
			r = ix_col_u32(st, 0, ret);
			ix_reset(st);
		} else if (r == 0) {
			r = -ENOENT;
		}
	}
	ix_reader_put(ix, c);
	return r;
}

int index_heat_set(struct index *ix, const struct heat_row *row)
{
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_HEAT_SET, &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)row->node);
	sqlite3_bind_int64(st, 2, row->score);
	sqlite3_bind_int64(st, 3, row->used_sec);
	sqlite3_bind_int64(st, 4, row->recalled_sec);
	return ix_wrun(ix, st, NULL);
}

int index_heat_del(struct index *ix, uint64_t node)
{
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_HEAT_DEL, &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)node);
	return ix_wrun(ix, st, NULL);
}

ssize_t index_heat_list(struct index *ix, const uint64_t *after, struct heat_row *rows, size_t max)
{
	struct ix_conn *c = ix_reader_get(ix);
	sqlite3_stmt *st;
	size_t n = 0;
	int r = ix_stmt(c, SQL_HEAT_LIST, &st);

	if (r == 0) {
		sqlite3_bind_int64(st, 1, after ? (int64_t)*after : INT64_MIN);
		sqlite3_bind_int64(st, 2, (int64_t)MIN(max, (size_t)INT64_MAX));
		while (n < max && (r = ix_step(c, st)) == 1) {
			struct heat_row *h = &rows[n];

			h->node = (uint64_t)sqlite3_column_int64(st, 0); /* all 64 bits */
			r = ix_col_u32(st, 1, &h->score);
			if (!r)
				r = ix_col_u32(st, 2, &h->used_sec);
			if (!r)
				r = ix_col_u32(st, 3, &h->recalled_sec);
			if (r < 0)
				break;
			n++;
		}
		ix_reset(st);
	}
	ix_reader_put(ix, c);
	return r < 0 ? r : (ssize_t)n;
}
