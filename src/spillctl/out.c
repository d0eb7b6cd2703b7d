/* SPDX-License-Identifier: MIT
 * Text for people: numbers, tables, messages. Every string that came from a file system or the
 * daemon goes through ctl_escape before it reaches a terminal.
 */
#include "spillctl.h"

#include <wchar.h>

void put_safe(FILE *f, const char *s)
{
	cleanup_free char *text = ctl_escape(s);

	fputs(text ? text : "?", f);
}

static void vwarn(const char *fmt, va_list ap)
{
	cleanup_free char *msg = NULL;

	if (vasprintf(&msg, fmt, ap) < 0)
		msg = NULL;
	fputs("spillctl: ", stderr);
	put_safe(stderr, msg ? msg : "out of memory");
	fputc('\n', stderr);
}

void warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwarn(fmt, ap);
	va_end(ap);
}

int fail(const struct cli *c, int code, const char *fmt, ...)
{
	cleanup_free char *msg = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&msg, fmt, ap) < 0)
		msg = NULL;
	va_end(ap);
	if (code == EXIT_INTERRUPTED && !msg)
		return code;
	warn("%s", msg ? msg : "out of memory");
	if (c->json) {
		json_t *o = json_object();

		ctl_name_put(o, "error", msg ? msg : "out of memory");
		json_object_set_new(o, "code", json_integer(code));
		print_json(o);
	}
	return code;
}

void print_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
}

const char *fmt_size_in(struct numbuf *b, uint64_t v)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double d = (double)v;
	size_t u = 0;

	while (d >= 999.5 && u + 1 < ARRAY_SIZE(units)) {
		d /= 1024;
		u++;
	}
	snprintf(b->s, sizeof(b->s), u && d < 9.95 ? "%.1f %s" : "%.0f %s", d, units[u]);
	return b->s;
}

const char *fmt_count_in(struct numbuf *b, uint64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
	char *out = b->s;

	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = 0;
	return b->s;
}

const char *fmt_span_in(struct numbuf *b, uint64_t sec)
{
	unsigned long long s = sec;

	if (s < 60)
		snprintf(b->s, sizeof(b->s), "%llu s", s);
	else if (s < 3600)
		snprintf(b->s, sizeof(b->s), "%llu min", s / 60);
	else if (s < 86400)
		snprintf(b->s, sizeof(b->s), "%llu h %llu min", s / 3600, s / 60 % 60);
	else
		snprintf(b->s, sizeof(b->s), "%llu d %llu h", s / 86400, s / 3600 % 24);
	return b->s;
}

void table_add(struct table *t, const char *cell)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 256;
		char **bigger = reallocarray(t->cells, cap, sizeof(*bigger));

		if (!bigger)
			return;
		t->cells = bigger;
		t->cap = cap;
	}
	t->cells[t->n++] = ctl_escape(cell);
}

/* Columns a string takes on the terminal. */
static int width(const char *s)
{
	size_t n = mbstowcs(NULL, s, 0);
	cleanup_free wchar_t *w = n == (size_t)-1 ? NULL : calloc(n + 1, sizeof(*w));
	int cols = w && mbstowcs(w, s, n) == n ? wcswidth(w, n) : -1;

	return cols >= 0 ? cols : (int)strlen(s);
}

void table_print(const struct table *t, FILE *f)
{
	size_t cols = strlen(t->align);
	int w[32] = {0};

	/* The last column is not padded, and may be long. */
	for (size_t i = 0; i < t->n; i++)
		if (t->cells[i] && i % cols < cols - 1)
			w[i % cols] = MAX(w[i % cols], width(t->cells[i]));
	for (size_t i = 0; i < t->n; i++) {
		const char *cell = t->cells[i] ? t->cells[i] : "?";
		bool last = i % cols == cols - 1;
		int pad = last ? 0 : w[i % cols] - width(cell);

		if (t->align[i % cols] == '>')
			fprintf(f, "%*s%s", pad, "", cell);
		else
			fprintf(f, "%s%*s", cell, pad, "");
		fputs(last ? "\n" : "  ", f);
	}
}

void table_done(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct table){0};
}

uint64_t jnum(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v < 0 ? 0 : (uint64_t)v;
}

uint64_t jnum2(const json_t *o, const char *key, const char *sub)
{
	return jnum(json_object_get(o, key), sub);
}

const char *jstr(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}
