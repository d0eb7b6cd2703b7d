/* SPDX-License-Identifier: MIT
 * Walk a pack from its own bytes: the base of rebuild-index and scrub.
 *
 * One pass of scan.c visits whatever is valid. A directory comes behind the frames it lists, so a
 * frame that is listed and was not seen is damaged (reported), or was punched (passed over).
 * Directories and trailers count themselves, so one that is missing is noticed by the next.
 */
#include "store_int.h"
#include <fcntl.h>

struct walk {
	struct store *s;
	const struct pack_walk *w;
	int fd;
	uint32_t pack;
	uint64_t len;
	struct scratch *sc;
	uint8_t *seen; /* bitmap by frame number */
	uint32_t seen_n;
	uint32_t dirs;      /* directories seen or known to be missing */
	uint64_t dir_off;   /* of the directory being parsed */
	uint64_t batch_end; /* end of the last valid trailer */
	uint32_t frames;    /* as it says */
};

static int tell(struct walk *k, uint32_t frame, uint32_t clen, uint32_t ulen, int err)
{
	return k->w->frame ? k->w->frame(k->w->ctx, k->pack, frame, clen, ulen, err) : 0;
}

/* 1 when it was marked before, 0 when not, -errno. */
static int mark(struct walk *k, uint32_t frame)
{
	uint8_t bit = (uint8_t)(1u << frame % 8);

	if (frame >= k->len / FRAME_HDR_LEN)
		return 1; /* the file cannot hold so many: not worth the memory */
	if (frame >= k->seen_n) {
		uint32_t n = MAX((frame | 8191u) + 1, k->seen_n * 2);
		uint8_t *p = realloc(k->seen, n / 8);

		if (!p)
			return -ENOMEM;
		memset(p + k->seen_n / 8, 0, (n - k->seen_n) / 8);
		k->seen = p;
		k->seen_n = n;
	}
	if (k->seen[frame / 8] & bit)
		return 1;
	k->seen[frame / 8] |= bit;
	return 0;
}

static int on_frame(void *ctx, const struct frame_hdr *h, const uint8_t *raw, uint64_t off)
{
	struct walk *k = ctx;
	int r = mark(k, h->frame);

	(void)off;
	if (r)
		return r < 0 ? r : 0;
	return tell(k, h->frame, h->clen, h->ulen, frame_unpack(k->sc->dctx, raw, h, k->sc->plain));
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && !memcmp(p, p + 1, n - 1));
}

/* Was [off, off+n) punched? Then at least one part of it that shares a block is zeros, and each
 * block that is all its own is. Checked by content: a pack may have been copied without its holes.
 */
static bool is_punched(struct walk *k, uint64_t off, size_t n)
{
	uint64_t end = off + n;
	bool hole = false;

	if (pread_full(k->fd, k->sc->disk, n, (off_t)off) != (ssize_t)n)
		return false;
	for (uint64_t p = off, q; p < end; p = q) {
		bool zero, whole;

		q = MIN(end, (p | (PUNCH_BLOCK - 1)) + 1);
		zero = all_zero(k->sc->disk + (p - off), (size_t)(q - p));
		whole = q - p == PUNCH_BLOCK;
		if (whole && !zero)
			return false;
		hole |= zero;
	}
	return hole;
}

static int on_listed(void *ctx, const struct fpos *f)
{
	struct walk *k = ctx;
	int r = mark(k, f->frame);

	if (r)
		return r < 0 ? r : 0;
	if (is_punched(k, f->e.off, FRAME_HDR_LEN + (size_t)f->e.clen))
		return 0;
	return tell(k, f->frame, f->e.clen, f->e.ulen, -EBADMSG);
}

static int on_object(void *ctx, const struct object *o)
{
	struct walk *k = ctx;

	return k->w->object ? k->w->object(k->w->ctx, o) : 0;
}

