/* SPDX-License-Identifier: MIT
 * The text of every statement the index runs. Kept in one place so that it can be read against
 * the schema (schema.c), and so that each connection prepares each of them at most once.
 */
#include "index_int.h"

#define OBJ_COLUMNS  "id, h0, h1, size, refs, pack, frame, off, stream, ranges, sum"
#define FILE_COLUMNS "ino, gen, obj, state, snap"

static const char *const text[SQL_N] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",

	[SQL_META_GET] = "SELECT v FROM meta WHERE k = ?1",
	[SQL_META_SET] = "INSERT INTO meta(k, v) VALUES(?1, ?2)"
			 " ON CONFLICT(k) DO UPDATE SET v = excluded.v",

	[SQL_OBJ_GET] = "SELECT " OBJ_COLUMNS " FROM object WHERE id = ?1",
	[SQL_OBJ_SIZE] = "SELECT size, coalesce(stream, size) FROM object WHERE id = ?1",
	[SQL_OBJ_REFS] = "SELECT refs FROM object WHERE id = ?1",
	[SQL_OBJ_SET_REFS] = "UPDATE object SET refs = ?2 WHERE id = ?1",
	/* The planner knows the indexed expression again only if it cannot replace h0 in it by its
	 * known value: hence +h0. */
	[SQL_OBJ_FIND] = "SELECT id FROM object INDEXED BY object_hash WHERE h0 >> 32 = ?1 >> 32"
			 " AND +h0 = ?1 AND h1 = ?2 AND size = ?3"
			 " AND coalesce(stream, size) = ?4 LIMIT 1",
	/* 131072 is FRAME_SIZE; literal, or the planner cannot use the partial index. */
	[SQL_OBJ_LARGE] = "SELECT 1 FROM object INDEXED BY object_large"
			  " WHERE size = ?1 AND size >= 131072 LIMIT 1",
	[SQL_OBJ_PUT] = "INSERT INTO object(" OBJ_COLUMNS ")"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
	[SQL_OBJ_DEL] = "DELETE FROM object WHERE id = ?1",
	[SQL_OBJ_ALL] = "SELECT " OBJ_COLUMNS " FROM object ORDER BY id",
	[SQL_OBJ_MAX] = "SELECT max(id) FROM object",
	[SQL_OBJ_COUNT] = "SELECT count(*) FROM object",

	[SQL_SEG_GET] = "SELECT len, pack, frame, off FROM segment WHERE obj = ?1 ORDER BY seq",
	[SQL_SEG_PUT] = "INSERT INTO segment(obj, seq, len, pack, frame, off)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
	[SQL_SEG_DEL] = "DELETE FROM segment WHERE obj = ?1",
	[SQL_SEG_STRAY] = "SELECT count(*) FROM segment WHERE obj NOT IN"
			  " (SELECT id FROM object WHERE pack IS NULL)",

	[SQL_FILE_GET] = "SELECT " FILE_COLUMNS " FROM file WHERE ino = ?1 AND gen = ?2",
	[SQL_FILE_PUT] = "INSERT INTO file(" FILE_COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5)"
			 " ON CONFLICT(ino, gen) DO UPDATE SET obj = excluded.obj,"
			 " state = excluded.state, snap = excluded.snap",
	[SQL_FILE_STATE] = "UPDATE file SET state = ?3, snap = iif(?4, snap, NULL)"
			   " WHERE ino = ?1 AND gen = ?2",
	[SQL_FILE_DEL] = "DELETE FROM file WHERE ino = ?1 AND gen = ?2",
	[SQL_FILE_LIST] = "SELECT " FILE_COLUMNS " FROM file WHERE (ino, gen) > (?1, ?2)"
			  " ORDER BY ino, gen LIMIT ?3",
	[SQL_FILE_LIST_SPILLED] = "SELECT " FILE_COLUMNS " FROM file WHERE (ino, gen) > (?1, ?2)"
				  " AND +state IS NULL ORDER BY ino, gen LIMIT ?3",
	[SQL_FILE_LIST_STATE] = "SELECT " FILE_COLUMNS " FROM file INDEXED BY file_state"
				" WHERE state = ?4 AND (ino, gen) > (?1, ?2)"
				" ORDER BY ino, gen LIMIT ?3",
	[SQL_FILE_BY_OBJ] = "SELECT " FILE_COLUMNS " FROM file WHERE obj = ?1 LIMIT ?2",
	[SQL_FILE_COPIED_SIZES] =
		"SELECT coalesce(o.stream, o.size) FROM file f INDEXED BY file_state"
		" LEFT JOIN object o ON o.id = f.obj WHERE f.state = 1",
	[SQL_FILE_SPILLED_SIZES] = "SELECT o.size FROM file f LEFT JOIN object o ON o.id = f.obj"
				   " WHERE f.state IS NULL OR f.state <> 1",
	/* A tombstone is no reference: the row is, which goes in the same transaction. */
	[SQL_FILE_OBJS] = "SELECT obj FROM file",

	[SQL_TOMB_PUT] = "INSERT INTO tomb(ino, gen, obj) VALUES(?1, ?2, ?3)"
			 " ON CONFLICT(ino, gen) DO UPDATE SET obj = excluded.obj",
	[SQL_TOMB_DEL] = "DELETE FROM tomb WHERE ino = ?1 AND gen = ?2",
	[SQL_TOMB_LIST] = "SELECT ino, gen, obj FROM tomb ORDER BY ino, gen LIMIT ?1",

	[SQL_PACK_SET] = "INSERT INTO pack(id, bytes, frames, live) VALUES(?1, ?2, ?3, 0)"
			 " ON CONFLICT(id) DO UPDATE SET bytes = excluded.bytes,"
			 " frames = excluded.frames",
	[SQL_PACK_LIVE] = "INSERT INTO pack(id, bytes, frames, live) VALUES(?1, 0, 0, ?2)"
			  " ON CONFLICT(id) DO UPDATE SET live = live + excluded.live",
	[SQL_PACK_GET] = "SELECT live FROM pack WHERE id = ?1",
	[SQL_PACK_DEL] = "DELETE FROM pack WHERE id = ?1",
	[SQL_PACK_LIST] = "SELECT id, bytes, frames, live FROM pack ORDER BY id",

	[SQL_LAYER_SET] = "INSERT INTO layer(key, used) VALUES(?1, ?2)"
			  " ON CONFLICT(key) DO UPDATE SET used = excluded.used",
	[SQL_LAYER_GET] = "SELECT used FROM layer WHERE key = ?1",
	[SQL_LAYER_SCORE_SET] = "UPDATE layer SET score = ?2 WHERE key = ?1",
	[SQL_LAYER_SCORE_GET] = "SELECT coalesce(score, 0) FROM layer WHERE key = ?1",

	[SQL_HEAT_SET] = "INSERT INTO heat(node, score, used, recalled) VALUES(?1, ?2, ?3, ?4)"
			 " ON CONFLICT(node) DO UPDATE SET score = excluded.score,"
			 " used = excluded.used, recalled = excluded.recalled",
	[SQL_HEAT_DEL] = "DELETE FROM heat WHERE node = ?1",
	[SQL_HEAT_LIST] = "SELECT node, score, used, recalled FROM heat WHERE node > ?1"
			  " ORDER BY node LIMIT ?2",

	[SQL_PIN_PUT] = "INSERT INTO pin(path, owner, ino, gen, since) VALUES(?1, ?2, ?3, ?4, ?5)"
			" ON CONFLICT(path, owner) DO UPDATE SET ino = excluded.ino,"
			" gen = excluded.gen",
	[SQL_PIN_DEL] = "DELETE FROM pin WHERE path = ?1 AND owner = ?2",
	[SQL_PIN_LIST] = "SELECT path, owner, ino, gen, since FROM pin ORDER BY path, owner",

	[SQL_QUICK_CHECK] = "PRAGMA quick_check",
};

const char *ix_sql_text(enum ix_sql q)
{
	return text[q];
}
