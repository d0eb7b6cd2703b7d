/* SPDX-License-Identifier: MIT
 * Spilling a batch of files: premigrate, then release (DESIGN.md section 4). This part takes files
 * in.
 *
 *   add      read, hash, compress into the pack (or find the object: dedup)     premigrate.c
 *   finish   fsync packs; read back and verify; index rows SPILLING (durable); epoch; release; rows
 * SPILLED
 *
 * Nobody is excluded while a file is copied: the snapshot's size, mtime and ctime are compared
 * again under the lease. A crash before the index commit leaves bytes that the next mount cuts off;
 * after it, rows whose files are still resident, which recovery drops. One batch at a time
 * (spill_lock).
 */
#include "ahead.h"
#include "batch.h"
#include "overflow.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define ROOM_SPARE (64u << 10) /* a file's share of directories, and the rest of a frame */

/* Space comes back when a batch is over: a small tier must not wait for one half its size. */
static uint64_t batch_max(const struct tier *t)
{
	struct statvfs sv;

	if (hot_statfs(t->hot, &sv))
		return BATCH_BYTES;
	return MIN(BATCH_BYTES, MAX((uint64_t)sv.f_blocks * sv.f_frsize / 8, BATCH_SMALL));
}

int spill_batch_new(struct tier *t, unsigned min_age_sec, uint64_t min_size,
		    struct spill_batch **ret)
{
	struct spill_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->t = t;
	b->min_age_sec = min_age_sec;
	b->min_size = MAX(min_size, 1);
	b->max = batch_max(t);
	b->buf = malloc(BATCH_BUF);
	b->v = calloc(BATCH_FILES, sizeof(struct entry *));
	if (!b->buf || !b->v || sha256_new(&b->sha)) {
		free(b->buf);
		free(b->v);
		free(b);
		return -ENOMEM;
	}
	pthread_mutex_lock(&t->spill_lock);
	*ret = b;
	return 0;
}

void spill_batch_copy_only(struct spill_batch *b)
{
	b->copy_only = true;
}

void spill_batch_ahead(struct spill_batch *b, struct ahead *a)
{
	b->ahead = a;
	ahead_go(a, true);
}

bool spill_batch_full(const struct spill_batch *b)
{
	return b->n == MIN(BATCH_FILES, b->t->batch_files) || b->bytes >= b->max || b->err ||
	       b->tight || (b->t->batch_cap && b->bytes >= b->t->batch_cap);
}

bool spill_batch_alone(const struct spill_batch *b)
{
	return b->n <= 1;
}

int spill_batch_failed(const struct spill_batch *b)
{
	return b->err;
}

void batch_free(struct spill_batch *b)
{
	store_moved(b->t->store, UINT64_MAX); /* what was not released is a copy too many */
	for (size_t i = 0; i < b->n; i++) {
		node_lock(b->t, b->v[i]->rel.n);
		node_flag(b->v[i]->rel.n, 0, NODE_QUEUED);
		node_unlock(b->t, b->v[i]->rel.n);
		tier_put(b->t, b->v[i]->rel.n);
		free(b->v[i]->rel.path);
		free(b->v[i]);
	}
	for (size_t i = 0; i < BOBJ_BUCKETS; i++) {
		struct bobj *bo = b->table[i];

		while (bo) {
			struct bobj *next = bo->next;

			object_free(bo->o);
			free(bo);
			bo = next;
		}
	}
	sha256_free(b->sha);
	free(b->buf);
	free(b->v);
	free(b);
}

/* A batch that meets the end of the store is lost as a whole. So what might not fit begins a batch
 * of its own, and what did not fit alone is not tried again before there is more room. */
static bool fits(struct spill_batch *b, const struct node *n, const struct stat *st)
{
	struct tier *t = b->t;
	struct store_space sp;
	struct file_row row;
	uint64_t need = MIN((uint64_t)st->st_blocks * 512, (uint64_t)st->st_size);

	need += need / 256 + ROOM_SPARE;
	store_space_now(t->store, &sp);
	if (!b->n) {
		b->room = sp.free_bytes;
		b->given = 0;
	}
	uint64_t room = MIN(sp.free_bytes, b->room - MIN(b->room, b->given));

	b->need = need;
	if (need > room) {
		int64_t m, c;

		if (!index_file_get(t->ix, node_hot_id(t, n), &row) &&
		    row.state == RES_PREMIGRATED && row.size == (uint64_t)st->st_size &&
		    ts_to_ns(&st->st_mtim, &m) && ts_to_ns(&st->st_ctim, &c) &&
		    copy_is_of(&row, m, c))
			return true; /* it is there */
		b->tight = b->n;
		if (b->n || sp.free_bytes < ROOM_SPARE)
			return false;
		/* It may be one that can be compressed. */
		if (t->too_large && need >= t->too_large &&
		    sp.free_bytes <= t->too_large_room + t->too_large_room / 8)
			return false;
	}
	b->given += need;
	return true;
}

