/* SPDX-License-Identifier: MIT
 * `spill`, `premigrate` and `recall`: long work, one PATH after the other, with one sum at the end.
 * Ctrl-C closes the connection, the daemon stops at the next file, and the sum says what was done
 * by then.
 */
#include "spillctl.h"

static const char *const counters[] = {"files_seen",   "files_done",   "files_skipped",
				       "files_busy",   "files_failed", "bytes_done",
				       "bytes_stored", "bytes_freed",  "files_pinned"};
enum { SEEN, DONE, SKIPPED, BUSY, FAILED, BYTES, STORED, FREED, PINNED, NCOUNTERS };

struct move {
	const struct cli *c;
	const char *mount;       /* of the current PATH */
	uint64_t sum[NCOUNTERS]; /* of the PATHs before */
	uint64_t cur[NCOUNTERS]; /* of the current one, as last heard */
	json_t *busy, *failed;   /* {path, error} of files */
	json_t *errors;          /* {path, error, code} of PATHs */
	struct progress progress;
	int code; /* of the last PATH that failed as a whole */
};

static void count(struct move *m, const json_t *o)
{
	for (size_t i = 0; i < NCOUNTERS; i++)
		m->cur[i] = jnum(o, counters[i]);
}

static void note(struct move *m, const json_t *ev)
{
	bool busy = !strcmp(jstr(ev, "errno"), "EBUSY");
	cleanup_free char *rel = NULL, *path = NULL;
	json_t *o = json_object();

	if (!ctl_name_get(ev, "path", &rel))
		path = path_of(m->mount, rel);
	progress_clear(&m->progress);
	warn("%s: %s", path ? path : "?", jstr(ev, "error"));
	ctl_name_put(o, "path", path ? path : "?");
	ctl_name_put(o, "error", jstr(ev, "error"));
	json_array_append_new(busy ? m->busy : m->failed, o);
}

static bool on_event(void *ctx, const json_t *ev)
{
	const char *kind = jstr(ev, "event");
	struct move *m = ctx;

	if (!strcmp(kind, "note")) {
		note(m, ev);
	} else if (!strcmp(kind, "progress")) {
		cleanup_free char *current = NULL;

		ctl_name_get(ev, "current", &current);
		count(m, ev);
		progress_show(&m->progress, m->sum[DONE] + m->cur[DONE],
			      m->sum[BYTES] + m->cur[BYTES], current ? current : "");
	}
	return !interrupted();
}

/* A PATH that failed as a whole, or stopped half-way. */
static void path_failed(struct move *m, const char *path, int code, const char *err)
{
	json_t *o = json_object();

	progress_clear(&m->progress);
	warn("%s", err);
	ctl_name_put(o, "path", path);
	ctl_name_put(o, "error", err);
	json_object_set_new(o, "code", json_integer(code));
	json_array_append_new(m->errors, o);
	m->code = code;
}

static int move_one(struct move *m, const char *arg)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL, *msg = NULL;
	json_t *o = NULL;
	int code = target_of_path(m->c, arg, &t, &err);

	if (code) {
		path_failed(m, arg, code, err ? err : "out of memory");
		return code;
	}
	m->mount = t.mount;
	code = request(t.mount, request_new(m->c->verb->name, t.rel), on_event, m, &o, &err);
	if (!code)
		count(m, o);
	for (size_t i = 0; i < NCOUNTERS; i++) {
		m->sum[i] += m->cur[i];
		m->cur[i] = 0;
	}
	if (!code && *jstr(o, "stopped")) {
		const char *why = jstr(o, "stopped"), *full = "";

		if (!strcmp(why, strerror(ENOSPC)))
			full = !strcmp(m->c->verb->name, "recall")
				       ? "; the hot tier has no room for more"
				       : "; the store has no room for more";
		code = EXIT_FAILED;
		if (asprintf(&err, "stopped: %s%s", why, full) < 0)
			err = NULL;
	}
	json_decref(o);
	if (code && code != EXIT_INTERRUPTED) {
		if (asprintf(&msg, "%s: %s", t.path, err ? err : "out of memory") < 0)
			msg = NULL;
		path_failed(m, t.path, code, msg ? msg : "out of memory");
	}
	return code;
}

static void print_sum(const struct move *m, bool stopped)
{
	bool recall = !strcmp(m->c->verb->name, "recall");
	bool spill = !strcmp(m->c->verb->name, "spill");

	printf("%s%s %s %s, %s", stopped ? "interrupted; " : "",
	       spill    ? "spilled"
	       : recall ? "recalled"
			: "premigrated",
	       fmt_count(m->sum[DONE]), m->sum[DONE] == 1 ? "file" : "files",
	       fmt_size(m->sum[BYTES]));
	if (!recall)
		printf(" -> %s stored", fmt_size(m->sum[STORED]));
	if (spill)
		printf(", freed %s", fmt_size(m->sum[FREED]));
	printf("; %s busy, %s failed", fmt_count(m->sum[BUSY]), fmt_count(m->sum[FAILED]));
	if (m->sum[PINNED])
		printf(", %s pinned (see spillctl pins)", fmt_count(m->sum[PINNED]));
	if (m->sum[SKIPPED])
		printf(", %s had nothing to do", fmt_count(m->sum[SKIPPED]));
	putchar('\n');
}

static json_t *sum_json(const struct move *m, bool stopped)
{
	json_t *o =
		json_pack("{s:s, s:b, s:O, s:O, s:O}", "verb", m->c->verb->name, "interrupted",
			  (int)stopped, "busy", m->busy, "failed", m->failed, "errors", m->errors);

	for (size_t i = 0; i < NCOUNTERS; i++)
		json_object_set_new(o, counters[i], json_integer((json_int_t)m->sum[i]));
	return o;
}

static int move(const struct cli *c, const char *what)
{
	struct move m = {
		.c = c, .busy = json_array(), .failed = json_array(), .errors = json_array()};
	bool stopped = false;
	int bad = 0, code;

	interrupt_catch();
	progress_init(&m.progress, c, what);
	for (int i = 0; i < c->argc && !stopped; i++) {
		code = move_one(&m, c->argv[i]);
		stopped = code == EXIT_INTERRUPTED || interrupted();
		bad += code != EXIT_OK;
	}
	progress_clear(&m.progress);
	if (c->json)
		print_json(sum_json(&m, stopped));
	else if (!c->quiet && (stopped || bad < c->argc || m.sum[SEEN]))
		print_sum(&m, stopped);

	if (stopped)
		code = EXIT_INTERRUPTED;
	else if (bad == c->argc && !m.sum[DONE])
		code = m.code;
	else if (bad || m.sum[BUSY] || m.sum[FAILED] || m.sum[PINNED])
		code = EXIT_PARTIAL;
	else
		code = EXIT_OK;
	json_decref(m.busy);
	json_decref(m.failed);
	json_decref(m.errors);
	return code;
}

int do_spill(const struct cli *c)
{
	return move(c, "spilling");
}

int do_premigrate(const struct cli *c)
{
	return move(c, "premigrating");
}

int do_recall(const struct cli *c)
{
	return move(c, "recalling");
}
