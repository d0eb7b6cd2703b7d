/* SPDX-License-Identifier: MIT
 * The writing transaction: begin, commit, rollback, and keeping the WAL short.
 *
 * Invariants: one transaction at a time, owned by one thread. After a failed write the whole
 * transaction is failed (SQLite may have rolled it back itself, and what follows would commit
 * piecemeal). What lives outside SQLite (totals, the next id, live bytes) changes only after
 * COMMIT.
 */
#include "index_int.h"

#include <assert.h>

#include "spill/durable.h"

#define PAUSE_MS      50    /* how long new readers may be kept out while the WAL is not yet huge */
#define PAUSE_LONG_MS 10000 /* and when it is */

/* Something only this thread has. */
static const void *self(void)
{
	static _Thread_local char here;

	return &here;
}

bool ix_in_txn(const struct index *ix)
{
	return __atomic_load_n(&ix->owner, __ATOMIC_ACQUIRE) == self();
}

int ix_txn_fail(struct index *ix, int err)
{
	if (!ix->txn.err)
		ix->txn.err = err;
	return err;
}

int ix_wstmt(struct index *ix, enum ix_sql q, sqlite3_stmt **ret)
{
	int r;

	assert(ix_in_txn(ix));
	if (ix->txn.err)
		return ix->txn.err;
	r = ix_stmt(&ix->w, q, ret);
	return r < 0 ? ix_txn_fail(ix, r) : 0;
}

int ix_wstep(struct index *ix, sqlite3_stmt *st)
{
	int r = ix_step(&ix->w, st);

	return r < 0 && r != -EEXIST ? ix_txn_fail(ix, r) : r;
}

int ix_wrun(struct index *ix, sqlite3_stmt *st, int *ret_changes)
{
	int r = ix_wstep(ix, st);

	ix_reset(st);
	if (r >= 0 && ret_changes)
		*ret_changes = sqlite3_changes(ix->w.db);
	return r < 0 ? r : 0;
}

void ix_txn_reset(struct index *ix)
{
	struct ix_live *live = ix->txn.live;
	size_t cap = ix->txn.live_cap;

	ix->txn = (struct ix_txn){.live = live, .live_cap = cap, .next_obj = ix->next_obj};
}

static void release(struct index *ix)
{
	__atomic_store_n(&ix->owner, NULL, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&ix->write_lock);
}

static int checkpoint(struct index *ix, int mode, int *ret_frames, int *ret_done)
{
	int rc;

	ix->w.impatient = true; /* a reader in another process must not hold up the writer */
	rc = sqlite3_wal_checkpoint_v2(ix->w.db, NULL, mode, ret_frames, ret_done);
	ix->w.impatient = false;
	return ix_errno(ix->w.db, rc);
}

/* Copy the WAL into the database now and then. Copying alone does not shorten the WAL while some
 * reader always uses it, so past IX_RESET_FRAMES new readers are held back until those at work are
 * done: everything is copied by then, and starting the WAL afresh takes no time. Whatever goes
 * wrong here is tried again at the next commit; what was committed is safe in the WAL. */
static void shorten_wal(struct index *ix)
{
	int frames = 0, done = 0;

	if (ix->wal_frames < ix->ckpt_frames) /* SQLite began it afresh */
		ix->ckpt_frames = 0;
	if (ix->wal_frames - ix->ckpt_frames < IX_CKPT_FRAMES)
		return;
	ix->ckpt_frames = ix->wal_frames;
	if (checkpoint(ix, SQLITE_CHECKPOINT_PASSIVE, &frames, &done) < 0)
		return;
	if (ix->wal_frames < IX_RESET_FRAMES)
		return;
	if (!ix_readers_pause(ix, ix->wal_frames < 8 * IX_RESET_FRAMES ? PAUSE_MS : PAUSE_LONG_MS))
		return;
	if (checkpoint(ix, SQLITE_CHECKPOINT_TRUNCATE, &frames, &done) == 0)
		ix->wal_frames = ix->ckpt_frames = 0;
	ix_readers_resume(ix);
}

int index_begin(struct index *ix)
{
	sqlite3_stmt *st;
	int r;

	if (ix->read_only)
		return -EROFS;
	pthread_mutex_lock(&ix->write_lock);
	r = ix_stmt(&ix->w, SQL_BEGIN, &st);
	if (r == 0)
		r = ix_step(&ix->w, st);
	if (r < 0) {
		pthread_mutex_unlock(&ix->write_lock);
		return r;
	}
	ix_txn_reset(ix);
	__atomic_store_n(&ix->owner, self(), __ATOMIC_RELEASE);
	return 0;
}

static void rollback_locked(struct index *ix)
{
	sqlite3_stmt *st;

	if (!sqlite3_get_autocommit(ix->w.db) && ix_stmt(&ix->w, SQL_ROLLBACK, &st) == 0)
		ix_step(&ix->w, st);
	ix_txn_reset(ix);
}

void index_rollback(struct index *ix)
{
	if (!ix_in_txn(ix)) /* a failed commit rolled back already */
		return;
	rollback_locked(ix);
	release(ix);
}

void index_trim(struct index *ix)
{
	pthread_mutex_lock(&ix->write_lock);
	sqlite3_db_release_memory(ix->w.db);
	pthread_mutex_unlock(&ix->write_lock);
}

/* What was kept in memory during the transaction goes into it. */
static int flush(struct index *ix)
{
	int r = ix->txn.err ? ix->txn.err : ix_live_flush(ix);

	if (r == 0 && ix->txn.next_obj_dirty)
		r = index_meta_set(ix, "next_obj", ix->txn.next_obj);
	return r;
}

int index_commit(struct index *ix)
{
	sqlite3_stmt *st;
	int r;

	assert(ix_in_txn(ix));
	r = flush(ix);
	if (r == 0)
		r = d_step("index.commit");
	if (r == 0)
		r = ix_stmt(&ix->w, SQL_COMMIT, &st);
	if (r == 0) {
		r = ix_step(&ix->w, st);
		if (r < 0) {
			int frames, done;

			/* When the fsync failed, the commit may stand complete in the WAL, unused
			 * now but found again after a crash. A fresh WAL makes the rollback final.
			 */
			rollback_locked(ix);
			if (ix_readers_pause(ix, PAUSE_MS)) {
				checkpoint(ix, SQLITE_CHECKPOINT_TRUNCATE, &frames, &done);
				ix_readers_resume(ix);
			}
		}
	}
	if (r < 0) {
		rollback_locked(ix);
		release(ix);
		return r;
	}
	/* A place to die, not to fail: it is committed. */
	(void)d_step("index.commit");
	ix_totals_apply(ix);
	if (ix->txn.next_obj_dirty)
		ix->next_obj = ix->txn.next_obj;
	ix_txn_reset(ix);
	shorten_wal(ix);
	release(ix);
	return 0;
}