/* Directories up to number n are behind us: say which are missing. */
static int expect_dirs(struct walk *k, uint32_t n)
{
	int r = 0;

	if (n > k->dirs) /* one report is enough, their number does not matter */
		r = tell(k, STORE_WALK_DIR, 0, 0, -EBADMSG);
	k->dirs = MAX(k->dirs, n);
	return r;
}

static int on_dir(void *ctx, const struct frame_hdr *h, const uint8_t *raw, uint64_t off)
{
	struct walk *k = ctx;
	struct dir_cb cb = {.ctx = k, .frame = on_listed, .object = on_object};
	cleanup_free uint8_t *p = NULL;
	struct dir_info di;
	int r = expect_dirs(k, h->frame);

	if (!r)
		r = dir_unpack(raw, h, &p);
	if (!r)
		r = dir_parse(p, h->ulen, k->pack, off, &cb, &di);
	k->dirs = MAX(k->dirs, h->frame + 1);
	if (r == -EUCLEAN)
		r = tell(k, STORE_WALK_DIR, h->clen, h->ulen, r);
	return r;
}

static int on_trailer(void *ctx, const struct trailer *t, uint64_t off)
{
	struct walk *k = ctx;

	k->batch_end = off + TRAILER_LEN;
	k->frames = t->frames;
	return expect_dirs(k, t->dirs);
}

/* Open the pack; *ret_hdr says how its header is. */
static int walk_open(struct store *s, uint32_t pack, struct walk *k, int *ret_hdr)
{
	uint8_t b[PACK_HDR_LEN];
	struct pack *p;
	char name[16];
	ssize_t n;

	pthread_mutex_lock(&s->lock);
	p = pack_find_locked(s, pack);
	k->len = p ? p->len : 0;
	pthread_mutex_unlock(&s->lock);
	if (!p)
		return -ENOENT;
	pack_name(pack, name);
	k->s = s;
	k->pack = pack;
	k->fd = openat(s->packsfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (k->fd < 0)
		return -errno;
	n = pread_full(k->fd, b, sizeof(b), 0);
	if (n < 0)
		*ret_hdr = (int)n;
	else
		*ret_hdr = n < (ssize_t)sizeof(b) ? -EUCLEAN : pack_hdr_get(b, pack, s->id.uuid);
	return 0;
}

int store_walk_pack(struct store *s, uint32_t pack, const struct pack_walk *w)
{
	struct walk k = {.w = w, .fd = -1};
	struct scan_cb cb = {.ctx = &k, .frame = on_frame, .dir = on_dir, .trailer = on_trailer};
	int hdr = 0, r = walk_open(s, pack, &k, &hdr);

	if (!r)
		r = scratch_get(s, &k.sc);
	if (!r)
		r = pack_scan(k.fd, pack, s->seed, k.len, &cb);
	if (k.sc)
		scratch_put(s, k.sc);
	free(k.seen);
	spill_closep(&k.fd);
	return r ?: hdr;
}

int store_pack_length(struct store *s, uint32_t pack, struct pack_len *ret)
{
	static const struct pack_walk none;
	struct walk k = {.w = &none, .fd = -1};
	struct scan_cb cb = {.ctx = &k, .trailer = on_trailer};
	int hdr = 0, r = walk_open(s, pack, &k, &hdr);
	uint8_t tb[TRAILER_LEN];
	struct trailer t;
	bool quick;

	if (r)
		return r;
	quick = k.len >= PACK_HDR_LEN + TRAILER_LEN &&
		pread_full(k.fd, tb, sizeof(tb), (off_t)(k.len - TRAILER_LEN)) == TRAILER_LEN &&
		!trailer_get(tb, &t, s->seed) && t.pack == pack;
	if (quick)
		on_trailer(&k, &t, k.len - TRAILER_LEN);
	else
		r = pack_scan(k.fd, pack, s->seed, k.len, &cb);
	spill_closep(&k.fd);
	*ret = (struct pack_len){pack, k.batch_end, k.frames};
	return r;
}
