/* SPDX-License-Identifier: MIT
 * What kubelet sees of a directory: cAdvisor's lookup, done again in C.
 *
 *	cadvisor [--new] [--table FILE] [--docker ROOT] [--crio ROOT] DIR
 *
 * Prints "DEVICE POINT TYPE CAPACITY AVAILABLE INODES INODES_FREE" (bytes, and what
 * statfs(2) says at POINT), or says why kubelet gets nothing and exits 1. FILE is a mount table
 *read earlier: kubelet reads it once, at its start. ROOT is what the engine calls its root:
 *cAdvisor enters the mount it is on into its table whatever type that is.
 *
 * The steps, from github.com/google/cadvisor, fs/fs.go (facts; none of its code):
 *  1. NewFsInfo: read /proc/self/mountinfo; mounts by mount point, the last of a point counts.
 *  2. processMounts: partitions by source, the first of a source counts; types ext*, xfs, btrfs,
 *     overlay, tmpfs, zfs, nfs*. tmpfs goes by its mount point instead of its source, overlay by
 *     source_major-minor; a btrfs with major 0 from below /dev gets the st_dev of its mount point.
 *  3. addDockerImagesLabel, addCrioImagesLabel (updateContainerImagesPath): of the mounts at the
 *     root, its parents and the driver's directories the longest (the first of those) is entered
 *     under its source, over what is there; addSystemRootLabel the same for "/".
 *  4. GetDirFsDevice: a partition with the st_dev of the directory; else the mount found by going
 *up the path, if its source begins with /dev/; else "could not find device ... in cached partitions
 *map".
 *  5. manager.GetDirFsInfo: the partition under that source (none: "no partition info for device"),
 *     GetFsInfoForPath: statfs(2) at its mount point, f_frsize times f_blocks and f_bavail. Up to
 *     0.54 any type goes to statfs, and a mount point that does not exist counts as 0 bytes; from
 *     0.55 on (lib/fs, GetPluginForFsType) a type without a plug-in gives nothing, and neither does
 *     an error.
 */
#include "spill/mnt.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

struct partition {
	char *key; /* what cAdvisor calls the device */
	const struct mnt_entry *e;
	unsigned dev_major, dev_minor;
};
struct table {
	struct mnt_table mounts;
	struct partition *v;
	size_t n;
};
struct options {
	bool plugins;
	const char *table, *docker, *crio, *dir;
};

static int fail(const char *fmt, ...) printf_like(1, 2);
static int fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("cadvisor: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* The same list before and since the plug-ins: those of vfs, btrfs, overlay, tmpfs, zfs and nfs. */
static bool supported(const char *fstype)
{
	static const char *const types[] = {"btrfs", "overlay", "tmpfs", "xfs", "zfs"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(fstype, types[i]))
			return true;
	return begins(fstype, "ext") || begins(fstype, "nfs");
}

/* ---- the table of partitions --------------------------------------------------------------------
 */
static struct partition *find_key(struct table *t, const char *key)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->v[i].key, key))
			return &t->v[i];
	return NULL;
}

static void enter(struct table *t, const char *key, const struct mnt_entry *e)
{
	struct partition *p = find_key(t, key);
	struct stat st;

	if (!p) {
		p = &t->v[t->n++];
		p->key = strdup(key);
	}
	p->e = e;
	p->dev_major = e->dev_major;
	p->dev_minor = e->dev_minor;
	if (!strcmp(e->fstype, "btrfs") && !e->dev_major && begins(e->source, "/dev/") &&
	    !stat(e->source, &st) && S_ISBLK(st.st_mode) && !stat(e->point, &st)) {
		p->dev_major = major(st.st_dev);
		p->dev_minor = minor(st.st_dev);
	}
}

static void process_mounts(struct table *t)
{
	for (size_t i = 0; i < t->mounts.n; i++) {
		const struct mnt_entry *e = &t->mounts.v[i];
		bool tmpfs = !strcmp(e->fstype, "tmpfs");
		char key[8192];

		if (!supported(e->fstype) || (!tmpfs && find_key(t, e->source)))
			continue;
		if (!strcmp(e->fstype, "overlay"))
			snprintf(key, sizeof(key), "%s_%u-%u", e->source, e->dev_major,
				 e->dev_minor);
		else
			snprintf(key, sizeof(key), "%s", tmpfs ? e->point : e->source);
		enter(t, key, e);
	}
}

/* point is root, one of its parents, or one of the drivers' directories in it. */
static bool is_image_path(const char *point, const char *root, const char *const *in_root)
{
	size_t len = strlen(point);

	if (!strcmp(point, "/") || (begins(root, point) && (root[len] == '/' || root[len] == 0)))
		return true;
	if (!begins(point, root) || point[strlen(root)] != '/')
		return false;
	for (; *in_root; in_root++)
		if (!strcmp(point + strlen(root) + 1, *in_root))
			return true;
	return false;
}

