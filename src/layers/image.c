/* SPDX-License-Identifier: MIT
 * The layers of an image by its name: what names mean, and which engines are asked.
 *
 * First a name as it stands, then what people leave out (tag, docker.io/library/, localhost/). One
 * image may have many names, but a name that means two images is refused.
 */
#include "image_int.h"

#include <fcntl.h>
#include <stdio.h>

static const char *bare(const char *name)
{
	static const char *const prefixes[] = {"docker.io/library/", "docker.io/", "localhost/"};

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return name + strlen(prefixes[i]);
	return name;
}

bool image_name_is(const char *name, const char *ref, bool loose)
{
	if (!strcmp(name, ref) || (!strncmp(name, "sha256:", 7) && image_id_is(name, ref)))
		return true;
	if (!loose)
		return false;
	const char *slash = strrchr(ref, '/');
	bool tagged = strchr(slash ? slash : ref, ':') || strchr(ref, '@');

	name = bare(name);
	ref = bare(ref);
	size_t len = strlen(ref);

	return tagged ? !strcmp(name, ref)
		      : !strncmp(name, ref, len) && !strcmp(name + len, ":latest");
}

bool image_id_is(const char *id, const char *ref)
{
	id += strncmp(id, "sha256:", 7) ? 0 : 7;
	ref += strncmp(ref, "sha256:", 7) ? 0 : 7;
	return strlen(ref) >= 12 && strspn(ref, "0123456789abcdef") == strlen(ref) &&
	       !strncmp(id, ref, strlen(ref));
}

int image_found(struct image_search *s, enum layer_engine engine, const char *name, const char *id)
{
	s->found++;
	if (s->id) {
		s->other |= strcmp(s->id, id) != 0;
		return 0;
	}
	s->engine = engine;
	s->name = strdup(name);
	s->id = strdup(id);
	return s->name && s->id ? 0 : -ENOMEM;
}

int image_add_key(struct image_search *s, const char *key)
{
	for (size_t i = 0; i < s->keys.n; i++)
		if (!strcmp(s->keys.v[i], key))
			return 0;
	return names_add(&s->keys, key, strlen(key));
}

int image_chain_id(const json_t *diff_ids, size_t n, char out[CHAIN_ID_LEN])
{
	size_t all = json_array_size(diff_ids);

	n = MIN(n, all);
	if (!n)
		return -EUCLEAN;
	for (size_t i = 0; i < n; i++) {
		const char *diff = json_string_value(json_array_get(diff_ids, i));
		char text[2 * CHAIN_ID_LEN];
		uint8_t sha[SHA256_LEN];

		if (!diff || strlen(diff) != 71 || strncmp(diff, "sha256:", 7))
			return -EUCLEAN;
		if (!i) {
			strcpy(out, diff);
			continue;
		}
		snprintf(text, sizeof(text), "%s %s", out, diff);
		sha256_once(text, strlen(text), sha);
		strcpy(out, "sha256:");
		hex_encode(sha, sizeof(sha), out + 7);
	}
	return 0;
}

/* ---- engines below a root ---------------------------------------------------------------- */

/* The directory of the engine that key belongs to: what stands before its anchor. */
static char *engine_root(const struct layer *l)
{
	static const char *const anchors[] = {
		[LAYER_DOCKER] = DOCKER_ANCHOR "/",
		[LAYER_CONTAINERD] = "io.containerd.",
		[LAYER_CONTAINERS_STORAGE] = PODMAN_ANCHOR "/",
	};
	const char *at = strstr(l->key, anchors[l->engine]);

	while (at && at > l->key && at[-1] != '/')
		at = strstr(at + 1, anchors[l->engine]);
	if (!at)
		return NULL;
	return strndup(l->key, at == l->key ? 0 : (size_t)(at - l->key) - 1);
}

typedef int (*engine_fn)(int rootfd, const char *path, const char *ref, bool loose,
			 struct image_search *s);

struct engines {
	struct names roots[3];
};

static int engines_find(int rootfd, struct engines *e)
{
	struct layer_set set = {0};
	int r = layers_scan(rootfd, &set);

	for (size_t i = 0; i < set.n && !r; i++) {
		struct names *roots = &e->roots[set.v[i].engine];
		cleanup_free char *root = engine_root(&set.v[i]);
		bool known = !root;

		for (size_t j = 0; j < roots->n && !known; j++)
			known = !strcmp(roots->v[j], root);
		if (!known)
			r = names_add(roots, root, strlen(root));
	}
	layer_set_done(&set);
	return r;
}

static int search(int rootfd, const struct engines *e, const char *ref, bool loose,
		  struct image_search *s)
{
	static const engine_fn fns[] = {
		[LAYER_DOCKER] = image_docker,
		[LAYER_CONTAINERD] = image_containerd,
		[LAYER_CONTAINERS_STORAGE] = image_storage,
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fns); i++)
		for (size_t j = 0; j < e->roots[i].n && !r; j++) {
			const char *path = e->roots[i].v[j];
			cleanup_fd int fd = openat(rootfd, *path ? path : ".",
						   O_PATH | O_DIRECTORY | O_CLOEXEC);

			r = fd < 0 ? -errno : fns[i](fd, path, ref, loose, s);
		}
	return r;
}

static int say(char **ret_msg, int err, const char *ref, const char *what)
{
	if (asprintf(ret_msg, "%s: %s", ref, what) < 0)
		*ret_msg = NULL;
	return err;
}

int layers_image(int rootfd, const char *ref, struct layer_image *ret, char **ret_msg)
{
	struct image_search s = {0};
	struct engines e = {0};
	size_t n = 0;
	int r = engines_find(rootfd, &e);

	*ret_msg = NULL;
	if (!r)
		r = search(rootfd, &e, ref, false, &s);
	if (!r && !s.found)
		r = search(rootfd, &e, ref, true, &s);
	for (size_t i = 0; i < ARRAY_SIZE(e.roots); i++) {
		n += e.roots[i].n;
		names_done(&e.roots[i]);
	}
	if (r == -EUCLEAN || r == -ENOENT || r == -EAGAIN)
		say(ret_msg, r, ref,
		    "the engine's metadata could not be understood; pin its layers instead "
		    "(spillctl layers)");
	else if (!r && !n)
		r = say(ret_msg, -ENOENT, ref, "no container engine keeps images there");
	else if (!r && !s.found)
		r = say(ret_msg, -ENOENT, ref, "no engine there has an image of this name");
	else if (!r && s.other)
		r = say(ret_msg, -ENOTUNIQ, ref,
			"several images have this name; say it in full, as the engine does");
	else if (!r && !s.keys.n)
		r = say(ret_msg, -ENOENT, ref, "the image is there, but none of its layers");
	if (!r) {
		*ret = (struct layer_image){.name = steal_ptr(s.name),
					    .engine = s.engine,
					    .keys = steal_ptr(s.keys.v),
					    .n = s.keys.n,
					    .in_kubernetes = s.in_kubernetes};
		s.keys.n = 0;
	}
	names_done(&s.keys);
	free(s.name);
	free(s.id);
	return r;
}

void layer_image_done(struct layer_image *i)
{
	for (size_t k = 0; k < i->n; k++)
		free(i->keys[k]);
	free(i->keys);
	free(i->name);
	*i = (struct layer_image){0};
}
