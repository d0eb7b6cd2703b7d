/* SPDX-License-Identifier: MIT
 * Which mount a command is about, and where in it.
 *
 * A PATH names its mount itself: the innermost spillfs mount point above it. Its last component is
 * not followed (a symbolic link is a file like others), the way to it is. Without a PATH, -m tells,
 * or there is only one mount. Nothing is guessed.
 */
#include "spillctl.h"

#include "spill/mnt.h"
#include <limits.h>
#include <sys/stat.h>

char *target_resolve(const char *dir)
{
	return realpath(dir, NULL);
}

char *path_of(const char *mount, const char *rel)
{
	const char *slash = !*rel || !strcmp(mount, "/") ? "" : "/";
	char *s;

	return asprintf(&s, "%s%s%s", mount, slash, rel) < 0 ? NULL : s;
}

void target_done(struct target *t)
{
	free(t->mount);
	free(t->rel);
	free(t->path);
	*t = (struct target){0};
}

static int say(char **ret_err, int code, const char *fmt, ...) printf_like(3, 4);
static int say(char **ret_err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_err, fmt, ap) < 0)
		*ret_err = NULL;
	va_end(ap);
	return code;
}

/* The part of path below dir ("" for dir itself), or NULL: not below. */
static const char *below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (!strcmp(dir, "/"))
		return path + 1;
	if (strncmp(path, dir, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path[len] ? path + len + 1 : path + len;
}

struct mounts {
	char **v;
	size_t n;
};

static void mounts_done(struct mounts *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->v[i]);
	free(m->v);
}

/* "; mounted are: A, B" */
static char *mounts_text(const struct mounts *m)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fputs(m->n ? "; mounted are: "
		   : "; nothing is mounted (spillctl doctor finds guards that are left)",
	      f);
	for (size_t i = 0; i < m->n; i++)
		fprintf(f, "%s%s", i ? ", " : "", m->v[i]);
	fclose(f);
	return text;
}

/* realpath(3) that leaves the last component alone. Names like "..", "" (a trailing slash) and "/"
 * have none. */
static char *resolve(const char *path)
{
	const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
	cleanup_free char *parent = NULL, *real = NULL;

	if (!*last || !strcmp(last, ".") || !strcmp(last, ".."))
		return realpath(path, NULL);
	parent = slash ? strndup(path, (size_t)(last - path)) : strdup(".");
	if (!parent)
		return NULL;
	real = realpath(parent, NULL);
	return real ? path_of(real, last) : NULL;
}

/* Takes path, which is mount or below it. */
static int split(const char *mount, char *path, struct target *ret, char **ret_err)
{
	*ret = (struct target){.mount = strdup(mount), .path = path};
	ret->rel = path ? strdup(below(path, mount)) : NULL;
	if (ret->mount && ret->rel)
		return EXIT_OK;
	target_done(ret);
	return say(ret_err, EXIT_SYSTEM, "out of memory");
}

/* A file system mounted inside ours hides what the daemon would act on. */
static bool elsewhere(const char *mount, const char *path)
{
	struct stat a, b;

	return !lstat(mount, &a) && !lstat(path, &b) && a.st_dev != b.st_dev;
}

/* Where to look: -m's mount alone, or all. */
static int mounts_get(const struct cli *c, struct mounts *m, char **ret_err)
{
	int err;

	if (!c->mount) {
		err = mnt_list(&m->v, &m->n);
		return err ? say(ret_err, EXIT_SYSTEM, "mount table: %s", strerror(-err)) : EXIT_OK;
	}
	m->v = calloc(1, sizeof(*m->v));
	if (!m->v)
		return say(ret_err, EXIT_SYSTEM, "out of memory");
	m->v[0] = target_resolve(c->mount);
	if (!m->v[0])
		return say(ret_err, EXIT_NO_DAEMON, "%s: %s", c->mount, strerror(errno));
	m->n = 1;
	return EXIT_OK;
}

