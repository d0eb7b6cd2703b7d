/* SPDX-License-Identifier: MIT
 * Pins in the index: paths are bytes, the same path may have several owners, and an index of an
 * older version gets the table.
 */
#include "index_util.h"

#include <sqlite3.h>

static int put(struct index *ix, const char *path, const char *owner, uint64_t ino)
{
	struct pin_row p = {.path = (char *)path,
			    .owner = (char *)owner,
			    .id = {ino, UINT32_MAX},
			    .since_ns = (int64_t)ino + 5};

	return index_pin_put(ix, &p);
}

TEST(rows)
{
	struct index *ix = NULL;
	struct pin_row *v = NULL;
	char *dir = fresh_dir();
	size_t n = 9;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	CHECK_EQ(index_pin_list(ix, &v, &n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(put(ix, "a/\xff\n", "", 1), 0);
	CHECK_EQ(put(ix, "a/\xff\n", "img:1", 2), 0);
	CHECK_EQ(put(ix, "", "", 3), 0);
	CHECK_EQ(put(ix, "a", "", 0), 0);
	CHECK_EQ(put(ix, "a", "", 7), 0); /* again: another inode, the old time */
	CHECK_EQ(put(ix, "b", "", UINT64_MAX), -EINVAL);
	CHECK_EQ(index_commit(ix), 0);
	index_close(ix);

	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_pin_list(ix, &v, &n), 0);
	CHECK_EQ(n, 4);
	CHECK_STR(v[0].path, "");
	CHECK_STR(v[1].path, "a");
	CHECK_EQ(v[1].id.ino, 7);
	CHECK_EQ(v[1].id.gen, UINT32_MAX);
	CHECK_EQ(v[1].since_ns, 5);
	CHECK_STR(v[2].path, "a/\xff\n");
	CHECK_STR(v[2].owner, "");
	CHECK_STR(v[3].owner, "img:1");
	index_pins_free(v, n);

	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_pin_del(ix, "a/\xff\n", ""), 0);
	CHECK_EQ(index_pin_del(ix, "a/\xff\n", ""), -ENOENT);
	CHECK_EQ(index_pin_del(ix, "a/\xff\n", "other"), -ENOENT);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_pin_list(ix, &v, &n), 0);
	CHECK_EQ(n, 3);
	CHECK_STR(v[2].owner, "img:1");
	index_pins_free(v, n);
	index_close(ix);
}

/* An index from before the table: made by taking it, and the number, away. */
TEST(migration)
{
	struct index *ix = NULL;
	struct pin_row *v = NULL;
	char *dir = fresh_dir(), path[256];
	sqlite3 *db = NULL;
	uint64_t x = 0;
	size_t n = 9;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	CHECK_EQ(index_meta_put(ix, "kept", 42), 0);
	index_close(ix);
	snprintf(path, sizeof(path), "%s/index.db", dir);
	CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db,
			      "DROP TABLE pin; DROP TABLE heat; ALTER TABLE layer DROP COLUMN "
			      "score; PRAGMA user_version = 2",
			      NULL, NULL, NULL),
		 SQLITE_OK);
	sqlite3_close(db);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_pin_list(ix, &v, &n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(index_meta_get(ix, "kept", &x), 0);
	CHECK_EQ(x, 42);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(put(ix, "p", "", 1), 0);
	CHECK_EQ(index_commit(ix), 0);
	index_close(ix);
}

/* What a damaged page yields is refused, not used. */
TEST(damage)
{
	struct index *ix = NULL;
	struct pin_row *v = NULL;
	char *dir = fresh_dir(), path[256];
	sqlite3 *db = NULL;
	size_t n = 9;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	index_close(ix);
	snprintf(path, sizeof(path), "%s/index.db", dir);
	CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, "INSERT INTO pin VALUES(x'610062', x'', 1, 1, 1)", NULL, NULL,
			      NULL),
		 SQLITE_OK);
	sqlite3_close(db);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_pin_list(ix, &v, &n), -EUCLEAN);
	CHECK_EQ(n, 9);
	index_close(ix);
}

TEST_MAIN
