/* SPDX-License-Identifier: MIT
 * Finding the layers below a root: go through the directories near it, and where an engine's own
 * directory stands, have the engine's scanner list its layers. Layers are never entered, so the
 * cost is that of the directories near the root and one stat per layer.
 */
#include "layers_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

bool scan_passes_over(int err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -EACCES ||
	       err == -ESTALE || err == -EXDEV;
}

int scan_opendir(const struct scan *s, int dirfd, const char *name)
{
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == s->dev ? steal_fd(&fd) : -EXDEV;
}

int scan_each(int dir, const char *name, scan_entry_fn fn, void *ctx)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	struct dirent *e;
	DIR *d;

	if (fd < 0)
		return scan_passes_over(-errno) ? 0 : -errno;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fn(ctx, fd, e->d_name, e->d_type);
	if (r == 0 && errno && !scan_passes_over(-errno))
		r = -errno;
	closedir(d);
	return r;
}

char *scan_join(const char *a, const char *b)
{
	char *s;

	return asprintf(&s, "%s%s%s", a, *a ? "/" : "", b) < 0 ? NULL : s;
}

int scan_add(struct scan *s, int dirfd, const char *name, const char *key, const char *label,
	     enum layer_engine engine, bool blob, bool written)
{
	struct layer l = {.engine = engine, .kind = blob ? LAYER_BLOB : LAYER_SNAPSHOT};
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return scan_passes_over(-errno) ? 0 : -errno;
	if (st.st_dev != s->dev || !(blob ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode)))
		return 0;
	if (written)
		l.kind = LAYER_WRITABLE;
	ts_to_ns(&st.st_mtim, &l.born_ns);
	if (s->set.n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct layer *v = reallocarray(s->set.v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->set.v = v;
		s->cap = cap;
	}
	l.key = strdup(key);
	l.name = strdup(label);
	if (!l.key || !l.name) {
		free(l.key);
		free(l.name);
		return -ENOMEM;
	}
	s->set.v[s->set.n++] = l;
	return 0;
}

struct visit {
	struct scan *s;
	const char *path;
	layer_class cls;
};

static int visit(struct scan *s, int dirfd, const char *path, layer_class cls);

/* One directory further down, when anchors may stand in it. */
static int descend(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	struct visit *v = ctx;
	layer_class cls = layers_class(v->cls, name);
	cleanup_free char *path = NULL;
	cleanup_fd int fd = -1;

	if (cls > CLS_DEEPEST || (d_type != DT_DIR && d_type != DT_UNKNOWN))
		return 0;
	fd = scan_opendir(v->s, dirfd, name);
	if (fd < 0)
		return scan_passes_over(fd) ? 0 : fd;
	path = scan_join(v->path, name);
	return path ? visit(v->s, fd, path, cls) : -ENOMEM;
}

static int visit(struct scan *s, int dirfd, const char *path, layer_class cls)
{
	struct visit v = {.s = s, .path = path, .cls = cls};
	int r = docker_scan(s, dirfd, path);

	if (r == 0)
		r = podman_scan(s, dirfd, path);
	if (r == 0)
		r = containerd_scan(s, dirfd, path);
	if (r < 0)
		return r;
	/* At the last depth only one name leads on: other people's large directories are not read.
	 */
	if (cls >= ANCHOR_DEPTH)
		return cls == ANCHOR_DEPTH ? descend(&v, dirfd, DEEP_NAME, DT_UNKNOWN) : 0;
	return scan_each(dirfd, ".", descend, &v);
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct layer *)a)->key, ((const struct layer *)b)->key);
}

int layers_scan(int rootfd, struct layer_set *ret)
{
	struct scan s = {0};
	struct stat st;
	int r;

	if (fstat(rootfd, &st) < 0)
		return -errno;
	s.dev = st.st_dev;
	r = overlays_load(&s.overlays);
	if (r == 0)
		r = visit(&s, rootfd, "", CLS_ROOT);
	overlays_done(&s.overlays);
	if (r < 0) {
		layer_set_done(&s.set);
		return r;
	}
	if (s.set.n)
		qsort(s.set.v, s.set.n, sizeof(*s.set.v), compare);
	*ret = s.set;
	return 0;
}

void layer_set_done(struct layer_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].key);
		free(s->v[i].name);
	}
	free(s->v);
	*s = (struct layer_set){0};
}

static int compare_len(const char *path, size_t len, const char *key)
{
	int r = strncmp(path, key, len);

	return r ? r : key[len] ? -1 : 0;
}

/* Layers do not nest: at most one of the path's beginnings is one. */
const struct layer *layers_find(const struct layer_set *s, const char *path)
{
	for (size_t len = strcspn(path, "/");; len += 1 + strcspn(path + len + 1, "/")) {
		size_t lo = 0, hi = s->n;

		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;
			int r = compare_len(path, len, s->v[mid].key);

			if (r == 0)
				return &s->v[mid];
			if (r < 0)
				hi = mid;
			else
				lo = mid + 1;
		}
		if (path[len] == 0)
			return NULL;
	}
}
