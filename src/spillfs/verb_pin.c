/* SPDX-License-Identifier: MIT
 * `pin`, `unpin`, `pins`: what is never spilled.
 *
 *   pin    {"items": [{"path"}...], "owner": image or absent, "recall": bool}
 *          one fit for all of them first, so that an image is pinned as a whole or not at all
 *   unpin  {"items": [...], "owner"}; without items all of the owner
 */
#include "verbs.h"

#define ROOM_FMT "%.1f MiB"
#define MIB(v)   ((double)(v) / (1 << 20))

/* "owner" of a request, "" when it has none (caller frees). NULL with the error set. */
static char *owner_of(const json_t *req, char **ret_err, int *ret_code)
{
	char *owner;
	int err = ctl_name_get(req, "owner", &owner);

	if (err == -ENOENT)
		owner = strdup("");
	else if (err)
		owner = NULL;
	if (!owner)
		ctl_error(ret_err, ret_code, EXIT_USAGE, "the request has a malformed owner");
	return owner;
}

/* 0, or -EINVAL for a malformed list, -EUSERS when fn set the error. */
static int each_item(const json_t *req, int (*fn)(void *ctx, const char *path), void *ctx,
		     char **ret_err, int *ret_code)
{
	json_t *items = json_object_get(req, "items"), *item;
	size_t i;

	json_array_foreach (items, i, item) {
		cleanup_free char *path = verb_path(item, ret_err, ret_code);
		int r = path ? fn(ctx, path) : -EUSERS;

		if (r)
			return r;
	}
	return 0;
}

struct pinning {
	struct tier *t;
	const char *owner;
	struct verb_work p;
	struct tier_fit fit;
	struct tier_work work;
	uint64_t pinned, already, removed;
	char *failed; /* path */
};

static int remember(struct pinning *g, const char *path, int err)
{
	if (err && !g->failed)
		g->failed = strdup(path);
	return err;
}

static int fit_one(void *ctx, const char *path)
{
	struct pinning *g = ctx;

	return remember(g, path, tier_fit(g->t, path, verb_progress, &g->p, &g->fit));
}

static int pin_one(void *ctx, const char *path)
{
	struct pinning *g = ctx;
	int r = tier_pin_add(g->t, path, g->owner);

	g->pinned += !r;
	g->already += r == -EEXIST;
	return r == -EEXIST ? 0 : remember(g, path, r);
}

static int recall_one(void *ctx, const char *path)
{
	struct pinning *g = ctx;
	struct tier_work w = {0};
	int r = tier_recall_path(g->t, path, verb_progress, verb_note, &g->p, &w);

	g->work.files_seen += w.files_seen;
	g->work.files_done += w.files_done;
	g->work.bytes_done += w.bytes_done;
	g->work.files_busy += w.files_busy;
	g->work.files_failed += w.files_failed;
	return remember(g, path, r);
}

static json_t *failed(struct pinning *g, int err, char **ret_err, int *ret_code)
{
	cleanup_free char *path = steal_ptr(g->failed);

	if (err == -EUSERS)
		return NULL; /* said already */
	if (!path || err == -EINTR)
		return verb_errno(ret_err, ret_code, err);
	return ctl_error(ret_err, ret_code, EXIT_FAILED, "%s: %s", *path ? path : ".",
			 err == -EINVAL ? "not a plain path below the mount" : verb_strerror(err));
}

