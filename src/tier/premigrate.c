/* SPDX-License-Identifier: MIT
 * Premigrate: the store's copy of a file, made or found.
 *
 * Small files go into shared frames in one piece, larger ones stream. A large file is hashed first
 * only when an object of its size exists: reading twice is cheaper than storing twice. Nobody is
 * excluded meanwhile; the snapshot is compared again under the lease (release.c).
 */
#include "batch.h"
#include "overflow.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <xxhash.h>

#define TRUST_NS   (24 * 3600 * 1000000000ll)
#define ID_RESERVE (1ull << 16)

/* Object ids come in durably reserved runs, so that none is ever handed out twice. */
static int new_id(struct tier *t, struct obj_id *ret)
{
	if (t->next_obj == t->obj_limit) {
		uint64_t limit = t->obj_limit + ID_RESERVE;
		int r = index_meta_put(t->ix, "obj_limit", limit);

		if (r)
			return r;
		t->obj_limit = limit;
	}
	if (t->next_obj >> OBJ_ID_BITS)
		return -EOVERFLOW;
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
		/* The index knows only half of a hash. */
		if (!memcmp(p->o->sha, o->sha, p->fresh ? SHA256_LEN : 16) &&
		    p->o->size == o->size && p->o->stream_len == o->stream_len)
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

/* Read the stream of o from fd through b->buf: hash it and hand it on. -EAGAIN: the file
 * shrank, or the daemon is about to end. */
static int read_stream(struct spill_batch *b, struct node *n, int fd, struct object *o,
		       uint64_t *ret_xx, piece_fn fn)
{
	struct range whole = {0, o->size};
	const struct range *rg = o->nranges ? o->ranges : &whole;
	uint32_t nrg = o->nranges ? o->nranges : 1;
	XXH3_state_t *xx = XXH3_createState();
	int r = 0;

	if (!xx)
		return -ENOMEM;
	XXH3_64bits_reset(xx);
	sha256_reset(b->sha);
	for (uint32_t i = 0; i < nrg && !r; i++) {
		uint64_t off = rg[i].off, end = rg[i].off + rg[i].len;

		while (off < end && !r) {
			size_t want = MIN(BATCH_BUF, end - off);
			ssize_t got = winding_down(b->t)
					      ? -EAGAIN
					      : content_read(b->t, n, fd, b->buf, want, off);

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
	object_sha_tail(b->sha, o);
	sha256_final(b->sha, o->sha);
	*ret_xx = XXH3_64bits_digest(xx);
	XXH3_freeState(xx);
	return r;
}

static int writer_ready(struct spill_batch *b)
{
	return b->w ? 0 : store_writer_begin(b->t->store, &b->w);
}

static int copy_small(struct spill_batch *b, struct node *n, int fd, struct object **po,
		      struct bobj **ret)
{
	struct object *o = *po;
	uint64_t xx;
	/* Leaves the whole stream in b->buf only if it is in one range. */
	int r = read_stream(b, n, fd, o, &xx, NULL);

	if (r)
		return r;
	r = dedup(b, o, ret);
	if (r != -ENOENT)
		goto known;
	if (o->nranges > 1) { /* gather */
		size_t at = 0;

		for (uint32_t i = 0; i < o->nranges; i++) {
			ssize_t got = content_read(b->t, n, fd, b->buf + at, o->ranges[i].len,
						   o->ranges[i].off);

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

static int copy_large(struct spill_batch *b, struct node *n, int fd, struct object **po,
		      struct bobj **ret)
{
	struct object *o = *po;
	uint64_t xx;
	int r;

	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	bool maybe = index_object_size_known(b->t->ix, o->size);

	for (size_t i = 0; i < b->n && !maybe; i++)
		maybe = b->v[i]->bo->o->size == o->size;
	if (maybe) { /* hashing first costs one reading, storing twice costs more */
		r = read_stream(b, n, fd, o, &xx, NULL);
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
	r = read_stream(b, n, fd, o, &xx, put_piece);
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

/* Premigrated earlier and untouched since (invariant 4)? Then the copy is good without reading the
 * hot data. It was read back from the store and compared when it was made; for a day
 * that is enough, so that space comes at once when it is needed. *ret_snap: when. */
static struct bobj *premigrated(struct spill_batch *b, struct node *n, const struct stat *st,
				int64_t *ret_snap)
{
	struct file_row row;
	struct object *o;
	int64_t m, c;

	/* Without page_mkwrite (tmpfs) a mapped store changes no time stamp. */
	if (hot_fs_type(b->t->hot) == HOT_OTHER)
		return NULL;
	if (index_file_get(b->t->ix, node_hot_id(b->t, n), &row) || row.state != RES_PREMIGRATED ||
	    row.snap_ns == 0 || row.size != (uint64_t)st->st_size)
		return NULL;
	if (!ts_to_ns(&st->st_mtim, &m) || !ts_to_ns(&st->st_ctim, &c) || !copy_is_of(&row, m, c))
		return NULL;
	if (index_object_get(b->t->ix, row.obj, &o))
		return NULL;
	bool trusted = row.snap_ns <= *ret_snap && *ret_snap - row.snap_ns < TRUST_NS;

	*ret_snap = row.snap_ns;
	struct bobj *bo = bobj_find(b, o);

	if (bo) {
		object_free(o);
		return bo;
	}
	bo = bobj_add(b, o, false);
	if (bo)
		bo->trusted = trusted;
	else
		object_free(o);
	return bo;
}

/* Describe the content: ranges for sparse files. */
static int describe(struct tier *t, struct node *n, int fd, const struct stat *st,
		    struct object **ret)
{
	struct object *o = calloc(1, sizeof(*o));
	bool dense = true;

	if (!o)
		return -ENOMEM;
	o->size = (uint64_t)st->st_size;
	io_shared(t, n);
	int r = 0;

	if (n->over)
		r = overflow_ranges(n->over, fd, o->size, &o->ranges, &o->nranges, &dense);
	else if ((uint64_t)st->st_blocks * 512 < o->size)
		r = hot_ranges(fd, o->size, &o->ranges, &o->nranges, &dense);
	io_unlock(t, n);
	if (r) {
		free(o);
		return r;
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
int premigrate(struct spill_batch *b, int fd, struct node *n, struct stat *st, int64_t *ret_snap,
	       struct bobj **ret)
{
	struct object *o = NULL;
	struct stat after;
	int64_t c;

	*ret_snap = clock_wall_ns();
	*ret = premigrated(b, n, st, ret_snap);
	b->had_copy = *ret;
	if (*ret)
		return b->copy_only ? -EALREADY : 0;
	*ret_snap = clock_wall_ns();
	/* A write in the same clock tick as the snapshot would not show in ctime. */
	ts_to_ns(&st->st_ctim, &c);
	if (c > *ret_snap - TICK_NS) {
		struct timespec ts = {0, TICK_NS + 5000000};

		nanosleep(&ts, NULL);
		*ret_snap = clock_wall_ns();
		/* Whoever opened it for writing meanwhile may have stored in the same tick, and
		 * stores on through a mapping unseen: asked again, as in verdict_of. */
		node_lock(b->t, n);
		bool quiet = !n->opens && !n->rel && !written_by_others(fd) && !fstat(fd, &after) &&
			     same_times(st, &after);

		node_unlock(b->t, n);
		if (!quiet)
			return -EBUSY;
		if (c > *ret_snap - TICK_NS)
			return -EBUSY; /* a clock that was set back: leave it alone */
	}
	int r = describe(b->t, n, fd, st, &o);

	if (r)
		return r;
	if (o->stream_len == 0)
		r = -ENODATA; /* all holes: nothing to free */
	else if (o->stream_len < FRAME_SIZE)
		r = copy_small(b, n, fd, &o, ret);
	else
		r = copy_large(b, n, fd, &o, ret);
	object_free(o); /* NULL when the batch keeps it */
	if (!r && (fstat(fd, &after) || !same_times(st, &after)))
		r = -EBUSY;
	return r == -EAGAIN ? -EBUSY : r;
}
