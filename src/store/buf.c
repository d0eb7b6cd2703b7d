/* SPDX-License-Identifier: MIT
 * A growable byte buffer with varints (LEB128, little-endian groups of 7 bits), and its bounded
 * reader. Both keep errors sticky so that codecs check once, at the end.
 */
#include "store_int.h"

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}

void buf_put(struct buf *b, const void *data, size_t len)
{
	if (b->cap - b->len < len && !b->failed) {
		size_t cap = MAX(b->cap * 2, b->len + len + 256);
		uint8_t *p = realloc(b->p, cap);

		if (p) {
			b->p = p;
			b->cap = cap;
		} else {
			b->failed = true;
		}
	}
	if (b->failed || len == 0)
		return;
	memcpy(b->p + b->len, data, len);
	b->len += len;
}

void buf_put_uv(struct buf *b, uint64_t v)
{
	uint8_t t[10];
	size_t n = 0;

	while (v >= 0x80) {
		t[n++] = (uint8_t)v | 0x80;
		v >>= 7;
	}
	t[n++] = (uint8_t)v;
	buf_put(b, t, n);
}

void buf_put_sv(struct buf *b, int64_t v)
{
	buf_put_uv(b, (uint64_t)v << 1 ^ (v < 0 ? ~UINT64_C(0) : 0));
}

uint64_t cur_uv(struct cur *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && !c->bad && c->p < c->end; shift += 7) {
		uint8_t x = *c->p++;

		if (shift == 63 && x > 1)
			break;
		v |= (uint64_t)(x & 0x7f) << shift;
		if (!(x & 0x80))
			return v;
	}
	c->bad = true;
	c->p = c->end;
	return 0;
}

int64_t cur_sv(struct cur *c)
{
	uint64_t u = cur_uv(c);

	return (int64_t)(u >> 1 ^ (u & 1 ? ~UINT64_C(0) : 0));
}

size_t cur_left(const struct cur *c)
{
	return (size_t)(c->end - c->p);
}