VERB(pin)
{
	struct daemon *d = ctx;
	cleanup_free char *owner = owner_of(req, ret_err, ret_code);
	bool recall = json_is_true(json_object_get(req, "recall"));
	struct pinning g = {.t = d->tier, .owner = owner, .p = {.c = c}};
	json_t *o;
	int r;

	if (!owner)
		return NULL;
	r = each_item(req, fit_one, &g, ret_err, ret_code);
	if (r)
		return failed(&g, r, ret_err, ret_code);
	if (recall && g.fit.bytes > g.fit.room_high)
		return ctl_error(
			ret_err, ret_code, EXIT_NO_ROOM,
			"%llu files below it are spilled and need " ROOM_FMT " in the hot tier, "
			"which has " ROOM_FMT " left below the high mark of %u%%; nothing was "
			"pinned. Spill something else first, or pin with --no-recall: then they "
			"stay in the store until they are recalled",
			(unsigned long long)g.fit.files, MIB(g.fit.bytes), MIB(g.fit.room_high),
			d->cfg->high);
	r = each_item(req, pin_one, &g, ret_err, ret_code);
	if (!r && recall && g.fit.files)
		r = each_item(req, recall_one, &g, ret_err, ret_code);
	tier_pins_measure(d->tier);
	if (r && !g.pinned && !g.already)
		return failed(&g, r, ret_err, ret_code);
	free(g.failed);
	o = verb_work_json(&g.work);
	verb_set_num(o, "pinned", g.pinned);
	verb_set_num(o, "already", g.already);
	verb_set_num(o, "spilled_files", recall ? 0 : g.fit.files);
	verb_set_num(o, "spilled_bytes", recall ? 0 : g.fit.bytes);
	if (r)
		json_object_set_new(o, "stopped", json_string(verb_strerror(r)));
	return o;
}

static int unpin_one(void *ctx, const char *path)
{
	struct pinning *g = ctx;
	uint64_t n = 0;
	int r = tier_pin_del(g->t, path, g->owner, &n);

	g->removed += n;
	return remember(g, path, r);
}

/* What is not pinned by itself may be kept by another pin: which? */
static json_t *not_pinned(struct pinning *g, char **ret_err, int *ret_code)
{
	cleanup_free char *by = NULL, *owner = NULL, *path = steal_ptr(g->failed);

	if (!path)
		return ctl_error(ret_err, ret_code, EXIT_FAILED, "%s: no pins of this image",
				 g->owner);
	if (tier_pin_of(g->t, path, &by, &owner))
		return ctl_error(ret_err, ret_code, EXIT_FAILED, "%s: not pinned", path);
	if (*owner)
		return ctl_error(ret_err, ret_code, EXIT_FAILED,
				 "%s: pinned with the image %s; unpin --image %s", path, owner,
				 owner);
	return ctl_error(ret_err, ret_code, EXIT_FAILED, "%s: pinned through %s; unpin that", path,
			 *by ? by : "the mount point");
}

VERB(unpin)
{
	struct daemon *d = ctx;
	cleanup_free char *owner = owner_of(req, ret_err, ret_code);
	struct pinning g = {.t = d->tier, .owner = owner, .p = {.c = c}};
	json_t *o;
	int r;

	if (!owner)
		return NULL;
	if (json_array_size(json_object_get(req, "items")))
		r = each_item(req, unpin_one, &g, ret_err, ret_code);
	else
		r = tier_pin_del(g.t, NULL, owner, &g.removed);
	if (r == -ENOENT)
		return not_pinned(&g, ret_err, ret_code);
	if (r)
		return failed(&g, r, ret_err, ret_code);
	tier_pins_measure(d->tier);
	o = json_object();
	verb_set_num(o, "removed", g.removed);
	return o;
}

static bool one_pin(void *ctx, const struct tier_pin *p)
{
	json_t *o =
		json_pack("{s:b, s:I, s:o, s:o, s:o, s:o}", "missing", (int)p->missing, "since",
			  (json_int_t)(p->since_ns / 1000000000), "files", verb_num(p->files),
			  "hot_bytes", verb_num(p->hot_bytes), "spilled_files",
			  verb_num(p->spilled_files), "spilled_bytes", verb_num(p->spilled_bytes));

	if (!o || ctl_name_put(o, "path", p->path) ||
	    (*p->owner ? ctl_name_put(o, "image", p->owner)
		       : json_object_set_new(o, "image", json_null()))) {
		json_decref(o);
		o = NULL;
	}
	return verb_batch_add(ctx, o);
}

VERB(pins)
{
	struct daemon *d = ctx;
	struct verb_batch b = {.c = c};
	int err = tier_pins(d->tier, one_pin, &b);

	(void)req;
	return verb_batch_end(&b, err, ret_err, ret_code);
}
