/* SPDX-License-Identifier: MIT
 * Opening and closing the index. The rest of the module hangs off the struct made here.
 *
 * SQLite wants a path, and the daemon changes its directory and mounts over others, so the path is
 * made absolute and free of symlinks once, here. index.db itself is never opened by us: closing
 * such a descriptor would drop the POSIX locks SQLite holds on the same file.
 */
#include "index_int.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "spill/durable.h"

static int wal_hook(void *ctx, sqlite3 *db, const char *name, int frames)
{
	struct index *ix = ctx;

	(void)db, (void)name;
	ix->wal_frames = frames; /* runs inside COMMIT, under write_lock */
	return SQLITE_OK;
}

/* A regular file, or nothing: 0 with its size, -ENOENT, -ELOOP, -EUCLEAN. */
static int stat_regular(int dirfd, const char *name, off_t *ret_size)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode))
		return -EUCLEAN;
	*ret_size = st.st_size;
	return 0;
}

/* SQLite would create the file readable by all, and does not fsync the directory. */
static int create_db(struct index *ix)
{
	int fd = openat(ix->dirfd, IX_DB_NAME, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	cleanup_fd int dir = -1;

	if (fd < 0)
		return -errno;
	close(fd);
	dir = openat(ix->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -errno : d_fsync(dir);
}

static int locate(struct index *ix, const char *path, bool create)
{
	cleanup_free char *dir = realpath(path, NULL);
	off_t size, wal = 0;
	int r, rw, rs;

	if (!dir)
		return -errno;
	ix->dirfd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (ix->dirfd < 0)
		return -errno;
	if (asprintf(&ix->db_path, "%s/" IX_DB_NAME, dir) < 0) {
		ix->db_path = NULL;
		return -ENOMEM;
	}
	r = stat_regular(ix->dirfd, IX_DB_NAME, &size);
	if (r == -ENOENT && create && !ix->read_only) {
		r = create_db(ix);
		if (r == 0)
			size = 0;
	}
	if (r < 0)
		return r;
	rw = stat_regular(ix->dirfd, IX_DB_NAME "-wal", &wal);
	rs = stat_regular(ix->dirfd, IX_DB_NAME "-shm", &size);
	if ((rw < 0 && rw != -ENOENT) || (rs < 0 && rs != -ENOENT))
		return rw < 0 && rw != -ENOENT ? rw : rs;
	/* Without a WAL nobody is writing and the file says it all: leave no trace beside it. */
	ix->immutable = ix->read_only && wal == 0 && rs == -ENOENT;
	return 0;
}

/* SQLite does not call it an error when the mode stays what it was. */
static int go_wal(struct ix_conn *c)
{
	sqlite3_stmt *st;
	int r, rc = sqlite3_prepare_v2(c->db, "PRAGMA journal_mode = WAL", -1, &st, NULL);

	if (rc)
		return ix_errno(c->db, rc);
	r = ix_step(c, st);
	if (r == 1) {
		const char *mode = (const char *)sqlite3_column_text(st, 0);

		r = mode && strcmp(mode, "wal") == 0 ? 0 : -EIO;
	}
	sqlite3_finalize(st);
	return r;
}

static int open_readers(struct index *ix)
{
	for (int i = 0; i < IX_READERS; i++) {
		int r = ix_conn_open(ix, &ix->readers[i], false);

		if (r < 0)
			return r;
		ix_reader_put(ix, &ix->readers[i]);
	}
	return 0;
}

/* The id counter never goes back, even if its meta row was lost. */
static int load_next_obj(struct index *ix)
{
	sqlite3_stmt *st;
	uint64_t next = 1;
	int r = ix_meta_get(&ix->w, "next_obj", &next);

	if (r < 0 && r != -ENOENT)
		return r;
	r = ix_stmt(&ix->w, SQL_OBJ_MAX, &st);
	if (r == 0)
		r = ix_step(&ix->w, st);
	if (r < 0)
		return r;
	if (r == 1) {
		uint64_t max = 0;

		r = sqlite3_column_type(st, 0) == SQLITE_NULL ? 0 : ix_col_u64(st, 0, &max);
		ix_reset(st);
		if (r < 0)
			return r;
		next = MAX(next, max + 1);
	}
	ix->next_obj = next;
	return 0;
}

static int open_all(struct index *ix, const char *path, bool create)
{
	int r = locate(ix, path, create);

	if (r == 0)
		r = ix_conn_open(ix, &ix->w, true);
	if (r == 0 && !ix->read_only) {
		sqlite3_wal_hook(ix->w.db, wal_hook, ix);
		r = ix_exec(&ix->w, "PRAGMA page_size = 4096");
		if (r == 0)
			r = go_wal(&ix->w);
	}
	if (r == 0)
		r = ix_migrate(ix, create);
	if (r == 0)
		r = open_readers(ix);
	if (r == 0)
		r = load_next_obj(ix);
	if (r == 0)
		r = ix_totals_count(ix);
	return r;
}

int index_open(struct index **ret, const char *path, bool create, bool read_only)
{
	struct index *ix = calloc(1, sizeof(*ix));
	pthread_condattr_t attr;
	int r;

	if (!ix)
		return -ENOMEM;
	ix->dirfd = -1;
	ix->read_only = read_only;
	pthread_mutex_init(&ix->write_lock, NULL);
	pthread_mutex_init(&ix->pool_lock, NULL);
	pthread_mutex_init(&ix->totals_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ix->pool_cond, &attr);
	pthread_condattr_destroy(&attr);

	r = open_all(ix, path, create);
	if (r < 0) {
		index_close(ix);
		return r;
	}
	*ret = ix;
	return 0;
}

void index_close(struct index *ix)
{
	if (!ix)
		return;
	for (int i = 0; i < IX_READERS; i++)
		ix_conn_close(&ix->readers[i]);
	ix_conn_close(&ix->w); /* the last one out checkpoints and removes the WAL */
	pthread_cond_destroy(&ix->pool_cond);
	pthread_mutex_destroy(&ix->totals_lock);
	pthread_mutex_destroy(&ix->pool_lock);
	pthread_mutex_destroy(&ix->write_lock);
	spill_closep(&ix->dirfd);
	free(ix->txn.live);
	free(ix->db_path);
	free(ix);
}
