/* SPDX-License-Identifier: MIT
 * Images of Docker and of containers-storage, from their JSON files:
 *
 *	<root>/image/overlay2/repositories.json		{"Repositories": {repo: {name: id}}}
 *	<root>/image/overlay2/imagedb/content/sha256/<id>	config with rootfs.diff_ids
 *	<root>/image/overlay2/layerdb/sha256/<chain id>/cache-id	the <id> in
 *overlay2/<id>/diff
 *
 *	<root>/overlay-images/images.json		[{"id", "names", "layer"}]
 *	<root>/overlay-layers/layers.json		[{"id", "parent"}]: overlay/<id>/diff
 */
#include "image_int.h"

#include <stdio.h>

#define JSON_MAX (64u << 20)

static json_t *load(int rootfd, const char *path, int *ret_err)
{
	cleanup_free char *text = NULL;
	json_t *o = NULL;
	size_t len;

	*ret_err = read_file(rootfd, path, JSON_MAX, &text, &len);
	if (!*ret_err) {
		o = json_loadb(text, len, 0, NULL);
		*ret_err = o ? 0 : -EUCLEAN;
	}
	return o;
}

/* <path>/<dir>/<id>/diff */
static int add(struct image_search *s, const char *path, const char *dir, const char *id, int len)
{
	cleanup_free char *rel = NULL, *key = NULL;

	/* An id becomes part of a path. */
	for (int i = 0; i < len; i++)
		if (id[i] == '/' || id[i] == '.')
			return -EUCLEAN;
	if (asprintf(&rel, "%s/%.*s/diff", dir, len, id) < 0) {
		rel = NULL;
		return -ENOMEM;
	}
	key = scan_join(path, rel);
	return key ? image_add_key(s, key) : -ENOMEM;
}

/* ---- docker ------------------------------------------------------------------------------ */

static int docker_layers(int rootfd, const char *path, const char *id, struct image_search *s)
{
	char file[512], chain[CHAIN_ID_LEN];
	int r;

	if (strncmp(id, "sha256:", 7) || strchr(id, '/'))
		return -EUCLEAN;
	snprintf(file, sizeof(file), "image/overlay2/imagedb/content/sha256/%s", id + 7);
	json_t *config = load(rootfd, file, &r);

	if (!config)
		return r;
	json_t *diffs = json_object_get(json_object_get(config, "rootfs"), "diff_ids");

	for (size_t i = 1; i <= json_array_size(diffs) && !r; i++) {
		cleanup_free char *cache = NULL;
		size_t len;

		r = image_chain_id(diffs, i, chain);
		if (r)
			break;
		snprintf(file, sizeof(file), "image/overlay2/layerdb/sha256/%s/cache-id",
			 chain + 7);
		r = read_file(rootfd, file, 256, &cache, &len);
		if (!r)
			r = add(s, path, DOCKER_ANCHOR, cache, (int)strcspn(cache, "\n"));
	}
	json_decref(config);
	return r;
}

int image_docker(int rootfd, const char *path, const char *ref, bool loose, struct image_search *s)
{
	int r;
	json_t *o = load(rootfd, "image/overlay2/repositories.json", &r), *repo, *id;
	const char *key, *name;

	if (!o)
		return r == -ENOENT ? 0 : r;
	json_object_foreach (json_object_get(o, "Repositories"), key, repo) {
		json_object_foreach (repo, name, id) {
			const char *text = json_string_value(id);

			if (r || !text ||
			    !(image_name_is(name, ref, loose) || image_id_is(text, ref)))
				continue;
			bool again = s->id && !strcmp(s->id, text);

			r = image_found(s, LAYER_DOCKER, name, text);
			if (!r && !again)
				r = docker_layers(rootfd, path, text, s);
		}
	}
	json_decref(o);
	return r;
}

/* ---- containers-storage ------------------------------------------------------------------ */

static const json_t *by_id(const json_t *list, const char *id)
{
	const json_t *o;
	size_t i;

	json_array_foreach (list, i, o) {
		const char *have = json_string_value(json_object_get(o, "id"));

		if (have && !strcmp(have, id))
			return o;
	}
	return NULL;
}

static int storage_layers(int rootfd, const char *path, const char *top, struct image_search *s)
{
	int r;
	json_t *all = load(rootfd, "overlay-layers/layers.json", &r);
	const char *id = top;

	for (size_t n = 0; all && id && *id && !r; n++) {
		const json_t *l = by_id(all, id);

		if (!l || n > json_array_size(all)) {
			r = -EUCLEAN;
			break;
		}
		r = add(s, path, PODMAN_ANCHOR, id, (int)strlen(id));
		id = json_string_value(json_object_get(l, "parent"));
	}
	json_decref(all);
	return r;
}

static bool named(const json_t *image, const char *ref, bool loose, const char **ret_name)
{
	const char *id = json_string_value(json_object_get(image, "id"));
	const json_t *n;
	size_t i;

	*ret_name = id;
	json_array_foreach (json_object_get(image, "names"), i, n) {
		const char *name = json_string_value(n);

		if (name && image_name_is(name, ref, loose)) {
			*ret_name = name;
			return true;
		}
		if (name && i == 0)
			*ret_name = name;
	}
	return id && image_id_is(id, ref);
}

int image_storage(int rootfd, const char *path, const char *ref, bool loose, struct image_search *s)
{
	int r;
	json_t *o = load(rootfd, "overlay-images/images.json", &r), *image;
	const char *name;
	size_t i;

	if (!o)
		return r == -ENOENT ? 0 : r;
	json_array_foreach (o, i, image) {
		const char *id = json_string_value(json_object_get(image, "id"));
		const char *layer = json_string_value(json_object_get(image, "layer"));

		if (r || !id || !layer || !named(image, ref, loose, &name))
			continue;
		r = image_found(s, LAYER_CONTAINERS_STORAGE, name, id);
		if (!r)
			r = storage_layers(rootfd, path, layer, s);
	}
	json_decref(o);
	return r;
}
