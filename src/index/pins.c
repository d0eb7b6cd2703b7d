/* SPDX-License-Identifier: MIT
 * Pins: which paths are never spilled, and on whose behalf. A handful of rows, read as a whole.
 */
#include "index_int.h"

static int bind_bytes(sqlite3_stmt *st, int n, const char *s)
{
	/* An empty blob must not become NULL: a pointer is needed even for no bytes. */
	return sqlite3_bind_blob(st, n, *s ? s : "", (int)strlen(s), SQLITE_STATIC);
}

int index_pin_put(struct index *ix, const struct pin_row *p)
{
	sqlite3_stmt *st;
	int r;

	if (p->id.ino > INT64_MAX)
		return -EINVAL;
	r = ix_wstmt(ix, SQL_PIN_PUT, &st);
	if (r < 0)
		return r;
	bind_bytes(st, 1, p->path);
	bind_bytes(st, 2, p->owner);
	sqlite3_bind_int64(st, 3, (int64_t)p->id.ino);
	sqlite3_bind_int64(st, 4, ix_gen(p->id.gen));
	sqlite3_bind_int64(st, 5, p->since_ns);
	return ix_wrun(ix, st, NULL);
}

int index_pin_del(struct index *ix, const char *path, const char *owner)
{
	sqlite3_stmt *st;
	int n, r = ix_wstmt(ix, SQL_PIN_DEL, &st);

	if (r < 0)
		return r;
	bind_bytes(st, 1, path);
	bind_bytes(st, 2, owner);
	r = ix_wrun(ix, st, &n);
	return r < 0 ? r : n ? 0 : -ENOENT;
}

void index_pins_free(struct pin_row *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].path);
		free(v[i].owner);
	}
	free(v);
}

/* Bytes without a NUL, as a string. */
static int col_bytes(sqlite3_stmt *st, int col, char **ret)
{
	const void *p = sqlite3_column_blob(st, col);
	size_t len = (size_t)sqlite3_column_bytes(st, col);

	if (sqlite3_column_type(st, col) != SQLITE_BLOB || (len && (!p || memchr(p, 0, len))))
		return -EUCLEAN;
	*ret = len ? strndup(p, len) : strdup("");
	return *ret ? 0 : -ENOMEM;
}

static int load(sqlite3_stmt *st, struct pin_row *p)
{
	int r = col_bytes(st, 0, &p->path);

	if (r == 0)
		r = col_bytes(st, 1, &p->owner);
	if (r == 0)
		r = ix_col_hot(st, 2, &p->id);
	if (r == 0)
		r = sqlite3_column_type(st, 4) == SQLITE_INTEGER ? 0 : -EUCLEAN;
	if (r == 0)
		p->since_ns = sqlite3_column_int64(st, 4);
	return r;
}

static int list(struct ix_conn *c, struct pin_row **v, size_t *n)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	size_t cap = 0;
	int r = ix_stmt(c, SQL_PIN_LIST, &st);

	while (r >= 0 && (r = ix_step(c, st)) == 1) {
		if (*n == cap) {
			struct pin_row *p = reallocarray(*v, cap = cap ? 2 * cap : 16, sizeof(*p));

			if (!p)
				return -ENOMEM;
			*v = p;
		}
		(*v)[*n] = (struct pin_row){0};
		r = load(st, &(*v)[(*n)++]);
	}
	return r;
}

int index_pin_list(struct index *ix, struct pin_row **ret, size_t *ret_n)
{
	struct ix_conn *c = ix_reader_get(ix);
	struct pin_row *v = NULL;
	size_t n = 0;
	int r = list(c, &v, &n);

	ix_reader_put(ix, c);
	if (r < 0) {
		index_pins_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}
