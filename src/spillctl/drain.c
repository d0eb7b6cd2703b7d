/* SPDX-License-Identifier: MIT
 * `drain`: bring everything back, so that spillfs can go. Reports first; --yes does it.
 * Interrupting it is fine: what came back stays, and automatic spilling goes on as before.
 */
#include "spillctl.h"

struct draining {
	struct progress progress;
	const char *mount;
	json_t *failed;
};

static bool on_event(void *ctx, const json_t *ev)
{
	struct draining *d = ctx;
	cleanup_free char *rel = NULL, *path = NULL;
	json_t *o;

	if (!strcmp(jstr(ev, "event"), "progress")) {
		ctl_name_get(ev, "current", &rel);
		progress_show(&d->progress, jnum(ev, "files_done"), jnum(ev, "bytes_done"),
			      rel ? rel : "");
	} else if (!strcmp(jstr(ev, "event"), "note")) {
		if (!ctl_name_get(ev, "path", &rel))
			path = path_of(d->mount, rel);
		progress_clear(&d->progress);
		warn("%s: %s", path ? path : "?", jstr(ev, "error"));
		o = json_object();
		ctl_name_put(o, "path", path ? path : "?");
		ctl_name_put(o, "error", jstr(ev, "error"));
		json_array_append_new(d->failed, o);
	}
	return !interrupted();
}

static void print_report(const struct target *t, const json_t *o, bool go)
{
	uint64_t files = jnum(o, "spilled_files");
	bool fits = json_is_true(json_object_get(o, "fits"));

	if (files)
		printf("%s file%s and need%s %s in the hot tier, which has %s free: %s\n",
		       fmt_count(files), files == 1 ? " is spilled" : "s are spilled",
		       files == 1 ? "s" : "", fmt_size(jnum(o, "needed_bytes")),
		       fmt_size(jnum(o, "free_bytes")),
		       fits ? "they fit" : "they do not fit; delete something, or export");
	else
		puts("nothing is spilled");
	if (json_is_true(json_object_get(o, "drained"))) {
		if (files)
			printf("recalled %s file%s, %s\n", fmt_count(jnum(o, "files_done")),
			       jnum(o, "files_done") == 1 ? "" : "s",
			       fmt_size(jnum(o, "bytes_done")));
		printf("automatic spilling is paused now. To leave:\n  umount ");
		put_safe(stdout, t->mount);
		printf("\n  spillctl unguard ");
		put_safe(stdout, t->mount);
		printf("\nTo stay after all: spillctl resume\n");
	} else if (!go && fits) {
		puts("nothing was done; spillctl drain --yes does it");
	} else if (go && fits) {
		printf("recalled %s files, but not all are back%s%s\n",
		       fmt_count(jnum(o, "files_done")), *jstr(o, "stopped") ? ": " : "",
		       jstr(o, "stopped"));
	}
}

int do_drain(const struct cli *c)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	struct draining d = {.failed = NULL};
	json_t *req, *o = NULL;
	int code = target_dir(c, &t, &err);

	if (code)
		return fail(c, code, "%s", err ? err : "out of memory");
	d.failed = json_array();
	d.mount = t.mount;
	interrupt_catch();
	progress_init(&d.progress, c, c->yes ? "draining" : "looking");
	req = request_new("drain", "");
	json_object_set_new(req, "go", json_boolean(c->yes));
	code = request(t.mount, req, on_event, &d, &o, &err);
	progress_clear(&d.progress);
	if (code) {
		json_decref(d.failed);
		return fail(c, code, "%s",
			    code == EXIT_INTERRUPTED ? "interrupted; what came back stays"
			    : err                    ? err
						     : "out of memory");
	}
	if (!json_is_true(json_object_get(o, "fits")))
		code = EXIT_NO_ROOM;
	else if (c->yes && !json_is_true(json_object_get(o, "drained")))
		code = EXIT_PARTIAL;
	if (c->json) {
		json_object_set(o, "failed", d.failed);
		print_json(json_incref(o));
	} else if (!c->quiet) {
		print_report(&t, o, c->yes);
	}
	json_decref(o);
	json_decref(d.failed);
	return code;
}
