/* SPDX-License-Identifier: MIT
 * `status`: both tiers on one screen.
 */
#include "spillctl.h"

#include "spill/version.h"

static unsigned percent(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned)((double)part * 100 / (double)whole + 0.5) : 0;
}

static void print_space(const json_t *o)
{
	const json_t *hot = json_object_get(o, "hot"), *back = json_object_get(o, "backing");
	const json_t *seen = json_object_get(o, "statfs"), *wm = json_object_get(o, "watermarks");
	uint64_t total = jnum(hot, "total_bytes"), used = jnum(hot, "used_bytes");
	unsigned pc = (unsigned)jnum(o, "used_percent"); /* what the watermarks go by */
	uint64_t inodes = jnum(hot, "inodes_total");

	printf("  hot tier   %s of %s used (%u%%), %s free", fmt_size(used), fmt_size(total), pc,
	       fmt_size(jnum(hot, "free_bytes")));
	if (inodes)
		printf("; inodes %u%% used", percent(inodes - jnum(hot, "inodes_free"), inodes));
	printf("\n             spills from %llu%% down to %llu%%, critical at %llu%%; automatic: "
	       "%s\n",
	       (unsigned long long)jnum(wm, "high"), (unsigned long long)jnum(wm, "low"),
	       (unsigned long long)jnum(wm, "critical"),
	       json_is_true(json_object_get(o, "auto_spill")) ? "on" : "off");
	printf("  store      ");
	put_safe(stdout, jstr(o, "store"));
	printf("\n             %s stored, index %s; %s free of %s\n",
	       fmt_size(jnum(back, "stored_bytes")), fmt_size(jnum(back, "index_bytes")),
	       fmt_size(jnum(back, "free_bytes")), fmt_size(jnum(back, "total_bytes")));
	printf("  df shows   %s, %s available\n", fmt_size(jnum(seen, "total_bytes")),
	       fmt_size(jnum(seen, "available_bytes")));
}

static void print_files(const json_t *o)
{
	const json_t *files = json_object_get(o, "files");
	uint64_t logical = jnum2(o, "bytes", "spilled_logical");
	uint64_t stored = jnum2(o, "backing", "stored_bytes");

	printf("  files      ");
	if (json_is_integer(json_object_get(files, "resident")))
		printf("%s resident, ", fmt_count(jnum(files, "resident")));
	printf("%s premigrated (%s), %s spilled", fmt_count(jnum(files, "premigrated")),
	       fmt_size(jnum2(o, "bytes", "premigrated")), fmt_count(jnum(files, "spilled")));
	if (jnum(files, "partial"))
		printf(", %s partial", fmt_count(jnum(files, "partial")));
	printf("; %s open\n", fmt_count(jnum(o, "files_open")));
	printf("  spilled    %s in %s objects", fmt_size(logical), fmt_count(jnum(o, "objects")));
	/* What is stored is copies of premigrated files, too. */
	if (logical && stored)
		printf(", stored at %u%% of its size",
		       percent(stored, logical + jnum2(o, "bytes", "premigrated")));
	printf("\n  daemon     %s spilled, %s recalled since it started\n",
	       fmt_size(jnum2(o, "bytes", "spilled_since_mount")),
	       fmt_size(jnum2(o, "bytes", "recalled_since_mount")));
}

static void print_requests(const json_t *o)
{
	const json_t *v, *reqs = json_object_get(o, "requests");
	const char *key;
	uint64_t sum = 0;

	json_object_foreach ((json_t *)reqs, key, v)
		sum += json_is_integer(v) ? (uint64_t)json_integer_value(v) : 0;
	printf("  kernel     %s requests; passthrough %s", fmt_count(sum),
	       json_is_true(json_object_get(o, "passthrough")) ? "on" : "off");
	if (jnum(o, "daemons") > 1)
		printf("; daemon no. %s, %s requests taken over", fmt_count(jnum(o, "daemons")),
		       fmt_count(jnum(o, "requests_again")));
	putchar('\n');
}

static void print_pins(const json_t *o)
{
	const json_t *pins = json_object_get(o, "pins");

	if (!jnum(pins, "count"))
		return;
	printf("  pinned     %s %s", fmt_count(jnum(pins, "count")),
	       jnum(pins, "count") == 1 ? "path" : "paths");
	if (json_is_integer(json_object_get(pins, "hot_bytes")))
		printf(", %s in the hot tier", fmt_size(jnum(pins, "hot_bytes")));
	putchar('\n');
}

