/* SPDX-License-Identifier: MIT
 * The directories of the overlays mounted now: the one thing all engines show of a container that
 * runs, and of the layers that it has. (containerd keeps whether a snapshot is active in a database
 * we do not read.)
 *
 * The table does not show everything: engines in a mount namespace of their own, fuse-overlayfs,
 * layers by descriptors (containers-storage, when there are many) or through an id-mapped mount
 * (containerd with user namespaces). So nothing of an engine's directory is said to be asleep
 * unless a container of it is mounted, and all that its overlays name was found.
 */
#include "layers_int.h"

#include <stdio.h>
#include <unistd.h>

/* Undo the mount table's \ooo in place. */
static size_t unescape(char *s, size_t len)
{
	char *out = s, *p = s, *end = s + len;

	while (p < end) {
		if (*p == '\\' && end - p >= 4 && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' &&
		    p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
			*out++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 4;
		} else {
			*out++ = *p++;
		}
	}
	return (size_t)(out - s);
}

/* One directory, or (list) several with colons between them. escaped: a backslash stands before
 * each colon, comma and backslash of a name; as mount(2) takes them. Changes v. */
static int add_dirs(struct names *ret, char *v, size_t len, bool list, bool escaped)
{
	size_t from = 0, out = 0;
	int r = 0;

	for (size_t i = 0; i < len && !r; i++) {
		if (escaped && v[i] == '\\' && i + 1 < len) {
			v[out++] = v[++i];
		} else if (list && v[i] == ':') {
			if (out > from)
				r = names_add(ret, v + from, out - from);
			from = out;
		} else {
			v[out++] = v[i];
		}
	}
	return !r && out > from ? names_add(ret, v + from, out - from) : r;
}

static int add_option(struct overlay *o, char *name, size_t len)
{
	static const struct {
		const char *name;
		bool upper, list, escaped;
	} known[] = {
		{"upperdir=", true, false, true},
		{"lowerdir=", false, true, true},
		{"lowerdir+=", false, false, false}, /* by fsconfig(2), one by one */
		{"datadir+=", false, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t n = strlen(known[i].name);

		if (len > n && !memcmp(name, known[i].name, n))
			return add_dirs(known[i].upper ? &o->upper : &o->lowers, name + n,
					unescape(name + n, len - n), known[i].list,
					known[i].escaped);
	}
	return 0;
}

int overlays_parse(struct overlays *ret, char *line)
{
	char *p = strstr(line, " - overlay ");
	int r = 0;

	if (!p)
		return 0;
	if (ret->n == ret->cap) {
		size_t cap = ret->cap ? 2 * ret->cap : 16;
		struct overlay *v = reallocarray(ret->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		ret->v = v;
		ret->cap = cap;
	}
	struct overlay *o = &ret->v[ret->n++];

	*o = (struct overlay){0};
	p = strrchr(p, ' ') + 1; /* spaces of names are escaped */
	while (*p && *p != '\n' && !r) {
		size_t len = strcspn(p, ",\n"); /* and so are their commas */
		char *next = p + len + (p[len] == ',');

		r = add_option(o, p, len);
		p = next;
	}
	return r;
}

static int add_table(struct overlays *ret, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	int r = 0;

	if (!f) {
		ret->incomplete = true; /* files in use are still left alone */
		return 0;
	}
	while (r == 0 && getline(&line, &cap, f) > 0)
		r = overlays_parse(ret, line);
	ret->incomplete |= ferror(f) != 0;
	free(line);
	fclose(f);
	return r;
}

static bool same_namespace(void)
{
	char a[64], b[64];
	ssize_t n = readlink("/proc/self/ns/mnt", a, sizeof(a));

	return n > 0 && n == readlink("/proc/1/ns/mnt", b, sizeof(b)) && !memcmp(a, b, (size_t)n);
}

int overlays_load(struct overlays *ret)
{
	/* Engines usually mount in the first mount namespace; ours may be a private copy of it. */
	int r = add_table(ret, "/proc/self/mountinfo");

	return r < 0 || same_namespace() ? r : add_table(ret, "/proc/1/mountinfo");
}

void overlays_done(struct overlays *o)
{
	for (size_t i = 0; i < o->n; i++) {
		names_done(&o->v[i].upper);
		names_done(&o->v[i].lowers);
	}
	free(o->v);
	*o = (struct overlays){0};
}

/* ---- which layers they are --------------------------------------------------------------- */

/* The last two components: what a layer is called in its engine's directory. */
static const char *tail(const char *path)
{
	const char *p = strrchr(path, '/');

	while (p && p > path && p[-1] != '/')
		p--;
	return p ? p : path;
}

static int by_tail(const void *a, const void *b)
{
	return strcmp(tail((*(struct layer *const *)a)->key),
		      tail((*(struct layer *const *)b)->key));
}

/* Whole components at the end. */
static bool ends_with(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	return la >= lb && !strcmp(a + la - lb, b) && (la == lb || a[la - lb - 1] == '/');
}

struct sorted {
	struct layer **v; /* by their tails, which differ */
	size_t n;
};

/* By the end of its path, as the root that we see is a mount of our own, and engines give some by
 * their ends only: a layer of the same name in another root may be taken for it. */
static struct layer *find(const struct sorted *s, const char *dir)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int r = strcmp(tail(dir), tail(s->v[mid]->key));

		if (r == 0) {
			struct layer *l = s->v[mid];
			bool is = *dir == '/' ? ends_with(dir, l->key) : ends_with(l->key, dir);

			return is ? l : NULL;
		}
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* Docker and containers-storage name lower directories by short links, l/XXX -> ../<id>/diff. */
static struct layer *find_lower(const struct sorted *s, int anchorfd, const char *anchor,
				const char *dir)
{
	const char *link = tail(dir);
	char target[512], key[4096];

	if (strncmp(link, "l/", 2))
		return find(s, dir);
	ssize_t n = readlinkat(anchorfd, link, target, sizeof(target) - 1);

	if (n < 0)
		return NULL;
	target[n] = 0;
	if (strncmp(target, "../", 3) ||
	    snprintf(key, sizeof(key), "%s/%s", anchor, target + 3) >= (int)sizeof(key))
		return NULL;
	return find(s, key);
}

int overlays_tell(const struct overlays *o, int anchorfd, const char *anchor, struct layer_set *set,
		  size_t from)
{
	if (set->n == from) /* as in most directories near the root */
		return 0;
	struct sorted s = {.v = malloc((set->n - from) * sizeof(*s.v))};
	bool some = false, unknown = o->incomplete;

	if (!s.v)
		return -ENOMEM;
	for (size_t i = from; i < set->n; i++)
		s.v[s.n++] = &set->v[i];
	qsort(s.v, s.n, sizeof(*s.v), by_tail);
	for (size_t i = 0; i < o->n; i++) {
		struct layer *up = o->v[i].upper.n ? find(&s, o->v[i].upper.v[0]) : NULL;
		bool ours = up, lost = false;

		if (up) {
			up->kind = LAYER_WRITABLE;
			up->mounted = some = true;
		}
		for (size_t k = 0; k < o->v[i].lowers.n; k++) {
			struct layer *l = find_lower(&s, anchorfd, anchor, o->v[i].lowers.v[k]);

			if (l)
				l->mounted = ours = true;
			else
				lost = true;
		}
		unknown |= ours && lost;
	}
	for (size_t i = 0; i < s.n; i++)
		s.v[i]->asleep = some && !unknown && !s.v[i]->mounted;
	free(s.v);
	return 0;
}