static void label(struct table *t, const char *root, const char *const *in_root)
{
	const struct mnt_entry *best = NULL;

	for (size_t i = 0; root && i < t->mounts.n; i++) {
		const struct mnt_entry *e = &t->mounts.v[i];

		if (is_image_path(e->point, root, in_root) &&
		    (!best || strlen(best->point) < strlen(e->point)))
			best = e;
	}
	if (best)
		enter(t, best->source, best);
}

static int table_new(struct table *t, const struct options *o)
{
	static const char *const docker[] = {"devicemapper", "btrfs", "aufs", "overlay",
					     "overlay2",     "zfs",   NULL};
	static const char *const crio[] = {"overlay-images", NULL};
	cleanup_free char *text = NULL;
	int r;

	if (o->table)
		r = read_file(AT_FDCWD, o->table, 64u << 20, &text, NULL);
	else
		r = read_file(AT_FDCWD, "/proc/self/mountinfo", 64u << 20, &text, NULL);
	if (!r)
		r = mnt_table_parse(text, &t->mounts);
	if (r < 0)
		return fail("mount table: %s", strerror(-r));
	t->v = calloc(t->mounts.n + 3, sizeof(*t->v)); /* and the three labels */
	if (!t->v)
		return fail("out of memory");
	process_mounts(t);
	label(t, o->docker, docker);
	label(t, o->crio, crio);
	for (size_t i = 0; i < t->mounts.n; i++)
		if (!strcmp(t->mounts.v[i].point, "/")) {
			enter(t, t->mounts.v[i].source, &t->mounts.v[i]);
			break;
		}
	return 0;
}

static void table_done(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].key);
	free(t->v);
	mnt_table_done(&t->mounts);
}

/* ---- the lookup
 * ---------------------------------------------------------------------------------- */
static const struct mnt_entry *mount_at(const struct table *t, const char *point)
{
	for (size_t i = t->mounts.n; i-- > 0;)
		if (!strcmp(t->mounts.v[i].point, point))
			return &t->mounts.v[i];
	return NULL;
}

/* By the words of the path: a symbolic link is not seen through. */
static const struct mnt_entry *mount_above(const struct table *t, const char *dir)
{
	cleanup_free char *path = strdup(dir);
	const struct mnt_entry *e;
	char *slash;

	while (!(e = mount_at(t, path)) && (slash = strrchr(path, '/')) && slash > path)
		*slash = 0;
	return e ? e : mount_at(t, "/");
}

static int report(const struct options *o, const struct partition *p)
{
	struct statfs st = {0};

	if (o->plugins && !supported(p->e->fstype))
		return fail("cannot find filesystem info for device \"%s\": no plug-in for %s",
			    p->key, p->e->fstype);
	if (statfs(p->e->point, &st) && (o->plugins || errno != ENOENT))
		return fail("statfs %s: %s", p->e->point, strerror(errno));
	printf("%s %s %s %llu %llu %llu %llu\n", p->key, p->e->point, p->e->fstype,
	       (unsigned long long)st.f_frsize * st.f_blocks,
	       (unsigned long long)st.f_frsize * st.f_bavail, (unsigned long long)st.f_files,
	       (unsigned long long)st.f_ffree);
	return 0;
}

static int look_up(struct table *t, const struct options *o)
{
	const struct partition *p = NULL;
	const struct mnt_entry *e;
	struct stat st;

	if (stat(o->dir, &st))
		return fail("stat failed on %s with error: %s", o->dir, strerror(errno));
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].dev_major != major(st.st_dev) || t->v[i].dev_minor != minor(st.st_dev))
			continue;
		/* cAdvisor takes any, in the random order of a Go map. */
		if (p && strcmp(p->e->point, t->v[i].e->point) != 0)
			return fail("%s: either %s or %s", o->dir, p->e->point, t->v[i].e->point);
		p = &t->v[i];
	}
	if (p)
		return report(o, p);
	e = mount_above(t, o->dir);
	if (!e || !begins(e->source, "/dev/"))
		return fail("could not find device with major: %u, minor: %u in cached partitions "
			    "map",
			    major(st.st_dev), minor(st.st_dev));
	p = find_key(t, e->source);
	return p ? report(o, p) : fail("no partition info for device \"%s\"", e->source);
}

static int usage(void)
{
	fputs("usage: cadvisor [--new] [--table FILE] [--docker ROOT] [--crio ROOT] DIR\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct table t = {0};
	int i, r;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		const char **value = NULL;

		if (!strcmp(argv[i], "--new")) {
			o.plugins = true;
			continue;
		}
		if (!strcmp(argv[i], "--table"))
			value = &o.table;
		else if (!strcmp(argv[i], "--docker"))
			value = &o.docker;
		else if (!strcmp(argv[i], "--crio"))
			value = &o.crio;
		if (!value || ++i == argc)
			return usage();
		*value = argv[i];
	}
	if (i + 1 != argc || argv[i][0] != '/')
		return usage();
	o.dir = argv[i];
	r = table_new(&t, &o);
	if (!r)
		r = look_up(&t, &o);
	table_done(&t);
	return r;
}
