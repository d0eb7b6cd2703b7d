/* SPDX-License-Identifier: MIT
 * `spill`, `premigrate` and `recall`: move the data of a path now. The tier stops at a file
 * boundary when the client hangs up; what was moved until then stays moved.
 */
#include "verbs.h"

typedef int (*move_fn)(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
		       void *ctx, struct tier_work *ret);

static json_t *move(struct daemon *d, struct ctl_conn *c, const json_t *req, move_fn fn,
		    char **ret_err, int *ret_code)
{
	cleanup_free char *path = verb_path(req, ret_err, ret_code);
	struct verb_work p = {.c = c};
	struct tier_work w = {0};
	json_t *o;
	int err;

	if (!path)
		return NULL;
	err = fn(d->tier, path, verb_progress, verb_note, &p, &w);
	/* An error after some work was done comes with the sums, or they would be lost. */
	if (err && !w.files_seen)
		return verb_errno(ret_err, ret_code, err);
	o = verb_work_json(&w);
	if (err)
		json_object_set_new(o, "stopped", json_string(verb_strerror(err)));
	return o;
}

VERB(spill)
{
	return move(ctx, c, req, tier_spill_path, ret_err, ret_code);
}

VERB(premigrate)
{
	return move(ctx, c, req, tier_premigrate_path, ret_err, ret_code);
}

VERB(recall)
{
	return move(ctx, c, req, tier_recall_path, ret_err, ret_code);
}
