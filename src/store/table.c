/* SPDX-License-Identifier: MIT
 * The frame table of a pack: where each frame lies. It is read through the chain of directory
 * frames from the trailer at the pack's durable end backwards, until one that holds the whole
 * table; when a link is damaged, from the frames' own headers. A published table never changes: a
 * commit makes a new one (part.c), readers keep the one they have.
 */
#include "store_int.h"

struct ptable *ptable_new(uint32_t n)
{
	struct ptable *t = calloc(1, sizeof(*t) + (size_t)n * sizeof(t->e[0]));

	if (t) {
		atomic_init(&t->refs, 1);
		t->n = n;
	}
	return t;
}

struct ptable *ptable_ref(struct ptable *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void ptable_unref(struct ptable *t)
{
	if (t && atomic_fetch_sub(&t->refs, 1) == 1)
		free(t);
}

size_t ptable_bytes(const struct ptable *t)
{
	return sizeof(*t) + (size_t)t->n * sizeof(t->e[0]);
}

/* ---- by the chain -------------------------------------------------------------------------------
 */
static int set_entry(void *ctx, const struct fpos *f)
{
	struct ptable *t = ctx;

	if (f->frame >= t->n)
		return -EUCLEAN;
	if (t->e[f->frame].off == 0) /* a newer directory was there first */
		t->e[f->frame] = f->e;
	return 0;
}

/* Read and check the directory frame at off, which must be number `nr` and end at or before limit.
 */
static int dir_read(int fd, uint32_t pack, uint64_t seed, uint64_t off, uint64_t limit, uint32_t nr,
		    uint8_t **ret, struct frame_hdr *ret_h)
{
	uint8_t hb[FRAME_HDR_LEN];
	cleanup_free uint8_t *b = NULL;
	struct frame_hdr h;
	ssize_t n;
	int r;

	if (off < PACK_HDR_LEN || off >= limit || limit - off < FRAME_HDR_LEN)
		return -EUCLEAN;
	n = pread_full(fd, hb, sizeof(hb), (off_t)off);
	if (n < 0)
		return (int)n;
	r = n < (ssize_t)sizeof(hb) ? -EUCLEAN : frame_hdr_get(hb, &h);
	if (r)
		return r;
	if (!frame_is_dir(&h) || h.pack != pack || h.frame != nr ||
	    h.clen > limit - off - FRAME_HDR_LEN)
		return -EUCLEAN;
	b = malloc(FRAME_HDR_LEN + (size_t)h.clen);
	if (!b)
		return -ENOMEM;
	n = pread_full(fd, b, FRAME_HDR_LEN + (size_t)h.clen, (off_t)off);
	if (n < 0)
		return (int)n;
	if (n < (ssize_t)(FRAME_HDR_LEN + h.clen) || memcmp(b, hb, sizeof(hb)))
		return -EUCLEAN;
	r = frame_sum_check(b, h.clen, seed);
	if (r)
		return r;
	*ret_h = h;
	return dir_unpack(b, &h, ret);
}

static int load_chain(int fd, uint32_t pack, uint64_t seed, uint64_t len, struct ptable **ret)
{
	uint8_t tb[TRAILER_LEN];
	struct ptable *t;
	struct trailer tr;
	uint64_t off, limit;
	uint32_t nr;
	ssize_t n;
	int r;

	if (len < PACK_HDR_LEN + FRAME_HDR_LEN + TRAILER_LEN)
		return -EUCLEAN;
	limit = len - TRAILER_LEN;
	n = pread_full(fd, tb, sizeof(tb), (off_t)limit);
	if (n < 0)
		return (int)n;
	r = n < (ssize_t)sizeof(tb) ? -EUCLEAN : trailer_get(tb, &tr, seed);
	if (r)
		return r;
	if (tr.pack != pack || tr.dirs == 0 || tr.frames > len / FRAME_HDR_LEN)
		return -EUCLEAN;
	t = ptable_new(tr.frames);
	if (!t)
		return -ENOMEM;
	t->dirs = tr.dirs;
	t->last_dir = tr.dir_off;
	for (off = tr.dir_off, nr = tr.dirs;; nr--) {
		struct dir_cb cb = {.ctx = t, .frame = set_entry};
		cleanup_free uint8_t *p = NULL;
		struct dir_info di = {0};
		struct frame_hdr h = {0};

		r = nr ? dir_read(fd, pack, seed, off, limit, nr - 1, &p, &h) : -EUCLEAN;
		if (!r)
			r = dir_parse(p, h.ulen, pack, off, &cb, &di);
		if (r)
			goto bad;
		t->dirs_add++;
		limit = off;
		off = di.full ? 0 : di.prev;
		if (!off)
			break;
	}
	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].off == 0)
			r = -EUCLEAN;
	if (!r) {
		*ret = t;
		return 0;
	}
bad:
	ptable_unref(t);
	return r;
}

/* ---- by a scan
 * ------------------------------------------------------------------------------------ */
struct rescue {
	struct ptable *t;
	uint64_t len;
};

static int rescue_set(struct rescue *k, uint32_t frame, const struct fent *e)
{
	if (frame >= k->len / FRAME_HDR_LEN) /* more frames than the file can hold */
		return 0;
	if (frame >= k->t->n) {
		uint32_t n = MAX(frame + 1, k->t->n * 2);
		struct ptable *t = realloc(k->t, sizeof(*t) + (size_t)n * sizeof(t->e[0]));

		if (!t)
			return -ENOMEM;
		memset(&t->e[t->n], 0, (size_t)(n - t->n) * sizeof(t->e[0]));
		t->n = n;
		k->t = t;
	}
	if (k->t->e[frame].off == 0)
		k->t->e[frame] = *e;
	return 0;
}

static int rescue_frame(void *ctx, const struct frame_hdr *h, const uint8_t *raw, uint64_t off)
{
	struct fent e = {off, h->clen, h->ulen};

	(void)raw;
	return rescue_set(ctx, h->frame, &e);
}

static int rescue_fpos(void *ctx, const struct fpos *f)
{
	return rescue_set(ctx, f->frame, &f->e);
}

/* The directories tell of frames whose header is damaged: a read then says -EBADMSG, not "unknown".
 */
static int rescue_dir(void *ctx, const struct frame_hdr *h, const uint8_t *raw, uint64_t off)
{
	struct dir_cb cb = {.ctx = ctx, .frame = rescue_fpos};
	cleanup_free uint8_t *p = NULL;
	struct dir_info di;
	int r = dir_unpack(raw, h, &p);

	if (!r)
		r = dir_parse(p, h->ulen, h->pack, off, &cb, &di);
	return r == -ENOMEM ? r : 0;
}

static int load_scan(int fd, uint32_t pack, uint64_t seed, uint64_t len, struct ptable **ret)
{
	struct rescue k = {.t = ptable_new(0), .len = len};
	struct scan_cb cb = {.ctx = &k, .frame = rescue_frame, .dir = rescue_dir};
	int r = k.t ? pack_scan(fd, pack, seed, len, &cb) : -ENOMEM;

	if (r && r != -EIO) {
		ptable_unref(k.t);
		return r;
	}
	k.t->scanned = true;
	*ret = k.t;
	return 0;
}

int ptable_load(int fd, uint32_t pack, uint64_t seed, uint64_t len, struct ptable **ret)
{
	int r = load_chain(fd, pack, seed, len, ret);

	if (r == -EUCLEAN || r == -EBADMSG || r == -EIO)
		r = load_scan(fd, pack, seed, len, ret);
	return r;
}
