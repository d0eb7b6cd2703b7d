/* SPDX-License-Identifier: MIT
 * Tombstones: stubs whose last name is gone, kept until that is durable (DESIGN.md invariant 7).
 */
#include "index_int.h"

int index_tomb_put(struct index *ix, const struct tomb *t)
{
	sqlite3_stmt *st;
	int r;

	if (t->id.ino > INT64_MAX || t->obj.v > INT64_MAX)
		return -EINVAL;
	r = ix_wstmt(ix, SQL_TOMB_PUT, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)t->id.ino);
	sqlite3_bind_int64(st, 2, ix_gen(t->id.gen));
	sqlite3_bind_int64(st, 3, (int64_t)t->obj.v);
	return ix_wrun(ix, st, NULL);
}

int index_tomb_del(struct index *ix, struct hot_id id)
{
	sqlite3_stmt *st;
	int n, r = ix_wstmt(ix, SQL_TOMB_DEL, &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)id.ino);
	sqlite3_bind_int64(st, 2, ix_gen(id.gen));
	r = ix_wrun(ix, st, &n);
	return r < 0 ? r : n ? 0 : -ENOENT;
}

static ssize_t tomb_list(struct ix_conn *c, struct tomb *t, size_t max)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	size_t n = 0;
	int r = ix_stmt(c, SQL_TOMB_LIST, &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)MIN(max, (size_t)INT64_MAX));
	while (n < max && (r = ix_step(c, st)) == 1) {
		r = ix_col_hot(st, 0, &t[n].id);
		if (r == 0)
			r = ix_col_u64(st, 2, &t[n].obj.v);
		if (r < 0)
			return r;
		n++;
	}
	return r < 0 ? r : (ssize_t)n;
}

ssize_t index_tomb_list(struct index *ix, struct tomb *t, size_t max)
{
	struct ix_conn *c = ix_reader_get(ix);
	ssize_t r = tomb_list(c, t, max);

	ix_reader_put(ix, c);
	return r;
}
