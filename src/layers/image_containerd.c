/* SPDX-License-Identifier: MIT
 * Images of containerd, from its databases and content store (containerd 1.6, 1.7):
 *
 *	<root>/io.containerd.metadata.v1.bolt/meta.db
 *		v1/<namespace>/images/<name>/target/digest	of a manifest or an index of some
 *		v1/<namespace>/snapshots/overlayfs/<chain id>/name	the snapshotter's key
 *	<root>/io.containerd.snapshotter.v1.overlayfs/metadata.db
 *		v1/snapshots/<key>/id, parent			id is a varint: snapshots/<id>/fs
 *	<root>/io.containerd.content.v1.content/blobs/sha256/<digest>
 *
 * An image that is not unpacked has no snapshots: its compressed layers stand for it.
 */
#include "image_int.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>

#define META_DB   "io.containerd.metadata.v1.bolt/meta.db"
#define SNAP_DB   SNAPSHOTTER_ANCHOR "/metadata.db"
#define JSON_MAX  (16u << 20)
#define CHAIN_MAX 512

struct cd {
	int rootfd;       /* of the engine */
	const char *path; /* below the hot root */
	struct bolt meta, snap;
	bool have_snap;
	struct bolt_bucket ns; /* being looked at */
	struct image_search *s;
	const char *ref;
	bool loose;
};

static int add_key(struct cd *d, const char *dir, const char *name, const char *end)
{
	cleanup_free char *key = NULL;
	char rel[512];

	snprintf(rel, sizeof(rel), "%s/%s%s", dir, name, end);
	key = scan_join(d->path, rel);
	return key ? image_add_key(d->s, key) : -ENOMEM;
}

/* A JSON blob of the content store, or NULL with *ret_err. */
static json_t *blob_json(struct cd *d, const char *digest, int *ret_err)
{
	cleanup_free char *path = NULL, *text = NULL;
	const char *colon = strchr(digest, ':');
	size_t len;
	json_t *o;

	*ret_err = -EUCLEAN;
	if (!colon || strchr(digest, '/') || digest[0] == '.')
		return NULL;
	if (asprintf(&path, CONTENT_ANCHOR "/blobs/%.*s/%s", (int)(colon - digest), digest,
		     colon + 1) < 0) {
		path = NULL;
		*ret_err = -ENOMEM;
		return NULL;
	}
	*ret_err = read_file(d->rootfd, path, JSON_MAX, &text, &len);
	if (*ret_err)
		return NULL;
	o = json_loadb(text, len, 0, NULL);
	*ret_err = o ? 0 : -EUCLEAN;
	return o;
}

/* snapshots/<id>/fs of key and all its parents. */
static int add_chain(struct cd *d, struct bolt_bucket snaps, char *key)
{
	char *next = key;
	int r = 0;

	for (int i = 0; next && !r; i++) {
		cleanup_free char *now = next;
		struct bolt_bucket k;
		struct bolt_item it;
		uint64_t id = 0;
		char num[24];

		next = NULL;
		if (i == CHAIN_MAX)
			return -EUCLEAN;
		r = bolt_find_bucket(&d->snap, snaps, now, &k);
		if (!r)
			r = bolt_find(&d->snap, k, "id", &it);
		if (r)
			return r;
		for (size_t j = 0; j < it.value_len && j < 9; j++)
			id |= (uint64_t)(it.value[j] & 0x7f) << (7 * j);
		snprintf(num, sizeof(num), "%llu", (unsigned long long)id);
		r = add_key(d, SNAPSHOTTER_ANCHOR "/snapshots", num, "/fs");
		if (!r && !bolt_find(&d->snap, k, "parent", &it) && it.value_len)
			next = strndup((const char *)it.value, it.value_len);
	}
	return r;
}

/* The snapshots of a chain id; -ENOENT: not unpacked. */
static int add_snapshots(struct cd *d, const char *chain)
{
	struct bolt_bucket k, snaps;
	struct bolt_item it;
	int r = d->have_snap ? bolt_find_bucket(&d->meta, d->ns, "snapshots", &k) : -ENOENT;

	if (!r)
		r = bolt_find_bucket(&d->meta, k, "overlayfs", &k);
	if (!r)
		r = bolt_find_bucket(&d->meta, k, chain, &k);
	if (!r)
		r = bolt_find(&d->meta, k, "name", &it);
	if (r)
		return r;
	r = bolt_find_bucket(&d->snap, bolt_root(&d->snap), "v1", &snaps);
	if (!r)
		r = bolt_find_bucket(&d->snap, snaps, "snapshots", &snaps);
	if (r)
		return r;
	char *key = strndup((const char *)it.value, it.value_len);

	return key ? add_chain(d, snaps, key) : -ENOMEM;
}

