/* SPDX-License-Identifier: MIT
 * File rows: which object a hot inode refers to, and in which state of residency it is.
 *
 * On disk SPILLED is NULL, because nearly all rows are spilled: that keeps them small and out of
 * the partial index file_state. The snapshot's times are kept while the file is on its way out, and
 * shown for a premigrated file only.
 */
#include "index_int.h"

#define SNAP_LEN 32

static void bind_id(sqlite3_stmt *st, struct hot_id id)
{
	sqlite3_bind_int64(st, 1, (int64_t)id.ino);
	sqlite3_bind_int64(st, 2, ix_gen(id.gen));
}

static void bind_state(sqlite3_stmt *st, int col, enum residency s)
{
	if (s == RES_SPILLED)
		sqlite3_bind_null(st, col);
	else
		sqlite3_bind_int(st, col, s);
}

static bool state_valid(enum residency s)
{
	return s >= RES_PREMIGRATED && s <= RES_PARTIAL; /* a resident file has no row */
}

static int load_row(sqlite3_stmt *st, struct file_row *f)
{
	uint32_t state = RES_SPILLED;
	const uint8_t *snap;
	int r;

	*f = (struct file_row){0};
	r = ix_col_hot(st, 0, &f->id);
	if (r == 0)
		r = ix_col_u64(st, 2, &f->obj.v);
	if (r == 0 && sqlite3_column_type(st, 3) != SQLITE_NULL)
		r = ix_col_u32(st, 3, &state);
	if (r < 0)
		return r;
	f->state = (enum residency)state;
	if (!state_valid(f->state))
		return -EUCLEAN;
	if (f->state != RES_PREMIGRATED || sqlite3_column_type(st, 4) == SQLITE_NULL)
		return 0;
	snap = sqlite3_column_blob(st, 4);
	if (!snap || sqlite3_column_bytes(st, 4) != SNAP_LEN)
		return -EUCLEAN;
	f->size = get_le64(snap);
	f->mtime_ns = (int64_t)get_le64(snap + 8);
	f->ctime_ns = (int64_t)get_le64(snap + 16);
	f->snap_ns = (int64_t)get_le64(snap + 24);
	return 0;
}

static int file_get(struct ix_conn *c, struct hot_id id, struct file_row *ret)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	struct file_row f;
	int r = ix_stmt(c, SQL_FILE_GET, &st);

	if (r < 0)
		return r;
	bind_id(st, id);
	r = ix_step(c, st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = load_row(st, &f);
	if (r == 0)
		*ret = f;
	return r;
}

int index_file_get(struct index *ix, struct hot_id id, struct file_row *ret)
{
	struct ix_conn *c = ix_conn_get(ix);
	int r = file_get(c, id, ret);

	ix_conn_put(ix, c);
	return r;
}

/* Logical size of an object, and how much of it is data, inside the transaction. */
static int object_size(struct index *ix, struct obj_id obj, uint64_t *ret, uint64_t *ret_data)
{
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_OBJ_SIZE, &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)obj.v);
	r = ix_wstep(ix, st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = ix_col_u64(st, 0, ret);
	if (r == 0)
		r = ix_col_u64(st, 1, ret_data);
	ix_reset(st);
	return r;
}

/* Count a row in (sign 1) or out (-1) of the totals. */
static int account(struct index *ix, const struct file_row *f, int sign)
{
	uint64_t size = 0, data = 0;
	int r;

	r = object_size(ix, f->obj, &size, &data);
	if (r < 0 && r != -ENOENT)
		return r;
	if (f->state == RES_PREMIGRATED) {
		ix->txn.premigrated += sign;
		ix->txn.premigrated_bytes += sign > 0 ? data : -data;
		return 0;
	}
	ix->txn.spilled += sign;
	ix->txn.spilled_bytes += sign > 0 ? size : -size;
	return 0;
}

