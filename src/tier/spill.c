/* SPDX-License-Identifier: MIT
 * Spilling a batch of files: premigrate, then release (DESIGN.md section 4).
 *
 *   add      read, hash, compress into the pack (or find the object: dedup)
 *   finish   fsync packs; read back and verify; index rows SPILLING (durable); epoch; release; rows
 * SPILLED
 *
 * Nobody is excluded while a file is copied: the snapshot's size, mtime and ctime are compared
 * again under the lease. A crash before the index commit leaves bytes that the next mount cuts off;
 * after it, rows whose files are still resident, which recovery drops. One batch at a time
 * (spill_lock).
 */
#include "tier_int.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <xxhash.h>

#define BATCH_FILES   2048
#define BATCH_BYTES   (128ull << 20)
#define RELEASE_FILES 256        /* descriptors and leases held at once */
#define TICK_NS       20000000ll /* more than the coarsest clock tick of a time stamp (10 ms) */
#define ID_RESERVE    (1ull << 16)

/* One distinct content of the batch. */
struct bobj {
	struct bobj *next; /* hash chain */
	struct object *o;
	bool fresh;   /* written by this batch */
	bool have_xx; /* xx is the stream's hash, from the hot data */
	uint64_t xx;
	int err;
};

struct entry {
	struct release_entry rel;
	struct bobj *bo;
};

#define BOBJ_BUCKETS 4096

struct spill_batch {
	struct tier *t;
	unsigned min_age_sec;
	uint64_t min_size;
	struct store_writer *w;
	struct sha256 *sha;
	uint8_t *buf; /* 1 MiB */
	struct entry **v;
	size_t n;
	uint64_t bytes;
	struct bobj *table[BOBJ_BUCKETS];
	int err;
};

#define BUF_BYTES (1u << 20)

int spill_batch_new(struct tier *t, unsigned min_age_sec, uint64_t min_size,
		    struct spill_batch **ret)
{
	struct spill_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->t = t;
	b->min_age_sec = min_age_sec;
	b->min_size = MAX(min_size, 1);
	b->buf = malloc(BUF_BYTES);
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

bool spill_batch_full(const struct spill_batch *b)
{
	return b->n == BATCH_FILES || b->bytes >= BATCH_BYTES || b->err;
}

int spill_batch_failed(const struct spill_batch *b)
{
	return b->err;
}

/* Object ids come in durably reserved runs, so that none is ever handed out twice. */
static int new_id(struct tier *t, struct obj_id *ret)
{
	if (t->next_obj == t->obj_limit) {
		uint64_t limit = t->obj_limit + ID_RESERVE;
		int r = index_begin(t->ix);

		if (r)
			return r;
		r = index_meta_set(t->ix, "obj_limit", limit);
		if (r) {
			index_rollback(t->ix);
			return r;
		}
		r = index_commit(t->ix);
		if (r)
			return r;
		t->obj_limit = limit;
	}
	ret->v = t->next_obj++;
	return 0;
}

/* ---- contents of this batch ---------------------------------------------------------------------
 */

static struct bobj **slot_of(struct spill_batch *b, const uint8_t *sha)
{
	return &b->table[get_le16(sha) % BOBJ_BUCKETS];
}

static struct bobj *bobj_find(struct spill_batch *b, const struct object *o)
{
	for (struct bobj *p = *slot_of(b, o->sha); p; p = p->next)
		if (!memcmp(p->o->sha, o->sha, 16) && p->o->size == o->size &&
		    p->o->stream_len == o->stream_len)
			return p;
	return NULL;
}

static struct bobj *bobj_add(struct spill_batch *b, struct object *o, bool fresh)
{
	struct bobj *bo = calloc(1, sizeof(*bo));

