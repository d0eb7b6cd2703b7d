/* SPDX-License-Identifier: MIT
 * containerd's overlayfs snapshotter and content store, as found on disk (containerd 1.6; also k3s,
 * rke2, and Docker with its containerd image store):
 *
 *	<root>/io.containerd.snapshotter.v1.overlayfs/snapshots/<n>/fs	beside it work; a snapshot
 *in the making is new-<random> <root>/io.containerd.content.v1.content/blobs/<algorithm>/<digest>
 *	<root>/io.containerd.content.v1.content/ingest/<hash>/data	a pull in progress
 *
 * Which snapshots are active (a container's) stands only in metadata.db; the mount table shows
 *those of running containers.
 */
#include "layers_int.h"

#include <stdio.h>

struct place {
	struct scan *s;
	const char *path; /* of the directory being listed */
	const char *alg;
};

static int add_snapshot(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	struct place *p = ctx;
	cleanup_free char *sub = scan_join(name, "fs"), *key = NULL;

	(void)d_type;
	if (layers_class(CLS_SNAPSHOTS, name) != CLS_SNAPSHOT_ID)
		return 0;
	if (!sub || asprintf(&key, "%s/%s", p->path, sub) < 0)
		return -ENOMEM;
	return scan_add(p->s, dirfd, sub, key, name, LAYER_CONTAINERD, false, false);
}

static int add_blob(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	struct place *p = ctx;
	cleanup_free char *key = scan_join(p->path, name);
	char label[64];

	(void)d_type;
	if (layers_class(CLS_BLOBS_ALG, name) != CLS_ENTRY)
		return 0;
	if (!key)
		return -ENOMEM;
	snprintf(label, sizeof(label), "%.32s:%.12s", p->alg, name);
	return scan_add(p->s, dirfd, name, key, label, LAYER_CONTAINERD, true, false);
}

/* List the directory name of dirfd, path being dirfd's. */
static int list(struct scan *s, int dirfd, const char *path, const char *name, scan_entry_fn fn)
{
	cleanup_fd int fd = scan_opendir(s, dirfd, name);
	cleanup_free char *below = scan_join(path, name);
	struct place p = {.s = s, .path = below, .alg = name};

	if (fd < 0)
		return scan_passes_over(fd) ? 0 : fd;
	return below ? scan_each(fd, ".", fn, &p) : -ENOMEM;
}

static int add_algorithm(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	struct place *p = ctx;

	(void)d_type;
	if (layers_class(CLS_BLOBS, name) != CLS_BLOBS_ALG)
		return 0;
	return list(p->s, dirfd, p->path, name, add_blob);
}

int containerd_scan(struct scan *s, int dirfd, const char *path)
{
	size_t n = s->set.n;
	int r = list(s, dirfd, path, SNAPSHOTTER_ANCHOR "/snapshots", add_snapshot);

	if (r == 0)
		r = overlays_tell(&s->overlays, dirfd, path, &s->set, n);
	return r < 0 ? r : list(s, dirfd, path, CONTENT_ANCHOR "/blobs", add_algorithm);
}
