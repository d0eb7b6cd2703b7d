/* SPDX-License-Identifier: MIT
 * How large one layer is. Hard links count once; mounts are not entered, symlinks not followed.
 */
#include "layers_int.h"

#include <dirent.h>
#include <fcntl.h>

/* One descriptor per level is open; what lies deeper than this is not counted. */
#define MEASURE_DEPTH 256

/* Inode numbers seen, of files with several names: open addressing, 0 is empty. */
struct inos {
	ino_t *v;
	size_t n, cap; /* cap is a power of two */
};

struct measure {
	dev_t dev;
	struct layer_size size;
	struct inos seen;
	unsigned depth;
};

static size_t slot_of(const struct inos *s, ino_t ino)
{
	size_t i = (size_t)(ino * 0x9e3779b97f4a7c15u) & (s->cap - 1);

	while (s->v[i] && s->v[i] != ino)
		i = (i + 1) & (s->cap - 1);
	return i;
}

static int inos_grow(struct inos *s)
{
	struct inos b = {.cap = s->cap ? s->cap * 2 : 64, .n = s->n};

	b.v = calloc(b.cap, sizeof(*b.v));
	if (!b.v)
		return -ENOMEM;
	for (size_t i = 0; i < s->cap; i++)
		if (s->v[i])
			b.v[slot_of(&b, s->v[i])] = s->v[i];
	free(s->v);
	*s = b;
	return 0;
}

/* 1 new, 0 seen before, -ENOMEM. */
static int inos_add(struct inos *s, ino_t ino)
{
	size_t i;
	int r = s->n * 2 >= s->cap ? inos_grow(s) : 0;

	if (r < 0)
		return r;
	i = slot_of(s, ino);
	if (s->v[i])
		return 0;
	s->v[i] = ino;
	s->n++;
	return 1;
}

static int count(struct measure *m, const struct stat *st)
{
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
		int r = inos_add(&m->seen, st->st_ino);

		if (r <= 0)
			return r;
	}
	m->size.allocated_bytes += (uint64_t)st->st_blocks * 512;
	if (S_ISREG(st->st_mode)) {
		m->size.files++;
		m->size.logical_bytes += (uint64_t)st->st_size;
	}
	return 0;
}

static int measure_entry(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	struct measure *m = ctx;
	struct stat st;
	int r;

	(void)d_type;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return scan_passes_over(-errno) ? 0 : -errno;
	if (st.st_dev != m->dev)
		return 0;
	r = count(m, &st);
	if (r < 0 || !S_ISDIR(st.st_mode) || m->depth >= MEASURE_DEPTH)
		return r;
	m->depth++;
	r = scan_each(dirfd, name, measure_entry, m);
	m->depth--;
	return r;
}

/* The directory that holds the key's last component, going down without following symlinks. */
static int open_parent(int rootfd, const char *key, const char **ret_name)
{
	cleanup_fd int fd = openat(rootfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[256];
	size_t n;

	while (fd >= 0 && key[n = strcspn(key, "/")]) {
		int next;

		if (n >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, key, n);
		name[n] = 0;
		next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		close(fd);
		fd = next;
		key += n + 1;
	}
	if (fd < 0)
		return -errno;
	*ret_name = key;
	return steal_fd(&fd);
}

int layers_measure(int rootfd, const struct layer *l, struct layer_size *ret)
{
	struct measure m = {0};
	const char *name = NULL;
	cleanup_fd int dir = open_parent(rootfd, l->key, &name);
	struct stat st;
	int r;

	if (dir < 0)
		return dir;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	m.dev = st.st_dev;
	r = measure_entry(&m, dir, name, DT_UNKNOWN);
	free(m.seen.v);
	if (r == 0)
		*ret = m.size;
	return r;
}
