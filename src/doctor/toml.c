/* SPDX-License-Identifier: MIT
 * TOML (containerd, CRI-O, containers-storage). Debian 12 has no C library for it.
 *
 * A recursive reader of the whole grammar of https://toml.io/en/v1.0.0 down to the words: tables,
 * arrays of tables, dotted and quoted keys, all four kinds of strings, nested and multi-line
 * arrays, inline tables, comments. It is more lenient than TOML in two points that do not matter
 * for looking: numbers and dates are taken as the words they are, and a key that stands twice is
 * not an error (the last one counts).
 */
#include "conf.h"

#include <stdio.h>

struct toml {
	struct conf *c;
	struct conf_path p;
	const char *s, *end;
	unsigned line, depth;
	struct conf_error *err;
	/* [[arrays of tables]] and how many each had */
	struct {
		char *name;
		unsigned n;
	} arrays[64];
	unsigned narrays;
};

static int broken(struct toml *t, const char *why)
{
	t->err->line = t->line;
	snprintf(t->err->why, sizeof(t->err->why), "%s", why);
	return -EUCLEAN;
}

static int peek(const struct toml *t)
{
	return t->s < t->end ? (unsigned char)*t->s : -1;
}
static bool at(const struct toml *t, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(t->end - t->s) >= n && !memcmp(t->s, word, n);
}
static void step(struct toml *t)
{
	if (*t->s++ == '\n')
		t->line++;
}

static void blanks(struct toml *t)
{
	while (peek(t) == ' ' || peek(t) == '\t')
		t->s++;
}
static void comment(struct toml *t)
{
	if (peek(t) == '#')
		while (t->s < t->end && *t->s != '\n')
			t->s++;
}
/* Blanks, comments and line ends. */
static void space(struct toml *t)
{
	for (;;) {
		blanks(t);
		comment(t);
		if (peek(t) != '\n' && peek(t) != '\r')
			return;
		step(t);
	}
}
static int line_end(struct toml *t)
{
	blanks(t);
	comment(t);
	if (peek(t) == '\r')
		t->s++;
	if (peek(t) == '\n') {
		step(t);
		return 0;
	}
	return peek(t) < 0 ? 0 : broken(t, "something after the end of the value");
}

/* A string being put together. */
struct text {
	char *s;
	size_t n, cap;
};
static void text_done(struct text *x)
{
	free(x->s);
}
static int text_put(struct text *x, char ch)
{
	if (x->n + 1 >= x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 64;
		char *bigger = realloc(x->s, cap);

		if (!bigger)
			return -ENOMEM;
		x->s = bigger;
		x->cap = cap;
	}
	x->s[x->n++] = ch;
	x->s[x->n] = 0;
	return 0;
}

/* \uXXXX as UTF-8. */
static int put_code(struct toml *t, struct text *x, unsigned digits)
{
	uint32_t u = 0;
	int r = 0;

	for (unsigned i = 0; i < digits; i++) {
		int ch = t->s < t->end ? *t->s++ : 0;
		const char *hex = "0123456789abcdef";
		const char *p = ch ? strchr(hex, ch >= 'A' && ch <= 'F' ? ch + 32 : ch) : NULL;

		if (!p)
			return broken(t, "a bad \\u escape");
		u = u << 4 | (uint32_t)(p - hex);
	}
	if (!u || u > 0x10ffff || (u >= 0xd800 && u < 0xe000))
		return broken(t, "a bad \\u escape");
	if (u < 0x80)
		return text_put(x, (char)u);
	if (u >= 0x10000)
		r = text_put(x, (char)(0xf0 | u >> 18));
	else if (u >= 0x800)
		r = text_put(x, (char)(0xe0 | u >> 12));
	else
		r = text_put(x, (char)(0xc0 | u >> 6));
	for (int shift = u >= 0x10000 ? 12 : u >= 0x800 ? 6 : 0; !r && shift >= 0; shift -= 6)
		r = text_put(x, (char)(0x80 | (u >> shift & 0x3f)));
	return r;
}

static int escape(struct toml *t, struct text *x, bool multi)
{
	static const char from[] = "btnfr\"\\e", to[] = "\b\t\n\f\r\"\\\033";
	const char *p;
	int ch;

	if (t->s >= t->end)
		return broken(t, "a string without end");
	ch = *t->s++;
	if (ch == 'u' || ch == 'U')
		return put_code(t, x, ch == 'u' ? 4 : 8);
	if (multi && ch && strchr(" \t\r\n", ch)) { /* the line is folded */
		t->s--;
		while (peek(t) > 0 && strchr(" \t\r\n", peek(t)))
			step(t);
		return 0;
	}
	p = ch ? strchr(from, ch) : NULL;
	return p ? text_put(x, to[p - from]) : broken(t, "an unknown escape in a string");
}

/* "..." '...' and both tripled. */
static int string(struct toml *t, struct text *x)
{
	char q = *t->s, triple[4] = {q, q, q, 0};
	bool multi = at(t, triple);
	unsigned begun = t->line;
	int r = text_put(x, 0);

	x->n = 0;
	t->s += multi ? 3 : 1;
	if (multi && at(t, "\r\n"))
		t->s++;
	if (multi && peek(t) == '\n')
		step(t);
	while (!r) {
		int ch = peek(t);

		if (ch < 0 || (!multi && ch == '\n')) {
			t->line = begun;
			return broken(t, "a string without end");
		}
		if (!ch)
			return broken(t, "a NUL in a string");
		if (multi ? at(t, triple) : ch == q) {
			t->s += multi ? 3 : 1;
			/* up to two quotes may stand before the closing three */
			for (int i = 0; multi && i < 2 && peek(t) == q && !r; i++, t->s++)
				r = text_put(x, q);
			return r;
		}
		if (ch == '\\' && q == '"') {
			t->s++;
			r = escape(t, x, multi);
			continue;
		}
		r = text_put(x, (char)ch);
		step(t);
	}
	return r;
}

