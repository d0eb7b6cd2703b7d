/* SPDX-License-Identifier: MIT
 * The mount table: /proc/self/mountinfo, parsed (proc_pid_mountinfo(5)).
 *
 *	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *	id parent dev root point options [optional fields] - fstype source super-options
 *
 * The kernel writes space, tab, newline and backslash in a field as three octal digits. Text that
 *does not look like this is -EUCLEAN as a whole: half a mount table would hide a submount.
 */
#include "mnt_int.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#define TABLE_MAX_BYTES (64u << 20)

static bool octal(char c)
{
	return c >= '0' && c <= '7';
}

static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && octal(s[1]) && octal(s[2]) && octal(s[3]) && s[1] < '4') {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

/* Cut the next field off *p. Fields are separated by exactly one space; a source may be empty. */
static char *next_field(char **p)
{
	return *p ? strsep(p, " ") : NULL;
}

static int parse_number(const char *s, unsigned max, unsigned *ret)
{
	uint64_t v = 0;

	if (!s || !*s)
		return -EUCLEAN;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EUCLEAN;
		v = v * 10 + (unsigned)(*s - '0');
		if (v > max)
			return -EUCLEAN;
	}
	*ret = (unsigned)v;
	return 0;
}

static int parse_dev(char *s, struct mnt_entry *e)
{
	char *colon = s ? strchr(s, ':') : NULL;

	if (!colon)
		return -EUCLEAN;
	*colon = 0;
	if (parse_number(s, UINT32_MAX, &e->dev_major) < 0)
		return -EUCLEAN;
	return parse_number(colon + 1, UINT32_MAX, &e->dev_minor);
}

static int dup_field(char *s, char **ret)
{
	unescape(s);
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

static void entry_done(struct mnt_entry *e)
{
	free(e->root);
	free(e->point);
	free(e->fstype);
	free(e->source);
}

static int parse_line(char *line, struct mnt_entry *e)
{
	char *p = line, *root, *point, *fstype, *source, *f;
	unsigned id, parent;
	int r;

	if (parse_number(next_field(&p), INT_MAX, &id) < 0 ||
	    parse_number(next_field(&p), INT_MAX, &parent) < 0 || parse_dev(next_field(&p), e) < 0)
		return -EUCLEAN;
	e->id = (int)id;
	e->parent = (int)parent;
	root = next_field(&p);
	point = next_field(&p);
	if (!root || !*root || !point || *point != '/' || !next_field(&p))
		return -EUCLEAN;
	do
		f = next_field(&p);
	while (f && strcmp(f, "-") != 0);
	fstype = next_field(&p);
	source = next_field(&p);
	if (!fstype || !*fstype || !source)
		return -EUCLEAN;
	r = dup_field(root, &e->root);
	if (!r)
		r = dup_field(point, &e->point);
	if (!r)
		r = dup_field(fstype, &e->fstype);
	if (!r)
		r = dup_field(source, &e->source);
	return r;
}

int mnt_table_parse(const char *text, struct mnt_table *ret)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	cleanup_free char *copy = strdup(text);
	char *p = copy, *line;
	size_t cap = 0;

	if (!copy)
		return -ENOMEM;
	while ((line = strsep(&p, "\n"))) {
		int r;

		if (!*line)
			continue;
		if (t.n == cap) {
			size_t want = cap ? cap * 2 : 64;
			void *v = reallocarray(t.v, want, sizeof(*t.v));

			if (!v)
				return -ENOMEM;
			t.v = v;
			cap = want;
		}
		t.v[t.n] = (struct mnt_entry){0};
		r = parse_line(line, &t.v[t.n++]);
		if (r < 0)
			return r;
	}
	*ret = t;
	t = (struct mnt_table){NULL, 0};
	return 0;
}

int mnt_table_read(struct mnt_table *ret)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r = read_file(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX_BYTES, &text, &len);

	return r < 0 ? r : mnt_table_parse(text, ret);
}

void mnt_table_done(struct mnt_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		entry_done(&t->v[i]);
	free(t->v);
	*t = (struct mnt_table){NULL, 0};
}

static bool has_child_at(const struct mnt_table *t, const struct mnt_entry *e)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].parent == e->id && &t->v[i] != e && !strcmp(t->v[i].point, e->point))
			return true;
	return false;
}

/* The order of lines is not the order of stacking (a moved mount keeps its place): the topmost one
 * is the one on which none of the others sits. */
const struct mnt_entry *mnt_top(const struct mnt_table *t, const char *path)
{
	for (size_t i = t->n; i-- > 0;)
		if (!strcmp(t->v[i].point, path) && !has_child_at(t, &t->v[i]))
			return &t->v[i];
	return NULL;
}

const struct mnt_entry *mnt_below(const struct mnt_table *t, const char *path)
{
	for (size_t i = 0; i < t->n; i++)
		if (path_below(t->v[i].point, path))
			return &t->v[i];
	return NULL;
}

int mnt_list(char ***ret, size_t *ret_n)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	char **v;
	size_t n = 0;
	int r = mnt_table_read(&t);

	if (r < 0)
		return r;
	v = calloc(t.n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < t.n; i++) {
		const struct mnt_entry *e = &t.v[i];

		/* Engines bind parts of their data root onto themselves: those are no mounts of
		 * ours. */
		if (strcmp(e->fstype, SPILLFS_FSTYPE) || strcmp(e->root, "/") ||
		    mnt_top(&t, e->point) != e)
			continue;
		v[n] = strdup(e->point);
		if (!v[n++]) {
			while (--n > 0)
				free(v[n - 1]);
			free(v);
			return -ENOMEM;
		}
	}
	*ret = v;
	*ret_n = n;
	return 0;
}
