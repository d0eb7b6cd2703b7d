/* SPDX-License-Identifier: MIT
 * Small things shared by the test programs: growing text, random numbers that depend on nothing
 * but a seed, file contents that depend on nothing but a seed. All static: each program is one
 * object.
 */
#ifndef FSDIFF_UTIL_H
#define FSDIFF_UTIL_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text -------------------------------------------------------------------------------- */

struct text {
	char *s; /* NUL-terminated once something was said */
	size_t len, cap;
};

static void text_room(struct text *t, size_t more)
{
	if (t->len + more + 1 <= t->cap)
		return;
	t->cap = (t->len + more + 1) * 2;
	t->s = realloc(t->s, t->cap);
	if (!t->s)
		abort();
}

__attribute__((format(printf, 2, 3), unused)) static void say(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	for (;;) {
		size_t room = t->cap - t->len;

		va_start(ap, fmt);
		n = vsnprintf(t->s ? t->s + t->len : NULL, t->s ? room : 0, fmt, ap);
		va_end(ap);
		if (n < 0)
			abort();
		if (t->s && (size_t)n < room)
			break;
		text_room(t, (size_t)n);
	}
	t->len += (size_t)n;
}

__attribute__((unused)) static void text_clear(struct text *t)
{
	text_room(t, 1);
	t->len = 0;
	t->s[0] = 0;
}

/* A name or value as one printable word; long ones are cut in the middle. */
__attribute__((unused)) static void say_quoted(struct text *t, const void *buf, size_t len)
{
	const unsigned char *p = buf;

	say(t, "\"");
	for (size_t i = 0; i < len; i++) {
		if (len > 60 && i == 20) {
			say(t, "..%zu..", len - 30);
			i = len - 10;
		}
		if (p[i] > ' ' && p[i] < 127 && p[i] != '"' && p[i] != '\\')
			say(t, "%c", p[i]);
		else
			say(t, "\\%03o", p[i]);
	}
	say(t, "\"");
}

/* ---- random numbers: splitmix64 (Steele, Lea, Flood 2014) -------------------------------- */

struct rng {
	uint64_t x;
};

static uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 .. n-1 */
__attribute__((unused)) static uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

/* True once in n times. */
__attribute__((unused)) static bool rng_one_in(struct rng *r, uint32_t n)
{
	return rng_below(r, n) == 0;
}

/* ---- contents: 64-byte pieces, half of them from a small set so that they compress ------- */

__attribute__((unused)) static void fill(void *buf, size_t len, uint64_t seed)
{
	struct rng r = {seed};
	unsigned char *p = buf;

	while (len > 0) {
		unsigned char piece[64];
		size_t n = len < sizeof(piece) ? len : sizeof(piece);
		uint64_t v = rng_next(&r);

		if (v & 1)
			r.x ^= v >> 8;
		for (size_t i = 0; i < sizeof(piece); i += 8) {
			uint64_t w = (v & 1) ? rng_next(&r) : (v >> 1 & 7) * 0x0101010101010101u;
			memcpy(piece + i, &w, 8);
		}
		memcpy(p, piece, n);
		p += n;
		len -= n;
	}
}

#endif
