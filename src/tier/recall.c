/* SPDX-License-Identifier: MIT
 * Recall: refill the same inode in place, so that inode number, hard links and overlay origins
 * survive.
 *
 *   marker RECALLING; data; fdatasync; hash proved; times; marker dropped; fsync; row later
 *
 * Until the marker is durably gone nobody was granted write access, so after a crash the store's
 * copy is still the truth and whatever was refilled is punched again. The order "data before
 * marker" is invariant 2.
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>

struct refill {
	struct tier *t;
	int fd;
	const struct object *o;
	struct sha256 *sha;
	uint32_t range;        /* current */
	uint64_t range_stream; /* stream offset where it begins */
};

static int refill_sink(void *ctx, const void *data, size_t len, uint64_t stream_off)
{
	struct refill *rf = ctx;
	const uint8_t *p = data;

	if (rf->t->work)
		atomic_fetch_add(rf->t->work, 1);
	sha256_update(rf->sha, data, len);
	if (!rf->o->nranges)
		return d_pwrite(rf->fd, p, len, (off_t)stream_off);
	while (len) {
		const struct range *rg = &rf->o->ranges[rf->range];

		if (stream_off >= rf->range_stream + rg->len) {
			rf->range_stream += rg->len;
			if (++rf->range == rf->o->nranges)
				return -EUCLEAN;
			continue;
		}
		uint64_t in = stream_off - rf->range_stream;
		size_t n = MIN(len, rg->len - in);
		int r = d_pwrite(rf->fd, p, n, (off_t)(rg->off + in));

		if (r < 0)
			return r;
		p += n;
		len -= n;
		stream_off += n;
	}
	return 0;
}

int object_refill(struct tier *t, int fd, const struct object *o)
{
	struct refill rf = {.t = t, .fd = fd, .o = o};
	struct store_pos bad = {0};
	uint8_t sha[SHA256_LEN];
	int r = sha256_new(&rf.sha);

	if (r)
		return r;
	sha256_reset(rf.sha);
	unsigned parity = read_enter(t);

	r = store_stream(t->store, o->segs, o->nsegs, refill_sink, &rf, &bad);
	read_exit(t, parity);
	if (!r) {
		object_sha_tail(rf.sha, o);
		sha256_final(rf.sha, sha);
		if (memcmp(sha, o->sha, 16))
			r = -EBADMSG;
	}
	sha256_free(rf.sha);
	if (r == -EBADMSG || r == -EUCLEAN || r == -EIO) {
		log_err("object %llu: recall failed at pack %u, frame %u (offset %llu): %s",
			(unsigned long long)o->id.v, bad.pack, bad.frame,
			(unsigned long long)bad.offset, strerror(-r));
		atomic_fetch_add(&t->n_errors, 1);
		r = -EIO;
	}
	return r;
}

/* The durable part; on failure the inode is a stub again. */
static int recall_fd(struct tier *t, int fd, const struct cold *c, struct marker *mk)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	mk->state = RES_RECALLING;
	if (!ts_to_ns(&st.st_mtim, &mk->mtime_ns))
		return -EOVERFLOW;
	int r = hot_marker_set(fd, mk);

	if (r)
		return r;
	struct timespec times[2] = {st.st_atim, st.st_mtim};

	r = object_refill(t, fd, c->object);
	if (!r)
		r = d_fdatasync(fd);
	if (!r)
		r = d_futimens(fd, times);
	if (!r)
		r = hot_marker_drop(fd);
	if (!r)
		r = d_fsync(fd);
	if (!r)
		return 0;
	/* The marker may be gone in memory but not on disk, or the reverse: put it back first. It
	 * says RECALLING, and so has the times, until they are restored. */
	if (hot_marker_set(fd, mk) || d_fsync(fd) || hot_punch_all(fd, mk->size) ||
	    d_futimens(fd, times))
		return r;
	mk->state = RES_SPILLED;
	if (hot_marker_set(fd, mk))
		mk->state = RES_RECALLING;
	return r;
}

/* A file that would fill the hot tier is given to a writer in the overflow instead. */
static bool too_large(struct tier *t, const struct object *o)
{
	struct statvfs sv;

	if (!overflow_wanted(t, o->stream_len) || o->size > OVERFLOW_MAX ||
	    !overflow_room(t, o->stream_len) || hot_statfs(t->hot, &sv))
		return false;
	uint64_t all = (uint64_t)(sv.f_blocks - sv.f_bfree) + sv.f_bavail;
	uint64_t would = (uint64_t)(sv.f_blocks - sv.f_bfree) + o->stream_len / sv.f_frsize;

	return would * 100 >= all * t->cfg->critical;
}

