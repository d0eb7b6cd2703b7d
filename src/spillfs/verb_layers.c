/* SPDX-License-Identifier: MIT
 * `layers`: every layer of a container engine below the mount, measured.
 */
#include "verbs.h"

static bool one_layer(void *ctx, const struct tier_layer *tl)
{
	static const char *const engines[] = {
		[LAYER_DOCKER] = "docker",
		[LAYER_CONTAINERD] = "containerd",
		[LAYER_CONTAINERS_STORAGE] = "containers-storage",
	};
	static const char *const kinds[] = {
		[LAYER_SNAPSHOT] = "snapshot",
		[LAYER_WRITABLE] = "writable",
		[LAYER_BLOB] = "blob",
	};
	json_t *o = json_pack(
		"{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "engine", engines[tl->l->engine],
		"kind", kinds[tl->l->kind], "mounted", (int)tl->l->mounted, "files",
		verb_num(tl->size.files), "logical_bytes", verb_num(tl->size.logical_bytes),
		"allocated_bytes", verb_num(tl->size.allocated_bytes), "spilled_files",
		verb_num(tl->spilled_files), "spilled_bytes", verb_num(tl->spilled_bytes),
		"last_used", json_integer(tl->last_used_ns / 1000000000));

	if (!o || ctl_name_put(o, "key", tl->l->key) || ctl_name_put(o, "name", tl->l->name)) {
		json_decref(o);
		o = NULL;
	}
	return verb_batch_add(ctx, o);
}

VERB(layers)
{
	struct daemon *d = ctx;
	struct verb_batch b = {.c = c};
	int err = tier_layers(d->tier, one_layer, &b);

	(void)req;
	return verb_batch_end(&b, err, ret_err, ret_code);
}
