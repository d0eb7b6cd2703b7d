/* SPDX-License-Identifier: MIT
 * Private to src/index: the connections, their prepared statements, and the open transaction.
 */
#ifndef SPILL_INDEX_INT_H
#define SPILL_INDEX_INT_H

#include <sqlite3.h>

#include "spill/index.h"

#define IX_READERS      4
#define IX_DB_NAME      "index.db"
#define IX_LARGE        ((int64_t)FRAME_SIZE) /* sizes from here on are in object_large */
#define IX_CKPT_FRAMES  1000                  /* checkpoint when the WAL has this many pages */
#define IX_RESET_FRAMES 4096 /* and drain the readers to start it afresh at this many (16 MiB) */

/* Every statement; its text stands in sql.c. */
enum ix_sql {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_META_GET,
	SQL_META_SET,
	SQL_OBJ_GET,
	SQL_OBJ_SIZE,
	SQL_OBJ_REFS,
	SQL_OBJ_SET_REFS,
	SQL_OBJ_FIND,
	SQL_OBJ_LARGE,
	SQL_OBJ_PUT,
	SQL_OBJ_DEL,
	SQL_OBJ_ALL,
	SQL_OBJ_MAX,
	SQL_OBJ_COUNT,
	SQL_SEG_GET,
	SQL_SEG_PUT,
	SQL_SEG_DEL,
	SQL_SEG_STRAY,
	SQL_FILE_GET,
	SQL_FILE_PUT,
	SQL_FILE_STATE,
	SQL_FILE_DEL,
	SQL_FILE_LIST,
	SQL_FILE_LIST_SPILLED,
	SQL_FILE_LIST_STATE,
	SQL_FILE_BY_OBJ,
	SQL_FILE_COPIED_SIZES,
	SQL_FILE_SPILLED_SIZES,
	SQL_FILE_OBJS,
	SQL_TOMB_PUT,
	SQL_TOMB_DEL,
	SQL_TOMB_LIST,
	SQL_PACK_SET,
	SQL_PACK_LIVE,
	SQL_PACK_GET,
	SQL_PACK_DEL,
	SQL_PACK_LIST,
	SQL_LAYER_SET,
	SQL_LAYER_GET,
	SQL_LAYER_SCORE_SET,
	SQL_LAYER_SCORE_GET,
	SQL_HEAT_SET,
	SQL_HEAT_DEL,
	SQL_HEAT_LIST,
	SQL_PIN_PUT,
	SQL_PIN_DEL,
	SQL_PIN_LIST,
	SQL_QUICK_CHECK,
	SQL_N
};
const char *ix_sql_text(enum ix_sql q);

/* One SQLite connection. Used by one thread at a time: the writer's by the holder of
 * index->write_lock, a reader's by who took it from the pool. */
struct ix_conn {
	sqlite3 *db;
	sqlite3_stmt *st[SQL_N]; /* prepared at first use, kept */
	bool impatient;          /* do not wait out SQLITE_BUSY (checkpoints) */
	struct ix_conn *next;    /* in the pool */
};

/* Live bytes that the open transaction adds to or takes off a pack. */
struct ix_live {
	uint32_t pack;
	int64_t delta;
};

/* What the open transaction changes; all of it is thrown away by a rollback. */
struct ix_txn {
	int err; /* sticky: SQLite may have rolled back behind our back */
	int64_t premigrated, spilled, objects;
	uint64_t premigrated_bytes, spilled_bytes; /* modulo 2^64: exact whatever the order */
	uint64_t next_obj;
	bool next_obj_dirty;
	struct ix_live *live;
	size_t nlive, live_cap;
};

struct index {
	int dirfd; /* O_PATH; never open index.db itself: closing it would drop SQLite's locks */
	char *db_path; /* absolute, symlinks resolved */
	bool read_only, immutable;

	pthread_mutex_t write_lock; /* outermost; held from begin to commit or rollback */
	const void *owner;          /* atomic: names the thread of the open transaction */
	/* Guarded by write_lock: */
	struct ix_conn w;
	struct ix_txn txn;
	uint64_t next_obj; /* committed */
	int wal_frames;    /* pages in the WAL after the last commit */
	int ckpt_frames;   /* and at the last checkpoint */

	pthread_mutex_t pool_lock; /* leaf; no I/O under it */
	pthread_cond_t pool_cond;
	/* Guarded by pool_lock: */
	struct ix_conn *pool;
	unsigned pool_idle;
	bool pool_gate; /* a checkpoint wants the readers to pause */
	struct ix_conn readers[IX_READERS];

