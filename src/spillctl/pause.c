/* SPDX-License-Identifier: MIT
 * `pause`, `resume`, `wait`: hold automatic spilling, let it go, wait for it.
 */
#include "spillctl.h"

#include "spill/config.h"
#include <time.h>

#define STEP_MS 200

/* DURATION as seconds, at least one. */
static bool duration(const struct cli *c, const char *option, const char *text, uint64_t *ret,
		     int *ret_code)
{
	if (!config_parse_age(text, ret) && *ret && *ret <= INT32_MAX)
		return true;
	*ret_code = fail(c, EXIT_USAGE, "%s %s: not a duration such as 30s, 5m, 1h or 2d", option,
			 text);
	return false;
}

static int ask(const struct cli *c, json_t *req, json_t **ret)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	int code = target_mount(c, &t, &err);

	if (code)
		json_decref(req);
	else
		code = request(t.mount, req, NULL, NULL, ret, &err);
	return code ? fail(c, code, "%s", err ? err : "out of memory") : EXIT_OK;
}

int do_pause(const struct cli *c)
{
	json_t *req = request_new("pause", ""), *o = NULL;
	uint64_t sec = 0;
	int code;

	if (c->for_time && !duration(c, "--for", c->for_time, &sec, &code)) {
		json_decref(req);
		return code;
	}
	if (sec)
		json_object_set_new(req, "seconds", json_integer((json_int_t)sec));
	code = ask(c, req, &o);
	if (code)
		return code;
	if (c->json) {
		print_json(o);
		return EXIT_OK;
	}
	if (!c->quiet && !json_is_true(json_object_get(o, "auto_spill")))
		puts("paused (automatic spilling is off anyway: auto=off)");
	else if (!c->quiet && sec)
		printf("paused for %s; then spilling goes on by itself\n", fmt_span(sec));
	else if (!c->quiet)
		puts("paused until spillctl resume; a full disk is full meanwhile");
	json_decref(o);
	return EXIT_OK;
}

int do_resume(const struct cli *c)
{
	json_t *o = NULL;
	int code = ask(c, request_new("resume", ""), &o);

	if (code)
		return code;
	if (c->json) {
		print_json(o);
		return EXIT_OK;
	}
	if (!c->quiet && !json_is_true(json_object_get(o, "auto_spill")))
		puts("not paused, but automatic spilling is off (auto=off)");
	else if (!c->quiet)
		puts(json_is_true(json_object_get(o, "was_paused")) ? "spilling goes on"
								    : "it was not paused");
	json_decref(o);
	return EXIT_OK;
}

/* ---- wait
 * ---------------------------------------------------------------------------------------------- */

struct waiting {
	const struct cli *c;
	uint64_t below; /* percent; 0: for idleness */
};

/* What one answer says: 1 that is it, 0 not yet, -1 it will not come (*ret_why). */
static int look(const struct waiting *w, const json_t *o, const char **ret_why)
{
	if (!w->below)
		return !json_is_true(json_object_get(o, "busy"));
	if (jnum(o, "used_percent") < w->below)
		return 1;
	if (json_is_true(json_object_get(o, "busy")))
		return 0;
	if (!json_is_true(json_object_get(o, "auto_spill")))
		*ret_why = "automatic spilling is off (auto=off)";
	else if (json_is_true(json_object_get(o, "paused")) && !jnum(o, "paused_until"))
		*ret_why = "spilling is paused (spillctl resume)";
	else if (json_is_true(json_object_get(o, "frozen")))
		*ret_why = "spilling is frozen (spillctl check)";
	return *ret_why ? -1 : 0;
}

static int waited(const struct waiting *w, int code, const json_t *o, const char *why)
{
	const struct cli *c = w->c;
	const char *parked = jstr(o, "parked");
	unsigned used = (unsigned)jnum(o, "used_percent");

	if (code == EXIT_FAILED)
		return fail(c, code, "the hot tier is at %u%%, and %s", used, why);
	if (code == EXIT_TIMEOUT)
		return fail(c, code, "not yet: the hot tier is at %u%%%s%s%s", used,
			    json_is_true(json_object_get(o, "busy")) ? ", work is going on" : "",
			    *parked ? "; spilling stands still: " : "", parked);
	if (c->json)
		print_json(json_pack("{s:i, s:b, s:O?}", "used_percent", (int)used, "busy",
				     (int)json_is_true(json_object_get(o, "busy")), "parked",
				     json_object_get(o, "parked")));
	else if (*parked && !w->below && !c->quiet) /* idle, but not done */
		printf("the hot tier is at %u%%; spilling stands still: %s\n", used, parked);
	return code;
}

int do_wait(const struct cli *c)
{
	struct waiting w = {.c = c};
	uint64_t limit = 0, until;
	json_t *o = NULL;
	int code = EXIT_USAGE, r = 0;
	char *end;

	if (c->timeout && !duration(c, "--timeout", c->timeout, &limit, &code))
		return code;
	if (c->below) {
		w.below = strtoul(c->below, &end, 10);
		if (*end == '%')
			end++;
		if (end == c->below || *end || w.below < 1 || w.below > 100)
			return fail(c, EXIT_USAGE, "--below %s: not a percentage from 1 to 100",
				    c->below);
	}
	interrupt_catch();
	until = clock_mono_ns() + limit * UINT64_C(1000000000);
	for (;;) {
		const char *why = NULL;

		code = ask(c, request_new("status", ""), &o);
		if (code)
			return code;
		r = look(&w, o, &why);
		if (r || interrupted() || (limit && clock_mono_ns() >= until)) {
			code = r > 0 ? EXIT_OK : r < 0 ? EXIT_FAILED : EXIT_TIMEOUT;
			code = !r && interrupted() ? EXIT_INTERRUPTED : waited(&w, code, o, why);
			json_decref(o);
			return code;
		}
		json_decref(o);
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000}, NULL);
	}
}