static bool bare(int ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
	       ch == '_' || ch == '-';
}

/* a."b.c".d onto the path. */
static int key(struct toml *t)
{
	size_t old;
	int r;

	for (;;) {
		cleanup_(text_done) struct text x = {0};

		blanks(t);
		if (peek(t) == '"' || peek(t) == '\'') {
			r = string(t, &x);
			if (r)
				return r;
		} else {
			if (!bare(peek(t)))
				return broken(t, "a key is expected");
			while (bare(peek(t))) {
				r = text_put(&x, *t->s++);
				if (r)
					return r;
			}
		}
		r = conf_path_push(&t->p, x.s, &old);
		if (r)
			return r;
		blanks(t);
		if (peek(t) != '.')
			return 0;
		t->s++;
	}
}

static int value(struct toml *t);

static int pair(struct toml *t)
{
	size_t old = t->p.len;
	int r = key(t);

	if (r)
		return r;
	if (peek(t) != '=')
		return broken(t, "'=' is expected after the key");
	t->s++;
	blanks(t);
	r = value(t);
	conf_path_cut(&t->p, old);
	return r;
}

static int array(struct toml *t)
{
	char num[16];
	size_t old;
	int r;

	t->s++;
	for (unsigned i = 0;; i++) {
		space(t);
		if (peek(t) == ']')
			break;
		snprintf(num, sizeof(num), "%u", i);
		r = conf_path_push(&t->p, num, &old);
		if (!r)
			r = value(t);
		if (r)
			return r;
		conf_path_cut(&t->p, old);
		space(t);
		if (peek(t) == ',')
			t->s++;
		else if (peek(t) != ']')
			return broken(t, "',' or ']' is expected in an array");
	}
	t->s++;
	return 0;
}

static int inline_table(struct toml *t)
{
	int r;

	t->s++;
	for (;;) {
		space(t);
		if (peek(t) == '}')
			break;
		r = pair(t);
		if (r)
			return r;
		space(t);
		if (peek(t) == ',')
			t->s++;
		else if (peek(t) != '}')
			return broken(t, "',' or '}' is expected in a table");
	}
	t->s++;
	return 0;
}

static int nested(struct toml *t, int (*fn)(struct toml *t))
{
	int r;

	if (t->depth == CONF_DEPTH_MAX)
		return broken(t, "nested too deeply");
	t->depth++;
	r = fn(t);
	t->depth--;
	return r;
}

static int value(struct toml *t)
{
	cleanup_(text_done) struct text x = {0};
	unsigned line = t->line;
	int r = 0;

	if (peek(t) == '[')
		return nested(t, array);
	if (peek(t) == '{')
		return nested(t, inline_table);
	if (peek(t) == '"' || peek(t) == '\'')
		r = string(t, &x);
	else
		while (!r && (bare(peek(t)) || (peek(t) > 0 && strchr("+.:", peek(t)))))
			r = text_put(&x, *t->s++);
	if (!r && !x.s)
		return broken(t, "a value is expected");
	return r ? r : conf_add(t->c, t->p.s, x.s, line);
}

/* The index of the next [[name]]. */
static int array_next(struct toml *t, unsigned *ret)
{
	for (unsigned i = 0; i < t->narrays; i++)
		if (!strcmp(t->arrays[i].name, t->p.s)) {
			*ret = ++t->arrays[i].n;
			return 0;
		}
	if (t->narrays == ARRAY_SIZE(t->arrays))
		return broken(t, "too many arrays of tables");
	t->arrays[t->narrays].name = strdup(t->p.s);
	if (!t->arrays[t->narrays].name)
		return -ENOMEM;
	t->arrays[t->narrays++].n = *ret = 0;
	return 0;
}

/* [a.b] or [[a.b]]: where the pairs that follow belong. */
static int header(struct toml *t)
{
	bool list = at(t, "[[");
	unsigned i = 0;
	char num[16];
	size_t old;
	int r;

	conf_path_cut(&t->p, 0);
	t->s += list ? 2 : 1;
	r = key(t);
	if (r)
		return r;
	if (!at(t, list ? "]]" : "]"))
		return broken(t, "']' is expected after a table's name");
	t->s += list ? 2 : 1;
	if (!list)
		return 0;
	r = array_next(t, &i);
	snprintf(num, sizeof(num), "%u", i);
	return r ? r : conf_path_push(&t->p, num, &old);
}

int conf_toml(struct conf *c, const char *text, size_t len, struct conf_error *ret_err)
{
	struct toml t = {.c = c, .s = text, .end = text + len, .line = 1, .err = ret_err};
	int r = 0;

	*ret_err = (struct conf_error){0};
	if (at(&t, "\xef\xbb\xbf"))
		t.s += 3;
	for (space(&t); !r && peek(&t) >= 0; space(&t)) {
		r = peek(&t) == '[' ? header(&t) : pair(&t);
		if (!r)
			r = line_end(&t);
	}
	for (unsigned i = 0; i < t.narrays; i++)
		free(t.arrays[i].name);
	conf_path_done(&t.p);
	return r;
}
