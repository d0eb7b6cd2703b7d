/* SPDX-License-Identifier: MIT
 * How much the store may still take, to the byte that its writers are held to: what is promised
 * (statfs) is what can be stored.
 *
 * The disk is asked now and then (store_space). In between, everything that we write or give back
 * is counted, so that the answer from memory (store_space_now) is right at any time but for what
 * others do on the disk. A part of the disk is kept for the index: it must be written also when the
 * store is full, for deletes most of all. What the index has already is a part of that, or its
 * growth would take away what was promised.
 */
#include "store_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define RESERVE_MAX   (UINT64_C(16) << 20)
#define RESERVE_SHARE 32 /* of small disks */
#define AHEAD_PACKS   16 /* a batch writes to one or two */

static uint64_t index_bytes(const struct store *s)
{
	static const char *const names[] = {"index.db", "index.db-wal", "index.db-shm"};
	uint64_t sum = 0;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!fstatat(s->dirfd, names[i], &st, AT_SYMLINK_NOFOLLOW))
			sum += (uint64_t)st.st_blocks * 512;
	return sum;
}

static uint64_t reserve(const struct store *s, uint64_t total)
{
	uint64_t all = MIN(RESERVE_MAX, total / RESERVE_SHARE), have = index_bytes(s);

	return MAX(all > have ? all - have : 0, all / 2);
}

/* What xfs has given to the packs being written beyond what was written: it comes back when the
 * batch is over. The disk is asked without the lock that readers need. */
static uint64_t ahead(struct store *s)
{
	uint64_t disk = 0, ours;
	uint32_t no[AHEAD_PACKS];
	struct stat st;
	char name[16];
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	ours = atomic_load(&s->batch_bytes);
	for (size_t i = 0; i < s->npacks && n < ARRAY_SIZE(no); i++) {
		if (!s->packs[i]->in_batch)
			continue;
		no[n++] = s->packs[i]->no;
		ours += s->packs[i]->disk_bytes;
	}
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n; i++) {
		pack_name(no[i], name);
		if (!fstatat(s->packsfd, name, &st, AT_SYMLINK_NOFOLLOW))
			disk += (uint64_t)st.st_blocks * 512;
	}
	return disk > ours ? disk - ours : 0;
}

int store_space(struct store *s, struct store_space *ret)
{
	/* Before the disk is asked: what is written meanwhile counts twice rather than never. */
	int64_t grown = atomic_load(&s->grown);
	uint64_t over = overflow_bytes(s), max = s->opts.max_bytes;
	struct store_space sp = {0};
	struct statvfs v;

	pthread_mutex_lock(&s->lock);
	sp.stored_bytes = atomic_load(&s->stored_bytes) + atomic_load(&s->batch_bytes) + over;
	pthread_mutex_unlock(&s->lock);
	uint64_t given = ahead(s);

	if (fstatvfs(s->dirfd, &v))
		return -errno;
	sp.total_bytes = (uint64_t)v.f_blocks * v.f_frsize;
	sp.free_bytes = (uint64_t)v.f_bavail * v.f_frsize + given;
	uint64_t keep = reserve(s, sp.total_bytes);

	sp.free_bytes = sp.free_bytes > keep ? sp.free_bytes - keep : 0;
	if (max)
		sp.free_bytes =
			MIN(sp.free_bytes, max > sp.stored_bytes ? max - sp.stored_bytes : 0);
	pthread_mutex_lock(&s->space_lock);
	s->space = sp;
	/* ... and what is given back meanwhile once at most. */
	s->space_grown = MIN(grown, atomic_load(&s->grown));
	s->space_known = true;
	pthread_mutex_unlock(&s->space_lock);
	store_space_now(s, ret);
	return 0;
}

static uint64_t less(uint64_t v, int64_t by)
{
	if (by < 0)
		return v + (uint64_t)-by;
	return v > (uint64_t)by ? v - (uint64_t)by : 0;
}

void store_space_now(struct store *s, struct store_space *ret)
{
	pthread_mutex_lock(&s->space_lock);
	int64_t since = atomic_load(&s->grown) - s->space_grown, moving = atomic_load(&s->moving);

	*ret = s->space;
	if (s->space_known) {
		ret->free_bytes = less(ret->free_bytes, since);
		ret->stored_bytes = less(ret->stored_bytes, -since);
	}
	pthread_mutex_unlock(&s->space_lock);
	ret->moving_bytes = moving > 0 ? (uint64_t)moving : 0;
}

void store_grew(struct store *s, int64_t bytes)
{
	atomic_fetch_add(&s->grown, bytes);
}

void store_moved(struct store *s, uint64_t bytes)
{
	int64_t was = atomic_load(&s->moving), now;

	do
		now = was > 0 && (uint64_t)was > bytes ? was - (int64_t)bytes : 0;
	while (!atomic_compare_exchange_weak(&s->moving, &was, now));
}

void store_undone(struct store *s, uint64_t bytes)
{
	pthread_mutex_lock(&s->space_lock);
	store_grew(s, -(int64_t)bytes);
	store_moved(s, bytes);
	pthread_mutex_unlock(&s->space_lock);
}

int space_for(struct store *s, uint64_t bytes)
{
	struct store_space sp;

	store_space_now(s, &sp);
	if (sp.free_bytes >= bytes)
		return 0;
	int r = store_space(s, &sp); /* something may have been freed since */

	return r ? r : sp.free_bytes < bytes ? -ENOSPC : 0;
}