	if (!bo)
		return NULL;
	bo->o = o;
	bo->fresh = fresh;
	bo->next = *slot_of(b, o->sha);
	*slot_of(b, o->sha) = bo;
	return bo;
}

/* The content described by o (sha, size, stream_len) in this batch or in the index: 0 and *ret, or
 * -ENOENT. */
static int dedup(struct spill_batch *b, const struct object *o, struct bobj **ret)
{
	struct object *known;
	struct obj_id id;

	*ret = bobj_find(b, o);
	if (*ret)
		return 0;
	int r = index_object_find(b->t->ix, o->sha, o->size, o->stream_len, &id);

	if (!r)
		r = index_object_get(b->t->ix, id, &known);
	if (r)
		return r;
	*ret = bobj_add(b, known, false);
	if (!*ret) {
		object_free(known);
		return -ENOMEM;
	}
	return 0;
}

/* ---- reading the hot file
 * ------------------------------------------------------------------------- */

typedef int (*piece_fn)(struct spill_batch *b, const void *data, size_t len);

static int put_piece(struct spill_batch *b, const void *data, size_t len)
{
	return store_writer_large_data(b->w, data, len);
}

/* Read the stream of o from fd through b->buf: hash it and hand it on. -EAGAIN: the file shrank. */
static int read_stream(struct spill_batch *b, int fd, struct object *o, uint64_t *ret_xx,
		       piece_fn fn)
{
	struct range whole = {0, o->size};
	const struct range *rg = o->nranges ? o->ranges : &whole;
	uint32_t n = o->nranges ? o->nranges : 1;
	XXH3_state_t *xx = XXH3_createState();
	uint8_t le[16];
	int r = 0;

	if (!xx)
		return -ENOMEM;
	XXH3_64bits_reset(xx);
	sha256_reset(b->sha);
	for (uint32_t i = 0; i < n && !r; i++) {
		uint64_t off = rg[i].off, end = rg[i].off + rg[i].len;

		while (off < end && !r) {
			size_t want = MIN(BUF_BYTES, end - off);
			ssize_t got = pread_full(fd, b->buf, want, (off_t)off);

			if (got != (ssize_t)want) {
				r = got < 0 ? (int)got : -EAGAIN;
				break;
			}
			sha256_update(b->sha, b->buf, want);
			XXH3_64bits_update(xx, b->buf, want);
			if (fn)
				r = fn(b, b->buf, want);
			off += want;
		}
	}
	if (o->stream_len != o->size) {
		put_le64(le, o->size);
		sha256_update(b->sha, le, 8);
		for (uint32_t i = 0; i < o->nranges; i++) {
			put_le64(le, o->ranges[i].off);
			put_le64(le + 8, o->ranges[i].len);
			sha256_update(b->sha, le, 16);
		}
	}
	sha256_final(b->sha, o->sha);
	*ret_xx = XXH3_64bits_digest(xx);
	XXH3_freeState(xx);
	return r;
}

static int writer_ready(struct spill_batch *b)
{
	return b->w ? 0 : store_writer_begin(b->t->store, &b->w);
}

static int copy_small(struct spill_batch *b, int fd, struct object **po, struct bobj **ret)
{
	struct object *o = *po;
	uint64_t xx;
	int r = read_stream(b, fd, o, &xx,
			    NULL); /* leaves the whole stream in b->buf only if in one range */

	if (r)
		return r;
	r = dedup(b, o, ret);
	if (r != -ENOENT)
		goto known;
	if (o->nranges > 1) { /* gather */
		size_t at = 0;

		for (uint32_t i = 0; i < o->nranges; i++) {
			ssize_t got = pread_full(fd, b->buf + at, o->ranges[i].len,
						 (off_t)o->ranges[i].off);

			if (got != (ssize_t)o->ranges[i].len)
				return got < 0 ? (int)got : -EAGAIN;
			at += o->ranges[i].len;
		}
		if (XXH3_64bits(b->buf, o->stream_len) != xx)
			return -EAGAIN;
	}
	o->segs = calloc(1, sizeof(*o->segs));
	if (!o->segs)
		return -ENOMEM;
	r = new_id(b->t, &o->id);
	if (!r)
		r = writer_ready(b);
	if (!r)
		r = store_writer_small(b->w, o, b->buf, o->stream_len, o->segs);
	if (r) {
		b->err = r;
		return r;
	}
	o->nsegs = 1;
	*ret = bobj_add(b, o, true);
	if (!*ret)
		return -ENOMEM;
	*po = NULL;
known:
	if (*ret && !(*ret)->have_xx) {
		(*ret)->xx = xx;
		(*ret)->have_xx = true;
	}
	return *ret ? 0 : r;
}

static int copy_large(struct spill_batch *b, int fd, struct object **po, struct bobj **ret)
{
	struct object *o = *po;
	uint64_t xx;
	int r;

	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	bool maybe = index_object_size_known(b->t->ix, o->size);

	for (size_t i = 0; i < b->n && !maybe; i++)
		maybe = b->v[i]->bo->o->size == o->size;
	if (maybe) { /* hashing first costs one reading, storing twice costs more */
		r = read_stream(b, fd, o, &xx, NULL);
		if (!r)
			r = dedup(b, o, ret);
		if (!r && !(*ret)->have_xx) {
			(*ret)->xx = xx;
			(*ret)->have_xx = true;
		}
		if (r != -ENOENT)
			return r;
	}
	r = new_id(b->t, &o->id);
	if (!r)
		r = writer_ready(b);
	if (!r)
		r = store_writer_large_begin(b->w, o->id);
	if (r) {
		b->err = r;
		return r;
	}
	r = read_stream(b, fd, o, &xx, put_piece);
	if (r == -EAGAIN || r == -EIO) { /* the hot file's trouble, not the store's */
		int d = store_writer_large_drop(b->w);

		if (d)
			b->err = d;
		return r;
	}
	if (!r)
		r = store_writer_large_end(b->w, o);
	if (r) {
		b->err = r;
		return r;
	}
	*ret = bobj_add(b, o, true);
	if (!*ret)
		return -ENOMEM;
	(*ret)->xx = xx;
	(*ret)->have_xx = true;
	*po = NULL;
	return 0;
}

/* ---- which files
 * -------------------------------------------------------------------------------------- */

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

/* Premigrated earlier and untouched since (invariant 4)? Then the copy is good without reading. */
static struct bobj *premigrated(struct spill_batch *b, struct node *n, const struct stat *st)
{
	struct file_row row;
	struct object *o;
	int64_t m, c;

