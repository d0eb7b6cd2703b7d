/* SPDX-License-Identifier: MIT
 * The directories of the overlays mounted now: the one thing all engines show of a container that
 * runs, and of the layers that it has. (containerd keeps whether a snapshot is active in a database
 * we do not read.)
 */
#include "layers_int.h"

#include <stdio.h>
#include <unistd.h>

/* Undo the mount table's \ooo in place. */
static size_t unescape(char *s, size_t len)
{
	char *out = s, *p = s, *end = s + len;

	while (p < end) {
		if (*p == '\\' && end - p >= 4 && p[1] >= '0' && p[1] <= '3') {
			*out++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 4;
		} else {
			*out++ = *p++;
		}
	}
	return (size_t)(out - s);
}

/* The value of one of the file system's options, unescaped: a directory, or several with colons
 * between them, of which those in a name have a backslash. */
static int add_dirs(struct names *ret, const char *value, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i <= len; i++) {
		if (i < len && value[i] == '\\') {
			i++;
			continue;
		}
		if (i < len && value[i] != ':')
			continue;
		int r = i > from ? names_add(ret, value + from, i - from) : 0;

		if (r)
			return r;
		from = i + 1;
	}
	return 0;
}

/* Layers given one by one (fsconfig(2)) are shown as lowerdir+=. */
static int add_line(struct overlays *ret, char *line)
{
	static const char *const lower[] = {"lowerdir=", "lowerdir+="};
	char *p = strstr(line, " - overlay ");
	int r = 0;

	for (p = p ? strrchr(p, ' ') + 1 : NULL; p && *p && !r; p += *p == ',') {
		size_t len = strcspn(p, ",\n");
		char *value = memchr(p, '=', len);

		if (value++) {
			size_t name = (size_t)(value - p), n;
			char *next = p + len;
			bool up = strlen("upperdir=") == name && !strncmp(p, "upperdir=", name);

			for (size_t i = 0; i < ARRAY_SIZE(lower) && !r; i++)
				if (strlen(lower[i]) == name && !strncmp(p, lower[i], name)) {
					n = unescape(value, len - name);
					r = add_dirs(&ret->lowers, value, n);
				}
			if (up)
				r = names_add(&ret->uppers, value, unescape(value, len - name));
			p = next;
		} else {
			p += len;
		}
		if (*p == '\n')
			break;
	}
	return r;
}

static int add_table(struct overlays *ret, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	int r = 0;

	if (!f)
		return 0; /* nothing to learn here; files in use are still left alone */
	while (r == 0 && getline(&line, &cap, f) > 0)
		r = add_line(ret, line);
	free(line);
	fclose(f);
	return r;
}

int overlays_load(struct overlays *ret)
{
	/* Engines usually mount in the first mount namespace; ours may be a private copy of it. */
	int r = add_table(ret, "/proc/self/mountinfo");

	return r < 0 ? r : add_table(ret, "/proc/1/mountinfo");
}

void overlays_done(struct overlays *o)
{
	names_done(&o->uppers);
	names_done(&o->lowers);
}

/* The last two components: what a layer is called in its engine's directory. */
static const char *tail(const char *path)
{
	const char *last = strrchr(path, '/'), *p = last;

	while (p && p > path && p[-1] != '/')
		p--;
	return p ? p : path;
}

static int by_tail(const void *a, const void *b)
{
	return strcmp(tail(*(char *const *)a), tail(*(char *const *)b));
}

/* Whole components at the end: b is shorter, or the same. */
static bool ends_with(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	return la >= lb && !strcmp(a + la - lb, b) && (la == lb || a[la - lb - 1] == '/');
}

static bool is_of(const struct names *dirs, const char *key)
{
	size_t lo = 0, hi = dirs->n;
	const char *want = tail(key);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(tail(dirs->v[mid]), want) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < dirs->n && !strcmp(tail(dirs->v[lo]), want); lo++) {
		const char *dir = dirs->v[lo];

		if (*dir == '/' ? ends_with(dir, key) : ends_with(key, dir))
			return true;
	}
	return false;
}

/* Docker and containers-storage name their lower directories by short links, l/XXX. */
static int follow_links(struct names *dirs, int anchorfd, const char *anchor)
{
	for (size_t i = 0, n = dirs->n; i < n; i++) {
		const char *link = tail(dirs->v[i]);
		char target[512];
		ssize_t len;

		if (strncmp(link, "l/", 2))
			continue;
		len = readlinkat(anchorfd, link, target, sizeof(target) - 1);
		if (len < 0)
			continue; /* of an engine with another root */
		target[len] = 0;
		if (strncmp(target, "../", 3))
			continue;
		cleanup_free char *key = scan_join(anchor, target + 3);
		int r = key ? names_add(dirs, key, strlen(key)) : -ENOMEM;

		if (r)
			return r;
	}
	return 0;
}

int overlays_resolve(struct overlays *o, int anchorfd, const char *anchor)
{
	int r = follow_links(&o->lowers, anchorfd, anchor);

	overlays_sort(o);
	return r;
}

void overlays_sort(struct overlays *o)
{
	if (o->uppers.n)
		qsort(o->uppers.v, o->uppers.n, sizeof(*o->uppers.v), by_tail);
	if (o->lowers.n)
		qsort(o->lowers.v, o->lowers.n, sizeof(*o->lowers.v), by_tail);
}

bool overlays_write(const struct overlays *o, const char *key)
{
	return is_of(&o->uppers, key);
}

bool overlays_have(const struct overlays *o, const char *key)
{
	return is_of(&o->lowers, key) || is_of(&o->uppers, key);
}
