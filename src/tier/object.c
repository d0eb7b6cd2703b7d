/* SPDX-License-Identifier: MIT
 * Proving an object: its hash, and whether what is left of the hot data equals it.
 */
#include "tier_int.h"

#include <sys/stat.h>

/* SHA-256 as types.h defines it for sparse objects. */
void object_sha_tail(struct sha256 *h, const struct object *o)
{
	uint8_t b[16];

	if (o->stream_len == o->size)
		return;
	put_le64(b, o->size);
	sha256_update(h, b, 8);
	for (uint32_t i = 0; i < o->nranges; i++) {
		put_le64(b, o->ranges[i].off);
		put_le64(b + 8, o->ranges[i].len);
		sha256_update(h, b, 16);
	}
}

struct compare {
	int fd;
	const struct object *o;
	uint32_t range;
	uint64_t range_stream;
	uint8_t *buf;
};

/* Bytes [off, off+len) of the file equal data, or are a hole. */
static int compare_run(struct compare *c, const uint8_t *data, size_t len, uint64_t off)
{
	while (len) {
		off_t d = lseek(c->fd, (off_t)off, SEEK_DATA);

		if (d < 0)
			return errno == ENXIO ? 0 : -errno;
		if ((uint64_t)d >= off + len)
			return 0;
		data += (uint64_t)d - off;
		len -= (uint64_t)d - off;
		off = (uint64_t)d;
		off_t h = lseek(c->fd, (off_t)off, SEEK_HOLE);
		size_t n = MIN(len, MIN((uint64_t)(h < 0 ? INT64_MAX : h) - off, FRAME_SIZE));
		ssize_t got = pread_full(c->fd, c->buf, n, (off_t)off);

		if (got < 0)
			return (int)got;
		if ((size_t)got != n || memcmp(c->buf, data, n))
			return -EBADMSG;
		data += n;
		len -= n;
		off += n;
	}
	return 0;
}

static int compare_piece(void *ctx, const void *data, size_t len, uint64_t stream_off)
{
	struct compare *c = ctx;
	const uint8_t *p = data;

	if (!c->o->nranges)
		return compare_run(c, p, len, stream_off);
	while (len) {
		const struct range *rg = &c->o->ranges[c->range];

		if (stream_off >= c->range_stream + rg->len) {
			c->range_stream += rg->len;
			if (++c->range == c->o->nranges)
				return -EUCLEAN;
			continue;
		}
		uint64_t in = stream_off - c->range_stream;
		size_t n = MIN(len, rg->len - in);
		int r = compare_run(c, p, n, rg->off + in);

		if (r)
			return r;
		p += n;
		len -= n;
		stream_off += n;
	}
	return 0;
}

int compare_hot(struct tier *t, int fd, const struct object *o)
{
	struct compare c = {.fd = fd, .o = o};
	struct store_pos bad;

	c.buf = malloc(FRAME_SIZE);
	if (!c.buf)
		return -ENOMEM;
	int r = store_stream(t->store, o->segs, o->nsegs, compare_piece, &c, &bad);

	free(c.buf);
	return r;
}

static int hash_piece(void *ctx, const void *data, size_t len, uint64_t off)
{
	(void)off;
	sha256_update(ctx, data, len);
	return 0;
}

int object_prove(struct tier *t, const struct marker *mk)
{
	struct object *o = NULL;
	int r = index_object_get(t->ix, mk->obj, &o);

	if (!r && (memcmp(o->sha, mk->hash16, sizeof(mk->hash16)) || o->size != mk->size))
		r = -EBADMSG;
	if (!r)
		r = object_verify(t->store, o, false);
	object_free(o);
	return r;
}

int object_verify(struct store *s, const struct object *o, bool full_sha)
{
	uint8_t sha[SHA256_LEN];
	struct store_pos bad;
	struct sha256 *h;
	int r = sha256_new(&h);

	if (r)
		return r;
	sha256_reset(h);
	r = store_stream(s, o->segs, o->nsegs, hash_piece, h, &bad);
	object_sha_tail(h, o);
	sha256_final(h, sha);
	sha256_free(h);
	if (!r && memcmp(sha, o->sha, full_sha ? 32 : 16))
		r = -EBADMSG;
	return r;
}
