/* SPDX-License-Identifier: MIT
 * The schema of index.db and its migrations.
 *
 * Small rows are the point: a 7 GB image root has 300,000 files. So
 *  - a hash is two integers, and only its upper 32 bits are indexed (a hit is confirmed in the
 * row);
 *  - the usual object has one segment, which stands in its row; `segment` is for the others, whose
 *    pack is NULL. A segment's length and stream offset follow from what is there already;
 *  - the usual file is a plain stub: state NULL means SPILLED, and it has no snapshot;
 *  - indexes are partial, and there is none from objects to files (index_file_by_obj scans).
 * user_version counts the migrations that were run; a migration and its number are one transaction.
 * Released migrations never change; a new schema is a new entry.
 */
#include "index_int.h"

#include <stdio.h>

#define APPLICATION_ID 0x5350494c /* "SPIL" */

static const char *const migrations[] = {
	/* 1 */
	"CREATE TABLE meta(k TEXT PRIMARY KEY, v INT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE object("
	"  id INTEGER PRIMARY KEY,"
	"  h0 INT NOT NULL, h1 INT NOT NULL," /* hash[0..7], hash[8..15], big-endian */
	"  size INT NOT NULL, refs INT NOT NULL,"
	"  pack INT, frame INT, off INT," /* its only segment, or NULL */
	"  stream INT,"                   /* stream_len; NULL: size */
	"  ranges BLOB);"                 /* le64 off, le64 len, ...; NULL: none */
	"CREATE INDEX object_hash ON object(h0 >> 32);"
	"CREATE INDEX object_large ON object(size) WHERE size >= 131072;"
	"CREATE TABLE segment("
	"  obj INT NOT NULL, seq INT NOT NULL, len INT NOT NULL,"
	"  pack INT NOT NULL, frame INT NOT NULL, off INT NOT NULL,"
	"  PRIMARY KEY(obj, seq)) WITHOUT ROWID;"
	"CREATE TABLE file("
	"  ino INT NOT NULL, gen INT NOT NULL," /* gen - 2^31 */
	"  obj INT NOT NULL,"
	"  state INT," /* enum residency; NULL: SPILLED */
	"  snap BLOB," /* le64 size, mtime, ctime, time of the snapshot; NULL: none */
	"  PRIMARY KEY(ino, gen)) WITHOUT ROWID;"
	"CREATE INDEX file_state ON file(state, ino, gen) WHERE state IS NOT NULL;"
	"CREATE TABLE tomb("
	"  ino INT NOT NULL, gen INT NOT NULL, obj INT NOT NULL,"
	"  PRIMARY KEY(ino, gen)) WITHOUT ROWID;"
	"CREATE TABLE pack("
	"  id INTEGER PRIMARY KEY, bytes INT NOT NULL, frames INT NOT NULL, live INT NOT NULL);"
	"CREATE TABLE layer(key TEXT PRIMARY KEY, used INT NOT NULL) WITHOUT ROWID;",
	/* 2 */
	"ALTER TABLE object ADD COLUMN sum INT;", /* of what the row and its segments say, 32 bits;
						    NULL: written before */
	/* 3: paths are bytes, so BLOB; owner: the image it belongs to, or empty */
	"CREATE TABLE pin("
	"  path BLOB NOT NULL, owner BLOB NOT NULL,"
	"  ino INT NOT NULL, gen INT NOT NULL, since INT NOT NULL,"
	"  PRIMARY KEY(path, owner)) WITHOUT ROWID;",
	/* 4: node is a node id (gen << 32 | ino where that is one), score in thousandths as of
	   used, times in seconds since 1970; recalled 0: never. Losing them costs a worse choice.
	 */
	"CREATE TABLE heat("
	"  node INTEGER PRIMARY KEY, score INT NOT NULL, used INT NOT NULL,"
	"  recalled INT NOT NULL);"
	"ALTER TABLE layer ADD COLUMN score INT;"};

/* One number out of a pragma. */
static int pragma_get(struct ix_conn *c, const char *sql, int64_t *ret)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(c->db, sql, -1, &st, NULL);
	int r;

	if (rc)
		return ix_errno(c->db, rc);
	r = ix_step(c, st);
	if (r == 1)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return r == 1 ? 0 : r < 0 ? r : -EUCLEAN;
}

static int migrate_one(struct ix_conn *c, unsigned from)
{
	char version[80];
	int r = ix_exec(c, "BEGIN IMMEDIATE");

	if (r < 0)
		return r;
	snprintf(version, sizeof(version), "PRAGMA application_id = %d; PRAGMA user_version = %u",
		 APPLICATION_ID, from + 1);
	r = ix_exec(c, migrations[from]);
	if (r == 0)
		r = ix_exec(c, version);
	if (r == 0)
		r = ix_exec(c, "COMMIT");
	if (r < 0 && !sqlite3_get_autocommit(c->db))
		ix_exec(c, "ROLLBACK");
	return r;
}

int ix_migrate(struct index *ix, bool create)
{
	int64_t version, app;
	int r = pragma_get(&ix->w, "PRAGMA user_version", &version);

	if (r == 0)
		r = pragma_get(&ix->w, "PRAGMA application_id", &app);
	if (r < 0)
		return r;
	if (version < 0 || (version > 0 && app != APPLICATION_ID) || (version == 0 && app != 0))
		return -EUCLEAN;
	if (version > (int64_t)ARRAY_SIZE(migrations))
		return -EPROTONOSUPPORT;
	if (version == 0 && !create)
		return -EUCLEAN; /* an empty file is what is left of a damaged index */
	if (version < (int64_t)ARRAY_SIZE(migrations) && ix->read_only)
		return -EROFS;
	for (; version < (int64_t)ARRAY_SIZE(migrations); version++) {
		r = migrate_one(&ix->w, (unsigned)version);
		if (r < 0)
			return r;
	}
	return 0;
}
