/* SPDX-License-Identifier: MIT
 * `pause`, `resume`: automatic spilling stands still; and `drain`, which has to keep it still.
 *
 *   pause  {"seconds": n}; without it until resumed
 *   drain  {"go": bool}: report what is spilled and whether it fits; with go, recall all of it
 */
#include "verbs.h"

/* Wall clock seconds, null: no end. */
static json_t *until_json(int64_t until_ns)
{
	return until_ns == INT64_MAX ? json_null() : json_integer(until_ns / 1000000000);
}

VERB(pause)
{
	struct daemon *d = ctx;
	json_int_t sec = json_integer_value(json_object_get(req, "seconds"));
	int64_t until = INT64_MAX;
	int err;

	(void)c;
	if (sec < 0 || (json_object_get(req, "seconds") && !sec))
		return ctl_error(ret_err, ret_code, EXIT_USAGE, "pause for how long?");
	if (sec && sec < INT64_MAX / 1000000000 / 2)
		until = clock_wall_ns() + sec * 1000000000;
	err = tier_pause(d->tier, until);
	if (err)
		return verb_errno(ret_err, ret_code, err);
	return json_pack("{s:b, s:o, s:b}", "paused", 1, "until", until_json(until), "auto_spill",
			 (int)d->cfg->auto_spill);
}

VERB(resume)
{
	struct daemon *d = ctx;
	bool was = tier_paused(d->tier);
	int err = tier_pause(d->tier, 0);

	(void)c, (void)req;
	if (err)
		return verb_errno(ret_err, ret_code, err);
	return json_pack("{s:b, s:b, s:b}", "paused", 0, "was_paused", (int)was, "auto_spill",
			 (int)d->cfg->auto_spill);
}

/* Space kept free beside what comes back: the disk's last blocks are not for data. */
#define DRAIN_SPARE (16ull << 20)

VERB(drain)
{
	struct daemon *d = ctx;
	bool go = json_is_true(json_object_get(req, "go"));
	struct verb_work p = {.c = c};
	struct tier_work w = {0};
	struct tier_fit fit = {0}, left = {0};
	int64_t before = tier_paused(d->tier);
	json_t *o;
	int err = go ? tier_pause(d->tier, INT64_MAX) : 0;

	if (!err)
		err = tier_fit(d->tier, "", verb_progress, &p, &fit);
	bool fits = !fit.files || fit.bytes + DRAIN_SPARE <= fit.room_free;

	if (!err && go && fits)
		err = tier_recall_path(d->tier, "", verb_progress, verb_note, &p, &w);
	if (!err && go && fits)
		err = tier_fit(d->tier, "", verb_progress, &p, &left);
	bool done = !err && go && fits && !w.files_failed && !left.files;

	/* What is not drained goes on as before. */
	if (go && !done && tier_pause(d->tier, before) && !err)
		err = -EIO;
	if (err && !w.files_seen)
		return verb_errno(ret_err, ret_code, err);
	o = verb_work_json(&w);
	verb_set_num(o, "spilled_files", fit.files);
	verb_set_num(o, "needed_bytes", fit.bytes);
	verb_set_num(o, "free_bytes", fit.room_free);
	json_object_set_new(o, "fits", json_boolean(fits));
	json_object_set_new(o, "drained", json_boolean(done));
	if (err)
		json_object_set_new(o, "stopped", json_string(verb_strerror(err)));
	return o;
}
