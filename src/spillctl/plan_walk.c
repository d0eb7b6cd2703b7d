/* SPDX-License-Identifier: MIT
 * The walk of `plan`: what is there, in which layers, and what of it would move. Reads names and
 * attributes only.
 */
#include "plan.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>

#define DEPTH_MAX 2048

bool plan_go_on(struct plan *p, const char *what, uint64_t done, const char *path)
{
	uint64_t now = clock_mono_ns();

	if (now - p->shown_ns > 200000000) {
		p->shown_ns = now;
		p->progress.what = what;
		progress_show(&p->progress, done, 0, path);
	}
	return !interrupted();
}

void plan_done(struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].path);
	free(p->v);
	layer_set_done(&p->layers);
	spill_closep(&p->fd);
}

static enum plan_kind kind_of(const struct plan *p, const char *path)
{
	const struct layer *l = layers_find(&p->layers, path);

	if (!l)
		return PLAN_OTHER;
	return l->kind == LAYER_BLOB       ? PLAN_BLOB
	       : l->kind == LAYER_WRITABLE ? PLAN_WRITABLE
					   : PLAN_SNAPSHOT;
}

static int keep(struct plan *p, const char *path, const struct statx *sx)
{
	uint64_t alloc = (uint64_t)sx->stx_blocks * 512;

	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 4096;
		struct plan_file *v = reallocarray(p->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		p->v = v;
		p->cap = cap;
	}
	p->v[p->n] = (struct plan_file){.path = strdup(path),
					.bytes = MIN(sx->stx_size, alloc),
					.alloc = alloc,
					.ino = sx->stx_ino};
	if (!p->v[p->n].path)
		return -ENOMEM;
	p->v_bytes += p->v[p->n].bytes;
	p->v_alloc += alloc;
	p->n++;
	return 0;
}

/* Only programs have capabilities, so only those are asked. */
static bool has_capability(int dirfd, const char *name, const struct statx *sx)
{
	char path[320];

	if (!(sx->stx_mode & 0111))
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
	return lgetxattr(path, "security.capability", NULL, 0) > 0;
}

static int one_file(struct plan *p, int dirfd, const char *name, const char *path,
		    const struct statx *sx)
{
	enum plan_kind k = kind_of(p, path);

	p->files[k]++;
	p->bytes[k] += (uint64_t)sx->stx_blocks * 512;
	if (sx->stx_size == 0 || sx->stx_blocks == 0) {
		p->empty++;
		return 0;
	}
	if (has_capability(dirfd, name, sx)) {
		p->capabilities++;
		return 0;
	}
	if (sx->stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) {
		p->immutable++;
		return 0;
	}
	return k == PLAN_OTHER ? 0 : keep(p, path, sx);
}

struct names {
	char **v;
	size_t n, cap;
};

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(struct names *ns)
{
	for (size_t i = 0; i < ns->n; i++)
		free(ns->v[i]);
	free(ns->v);
}

static int names_read(int dirfd, struct names *ns)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (!r && (errno = 0, e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (ns->n == ns->cap) {
			size_t cap = ns->cap ? 2 * ns->cap : 64;
			char **v = reallocarray(ns->v, cap, sizeof(*v));

			if (!v) {
				r = -ENOMEM;
				break;
			}
			ns->v = v;
			ns->cap = cap;
		}
		ns->v[ns->n] = strdup(e->d_name);
		r = ns->v[ns->n] ? 0 : -ENOMEM;
		ns->n += !r;
	}
	if (!r && errno)
		r = -errno;
	closedir(d);
	if (ns->n)
		qsort(ns->v, ns->n, sizeof(*ns->v), name_cmp);
	return r;
}

static int walk(struct plan *p, int dirfd, const char *path, const struct statx *top,
		unsigned depth);

static int entry(struct plan *p, int dirfd, const char *name, const char *path,
		 const struct statx *top, unsigned depth)
{
	struct statx sx;

	if (!plan_go_on(p, "looking", p->inodes, path))
		return -EINTR;
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &sx))
		return 0; /* gone meanwhile */
	if (sx.stx_dev_major != top->stx_dev_major || sx.stx_dev_minor != top->stx_dev_minor) {
		p->submounts++;
		return 0;
	}
	p->inodes++;
	if (S_ISREG(sx.stx_mode))
		return one_file(p, dirfd, name, path, &sx);
	if (!S_ISDIR(sx.stx_mode) || depth == DEPTH_MAX)
		return 0;
	cleanup_fd int fd =
		openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);

	if (fd < 0) {
		p->unreadable += errno != ENOENT;
		return 0;
	}
	return walk(p, fd, path, top, depth + 1);
}

static int walk(struct plan *p, int dirfd, const char *path, const struct statx *top,
		unsigned depth)
{
	struct names ns = {0};
	int r = names_read(dirfd, &ns);

	if (r < 0 && r != -ENOMEM) {
		p->unreadable++;
		r = 0;
	}
	for (size_t i = 0; i < ns.n && !r; i++) {
		cleanup_free char *sub = NULL;

		if (asprintf(&sub, "%s%s%s", path, *path ? "/" : "", ns.v[i]) < 0) {
			sub = NULL;
			r = -ENOMEM;
		} else {
			r = entry(p, dirfd, ns.v[i], sub, top, depth);
		}
	}
	names_free(&ns);
	return r;
}

static int by_ino(const void *pa, const void *pb)
{
	const struct plan_file *a = pa, *b = pb;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return strcmp(a->path, b->path);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct plan_file *)a)->path, ((const struct plan_file *)b)->path);
}

/* Each inode once, by the first of its names. */
static void drop_hard_links(struct plan *p)
{
	size_t n = 0;

	if (!p->n)
		return;
	qsort(p->v, p->n, sizeof(*p->v), by_ino);
	for (size_t i = 0; i < p->n; i++) {
		if (n && p->v[n - 1].ino == p->v[i].ino) {
			p->hard_links++;
			p->v_bytes -= p->v[i].bytes;
			p->v_alloc -= p->v[i].alloc;
			free(p->v[i].path);
			continue;
		}
		p->v[n++] = p->v[i];
	}
	p->n = n;
	qsort(p->v, p->n, sizeof(*p->v), by_path);
}

int plan_walk(struct plan *p)
{
	struct statx top;
	int r = layers_scan(p->fd, &p->layers);

	if (!r && statx(p->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &top))
		r = -errno;
	if (!r)
		r = walk(p, p->fd, "", &top, 0);
	if (!r)
		drop_hard_links(p);
	return r;
}
