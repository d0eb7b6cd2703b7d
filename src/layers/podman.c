/* SPDX-License-Identifier: MIT
 * containers-storage with the overlay driver (podman, buildah, CRI-O), as found on disk
 *(podman 4.3):
 *
 *	<root>/overlay/<id>/diff		the files of a layer; beside it link, lower, work,
 *merged <root>/overlay/l/<short>		symlinks to the diffs
 *	<root>/overlay-layers/layers.json	all layers, of images and of containers
 *	<root>/overlay-containers/containers.json (and volatile-containers.json)
 *						each container with its "layer"
 */
#include "layers_int.h"

#include <jansson.h>
#include <stdio.h>

#define JSON_MAX (64u << 20)

static int add_containers(int dirfd, const char *file, struct names *ret)
{
	cleanup_free char *text = NULL;
	json_t *list, *c;
	size_t len, i;
	int r = read_file(dirfd, file, JSON_MAX, &text, &len);

	if (r < 0) /* as for a file that does not parse: layers are taken for an image's */
		return r == -ENOMEM ? r : 0;
	list = json_loadb(text, len, 0, NULL);
	r = 0;
	json_array_foreach (list, i, c) {
		const char *layer = json_string_value(json_object_get(c, "layer"));

		if (layer && r == 0)
			r = names_add(ret, layer, strlen(layer));
	}
	json_decref(list);
	return r;
}

static int load_containers(struct scan *s, int dirfd, struct names *ret)
{
	cleanup_fd int fd = scan_opendir(s, dirfd, "overlay-containers");
	int r;

	if (fd < 0)
		return scan_passes_over(fd) ? 0 : fd;
	r = add_containers(fd, "containers.json", ret);
	if (r == 0)
		r = add_containers(fd, "volatile-containers.json", ret);
	names_sort(ret);
	return r;
}

struct podman {
	struct scan *s;
	const char *path;
	struct names containers;
};

static int add_layer(void *ctx, int dirfd, const char *name, unsigned char d_type)
{
	struct podman *p = ctx;
	cleanup_free char *sub = scan_join(name, "diff"), *key = NULL;
	char label[16];

	(void)d_type;
	if (layers_class(CLS_OVERLAY, name) != CLS_OVERLAY_ID)
		return 0;
	if (!sub || asprintf(&key, "%s/%s", p->path, sub) < 0)
		return -ENOMEM;
	snprintf(label, sizeof(label), "%.12s", name);
	return scan_add(p->s, dirfd, sub, key, label, LAYER_CONTAINERS_STORAGE, false,
			names_have(&p->containers, name));
}

int podman_scan(struct scan *s, int dirfd, const char *path)
{
	cleanup_fd int fd = scan_opendir(s, dirfd, PODMAN_ANCHOR);
	cleanup_free char *below = NULL;
	struct podman p = {.s = s};
	int r;

	if (fd < 0)
		return scan_passes_over(fd) ? 0 : fd;
	p.path = below = scan_join(path, PODMAN_ANCHOR);
	if (!below)
		return -ENOMEM;
	r = load_containers(s, dirfd, &p.containers);
	size_t n = s->set.n;

	if (r == 0)
		r = scan_each(fd, ".", add_layer, &p);
	if (r == 0)
		r = overlays_tell(&s->overlays, fd, p.path, &s->set, n);
	names_done(&p.containers);
	return r;
}
