/* SPDX-License-Identifier: MIT
 * Walking a tree of the hot tier, in name order, without following symlinks or crossing file
 * systems.
 *
 * Name order keeps neighbours together in frames. The walk works on descriptors below the root, so
 * a tree that is renamed or removed meanwhile only makes it miss files.
 */
#include "tier_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int walk_open(int rootfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};

	while (*path == '/')
		path++;
	long fd = syscall(SYS_openat2, rootfd, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

struct names {
	char **v;
	size_t n, cap;
};

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_done(struct names *ns)
{
	for (size_t i = 0; i < ns->n; i++)
		free(ns->v[i]);
	free(ns->v);
}

static int names_read(int dirfd, struct names *ns)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		int r = -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((errno = 0, e = readdir(d))) {
		if (is_dot(e->d_name))
			continue;
		if (e->d_type != DT_DIR && e->d_type != DT_REG && e->d_type != DT_UNKNOWN)
			continue;
		if (ns->n == ns->cap) {
			size_t cap = ns->cap ? 2 * ns->cap : 64;
			char **v = realloc(ns->v, cap * sizeof(char *));

			if (!v)
				break;
			ns->v = v;
			ns->cap = cap;
		}
		ns->v[ns->n] = strdup(e->d_name);
		if (!ns->v[ns->n])
			break;
		ns->n++;
	}
	int err = e ? ENOMEM : errno;

	closedir(d);
	if (err)
		return -err;
	if (ns->n)
		qsort(ns->v, ns->n, sizeof(char *), name_cmp);
	return 0;
}

/* Names that went away or changed while we walked are no trouble; others are kept in *unread. */
static void note_unread(const char *path, const char *name, int err, int *unread)
{
	if (err == ENOENT || err == ENOTDIR || err == ELOOP)
		return;
	log_warn("%s%s%s: cannot be read: %s", path, *path ? "/" : "", name, strerror(err));
	if (unread && !*unread)
		*unread = -err;
}

static int walk_dir(int dirfd, dev_t dev, const char *path, walk_fn fn, void *ctx, unsigned depth,
		    int *unread)
{
	struct names ns = {0};
	struct stat st;
	int r = names_read(dirfd, &ns);

	if (r < 0 && r != -ENOMEM) {
		note_unread(path, ".", -r, unread);
		r = 0;
	}

	for (size_t i = 0; i < ns.n && !r; i++) {
		char *sub = NULL;

		if (fstatat(dirfd, ns.v[i], &st, AT_SYMLINK_NOFOLLOW)) {
			note_unread(path, ns.v[i], errno, unread);
			continue;
		}
		if (st.st_dev != dev)
			continue;
		if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
			continue;
		if (asprintf(&sub, "%s%s%s", path, *path ? "/" : "", ns.v[i]) < 0) {
			r = -ENOMEM;
			break;
		}
		if (S_ISREG(st.st_mode)) {
			r = fn(ctx, dirfd, ns.v[i], &st, sub);
		} else if (depth < 2048) {
			int fd = openat(dirfd, ns.v[i],
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (fd >= 0) {
				r = walk_dir(fd, dev, sub, fn, ctx, depth + 1, unread);
				close(fd);
			} else {
				note_unread(path, ns.v[i], errno, unread);
			}
		}
		free(sub);
	}
	names_done(&ns);
	return r;
}

int walk_tree(int rootfd, const char *path, walk_fn fn, void *ctx, int *unread)
{
	cleanup_free char *copy = NULL;
	struct stat st;

	while (*path == '/')
		path++;
	cleanup_fd int fd = walk_open(rootfd, path, O_PATH);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		cleanup_fd int d = walk_open(rootfd, path, O_RDONLY | O_DIRECTORY);

		return d < 0 ? d
			     : walk_dir(d, st.st_dev, strcmp(path, ".") ? path : "", fn, ctx, 0,
					unread);
	}
	if (!S_ISREG(st.st_mode))
		return 0;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;

	if (slash)
		*slash = 0;
	cleanup_fd int dir = walk_open(rootfd, slash ? copy : ".", O_RDONLY | O_DIRECTORY);

	return dir < 0 ? dir : fn(ctx, dir, name, &st, path);
}

bool walk_after(const char *path, const char *other)
{
	while (*path && *path == *other) {
		path++;
		other++;
	}
	if (*path == '/' || *other == '/')
		return *other == 0 || (*path && *other == '/');
	return (unsigned char)*path > (unsigned char)*other;
}
