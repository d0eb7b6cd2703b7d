/* SPDX-License-Identifier: MIT
 * Docker's overlay2 graph driver, as found on disk (Docker 20.10; the layout is documented in
 * Docker's "OverlayFS storage driver" guide):
 *
 *	<root>/overlay2/<id>/diff	the files of a layer; beside it link, lower, work, merged,
 *committed <root>/overlay2/<id>-init/diff	what Docker puts below a container: resolv.conf and
 *the like <root>/overlay2/l/<short>	symlinks to the diffs
 *	<root>/image/overlay2/layerdb/mounts/<container>/mount-id, init-id
 *					the <id>s of a container: written to, running or not
 */
#include "layers_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#define MOUNTS "image/overlay2/layerdb/mounts"

static int add_container(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	cleanup_free char *file = scan_join(name, "mount-id"), *id = NULL;
	size_t len;
	int r;

	(void)d_type;
	if (!file)
		return -ENOMEM;
	r = read_file(dirfd, file, 256, &id, &len);
	if (r < 0)
		return r == -ENOMEM ? r : 0; /* one more layer taken for an image's, that is all */
	return names_add(ctx, id, strcspn(id, "\n"));
}

static int load_containers(struct scan *s, int dirfd, struct names *ret)
{
	cleanup_fd int fd = scan_opendir(s, dirfd, MOUNTS);
	int r;

	if (fd < 0)
		return scan_passes_over(fd) ? 0 : fd;
	r = scan_each(fd, ".", add_container, ret);
	names_sort(ret);
	return r;
}

struct docker {
	struct scan *s;
	const char *path;
	struct names containers;
};

static int add_layer(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	struct docker *d = ctx;
	cleanup_free char *sub = scan_join(name, "diff"), *key = NULL;
	bool init = strlen(name) > 64;
	char label[32];

	(void)d_type;
	if (layers_class(CLS_OVERLAY2, name) != CLS_OVERLAY2_ID)
		return 0;
	if (!sub || asprintf(&key, "%s/%s", d->path, sub) < 0)
		return -ENOMEM;
	snprintf(label, sizeof(label), "%.12s%s", name, init ? "-init" : "");
	return scan_add(d->s, dirfd, sub, key, label, LAYER_DOCKER, false,
			init || names_have(&d->containers, name));
}

int docker_scan(struct scan *s, int dirfd, const char *path)
{
	cleanup_fd int fd = scan_opendir(s, dirfd, DOCKER_ANCHOR);
	cleanup_free char *below = NULL;
	struct docker d = {.s = s};
	int r;

	if (fd < 0)
		return scan_passes_over(fd) ? 0 : fd;
	d.path = below = scan_join(path, DOCKER_ANCHOR);
	if (!below)
		return -ENOMEM;
	r = load_containers(s, dirfd, &d.containers);
	size_t n = s->set.n;

	if (r == 0)
		r = scan_each(fd, ".", add_layer, &d);
	if (r == 0)
		r = overlays_tell(&s->overlays, fd, d.path, &s->set, n);
	names_done(&d.containers);
	return r;
}
