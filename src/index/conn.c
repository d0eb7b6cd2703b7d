/* SPDX-License-Identifier: MIT
 * Connections to index.db: opening with our settings, prepared statements, what SQLite's result
 * codes mean, and the pool of readers.
 *
 * Connections are opened without SQLite's own mutexes, because each is used by one thread at a
 * time. A reader holds a snapshot only from its first row to its reset, so the WAL can always be
 * started afresh soon; when readers never pause by themselves, the writer pauses them
 * (ix_readers_pause).
 */
#include "index_int.h"

#include <stdio.h>

#define BUSY_SLEEP_US 2000

int ix_errno(sqlite3 *db, int rc)
{
	int sys = db ? sqlite3_system_errno(db) : 0;

	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		if (rc == SQLITE_IOERR_NOMEM || sys == ENOMEM)
			return -ENOMEM;
		if (sys == ENOSPC || sys == EDQUOT)
			return -ENOSPC;
		if (sys == EROFS || sys == ENOENT || sys == EACCES || sys == ELOOP)
			return -sys;
		if (rc == SQLITE_CANTOPEN_SYMLINK)
			return -ELOOP;
		return -EIO;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return -EBUSY;
	default:
		/* CORRUPT, NOTADB, and ERROR: our statements are right, so the schema is not ours.
		 */
		return -EUCLEAN;
	}
}

/* SQLite asks whether to wait on for a lock. Only another process can hold one for long. */
static int wait_busy(void *ctx, int count)
{
	const struct ix_conn *c = ctx;

	if (c->impatient)
		return 0;
	usleep(count < 10 ? BUSY_SLEEP_US / 10 : BUSY_SLEEP_US);
	return 1;
}

int ix_exec(struct ix_conn *c, const char *sql)
{
	return ix_errno(c->db, sqlite3_exec(c->db, sql, NULL, NULL, NULL));
}

/* "file:" + path with %-escapes, for the one option that only a URI can say. */
static char *immutable_uri(const char *path)
{
	char *uri = malloc(strlen(path) * 3 + sizeof("file:?immutable=1")), *p = uri;

	if (!uri)
		return NULL;
	p += sprintf(p, "file:");
	for (; *path; path++) {
		if (strchr("?#%", *path))
			p += sprintf(p, "%%%02x", (unsigned)*path);
		else
			*p++ = *path;
	}
	strcpy(p, "?immutable=1");
	return uri;
}

static int settings(struct ix_conn *c, bool writer)
{
	static const struct {
		int op, val;
	} db[] = {
		{SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
		{SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
		{SQLITE_DBCONFIG_DQS_DML, 0},        {SQLITE_DBCONFIG_DQS_DDL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(db); i++)
		sqlite3_db_config(c->db, db[i].op, db[i].val, NULL);
	sqlite3_extended_result_codes(c->db, 1);
	sqlite3_busy_handler(c->db, wait_busy, c);
	/* cell_size_check: look at each page before its cells are trusted. */
	return ix_exec(c, writer ? "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
				   "PRAGMA cell_size_check = ON; PRAGMA cache_size = -16384;"
				   "PRAGMA secure_delete = OFF; PRAGMA synchronous = FULL;"
				   "PRAGMA journal_size_limit = 16777216"
				 : "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
				   "PRAGMA cell_size_check = ON; PRAGMA cache_size = -1024;"
				   "PRAGMA query_only = ON");
}

int ix_conn_open(struct index *ix, struct ix_conn *c, bool writer)
{
	/* The path was resolved, so NOFOLLOW refuses only a symlink that came since. */
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW;
	cleanup_free char *uri = NULL;
	int rc, r;

	flags |= ix->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
	if (ix->immutable) {
		uri = immutable_uri(ix->db_path);
		if (!uri)
			return -ENOMEM;
		flags |= SQLITE_OPEN_URI;
	}
	rc = sqlite3_open_v2(uri ? uri : ix->db_path, &c->db, flags, NULL);
	r = rc ? ix_errno(c->db, rc) : settings(c, writer && !ix->read_only);
	if (r < 0)
		ix_conn_close(c);
	return r;
}

void ix_conn_close(struct ix_conn *c)
{
	for (int i = 0; i < SQL_N; i++)
		sqlite3_finalize(c->st[i]);
	memset(c->st, 0, sizeof(c->st));
	sqlite3_close_v2(c->db);
	c->db = NULL;
}

int ix_stmt(struct ix_conn *c, enum ix_sql q, sqlite3_stmt **ret)
{
	if (!c->st[q]) {
		int rc = sqlite3_prepare_v3(c->db, ix_sql_text(q), -1, SQLITE_PREPARE_PERSISTENT,
					    &c->st[q], NULL);

		if (rc)
			return ix_errno(c->db, rc);
	}
	*ret = c->st[q];
	return 0;
}

int ix_step(struct ix_conn *c, sqlite3_stmt *st)
{
	int rc, r;

	/* Only the first step of a read can be busy (it takes the snapshot), so it may be repeated.
	 */
	while ((rc = sqlite3_step(st)), r = ix_errno(c->db, rc), r == -EBUSY && !c->impatient) {
		sqlite3_reset(st);
		usleep(BUSY_SLEEP_US);
	}
	if (rc == SQLITE_ROW)
		return 1;
	ix_reset(st);
	return r;
}

void ix_reset(sqlite3_stmt *st)
{
	if (!st)
		return;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

struct ix_conn *ix_reader_get(struct index *ix)
{
	struct ix_conn *c;

	pthread_mutex_lock(&ix->pool_lock);
	while (!ix->pool || ix->pool_gate)
		pthread_cond_wait(&ix->pool_cond, &ix->pool_lock);
	c = ix->pool; /* the last one put back: its cache is the warmest */
	ix->pool = c->next;
	ix->pool_idle--;
	pthread_mutex_unlock(&ix->pool_lock);
	return c;
}

void ix_reader_put(struct index *ix, struct ix_conn *c)
{
	pthread_mutex_lock(&ix->pool_lock);
	c->next = ix->pool;
	ix->pool = c;
	ix->pool_idle++;
	pthread_cond_broadcast(&ix->pool_cond);
	pthread_mutex_unlock(&ix->pool_lock);
}

struct ix_conn *ix_conn_get(struct index *ix)
{
	return ix_in_txn(ix) ? &ix->w : ix_reader_get(ix);
}

void ix_conn_put(struct index *ix, struct ix_conn *c)
{
	if (c != &ix->w)
		ix_reader_put(ix, c);
	else if (sqlite3_get_autocommit(ix->w.db)) /* SQLite gave the transaction up */
		ix_txn_fail(ix, -EIO);
}

bool ix_readers_pause(struct index *ix, unsigned wait_ms)
{
	struct timespec until;
	bool all;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&ix->pool_lock);
	ix->pool_gate = true;
	while (ix->pool_idle < IX_READERS &&
	       pthread_cond_timedwait(&ix->pool_cond, &ix->pool_lock, &until) != ETIMEDOUT)
		;
	all = ix->pool_idle == IX_READERS;
	if (!all) {
		ix->pool_gate = false;
		pthread_cond_broadcast(&ix->pool_cond);
	}
	pthread_mutex_unlock(&ix->pool_lock);
	return all;
}

void ix_readers_resume(struct index *ix)
{
	pthread_mutex_lock(&ix->pool_lock);
	ix->pool_gate = false;
	pthread_cond_broadcast(&ix->pool_cond);
	pthread_mutex_unlock(&ix->pool_lock);
}