static const char *innermost(const struct mounts *m, const char *path)
{
	const char *best = NULL;

	for (size_t i = 0; i < m->n; i++)
		if (below(path, m->v[i]) && (!best || strlen(m->v[i]) > strlen(best)))
			best = m->v[i];
	return best;
}

/* The mount that path leads to, going by its words alone: no file system is asked. */
static const char *by_words(const struct mounts *m, const char *path)
{
	cleanup_free char *cwd = *path == '/' ? NULL : getcwd(NULL, 0), *all = NULL;

	if (*path == '/')
		return innermost(m, path);
	all = cwd ? path_of(cwd, path) : NULL;
	return all ? innermost(m, all) : NULL;
}

/* Nothing is looked up in a mount before its daemon has answered: who waits for a FUSE request
 * waits for ever when the daemon is stopped. (A symbolic link into the mount is seen too late.) */
int target_of_path(const struct cli *c, const char *path, struct target *ret, char **ret_err)
{
	cleanup_free char *real = NULL, *others = NULL;
	cleanup_(mounts_done) struct mounts m = {0};
	const char *best, *asked;
	int code;

	*ret_err = NULL;
	code = mounts_get(c, &m, ret_err);
	if (code)
		return code;
	asked = by_words(&m, path);
	if (asked)
		code = request_ping(asked, ret_err);
	if (code)
		return code;
	real = resolve(path);
	if (!real)
		return say(ret_err, EXIT_FAILED, "%s: %s", path, strerror(errno));
	best = innermost(&m, real);
	if (!best && c->mount)
		return say(ret_err, EXIT_USAGE, "%s: not below %s", path, m.v[0]);
	if (!best) {
		others = mounts_text(&m);
		return say(ret_err, EXIT_NO_DAEMON, "%s: not on a spillfs mount%s", path,
			   others ? others : "");
	}
	if (best != asked)
		code = request_ping(best, ret_err);
	if (code)
		return code;
	if (elsewhere(best, real))
		return say(ret_err, EXIT_FAILED,
			   "%s: on another file system, mounted inside the spillfs at %s", path,
			   best);
	return split(best, steal_ptr(real), ret, ret_err);
}

int target_of_words(const struct cli *c, const char *path, struct target *ret, char **ret_err)
{
	cleanup_free char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
	cleanup_(mounts_done) struct mounts m = {0};
	char *all = *path == '/' ? strdup(path) : cwd ? path_of(cwd, path) : NULL;
	int code = all ? mounts_get(c, &m, ret_err) : say(ret_err, EXIT_SYSTEM, "out of memory");
	const char *best = code ? NULL : innermost(&m, all);

	if (!best) {
		free(all);
		return code ? code
			    : say(ret_err, EXIT_NO_DAEMON, "%s: not on a spillfs mount", path);
	}
	return split(best, all, ret, ret_err);
}

int target_dir(const struct cli *c, struct target *ret, char **ret_err)
{
	struct cli with_dir = *c;

	*ret_err = NULL;
	if (c->argc && c->mount)
		return say(ret_err, EXIT_USAGE, "-m and %s: one of the two, please", c->argv[0]);
	if (c->argc)
		with_dir.mount = c->argv[0];
	return target_mount(&with_dir, ret, ret_err);
}

int target_mount(const struct cli *c, struct target *ret, char **ret_err)
{
	cleanup_(mounts_done) struct mounts m = {0};
	cleanup_free char *all = NULL;
	int code;

	*ret_err = NULL;
	code = mounts_get(c, &m, ret_err);
	if (code)
		return code;
	if (!m.n)
		return say(ret_err, EXIT_NO_DAEMON,
			   "no spillfs is mounted (spillctl doctor finds guards that are left)");
	if (m.n > 1) {
		all = mounts_text(&m);
		return say(ret_err, EXIT_USAGE, "which mount? Say it with -m DIR%s",
			   all ? all : "");
	}
	code = request_ping(m.v[0], ret_err);
	return code ? code : split(m.v[0], strdup(m.v[0]), ret, ret_err);
}