int recall_node(struct tier *t, struct node *n, bool keep)
{
	struct cold *c = cold_ref(n->cold);
	struct hot_id id = node_hot_id(t, n);
	struct file_row row = {.id = id, .obj = {c->obj}};
	struct marker mk;
	struct stat st;
	int r = stub_repair_times(t, n);

	if (r) {
		cold_unref(c);
		return r;
	}
	mk = cold_marker(c);
	node_busy_set(n); /* from here on n->cold is c until we change it */
	atomic_store(&n->res, RES_RECALLING);
	r = cold_load(t, n);
	node_unlock(t, n);

	cleanup_fd int fd = node_open(t, n, O_RDWR | O_NOFOLLOW | O_NOATIME);

	bool over = !r && fd >= 0 && !keep && too_large(t, c->object);

	if (r || fd < 0)
		r = r ? r : fd;
	else if (over)
		r = overflow_from_object(t, fd, c->object, &mk, id);
	else
		r = recall_fd(t, fd, c, &mk);
	keep = keep && !r && !fstat(fd, &st);

	io_exclusive(t, n);
	node_lock(t, n);
	/* Of a partial file whose release could not be taken back: the object has all of it. */
	struct overflow *old = r ? NULL : steal_ptr(n->over);

	if (!r && over && overflow_load(t, n, fd)) {
		node_flag(n, NODE_DAMAGED, 0);
		r = -EIO;
	}
	io_unlock(t, n);
	overflow_free(old);
	if (old && !over)
		store_overflow_remove(t->store, id);
	if (r) {
		if (node_has(n, NODE_META_NEW)) {
			mk.ctime_valid = false;
			if (fd >= 0) /* if not, only the shown ctime is old after the next mount */
				hot_marker_set(fd, &mk);
		}
		cold_set_marker(c, &mk);
		atomic_store(&n->res, RES_SPILLED);
	} else {
		atomic_store(&n->res, over ? RES_PARTIAL : RES_RESIDENT);
		n->cold = NULL;
		cold_unref(c); /* the node's */
		atomic_fetch_add(&t->n_recalled_bytes, mk.size);
		heats_recalled(t, node_id(n));
		row.state = RES_PREMIGRATED;
		row.size = mk.size;
		if (keep && ts_to_ns(&st.st_mtim, &row.mtime_ns) &&
		    ts_to_ns(&st.st_ctim, &row.ctime_ns)) {
			row.snap_ns = clock_wall_ns();
			defer_put(t, DEFER_PREMIGRATED, &row);
		} else {
			defer_put(t, DEFER_DROP, &row);
		}
	}
	node_flag(n, 0, NODE_META_NEW);
	cold_unref(c);
	if (!r && t->attr_changed) {
		node_unlock(t, n);
		t->attr_changed(t->attr_ctx, node_id(n));
		node_lock(t, n);
	}
	node_busy_clear(t, n);
	return r;
}

int stub_empty(struct tier *t, struct node *n)
{
	struct file_row row = {.id = node_hot_id(t, n)};

	if (n->cold)
		row.obj.v = n->cold->obj;
	node_busy_set(n);
	node_unlock(t, n);

	bool emptied = false;
	int r = 0;
	cleanup_fd int fd = node_open(t, n, O_RDWR | O_NOFOLLOW | O_NOATIME);

	if (fd < 0)
		r = fd;
	else
		r = d_ftruncate(fd, 0);
	if (!r) {
		emptied = true;
		r = hot_marker_drop(fd);
	}
	if (!r)
		r = d_fsync(fd);
	if (!r) /* of a partial file that was emptied before a crash */
		store_overflow_remove(t->store, node_hot_id(t, n));

	node_lock(t, n);
	if (emptied) {
		/* From here on the marker, if it is still there, is void: its size does not match.
		 */
		node_flag(n, r ? NODE_STALE_MARKER : 0, NODE_DAMAGED | (r ? 0 : NODE_STALE_MARKER));
		atomic_store(&n->res, RES_RESIDENT);
		cold_unref(n->cold);
		n->cold = NULL;
		if (row.obj.v && !r)
			defer_put(t, DEFER_DROP, &row);
	}
	node_busy_clear(t, n);
	return r;
}
