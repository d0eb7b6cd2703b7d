/* SPDX-License-Identifier: MIT
 * The run directory of a mount: /run/spillfs/<escaped DIR>/, mode 0700, and the small text files in
 * it.
 *
 * Its name is a pure function of DIR, so that every program finds it without asking anyone. The
 * escaping is systemd's (systemd-escape --path): the instance name of spillfs@.service is the same
 * word.
 */
#include "mnt_int.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RUN_DIR_DEFAULT "/run/spillfs"
/* A socket's path must fit 108 bytes: longer names are cut and end in a hash of the whole. */
#define RUN_NAME_MAX  80
#define RUN_NAME_KEEP 60
#define RUN_TEXT_MAX  8192

/* What an install leaves in it; the "hot" directory is removed by rmdir, never by its content. */
static const char *const run_files[] = {RUN_IMAGE, RUN_NOATIME, "sock", "pid",
					"daemon",  "store",     "dir"};

char *path_join(const char *a, const char *b)
{
	char *s;

	return asprintf(&s, "%s/%s", a, b) < 0 ? NULL : s;
}

bool path_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (!strcmp(dir, "/"))
		return path[0] == '/' && path[1];
	return !strncmp(path, dir, len) && path[len] == '/';
}

char *mnt_escape(const char *dir)
{
	char *s = malloc(strlen(dir) * 4 + 2), *out = s;

	if (!s)
		return NULL;
	for (const char *p = dir; *p; p++) {
		if (*p == '/') {
			/* neither leading, trailing nor doubled slashes count */
			if (out > s && p[1] && p[1] != '/')
				*out++ = '-';
		} else if (isalnum((unsigned char)*p) || *p == ':' || *p == '_' ||
			   (*p == '.' && out > s)) {
			*out++ = *p;
		} else {
			out += sprintf(out, "\\x%02x", (unsigned char)*p);
		}
	}
	if (out == s)
		*out++ = '-';
	*out = 0;
	return s;
}

char *mnt_run_dir(const char *dir)
{
	cleanup_free char *esc = mnt_escape(dir);
	const char *base = secure_getenv("SPILLFS_RUN_DIR");
	char *s;
	int r;

	if (!esc)
		return NULL;
	if (!base || !*base)
		base = RUN_DIR_DEFAULT;
	if (strlen(esc) <= RUN_NAME_MAX)
		r = asprintf(&s, "%s/%s", base, esc);
	else
		r = asprintf(&s, "%s/%.*s.%016llx", base, RUN_NAME_KEEP, esc,
			     (unsigned long long)hash64(dir, strlen(dir)));
	return r < 0 ? NULL : s;
}

int run_lock(const char *run)
{
	cleanup_free char *parent = strdup(run);
	cleanup_fd int fd = -1;
	char *slash;

	if (!parent)
		return -ENOMEM;
	slash = strrchr(parent, '/');
	if (slash && slash > parent)
		*slash = 0;
	if (mkdir(parent, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			return -errno;
	return steal_fd(&fd);
}

int run_dir_make(const char *run)
{
	if (mkdir(run, 0700) < 0) {
		struct stat st;

		if (errno != EEXIST)
			return -errno;
		/* Whoever made it before us must not be able to look in. */
		if (lstat(run, &st) < 0)
			return -errno;
		if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
			return -EPERM;
	}
	return chmod(run, 0700) < 0 ? -errno : 0;
}

void run_dir_remove(const char *run)
{
	cleanup_free char *hot = path_join(run, RUN_HOT);

	for (size_t i = 0; i < ARRAY_SIZE(run_files); i++) {
		cleanup_free char *p = path_join(run, run_files[i]);

		if (p)
			unlink(p);
	}
	if (hot)
		rmdir(hot);
	rmdir(run);
}

int mnt_run_put(const char *dir, const char *name, const char *text)
{
	cleanup_free char *run = mnt_run_dir(dir);
	cleanup_free char *path = run ? path_join(run, name) : NULL;
	cleanup_free char *tmp = path ? path_join(run, ".new") : NULL;
	cleanup_fd int fd = -1;
	int r;

	if (!tmp)
		return -ENOMEM;
	if (!text)
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_full(fd, text, strlen(text));
	if (!r)
		r = write_full(fd, "\n", 1);
	if (!r && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(tmp);
	return r;
}

int run_get(const char *run, const char *name, char **ret)
{
	cleanup_free char *path = path_join(run, name);
	char *text;
	size_t len;
	int r;

	if (!path)
		return -ENOMEM;
	r = read_file(AT_FDCWD, path, RUN_TEXT_MAX, &text, &len);
	if (r < 0)
		return r;
	if (len && text[len - 1] == '\n')
		text[len - 1] = 0;
	*ret = text;
	return 0;
}
