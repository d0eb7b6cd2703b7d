/* SPDX-License-Identifier: MIT
 * `info` and `ls`: where the data of files is.
 */
#include "verbs.h"

#include <sys/stat.h>

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
		return "chardev";
	case S_IFBLK:
		return "blockdev";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	}
	return "unknown";
}

static json_t *info_json(const struct tier_info *i)
{
	json_t *o = json_pack(
		"{s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i}", "type",
		type_name(i->mode), "state", verb_state_name(i->state), "mode", (int)i->mode, "ino",
		verb_num(i->ino), "nlink", verb_num(i->nlink), "size_bytes",
		verb_num(i->size_bytes), "hot_bytes", verb_num(i->hot_blocks * 512), "stored_bytes",
		verb_num(i->stored_bytes), "object", i->obj.v ? verb_num(i->obj.v) : json_null(),
		"refs", verb_num(i->obj_refs), "opens", (int)i->opens);
	char hex[2 * sizeof(i->hash16) + 1];
	int err;

	hex_encode(i->hash16, sizeof(i->hash16), hex);
	err = json_object_set_new(o, "sha256_prefix", i->obj.v ? json_string(hex) : json_null());
	if (!err)
		err = i->layer[0] ? ctl_name_put(o, "layer", i->layer)
				  : json_object_set_new(o, "layer", json_null());
	if (!err)
		err = ctl_name_put(o, "name", i->name);
	if (err) {
		json_decref(o);
		return NULL;
	}
	return o;
}

VERB(info)
{
	struct daemon *d = ctx;
	cleanup_free char *path = verb_path(req, ret_err, ret_code);
	struct tier_info i = {0};
	json_t *o;
	int err;

	(void)c;
	if (!path)
		return NULL;
	err = tier_info(d->tier, path, &i);
	if (err)
		return verb_errno(ret_err, ret_code, err);
	o = info_json(&i);
	if (o && !ctl_name_put(o, "path", path))
		return o;
	json_decref(o);
	return verb_errno(ret_err, ret_code, -ENOMEM);
}

static bool ls_one(void *ctx, const struct tier_info *i)
{
	return verb_batch_add(ctx, info_json(i));
}

VERB(ls)
{
	struct daemon *d = ctx;
	cleanup_free char *path = verb_path(req, ret_err, ret_code);
	struct verb_batch b = {.c = c};
	int err;

	if (!path)
		return NULL;
	err = tier_ls(d->tier, path, ls_one, &b);
	return verb_batch_end(&b, err, ret_err, ret_code);
}