	if (index_file_get(b->t->ix, node_hot_id(b->t, n), &row) || row.state != RES_PREMIGRATED ||
	    row.snap_ns == 0 || row.size != (uint64_t)st->st_size)
		return NULL;
	if (!ts_to_ns(&st->st_mtim, &m) || !ts_to_ns(&st->st_ctim, &c) || m != row.mtime_ns ||
	    c != row.ctime_ns || c > row.snap_ns - TICK_NS)
		return NULL;
	if (index_object_get(b->t->ix, row.obj, &o))
		return NULL;
	struct bobj *bo = bobj_find(b, o);

	if (bo) {
		object_free(o);
		return bo;
	}
	bo = bobj_add(b, o, false);
	if (!bo)
		object_free(o);
	return bo;
}

/* Describe the content: ranges for sparse files. */
static int describe(int fd, const struct stat *st, struct object **ret)
{
	struct object *o = calloc(1, sizeof(*o));
	bool dense = true;

	if (!o)
		return -ENOMEM;
	o->size = (uint64_t)st->st_size;
	if ((uint64_t)st->st_blocks * 512 < o->size) {
		int r = hot_ranges(fd, o->size, &o->ranges, &o->nranges, &dense);

		if (r) {
			free(o);
			return r;
		}
	}
	if (dense)
		o->stream_len = o->size;
	else
		for (uint32_t i = 0; i < o->nranges; i++)
			o->stream_len += o->ranges[i].len;
	*ret = o;
	return 0;
}

static bool same_times(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The store's copy of fd, made or found. */
static int copy(struct spill_batch *b, int fd, struct node *n, struct stat *st, int64_t *ret_snap,
		struct bobj **ret)
{
	struct object *o = NULL;
	struct stat after;
	int64_t c;

	*ret_snap = clock_wall_ns();
	*ret = premigrated(b, n, st);
	if (*ret)
		return 0;
	/* A write in the same clock tick as the snapshot would not show in ctime. */
	ts_to_ns(&st->st_ctim, &c);
	if (c > *ret_snap - TICK_NS) {
		struct timespec ts = {0, TICK_NS + 5000000};

		nanosleep(&ts, NULL);
		*ret_snap = clock_wall_ns();
		if (fstat(fd, &after) || !same_times(st, &after))
			return -EBUSY;
		if (c > *ret_snap - TICK_NS)
			return -EBUSY; /* a clock that was set back: leave it alone */
	}
	int r = describe(fd, st, &o);

	if (r)
		return r;
	if (o->stream_len == 0)
		r = -ENODATA; /* all holes: nothing to free */
	else if (o->stream_len < FRAME_SIZE)
		r = copy_small(b, fd, &o, ret);
	else
		r = copy_large(b, fd, &o, ret);
	object_free(o); /* NULL when the batch keeps it */
	if (!r && (fstat(fd, &after) || !same_times(st, &after)))
		r = -EBUSY;
	return r == -EAGAIN ? -EBUSY : r;
}

static int verdict_of(struct tier *t, struct node *n, int fd, const struct stat *st)
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
	else if (n->opens || n->rel || node_has(n, NODE_BUSY | NODE_STALE_MARKER))
		v = SPILL_IS_BUSY;
	else
		v = SPILL_QUEUED;
	node_unlock(t, n);
	return v;
}

int spill_batch_add(struct spill_batch *b, int dirfd, const char *name, const char *path)
{
	struct tier *t = b->t;
	struct node *n = NULL;
	struct bobj *bo = NULL;
	struct stat st;
	int64_t snap;
	int attr_flags = 0;
	cleanup_fd int fd =
		openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == ENOENT ? SPILL_NOT_ELIGIBLE
									   : -errno;
	int r = node_of_fd(t, fd, &n, &st);

	if (r)
		return r;
	r = SPILL_NOT_ELIGIBLE;
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_dev != hot_dev(t->hot) ||
	    !node_hot_id(t, n).ino)
		goto out;
	r = verdict_of(t, n, fd, &st);
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
	r = copy(b, fd, n, &st, &snap, &bo);
	if (r == -EBUSY)
		r = SPILL_IS_BUSY;
	if (r == -ENODATA)
		r = SPILL_NOT_ELIGIBLE;
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
	e->rel = (struct release_entry){
		.n = steal_ptr(n),
		.fd = -1,
		.st = st,
		.snap_ns = snap,
		.path = strdup(path),
	};
	b->v[b->n++] = e;
	b->bytes += (uint64_t)st.st_size;
	r = SPILL_QUEUED;
out:
	tier_put(t, n);
	return r;
}