static bool too_young(const struct spill_batch *b, const struct stat *st, int64_t now)
{
	int64_t m, c;

	if (!ts_to_ns(&st->st_mtim, &m) || !ts_to_ns(&st->st_ctim, &c))
		return true;
	return b->min_age_sec && now - MAX(m, c) < (int64_t)b->min_age_sec * 1000000000;
}

static bool times_fit(const struct stat *st)
{
	int64_t ns;

	return ts_to_ns(&st->st_mtim, &ns) && ts_to_ns(&st->st_ctim, &ns);
}

/* Can somebody write to it unseen? What is stored into a page that is dirty and mapped already
 * shows in no time stamp, and the mapping may have gone before the lease of the release is taken. A
 * read lease is granted when nobody has the inode open for writing, mappings included (the kernel's
 * check_conflicting_open). Under the node lock, with nobody who has it open through us: no open
 * can meet the lease. [N] */
bool written_by_others(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK))
		return true;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* Also counts what a partial file has in the overflow. */
static int verdict_of(struct tier *t, struct node *n, int fd, struct stat *st, bool copy_only)
{
	int v;

	node_lock(t, n);
	int r = node_learn(t, n, fd, st);

	if (r)
		v = r;
	else if (n->cold || node_has(n, NODE_QUEUED))
		v = SPILL_DONE_BEFORE;
	else if (node_has(n, NODE_DAMAGED))
		v = -EIO;
	else if (copy_only && n->over) /* a copy is no use while parts are elsewhere */
		v = SPILL_NOT_ELIGIBLE;
	else if (n->opens || n->rel || node_has(n, NODE_BUSY | NODE_STALE_MARKER) ||
		 written_by_others(fd))
		v = SPILL_IS_BUSY;
	else if (fstat(fd, st)) /* from here on every write shows */
		v = -errno;
	else
		v = SPILL_QUEUED;
	if (n->over)
		st->st_blocks += (blkcnt_t)overflow_blocks(n->over);
	node_unlock(t, n);
	return v;
}

int spill_batch_add(struct spill_batch *b, int dirfd, const char *name, const char *path)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == ENOENT ? SPILL_NOT_ELIGIBLE
									   : -errno;
	return spill_batch_add_fd(b, fd, path);
}

int spill_batch_add_fd(struct spill_batch *b, int taken, const char *path)
{
	struct tier *t = b->t;
	struct node *n = NULL;
	struct bobj *bo = NULL;
	struct stat st;
	int64_t snap;
	int attr_flags = 0;
	cleanup_fd int fd = taken;

	if (pin_keeps(t, path, NULL))
		return SPILL_IS_PINNED;
	int r = node_of_fd(t, fd, &n, &st);

	if (r)
		return r;
	r = SPILL_NOT_ELIGIBLE;
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_dev != hot_dev(t->hot) ||
	    !node_hot_id(t, n).ino)
		goto out;
	r = verdict_of(t, n, fd, &st, b->copy_only);
	if (r == SPILL_QUEUED && pin_keeps(t, path, n)) /* by another name */
		r = SPILL_IS_PINNED;
	if (r != SPILL_QUEUED)
		goto out;
	r = SPILL_NOT_ELIGIBLE;
	if (st.st_blocks == 0 || (uint64_t)st.st_size < b->min_size || !times_fit(&st) ||
	    too_young(b, &st, clock_wall_ns()))
		goto out;
	/* The kernel drops file capabilities with every change of data, a punch included. */
	if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
		goto out;
	/* Immutable and append-only files cannot be opened for the punch. */
	if (!ioctl(fd, FS_IOC_GETFLAGS, &attr_flags) &&
	    (attr_flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)))
		goto out;
	r = SPILL_NO_ROOM;
	if (!fits(b, n, &st))
		goto out;
	r = premigrate(b, fd, n, &st, &snap, &bo);
	if (r == -EBUSY)
		r = SPILL_IS_BUSY;
	if (r == -ENODATA)
		r = SPILL_NOT_ELIGIBLE;
	if (r == -EALREADY)
		r = SPILL_DONE_BEFORE;
	if (r)
		goto out;

	struct entry *e = calloc(1, sizeof(*e));

	r = -ENOMEM;
	if (!e)
		goto out;
	node_lock(t, n);
	node_flag(n, NODE_QUEUED, 0);
	node_unlock(t, n);
	e->bo = bo;
	bo->files++;
	e->rel = (struct release_entry){
		.n = steal_ptr(n),
		.fd = -1,
		.st = st,
		.snap_ns = snap,
		.had_copy = b->had_copy,
		.path = strdup(path),
	};
	b->v[b->n++] = e;
	b->bytes += (uint64_t)st.st_size;
	r = SPILL_QUEUED;
out:
	tier_put(t, n);
	return r;
}
