/* SPDX-License-Identifier: MIT
 * `restart`: the daemon hands its mount over to a new one, of the binary that is installed now;
 * whoever uses files waits for a moment.
 */
#include "spillctl.h"

#include <time.h>

#define WAIT_MS                                                                                    \
	180000 /* more than the daemon and its supervisor take at most (serve.c, supervise.c) */
#define STEP_MS 20

/* What the daemon says of itself (caller unrefs), NULL: none answers. */
static json_t *ask(const struct target *t, uint64_t *ret_pid)
{
	cleanup_free char *err = NULL;
	json_t *o = NULL;

	*ret_pid = 0;
	if (request(t->mount, request_new("status", ""), NULL, NULL, &o, &err))
		return NULL;
	*ret_pid = jnum(o, "pid");
	return o;
}

int do_restart(const struct cli *c)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	struct cli with_dir = *c;
	json_t *o = NULL;

	if (c->argc && c->mount)
		return fail(c, EXIT_USAGE, "-m and %s: one of the two, please", c->argv[0]);
	if (c->argc)
		with_dir.mount = c->argv[0];
	int code = target_mount(&with_dir, &t, &err);
	uint64_t before = 0, now = 0;

	if (!code)
		json_decref(ask(&t, &before));
	if (!code)
		code = request(t.mount, request_new("restart", ""), NULL, NULL, &o, &err);
	if (code)
		return fail(c, code, "%s", err ? err : "out of memory");
	json_decref(o);
	o = NULL;
	for (unsigned ms = 0; ms < WAIT_MS && (!now || now == before); ms += STEP_MS) {
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000}, NULL);
		json_decref(o);
		o = ask(&t, &now);
	}
	if (!now || now == before) {
		json_decref(o);
		return fail(c, EXIT_NO_DAEMON,
			    "no new daemon has answered for %d s; look at the system log",
			    WAIT_MS / 1000);
	}
	cleanup_free char *refused = strdup(jstr(o, "upgrade_refused"));
	cleanup_free char *version = strdup(jstr(o, "version"));

	json_decref(o);
	if (!refused || !version)
		return fail(c, EXIT_SYSTEM, "out of memory");
	if (*refused)
		return fail(c, EXIT_NOT_UPGRADED,
			    "the mount is served, but by the old binary (version %s): %s", version,
			    refused);
	if (c->json) {
		print_json(json_pack("{s:I, s:I, s:s}", "pid", (json_int_t)now, "pid_before",
				     (json_int_t)before, "version", version));
	} else if (!c->quiet) {
		put_safe(stdout, t.mount);
		printf("  spillfs ");
		put_safe(stdout, version);
		printf(", pid %llu\n", (unsigned long long)now);
	}
	return EXIT_OK;
}
