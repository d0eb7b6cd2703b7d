/* SPDX-License-Identifier: MIT
 * `check`: decides whether the daemon is asked or the store is opened directly, and reports what
 *was found the same way in both cases. Never changes anything.
 *
 *	arguments            DIR mounted        not mounted
 *	none, -m DIR         online             error
 *	DIR                  online             error: which STORE?
 *	STORE                                   offline, packs and index only
 *	STORE DIR            online             offline
 *	--store S [--hot D]                     offline; refused while a daemon has the store
 */
#include "spillctl.h"

#include "spill/mnt.h"
#include "spill/store.h"

void check_report_problem(struct check_report *r, const char *what, const char *rel)
{
	cleanup_free char *path = NULL;
	json_t *o = json_object();

	if (rel && *rel)
		path = r->mount ? path_of(r->mount, rel) : strdup(rel);
	ctl_name_put(o, "what", what);
	if (path)
		ctl_name_put(o, "path", path);
	json_array_append_new(r->found, o);
	if (r->c->json)
		return;
	progress_clear(&r->progress);
	put_safe(stdout, what);
	if (path) {
		fputs(": ", stdout);
		put_safe(stdout, path);
	}
	putchar('\n');
}

int check_report_finish(struct check_report *r, json_t *sums, const char *mode, const char *store)
{
	uint64_t problems = jnum(sums, "problems"), leaked = jnum(sums, "leaked_objects");

	progress_clear(&r->progress);
	if (r->c->json) {
		json_object_set_new(sums, "mode", json_string(mode));
		json_object_set_new(sums, "quick", json_boolean(r->c->quick));
		json_object_set_new(sums, "ok", json_boolean(!problems));
		json_object_set(sums, "found", r->found);
		if (r->mount)
			ctl_name_put(sums, "mount", r->mount);
		if (store)
			ctl_name_put(sums, "store", store);
		print_json(json_incref(sums));
	} else if (!r->c->quiet) {
		printf("checked (%s) %s files, %s of them spilled; %s objects, %s packs, %s "
		       "frames, %s\n",
		       mode, fmt_count(jnum(sums, "files")), fmt_count(jnum(sums, "stubs")),
		       fmt_count(jnum(sums, "objects")), fmt_count(jnum(sums, "packs")),
		       fmt_count(jnum(sums, "frames")), fmt_size(jnum(sums, "bytes")));
		if (leaked)
			printf("objects of no file (space, not damage): %s\n", fmt_count(leaked));
		printf("%s %s found\n", problems ? fmt_count(problems) : "no",
		       problems == 1 ? "problem" : "problems");
	}
	json_decref(sums);
	return problems ? EXIT_FOUND : EXIT_OK;
}

static bool on_event(void *ctx, const json_t *ev)
{
	const char *kind = jstr(ev, "event");
	struct check_report *r = ctx;

	if (!strcmp(kind, "problem")) {
		cleanup_free char *what = NULL, *path = NULL;

		ctl_name_get(ev, "what", &what);
		ctl_name_get(ev, "path", &path);
		check_report_problem(r, what ? what : "?", path);
	} else if (!strcmp(kind, "progress")) {
		cleanup_free char *current = NULL;

		ctl_name_get(ev, "current", &current);
		progress_show(&r->progress, jnum(ev, "files_seen"), jnum(ev, "bytes_done"),
			      current ? current : "");
	}
	return !interrupted();
}

static int check_online(const struct cli *c, const char *mount)
{
	struct check_report r = {.c = c, .mount = mount, .found = json_array()};
	cleanup_free char *err = NULL;
	json_t *req = request_new("check", ""), *sums;
	int code;

	interrupt_catch();
	progress_init(&r.progress, c, "checking");
	json_object_set_new(req, "quick", json_boolean(c->quick));
	code = request(mount, req, on_event, &r, &sums, &err);
	progress_clear(&r.progress);
	if (!code)
		code = check_report_finish(&r, sums, "online", NULL);
	else if (code == EXIT_INTERRUPTED)
		fail(c, code, "interrupted; %s problems found until then",
		     fmt_count(json_array_size(r.found)));
	else
		fail(c, code, "%s", err ? err : "out of memory");
	json_decref(r.found);
	return code;
}

/* Is dir a spillfs mount (dead or alive)? */
static bool is_mounted(const char *dir)
{
	enum mnt_state state;
	int err = mnt_probe(dir, &state, NULL);

	return err == -ETIMEDOUT || (!err && (state == MNT_LIVE || state == MNT_DEAD));
}

static bool is_store(const char *dir)
{
	struct store_id id;
	int err = store_identify(dir, &id);

	return !err || err == -EUCLEAN || err == -EPROTONOSUPPORT;
}

/* One or two words; the last is a DIR when it is mounted. */
static int check_words(const struct cli *c)
{
	cleanup_free char *first = target_resolve(c->argv[0]), *second = NULL, *err = NULL;
	const char *mount = NULL;

	if (!first)
		return fail(c, EXIT_FAILED, "%s: %s", c->argv[0], strerror(errno));
	if (c->argc == 1) {
		if (is_mounted(first))
			mount = first;
		else if (is_store(first))
			return check_offline(c, first, NULL);
		else
			return fail(c, EXIT_NO_DAEMON,
				    "%s: neither a spillfs mount nor a store; for a hot tier that "
				    "is not mounted: spillctl check STORE %s",
				    first, first);
	} else {
		second = target_resolve(c->argv[1]);
		if (!second)
			return fail(c, EXIT_FAILED, "%s: %s", c->argv[1], strerror(errno));
		if (!is_mounted(second))
			return check_offline(c, first, second);
		mount = second;
	}
	if (request_ping(mount, &err))
		return fail(c, EXIT_NO_DAEMON, "%s", err ? err : "out of memory");
	return check_online(c, mount);
}

int do_check(const struct cli *c)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	int code;

	if (c->hot && !c->store)
		return fail(c, EXIT_USAGE, "--hot needs --store");
	if (c->store && (c->argc || c->mount))
		return fail(c, EXIT_USAGE, "--store takes no other mount or store");
	if (c->argc && c->mount)
		return fail(c, EXIT_USAGE, "-m and %s: one of the two, please", c->argv[0]);
	if (c->store)
		return check_offline(c, c->store, c->hot);
	if (c->argc)
		return check_words(c);
	code = target_mount(c, &t, &err);
	if (code)
		return fail(c, code, "%s", err ? err : "out of memory");
	return check_online(c, t.mount);
}
