/* SPDX-License-Identifier: MIT
 * How kubelet finds a spillfs, which is a FUSE mount, of a type that it does not know.
 *
 * cAdvisor makes a table of partitions, by source, from the mounts of the types it knows; the first
 * one of a source counts. A directory on another type is taken for the source of its mount, if that
 * begins with /dev/, and the numbers are what statfs(2) says at that partition's mount point
 * (google/cadvisor fs/fs.go: processMounts, GetDirFsDevice, GetFsInfoForPath). So our source is a
 * device with a partition of its own whose mount point is DIR, where we are on top:
 *
 *	anchor		the guard's loop device, for any DIR
 *	partition	the disk's own device, where DIR is its own (and first) mount point
 *
 * With neither kubelet does not find us, and then neither collects images nor evicts.
 */
#include "mnt_int.h"

#include <stdio.h>

/* A mount that cAdvisor's table has under its source: tmpfs is entered by its mount point, overlay
 * with its device number added. nfs came in 0.45 and has no source below /dev. */
static bool is_partition(const struct mnt_entry *e)
{
	return !strncmp(e->fstype, "ext", 3) || !strcmp(e->fstype, "xfs") ||
	       !strcmp(e->fstype, "btrfs") || !strcmp(e->fstype, "zfs");
}

/* Where cAdvisor would call statfs(2) for this source; NULL: nowhere. */
static const struct mnt_entry *partition_of(const struct mnt_table *t, const char *source)
{
	if (strncmp(source, "/dev/", 5) != 0)
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		if (is_partition(&t->v[i]) && !strcmp(t->v[i].source, source))
			return &t->v[i];
	return NULL;
}

int mnt_partition(const struct mnt_table *t, const char *dir, char **ret_dev)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct mnt_entry *e = &t->v[i];

		/* Two mounts at one place have one answer: that of the topmost, which is us. */
		if (strcmp(e->point, dir) != 0 || partition_of(t, e->source) != e ||
		    guard_is(e, dir))
			continue;
		*ret_dev = strdup(e->source);
		return *ret_dev ? 0 : -ENOMEM;
	}
	return -ENODEV;
}

int mnt_view(const struct mnt_table *t, const char *dir, struct mnt_view *ret)
{
	const struct mnt_entry *e = mnt_top(t, dir), *part;
	struct mnt_view v = {.seen = MNT_SEEN_NOT};

	if (!e || strcmp(e->fstype, SPILLFS_FSTYPE) != 0)
		return -ENOENT;
	part = partition_of(t, e->source);
	if (part && strcmp(part->point, dir) != 0)
		v.seen = MNT_SEEN_ELSEWHERE;
	else if (part)
		v.seen = guard_is(part, dir) ? MNT_SEEN_ANCHOR : MNT_SEEN_PARTITION;
	v.source = strdup(e->source);
	v.point = part ? strdup(part->point) : NULL;
	if (!v.source || (part && !v.point)) {
		mnt_view_done(&v);
		return -ENOMEM;
	}
	*ret = v;
	return 0;
}

void mnt_view_done(struct mnt_view *v)
{
	free(v->source);
	free(v->point);
	*v = (struct mnt_view){.seen = MNT_SEEN_NOT};
}

int mnt_anchor(const char *dir, char **ret_dev, char **ret_why)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	cleanup_free char *run = mnt_run_dir(dir);
	const struct mnt_entry *e;
	const char *step = "the mount table cannot be read";
	int r;

	*ret_why = NULL;
	if (!run)
		return -ENOMEM;
	cleanup_fd int lock = run_lock(run);

	r = lock < 0 ? lock : mnt_table_read(&t);
	e = r < 0 ? NULL : mnt_top(&t, dir);
	if (!r && (!e || !guard_is(e, dir)))
		return -ESTALE;
	/* A tmpfs guard stays below: it is what an earlier start had to do with. */
	if (!r && !strcmp(e->fstype, "tmpfs")) {
		r = guard_mount_ext2(dir, run, &step);
		mnt_table_done(&t);
		if (!r)
			r = mnt_table_read(&t);
		e = r < 0 ? NULL : mnt_top(&t, dir);
	}
	if (!r && e)
		return (*ret_dev = strdup(e->source)) ? 0 : -ENOMEM;
	if (asprintf(ret_why, "%s: %s", step, strerror(-r)) < 0)
		*ret_why = NULL;
	return r < 0 ? r : -ESTALE;
}
