/* SPDX-License-Identifier: MIT
 * `check`: markers, index, packs and data against each other, while the mount is in use. Changes
 * nothing.
 */
#include "verbs.h"

static void problem(void *work, const char *what, const char *path)
{
	struct verb_work *p = work;
	json_t *ev = json_pack("{s:s}", "event", "problem");

	if (ev && !ctl_name_put(ev, "what", what) && (!path || !ctl_name_put(ev, "path", path)))
		ctl_progress(p->c, ev);
	else
		json_decref(ev);
}

VERB(check)
{
	struct daemon *d = ctx;
	struct verb_work p = {.c = c};
	struct check_result r = {0};
	json_t *quick = json_object_get(req, "quick"), *o;
	int err = tier_check(d->tier, !json_is_true(quick), verb_progress, problem, &p, &r);

	if (err)
		return verb_errno(ret_err, ret_code, err);
	o = json_object();
	verb_set_num(o, "files", r.files);
	verb_set_num(o, "stubs", r.stubs);
	verb_set_num(o, "objects", r.objects);
	verb_set_num(o, "packs", r.packs);
	verb_set_num(o, "frames", r.frames);
	verb_set_num(o, "bytes", r.bytes);
	verb_set_num(o, "problems", r.problems);
	verb_set_num(o, "leaked_objects", r.leaked_objects);
	return o;
}
