/* SPDX-License-Identifier: MIT
 * Find every valid unit (frame, directory, trailer) of a pack from its bytes alone.
 *
 * Why it works without any table: a unit begins with a checksum that is seeded by the store's uuid,
 * so where something is damaged, punched or torn we may look for the next magic byte by byte and
 * believe what checks out; what looks like a unit inside the data of a file does not.
 * Unreadable sectors are stepped over block by block.
 */
#include "store_int.h"

#define WINDOW ((size_t)1 << 20)

struct scan {
	int fd;
	uint32_t pack;
	uint64_t seed, len;
	const struct scan_cb *cb;
	uint8_t *win;
	uint64_t win_off;
	size_t win_len;
	bool eio;
};

/* Bytes [off, off+n), n <= WINDOW; NULL when they cannot be read. */
static const uint8_t *need(struct scan *s, uint64_t off, size_t n)
{
	size_t want = (size_t)MIN((uint64_t)WINDOW, s->len - off);
	ssize_t got;

	if (off >= s->win_off && off + n <= s->win_off + s->win_len)
		return s->win + (off - s->win_off);
	if (n > want)
		return NULL;
	got = pread_full(s->fd, s->win, want, (off_t)off);
	if (got < 0 && n < want) /* a bad sector further on, perhaps */
		got = pread_full(s->fd, s->win, n, (off_t)off);
	s->win_off = off;
	s->win_len = got > 0 ? (size_t)got : 0;
	if (got < 0)
		s->eio = true;
	return s->win_len >= n ? s->win : NULL;
}

/* Try a frame at off: 1 and *ret_len when it is valid, 0 when not, else what the call-back gave. */
static int try_frame(struct scan *s, uint64_t off, const uint8_t *b, uint64_t *ret_len)
{
	cleanup_free uint8_t *big = NULL;
	struct frame_hdr h;
	uint64_t n;
	int r;

	if (frame_hdr_get(b, &h) || h.pack != s->pack)
		return 0;
	n = FRAME_HDR_LEN + (uint64_t)h.clen;
	if (n > s->len - off)
		return 0;
	if (n <= WINDOW) {
		b = need(s, off, (size_t)n);
	} else {
		big = malloc(n); /* a directory, not larger than the file */
		if (!big)
			return -ENOMEM;
		b = pread_full(s->fd, big, n, (off_t)off) == (ssize_t)n ? big : NULL;
	}
	if (!b || frame_sum_check(b, h.clen, s->seed))
		return 0;
	if (frame_is_dir(&h))
		r = s->cb->dir ? s->cb->dir(s->cb->ctx, &h, b, off) : 0;
	else
		r = s->cb->frame ? s->cb->frame(s->cb->ctx, &h, b, off) : 0;
	*ret_len = n;
	return r ?: 1;
}

static int try_trailer(struct scan *s, uint64_t off, const uint8_t *b, uint64_t *ret_len)
{
	struct trailer t;
	int r;

	if (trailer_get(b, &t, s->seed) || t.pack != s->pack || t.dir_off >= off)
		return 0;
	r = s->cb->trailer ? s->cb->trailer(s->cb->ctx, &t, off) : 0;
	*ret_len = TRAILER_LEN;
	return r ?: 1;
}

static int try_unit(struct scan *s, uint64_t off, uint64_t *ret_len)
{
	const uint8_t *b = s->len - off < FRAME_HDR_LEN ? NULL : need(s, off, FRAME_HDR_LEN);

	if (!b)
		return 0;
	if (!memcmp(b + UNIT_MAGIC_OFF, TRAILER_MAGIC, 4))
		return try_trailer(s, off, b, ret_len);
	return try_frame(s, off, b, ret_len);
}

/* The next offset >= off where a magic lies in its place, or the end. */
static uint64_t next_magic(struct scan *s, uint64_t off)
{
	while (s->len - off >= FRAME_HDR_LEN) {
		const uint8_t *b = need(s, off, FRAME_HDR_LEN), *hit;
		size_t left;

		if (!b) { /* unreadable: go on in the next block */
			off = MIN(s->len, (off | (PUNCH_BLOCK - 1)) + 1);
			continue;
		}
		left = (size_t)(s->win_off + s->win_len - off);
		hit = memmem(b + UNIT_MAGIC_OFF, left - UNIT_MAGIC_OFF, FRAME_MAGIC, 3);
		if (hit)
			return off + (uint64_t)(hit - b) - UNIT_MAGIC_OFF;
		off += left - (UNIT_MAGIC_OFF + 2); /* a magic may straddle the window's end */
	}
	return s->len;
}

int pack_scan(int fd, uint32_t pack, uint64_t seed, uint64_t len, const struct scan_cb *cb)
{
	cleanup_free uint8_t *win = malloc((size_t)MIN((uint64_t)WINDOW, len + 1));
	struct scan s = {.fd = fd, .pack = pack, .seed = seed, .len = len, .cb = cb, .win = win};
	uint64_t off = PACK_HDR_LEN;

	if (!win)
		return -ENOMEM;
	while (off < len) {
		uint64_t n = 0;
		int r = try_unit(&s, off, &n);

		if (r < 0)
			return r;
		off = r ? off + n : next_magic(&s, off + 1);
	}
	return s.eio ? -EIO : 0;
}
