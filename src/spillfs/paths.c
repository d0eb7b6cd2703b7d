/* SPDX-License-Identifier: MIT
 * Names of STORE and DIR. Two directories are compared by walking up from one with "..", by device
 * and inode number: names lie (bind mounts, symbolic links).
 */
#include "paths.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define DEPTH_MAX 4096 /* of "..": more is a loop in somebody's file system */

int path_absolute(const char *arg, char **ret)
{
	cleanup_free char *cwd = NULL, *in = NULL;
	char *out, *p, *part, *end;

	if (*arg != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return -errno;
	}
	if (asprintf(&in, "%s/%s", cwd ? cwd : "", arg) < 0) {
		in = NULL;
		return -ENOMEM;
	}
	out = malloc(strlen(in) + 2);
	if (!out)
		return -ENOMEM;
	end = out;
	p = in;
	while ((part = strsep(&p, "/"))) {
		if (!*part || !strcmp(part, "."))
			continue;
		if (!strcmp(part, "..")) {
			while (end > out && *--end != '/')
				;
			continue;
		}
		*end++ = '/';
		end = stpcpy(end, part);
	}
	if (end == out)
		*end++ = '/';
	*end = 0;
	*ret = out;
	return 0;
}

int path_mountpoint(const char *arg, char **ret)
{
	cleanup_free char *copy = strdup(arg), *parent = NULL;
	const char *last;
	size_t len;
	char *slash;

	if (!copy)
		return -ENOMEM;
	for (len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = 0;
	slash = strrchr(copy, '/');
	last = slash ? slash + 1 : copy;
	if (!*last || !strcmp(last, ".") || !strcmp(last, "..")) {
		*ret = realpath(copy, NULL);
		return *ret ? 0 : -errno;
	}
	if (!slash)
		parent = realpath(".", NULL);
	else if (slash == copy)
		parent = strdup("/");
	else {
		*slash = 0;
		parent = realpath(copy, NULL);
	}
	if (!parent)
		return -errno;
	if (asprintf(ret, "%s/%s", strcmp(parent, "/") ? parent : "", last) < 0)
		return -ENOMEM;
	return 0;
}

bool path_within(const char *a, const char *b)
{
	size_t len = strlen(b);

	if (!strcmp(b, "/"))
		return true;
	return !strncmp(a, b, len) && (!a[len] || a[len] == '/');
}

/* Open the longest existing directory on the way to path. */
static int open_existing(const char *path)
{
	cleanup_free char *p = NULL;
	int r = path_absolute(path, &p);

	if (r < 0)
		return r;
	for (;;) {
		int fd = open(p, O_PATH | O_DIRECTORY | O_CLOEXEC);
		char *slash;

		if (fd >= 0)
			return fd;
		if (errno != ENOENT && errno != ENOTDIR)
			return -errno;
		slash = strrchr(p, '/');
		if (!slash || !p[1])
			return -ENOENT;
		slash[slash == p] = 0;
	}
}

int path_inside_dir(const char *path, dev_t dev, ino_t ino)
{
	cleanup_fd int fd = open_existing(path);
	dev_t last_dev = 0;
	ino_t last_ino = 0;

	if (fd < 0)
		return fd;
	for (int i = 0; i < DEPTH_MAX; i++) {
		struct stat st;
		int up;

		if (fstat(fd, &st) < 0)
			return -errno;
		if (st.st_dev == dev && st.st_ino == ino)
			return 1;
		if (i > 0 && st.st_dev == last_dev && st.st_ino == last_ino)
			return 0; /* the root is its own parent */
		last_dev = st.st_dev;
		last_ino = st.st_ino;
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (up < 0)
			return -errno;
		close(fd);
		fd = up;
	}
	return -ELOOP;
}