/* ---- finish
 * --------------------------------------------------------------------------------------------- */

struct verify_sink {
	XXH3_state_t *xx;
	struct sha256 *sha;
};

static int verify_piece(void *ctx, const void *data, size_t len, uint64_t off)
{
	struct verify_sink *v = ctx;

	(void)off;
	if (v->xx)
		XXH3_64bits_update(v->xx, data, len);
	else
		sha256_update(v->sha, data, len);
	return 0;
}

/* Read the object back from the pack and compare with what was read from the hot tier. Small
 * objects share frames: those are decoded once, through the frame cache. */
static int verify(struct spill_batch *b, struct bobj *bo)
{
	const struct object *o = bo->o;
	struct store_pos bad = {0};
	int r;

	if (!bo->have_xx)
		return object_verify(b->t->store, o, false);
	if (o->stream_len < FRAME_SIZE) {
		ssize_t n =
			store_read(b->t->store, o->segs, o->nsegs, b->buf, o->stream_len, 0, &bad);

		if (n != (ssize_t)o->stream_len)
			return n < 0 ? (int)n : -EUCLEAN;
		return XXH3_64bits(b->buf, o->stream_len) == bo->xx ? 0 : -EBADMSG;
	}
	struct verify_sink v = {.xx = XXH3_createState()};

	if (!v.xx)
		return -ENOMEM;
	XXH3_64bits_reset(v.xx);
	r = store_stream(b->t->store, o->segs, o->nsegs, verify_piece, &v, &bad);
	if (!r && XXH3_64bits_digest(v.xx) != bo->xx)
		r = -EBADMSG;
	XXH3_freeState(v.xx);
	return r;
}

static void verify_all(struct spill_batch *b)
{
	for (size_t i = 0; i < BOBJ_BUCKETS; i++)
		for (struct bobj *bo = b->table[i]; bo; bo = bo->next) {
			bo->err = verify(b, bo);
			if (bo->err)
				log_err("object %llu: reading back from the store failed: %s; the "
					"file "
					"stays in the hot tier",
					(unsigned long long)bo->o->id.v, strerror(-bo->err));
		}
}

static struct file_row row_of(struct spill_batch *b, const struct entry *e, enum residency state)
{
	struct file_row row = {
		.id = node_hot_id(b->t, e->rel.n),
		.obj = e->bo->o->id,
		.state = state,
	};

	if (state == RES_PREMIGRATED) {
		row.size = (uint64_t)e->rel.st.st_size;
		ts_to_ns(&e->rel.st.st_mtim, &row.mtime_ns);
		ts_to_ns(&e->rel.st.st_ctim, &row.ctime_ns);
		row.snap_ns = e->rel.snap_ns;
	}
	return row;
}

static int commit_or_not(struct spill_batch *b, int r, struct freed *fr)
{
	if (r)
		index_rollback(b->t->ix);
	else
		r = index_commit(b->t->ix);
	if (r)
		freed_forget(fr);
	else
		freed_release(b->t, fr);
	return r;
}

