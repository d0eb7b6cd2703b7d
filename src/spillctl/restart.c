/* SPDX-License-Identifier: MIT
 * `restart`: the daemon hands its mount over to a new one; whoever uses files waits for a moment.
 */
#include "spillctl.h"

#include <time.h>

#define WAIT_MS 60000
#define STEP_MS 20

/* The daemon's pid, 0: none answers. */
static uint64_t pid_of(const struct target *t)
{
	cleanup_free char *err = NULL;
	json_t *o = NULL;
	uint64_t pid = 0;

	if (!request(t->mount, request_new("status", ""), NULL, NULL, &o, &err))
		pid = jnum(o, "pid");
	json_decref(o);
	return pid;
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
	uint64_t before = code ? 0 : pid_of(&t), now = 0;

	if (!code)
		code = request(t.mount, request_new("restart", ""), NULL, NULL, &o, &err);
	if (code)
		return fail(c, code, "%s", err ? err : "out of memory");
	json_decref(o);
	for (unsigned ms = 0; ms < WAIT_MS && (!now || now == before); ms += STEP_MS) {
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000}, NULL);
		now = pid_of(&t);
	}
	if (!now || now == before)
		return fail(c, EXIT_NO_DAEMON,
			    "no new daemon has answered for %d s; look at the system log",
			    WAIT_MS / 1000);
	if (c->json) {
		print_json(json_pack("{s:I, s:I}", "pid", (json_int_t)now, "pid_before",
				     (json_int_t)before));
	} else if (!c->quiet) {
		put_safe(stdout, t.mount);
		printf("  pid %llu\n", (unsigned long long)now);
	}
	return EXIT_OK;
}
