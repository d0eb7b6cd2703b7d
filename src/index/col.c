/* SPDX-License-Identifier: MIT
 * Reading numbers out of a row. SQLite's columns have no fixed type, so a damaged page can put text
 * where a number was: nothing is taken over that does not fit.
 */
#include "index_int.h"

int ix_col_u64(sqlite3_stmt *st, int col, uint64_t *ret)
{
	int64_t v;

	if (sqlite3_column_type(st, col) != SQLITE_INTEGER)
		return -EUCLEAN;
	v = sqlite3_column_int64(st, col);
	if (v < 0)
		return -EUCLEAN;
	*ret = (uint64_t)v;
	return 0;
}

int ix_col_u32(sqlite3_stmt *st, int col, uint32_t *ret)
{
	uint64_t v;
	int r = ix_col_u64(st, col, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -EUCLEAN;
	*ret = (uint32_t)v;
	return 0;
}

int ix_col_hot(sqlite3_stmt *st, int col, struct hot_id *ret)
{
	int64_t gen = sqlite3_column_int64(st, col + 1) + 0x80000000LL;
	struct hot_id id;
	int r = ix_col_u64(st, col, &id.ino);

	if (r < 0)
		return r;
	if (sqlite3_column_type(st, col + 1) != SQLITE_INTEGER || gen < 0 || gen > UINT32_MAX)
		return -EUCLEAN;
	id.gen = (uint32_t)gen;
	*ret = id;
	return 0;
}