/* Rows SPILLING, objects, pack lengths and the coming epoch: one transaction. */
static int index_batch(struct spill_batch *b, const struct pack_len *lens, size_t nlens,
		       uint64_t epoch)
{
	struct index *ix = b->t->ix;
	struct freed fr = {0};
	int r = index_begin(ix);

	if (r)
		return r;
	/* An object found by its content may have lost its last file since; nobody can delete one
	 * from here on. */
	for (size_t i = 0; i < BOBJ_BUCKETS; i++)
		for (struct bobj *bo = b->table[i]; bo; bo = bo->next) {
			struct object *o = NULL;

			if (!bo->fresh && !bo->err && index_object_get(ix, bo->o->id, &o))
				bo->err = -EBUSY;
			object_free(o);
		}
	for (size_t i = 0; i < nlens && !r; i++)
		r = index_pack_set(ix, &lens[i]);
	for (size_t i = 0; i < BOBJ_BUCKETS && !r; i++)
		for (struct bobj *bo = b->table[i]; bo && !r; bo = bo->next)
			if (bo->fresh && !bo->err)
				r = index_object_put(ix, bo->o); /* refs 0, counted by the rows */
	for (size_t i = 0; i < b->n && !r; i++) {
		struct file_row row;

		if (b->v[i]->bo->err)
			continue;
		row = row_of(b, b->v[i], RES_SPILLING);
		r = row_replace(b->t, &row, &fr);
	}
	if (!r)
		r = index_meta_set(ix, "epoch_next", epoch);
	return commit_or_not(b, r, &fr);
}

static int index_done(struct spill_batch *b, uint64_t epoch)
{
	struct index *ix = b->t->ix;
	struct freed fr = {0};
	int r = index_begin(ix);

	if (r)
		return r;
	for (size_t i = 0; i < b->n && !r; i++) {
		struct entry *e = b->v[i];

		if (e->bo->err)
			continue;
		if (e->rel.done) {
			r = index_file_state(ix, node_hot_id(b->t, e->rel.n), RES_SPILLED);
			if (r == -ENOENT)
				r = 0; /* deleted meanwhile, and the janitor was quicker */
		} else {
			struct file_row row = row_of(b, e, RES_PREMIGRATED);

			r = row_replace(b->t, &row, &fr);
		}
	}
	if (!r)
		r = index_meta_set(ix, "epoch", epoch);
	r = commit_or_not(b, r, &fr);
	if (!r)
		b->t->epoch = epoch;
	return r;
}

static void release_all(struct spill_batch *b)
{
	struct release_entry *v[RELEASE_FILES];
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		struct entry *e = b->v[i];

		if (e->bo->err) {
			e->rel.err = e->bo->err;
			continue;
		}
		e->rel.obj = e->bo->o->id;
		memcpy(e->rel.hash16, e->bo->o->sha, 16);
		v[n++] = &e->rel;
		if (n == RELEASE_FILES) {
			release_batch(b->t, v, n);
			n = 0;
		}
	}
	if (n)
		release_batch(b->t, v, n);
}

static void batch_free(struct spill_batch *b)
{
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

int spill_batch_finish(struct spill_batch *b, struct tier_work *w, tier_note_fn note, void *ctx)
{
	struct tier *t = b->t;
	cleanup_free struct pack_len *lens = NULL;
	uint64_t epoch = epoch_after(t->epoch), stored = 0;
	size_t nlens = 0;
	int r = b->err;

	if (b->w) {
		stored = store_writer_bytes(b->w);
		if (!r)
			r = store_writer_commit(b->w, &lens, &nlens);
		if (r)
			store_writer_abort(b->w);
	}
	/* Row changes still queued are older than ours: they must not come after. */
	if (!r && b->n)
		r = janitor_flush(t);
	if (!r && b->n) {
		verify_all(b);
		r = index_batch(b, lens, nlens, epoch);
		if (r && nlens)
			log_err("spilling: the index cannot be written: %s", strerror(-r));
	}
	if (!r && b->n)
		r = epoch_hot_set(t, epoch);
	if (!r && b->n) {
		release_all(b);
		int d = index_done(b, epoch);

		if (d) /* rows say SPILLING: right, and put straight at the next mount */
			log_err("spilling: the index cannot be written: %s", strerror(-d));
	}
	for (size_t i = 0; i < b->n; i++) {
		struct release_entry *e = &b->v[i]->rel;
		int err = r ? r : e->err;

		if (e->done) {
			w->files_done++;
			w->bytes_done += (uint64_t)e->st.st_size;
			w->freed_bytes += e->freed_bytes;
			continue;
		}
		if (err == -EBUSY)
			w->files_busy++;
		else
			w->files_failed++;
		if (note)
			note(ctx, e->path, err ? err : -EIO);
	}
	if (!r)
		w->bytes_stored += stored;
	batch_free(b); /* while no other batch can look at the nodes' flags */
	pthread_mutex_unlock(&t->spill_lock);
	return r;
}