static void print_pause(const json_t *o)
{
	uint64_t until = jnum(o, "paused_until"), now = (uint64_t)time(NULL);

	printf("  PAUSED     nothing is spilled by itself ");
	if (until)
		printf("for another %s; spillctl resume ends it\n",
		       fmt_span(until > now ? until - now : 0));
	else
		printf("until spillctl resume\n");
}

/* What needs somebody's attention, or one line that nothing does. */
static void print_trouble(const json_t *o)
{
	const char *parked = jstr(o, "parked"), *refused = jstr(o, "upgrade_refused");
	uint64_t errors = jnum(o, "errors"), killers = jnum(o, "requests_refused");
	uint64_t silent = jnum(json_object_get(o, "backing"), "silent_sec");
	bool frozen = json_is_true(json_object_get(o, "frozen"));
	bool paused = json_is_true(json_object_get(o, "paused"));
	bool pinned = json_is_true(json_object_get(json_object_get(o, "pins"), "above_low"));

	if (frozen)
		printf("  FROZEN     one tier was rolled back or restored: nothing is spilled or "
		       "freed until\n"
		       "             a check has passed\n");
	if (silent > 1)
		printf("  STORE      has not answered for %s s\n", fmt_count(silent));
	if (paused)
		print_pause(o);
	if (pinned)
		printf("  PINNED     more than the low mark of %llu%%: spilling cannot get there; "
		       "see "
		       "spillctl pins\n",
		       (unsigned long long)jnum2(o, "watermarks", "low"));
	if (*parked && !paused) {
		printf("  PARKED     ");
		put_safe(stdout, parked);
		putchar('\n');
	}
	if (errors)
		printf("  ERRORS     %s reads refused, as the data could not be proved right; run "
		       "check\n",
		       fmt_count(errors));
	if (*refused) {
		printf("  UPGRADE    ");
		put_safe(stdout, refused);
		putchar('\n');
	}
	if (killers)
		printf("  CRASHES    %s requests answered with an I/O error, as daemons died over "
		       "them\n",
		       fmt_count(killers));
	if (!frozen && !*parked && !errors && !*refused && !killers && !paused && !pinned &&
	    silent <= 1)
		printf("  trouble    none\n");
}

int do_status(const struct cli *c)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	struct cli with_dir = *c;
	json_t *o;
	int code;

	if (c->argc && c->mount)
		return fail(c, EXIT_USAGE, "-m and %s: one of the two, please", c->argv[0]);
	if (c->argc)
		with_dir.mount = c->argv[0];
	code = target_mount(&with_dir, &t, &err);
	if (!code)
		code = request(t.mount, request_new("status", ""), NULL, NULL, &o, &err);
	if (code)
		return fail(c, code, "%s", err ? err : "out of memory");
	kubelet_add(o);
	if (c->json) {
		print_json(o);
		return EXIT_OK;
	}
	put_safe(stdout, t.mount);
	printf("  spillfs ");
	put_safe(stdout, jstr(o, "version"));
	printf(", daemon started %s ago, pid %llu\n", fmt_span(jnum(o, "uptime_sec")),
	       (unsigned long long)jnum(o, "pid"));
	print_space(o);
	anchor_print(o);
	kubelet_print(o);
	print_files(o);
	print_requests(o);
	print_pins(o);
	print_trouble(o);
	printf("  options    ");
	put_safe(stdout, jstr(o, "options"));
	putchar('\n');
	json_decref(o);
	return EXIT_OK;
}

int do_version(const struct cli *c)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	json_t *daemon = NULL;

	/* Only a daemon that was asked for must answer. */
	int code = target_mount(c, &t, &err);
	if (!code)
		code = request(t.mount, request_new("version", ""), NULL, NULL, &daemon, &err);
	if (code && c->mount)
		return fail(c, code, "%s", err ? err : "out of memory");
	if (c->json) {
		print_json(json_pack("{s:s, s:i, s:o}", "version", SPILLFS_VERSION, "protocol",
				     SPILLFS_CTL_PROTOCOL, "daemon",
				     daemon ? daemon : json_null()));
		return EXIT_OK;
	}
	printf("spillctl %s\n", SPILLFS_VERSION);
	if (daemon) {
		printf("spillfs ");
		put_safe(stdout, jstr(daemon, "version"));
		printf(" at ");
		put_safe(stdout, t.mount);
		putchar('\n');
	}
	json_decref(daemon);
	return EXIT_OK;
}
