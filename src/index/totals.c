/* SPDX-License-Identifier: MIT
 * Totals: counted once at open, then carried along by each commit, so that status costs nothing.
 * Sums of sizes are modulo 2^64 and counted here rather than by SQLite, whose sum() fails on
 * overflow (a few sparse files of 4 EiB are enough).
 */
#include "index_int.h"

#include <fcntl.h>
#include <sys/stat.h>

static int count_one(struct ix_conn *c, enum ix_sql q, uint64_t *ret)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int r = ix_stmt(c, q, &st);

	if (r < 0)
		return r;
	r = ix_step(c, st);
	return r == 1 ? ix_col_u64(st, 0, ret) : r < 0 ? r : -EUCLEAN;
}

static int count_sizes(struct ix_conn *c, enum ix_sql q, uint64_t *ret_files, uint64_t *ret_bytes)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	uint64_t files = 0, bytes = 0, size;
	int r = ix_stmt(c, q, &st);

	if (r < 0)
		return r;
	while ((r = ix_step(c, st)) == 1) {
		files++;
		/* A row without its object is index_check's business. */
		if (sqlite3_column_type(st, 0) == SQLITE_NULL)
			continue;
		r = ix_col_u64(st, 0, &size);
		if (r < 0)
			return r;
		bytes += size;
	}
	if (r < 0)
		return r;
	*ret_files = files;
	*ret_bytes = bytes;
	return 0;
}

int ix_totals_count(struct index *ix)
{
	struct index_totals t = {0};
	int r = count_one(&ix->w, SQL_OBJ_COUNT, &t.objects);

	if (r == 0)
		r = count_sizes(&ix->w, SQL_FILE_COPIED_SIZES, &t.files_premigrated,
				&t.premigrated_data_bytes);
	if (r == 0)
		r = count_sizes(&ix->w, SQL_FILE_SPILLED_SIZES, &t.files_spilled,
				&t.spilled_logical_bytes);
	if (r == 0)
		ix->totals = t;
	return r;
}

void ix_totals_apply(struct index *ix)
{
	const struct ix_txn *d = &ix->txn;
	struct index_totals *t = &ix->totals;

	pthread_mutex_lock(&ix->totals_lock);
	t->files_premigrated += (uint64_t)d->premigrated;
	t->premigrated_data_bytes += d->premigrated_bytes;
	t->files_spilled += (uint64_t)d->spilled;
	t->spilled_logical_bytes += d->spilled_bytes;
	t->objects += (uint64_t)d->objects;
	pthread_mutex_unlock(&ix->totals_lock);
}

int index_totals(struct index *ix, struct index_totals *ret)
{
	struct stat st;
	uint64_t bytes;

	if (fstatat(ix->dirfd, IX_DB_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	bytes = (uint64_t)st.st_blocks * 512;
	if (fstatat(ix->dirfd, IX_DB_NAME "-wal", &st, AT_SYMLINK_NOFOLLOW) == 0)
		bytes += (uint64_t)st.st_blocks * 512;
	pthread_mutex_lock(&ix->totals_lock);
	*ret = ix->totals;
	pthread_mutex_unlock(&ix->totals_lock);
	ret->db_bytes = bytes;
	return 0;
}

void index_moved_bytes(struct index *ix, uint64_t *ret_premigrated, uint64_t *ret_spilled)
{
	pthread_mutex_lock(&ix->totals_lock);
	*ret_premigrated = ix->totals.premigrated_data_bytes;
	*ret_spilled = ix->totals.spilled_logical_bytes;
	pthread_mutex_unlock(&ix->totals_lock);
}
