/* SPDX-License-Identifier: MIT
 * Private to src/layers: from the name of an image to its layers.
 */
#ifndef SPILL_IMAGE_INT_H
#define SPILL_IMAGE_INT_H

#include <jansson.h>

#include "layers_int.h"

#define CHAIN_ID_LEN 80 /* "sha256:" + 64 digits + NUL */

/* What was found so far. */
struct image_search {
	struct names keys;
	char *name, *id; /* of the first match */
	enum layer_engine engine;
	size_t found;
	bool other; /* a second match is another image */
	bool in_kubernetes;
};
/* Is name what ref means? loose: a tag, docker.io/library/ and localhost/ may be left out. */
bool image_name_is(const char *name, const char *ref, bool loose);
/* Is ref the beginning (12 digits at least) of this "sha256:..." or bare id? */
bool image_id_is(const char *id, const char *ref);
int image_found(struct image_search *s, enum layer_engine engine, const char *name, const char *id);
int image_add_key(struct image_search *s, const char *key);
/* OCI chain id of the first n diff ids (image-spec, config.md). -EUCLEAN. */
int image_chain_id(const json_t *diff_ids, size_t n, char out[CHAIN_ID_LEN]);

/* Look ref up in an engine's root (path below the hot root). 0, also when it is not there. */
int image_docker(int rootfd, const char *path, const char *ref, bool loose, struct image_search *s);
int image_storage(int rootfd, const char *path, const char *ref, bool loose,
		  struct image_search *s);
int image_containerd(int rootfd, const char *path, const char *ref, bool loose,
		     struct image_search *s);

#endif