	pthread_mutex_t totals_lock; /* leaf */
	struct index_totals totals;  /* guarded by totals_lock; db_bytes unused */
};

/* ---- conn.c ---------------------------------------------------------------------------------- */
/* -errno for an SQLite result code of db (NULL is fine). */
int ix_errno(sqlite3 *db, int rc);
int ix_conn_open(struct index *ix, struct ix_conn *c, bool writer);
void ix_conn_close(struct ix_conn *c);
int ix_exec(struct ix_conn *c, const char *sql);
/* A fresh statement of c, nothing bound. */
int ix_stmt(struct ix_conn *c, enum ix_sql q, sqlite3_stmt **ret);
/* 1 a row, 0 done, -errno. After 0 or an error the statement is reset. */
int ix_step(struct ix_conn *c, sqlite3_stmt *st);
void ix_reset(sqlite3_stmt *st); /* NULL is fine */
static inline void ix_resetp(sqlite3_stmt **st)
{
	ix_reset(*st);
}
#define cleanup_stmt cleanup_(ix_resetp)
/* A reader from the pool; waits for one. */
struct ix_conn *ix_reader_get(struct index *ix);
void ix_reader_put(struct index *ix, struct ix_conn *c);
/* The writer inside the calling thread's own transaction, whose changes must be seen; else a
 * reader. */
struct ix_conn *ix_conn_get(struct index *ix);
void ix_conn_put(struct index *ix, struct ix_conn *c);
/* Keep new readers out and wait until the pool is full, at most wait_ms; false: gave up. */
bool ix_readers_pause(struct index *ix, unsigned wait_ms);
void ix_readers_resume(struct index *ix);

/* ---- col.c: values of a row; a wrong type or range is damage: -EUCLEAN ------------------- */
int ix_col_u64(sqlite3_stmt *st, int col, uint64_t *ret);
int ix_col_u32(sqlite3_stmt *st, int col, uint32_t *ret);

/* ---- schema.c ---------------------------------------------------------------------------- */
/* Bring the database to the current schema, or say why not. */
int ix_migrate(struct index *ix, bool create);

/* ---- txn.c ------------------------------------------------------------------------------- */
bool ix_in_txn(const struct index *ix);
/* A statement of the writer inside the calling thread's transaction. */
int ix_wstmt(struct index *ix, enum ix_sql q, sqlite3_stmt **ret);
/* Like ix_step; an error fails the whole transaction, except -EEXIST. */
int ix_wstep(struct index *ix, sqlite3_stmt *st);
/* Run to the end and reset. ret_changes may be NULL. */
int ix_wrun(struct index *ix, sqlite3_stmt *st, int *ret_changes);
int ix_txn_fail(struct index *ix, int err);
void ix_txn_reset(struct index *ix);

/* ---- packs.c ----------------------------------------------------------------------------- */
int ix_live_add(struct index *ix, uint32_t pack, int64_t delta);
int ix_live_flush(struct index *ix);

/* ---- meta.c ------------------------------------------------------------------------------ */
int ix_meta_get(struct ix_conn *c, const char *key, uint64_t *ret);

/* ---- totals.c ---------------------------------------------------------------------------- */
int ix_totals_count(struct index *ix);
void ix_totals_apply(struct index *ix);

/* ---- objects.c, segs.c ------------------------------------------------------------------- */
/* Load the object of st's current row (SQL_OBJ_GET's or SQL_OBJ_ALL's columns) with its segments.
 */
int ix_object_load(struct ix_conn *c, sqlite3_stmt *st, struct object **ret);
bool ix_object_valid(const struct object *o);
int ix_segs_load(struct ix_conn *c, sqlite3_stmt *row, struct object *o);
int ix_segs_store(struct index *ix, const struct object *o);
int ix_ranges_load(sqlite3_stmt *row, int col, struct object *o);
/* le64 off, le64 len of each range; NULL when there is none. */
int ix_ranges_pack(const struct object *o, uint8_t **ret, size_t *ret_len);

/* ---- files.c ----------------------------------------------------------------------------- */
/* gen is kept biased, so that 32 bits fit in four bytes of SQLite's signed integers, in order. */
static inline int64_t ix_gen(uint32_t gen)
{
	return (int64_t)gen - 0x80000000LL;
}
int ix_col_hot(sqlite3_stmt *st, int col, struct hot_id *ret);

#endif