static int add_manifest(struct cd *d, const json_t *manifest)
{
	const char *config =
		json_string_value(json_object_get(json_object_get(manifest, "config"), "digest"));
	char chain[CHAIN_ID_LEN];
	json_t *layers = json_object_get(manifest, "layers"), *l, *o;
	size_t i;
	int r;

	o = config ? blob_json(d, config, &r) : NULL;
	if (!config)
		return -EUCLEAN;
	if (!o)
		return r;
	r = image_chain_id(json_object_get(json_object_get(o, "rootfs"), "diff_ids"), SIZE_MAX,
			   chain);
	json_decref(o);
	if (!r)
		r = add_snapshots(d, chain);
	if (r != -ENOENT)
		return r;
	r = 0;
	json_array_foreach (layers, i, l) {
		const char *digest = json_string_value(json_object_get(l, "digest"));

		if (!r && digest && !strncmp(digest, "sha256:", 7) && strlen(digest) == 71)
			r = add_key(d, CONTENT_ANCHOR "/blobs/sha256", digest + 7, "");
	}
	return r;
}

/* A manifest, or every one of an index that is here. */
static int add_target(struct cd *d, const char *digest, unsigned depth)
{
	json_t *list, *m;
	int r, found = 0;
	json_t *o = blob_json(d, digest, &r);
	size_t i;

	if (!o)
		return r;
	list = json_object_get(o, "manifests");
	if (!list) {
		r = add_manifest(d, o);
	} else {
		json_array_foreach (list, i, m) {
			const char *sub = json_string_value(json_object_get(m, "digest"));
			int q = sub && depth < 3 ? add_target(d, sub, depth + 1) : -EUCLEAN;

			found += !q;
			if (q && q != -ENOENT && !r) /* other platforms' are not here */
				r = q;
		}
		if (!r && !found)
			r = -ENOENT;
	}
	json_decref(o);
	return r;
}

static int look_image(void *ctx, const struct bolt_item *it)
{
	cleanup_free char *name = strndup(it->key, it->key_len), *digest = NULL;
	struct bolt_bucket target;
	struct bolt_item dg;
	struct cd *d = ctx;

	if (!name)
		return -ENOMEM;
	if (!it->is_bucket || !image_name_is(name, d->ref, d->loose))
		return 0;
	int r = bolt_find_bucket(&d->meta, it->bucket, "target", &target);

	if (!r)
		r = bolt_find(&d->meta, target, "digest", &dg);
	if (r)
		return r;
	digest = strndup((const char *)dg.value, dg.value_len);
	if (!digest)
		return -ENOMEM;
	r = image_found(d->s, LAYER_CONTAINERD, name, digest);
	return r < 0 ? r : add_target(d, digest, 0);
}

static int look_namespace(void *ctx, const struct bolt_item *it)
{
	struct cd *d = ctx;
	struct bolt_bucket images;
	size_t before = d->s->found;

	if (!it->is_bucket)
		return 0;
	d->ns = it->bucket;
	int r = bolt_find_bucket(&d->meta, d->ns, "images", &images);

	if (!r)
		r = bolt_each(&d->meta, images, look_image, d);
	if (d->s->found > before && it->key_len == 6 && !memcmp(it->key, "k8s.io", 6))
		d->s->in_kubernetes = true;
	return r == -ENOENT ? 0 : r;
}

int image_containerd(int rootfd, const char *path, const char *ref, bool loose,
		     struct image_search *s)
{
	struct cd d = {.rootfd = rootfd, .path = path, .s = s, .ref = ref, .loose = loose};
	struct bolt_bucket v1;
	int r = bolt_open(rootfd, META_DB, &d.meta);

	if (r)
		return r;
	d.have_snap = !bolt_open(rootfd, SNAP_DB, &d.snap);
	r = bolt_find_bucket(&d.meta, bolt_root(&d.meta), "v1", &v1);
	if (!r)
		r = bolt_each(&d.meta, v1, look_namespace, &d);
	bolt_done(&d.meta);
	bolt_done(&d.snap);
	return r == -ENOENT ? 0 : r;
}