int index_file_put(struct index *ix, const struct file_row *f)
{
	uint8_t snap[SNAP_LEN];
	struct file_row old;
	sqlite3_stmt *st;
	uint64_t size, data;
	int r;

	if (!state_valid(f->state) || f->id.ino > INT64_MAX || f->obj.v > INT64_MAX)
		return -EINVAL;
	r = object_size(ix, f->obj, &size, &data);
	if (r < 0)
		return r;
	r = file_get(&ix->w, f->id, &old);
	if (r == 0)
		r = account(ix, &old, -1);
	else if (r == -ENOENT)
		r = 0;
	if (r == 0)
		r = ix_wstmt(ix, SQL_FILE_PUT, &st);
	if (r < 0)
		return r;
	bind_id(st, f->id);
	sqlite3_bind_int64(st, 3, (int64_t)f->obj.v);
	bind_state(st, 4, f->state);
	if (f->state == RES_PREMIGRATED || f->state == RES_SPILLING) {
		put_le64(snap, f->size);
		put_le64(snap + 8, (uint64_t)f->mtime_ns);
		put_le64(snap + 16, (uint64_t)f->ctime_ns);
		put_le64(snap + 24, (uint64_t)f->snap_ns);
		sqlite3_bind_blob(st, 5, snap, sizeof(snap), SQLITE_STATIC);
	}
	r = ix_wrun(ix, st, NULL);
	return r < 0 ? r : account(ix, f, 1);
}

int index_file_state(struct index *ix, struct hot_id id, enum residency state)
{
	struct file_row f;
	sqlite3_stmt *st;
	int r;

	if (!state_valid(state))
		return -EINVAL;
	r = ix_wstmt(ix, SQL_FILE_STATE, &st);
	if (r == 0)
		r = file_get(&ix->w, id, &f);
	if (r < 0)
		return r;
	bind_id(st, id);
	bind_state(st, 3, state);
	/* A release that was called off goes back to premigrated, with its snapshot. */
	sqlite3_bind_int(st, 4, state == RES_PREMIGRATED || state == RES_SPILLING);
	r = ix_wrun(ix, st, NULL);
	if (r == 0)
		r = account(ix, &f, -1);
	f.state = state;
	return r < 0 ? r : account(ix, &f, 1);
}

int index_file_del(struct index *ix, struct hot_id id)
{
	struct file_row f;
	sqlite3_stmt *st;
	int r = ix_wstmt(ix, SQL_FILE_DEL, &st);

	if (r == 0)
		r = file_get(&ix->w, id, &f);
	if (r < 0)
		return r;
	bind_id(st, id);
	r = ix_wrun(ix, st, NULL);
	return r < 0 ? r : account(ix, &f, -1);
}

/* Fill rows from a bound statement. */
static ssize_t load_rows(struct ix_conn *c, sqlite3_stmt *st, struct file_row *rows, size_t max)
{
	size_t n = 0;
	int r = 0;

	while (n < max && (r = ix_step(c, st)) == 1) {
		r = load_row(st, &rows[n]);
		if (r < 0)
			break;
		n++;
	}
	ix_reset(st);
	return r < 0 ? r : (ssize_t)n;
}

ssize_t index_file_list(struct index *ix, int state, struct hot_id after, struct file_row *rows,
			size_t max)
{
	enum ix_sql q = state < 0              ? SQL_FILE_LIST
			: state == RES_SPILLED ? SQL_FILE_LIST_SPILLED
					       : SQL_FILE_LIST_STATE;
	struct ix_conn *c;
	sqlite3_stmt *st;
	ssize_t r;

	if (after.ino > INT64_MAX || max == 0)
		return 0;
	c = ix_reader_get(ix);
	r = ix_stmt(c, q, &st);
	if (r == 0) {
		bind_id(st, after);
		sqlite3_bind_int64(st, 3, (int64_t)MIN(max, (size_t)INT64_MAX));
		if (q == SQL_FILE_LIST_STATE)
			sqlite3_bind_int(st, 4, state);
		r = load_rows(c, st, rows, max);
	}
	ix_reader_put(ix, c);
	return r;
}

ssize_t index_file_by_obj(struct index *ix, struct obj_id obj, struct file_row *rows, size_t max)
{
	struct ix_conn *c = ix_reader_get(ix);
	sqlite3_stmt *st;
	ssize_t r = ix_stmt(c, SQL_FILE_BY_OBJ, &st);

	if (r == 0) {
		sqlite3_bind_int64(st, 1, (int64_t)obj.v);
		sqlite3_bind_int64(st, 2, (int64_t)MIN(max, (size_t)INT64_MAX));
		r = load_rows(c, st, rows, max);
	}
	ix_reader_put(ix, c);
	return r;
}
