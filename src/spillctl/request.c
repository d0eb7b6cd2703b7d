/* SPDX-License-Identifier: MIT
 * One request to a daemon, with every failure as an exit code and a sentence.
 */
#include "spillctl.h"

#include "spill/mnt.h"
#include <signal.h>

#define SHORT_SEC 10

static volatile sig_atomic_t interrupt_seen;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupt_seen = 1;
}

void interrupt_catch(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGINT, &sa, NULL);
}

bool interrupted(void)
{
	return interrupt_seen;
}

json_t *request_new(const char *verb, const char *rel)
{
	json_t *req = json_pack("{s:s}", "verb", verb);

	if (req && !ctl_name_put(req, "path", rel))
		return req;
	json_decref(req);
	return NULL;
}

bool collect_entries(void *ctx, const json_t *ev)
{
	json_t *entries = json_object_get(ev, "entries");

	if (json_is_array(entries))
		json_array_extend(*(json_t **)ctx, entries);
	return true;
}

/* Nobody answers at the socket of mount: why? */
static char *no_daemon(const char *mount)
{
	enum mnt_state state = MNT_BARE;
	const char *why = "it is not a spillfs mount";
	char *msg;
	int err = mnt_probe(mount, &state, NULL);

	if (err == -ETIMEDOUT)
		why = "its daemon does not answer";
	else if (err < 0)
		why = strerror(-err);
	else if (state == MNT_GUARDED)
		why = "nothing is mounted there now; the guard keeps it closed";
	else if (state == MNT_DEAD)
		why = "its daemon is gone; mount it again";
	else if (state == MNT_LIVE)
		why = "it is mounted, but its control socket does not answer";
	return asprintf(&msg, "%s: %s", mount, why) < 0 ? NULL : msg;
}

/* Answered from memory: a daemon that takes long over it is stopped or stuck. */
static bool is_short(const json_t *req)
{
	const char *verb = json_string_value(json_object_get(req, "verb"));

	return verb && (!strcmp(verb, "status") || !strcmp(verb, "version"));
}

/* Takes req. 0 or -errno, as ctl_call; limit in seconds, 0: none. */
static int call(const char *mount, json_t *req, unsigned limit, ctl_progress_fn fn, void *ctx,
		json_t **ret, char **ret_err, int *ret_code)
{
	cleanup_free char *run = mnt_run_dir(mount), *sock = NULL;
	int err = -ENOMEM;

	if (run && req && asprintf(&sock, "%s/sock", run) >= 0)
		err = ctl_call(sock, req, limit, fn, ctx, ret, ret_err, ret_code);
	json_decref(req);
	return err;
}

int request_at(const char *sock, json_t *req, json_t **ret)
{
	cleanup_free char *text = NULL;
	int code,
		err = req ? ctl_call(sock, req, SHORT_SEC, NULL, NULL, ret, &text, &code) : -ENOMEM;

	json_decref(req);
	return err;
}

int request_ping(const char *mount, char **ret_err)
{
	enum mnt_state state = MNT_BARE;
	cleanup_free char *text = NULL;
	json_t *o = NULL;
	int code, err;

	err = call(mount, request_new("version", ""), SHORT_SEC, NULL, NULL, &o, &text, &code);
	json_decref(o);
	/* One that has all its connections in use serves the mount all the same: wait for it. */
	if (err != -ETIMEDOUT || mnt_probe(mount, &state, NULL) != -ETIMEDOUT)
		return EXIT_OK;
	if (asprintf(ret_err, "%s: its daemon does not answer", mount) < 0)
		*ret_err = NULL;
	return EXIT_NO_DAEMON;
}

int request(const char *mount, json_t *req, ctl_progress_fn fn, void *ctx, json_t **ret,
	    char **ret_err)
{
	unsigned limit = is_short(req) ? SHORT_SEC : 0;
	int code = EXIT_SYSTEM, err;

	*ret_err = NULL;
	err = call(mount, req, limit, fn, ctx, ret, ret_err, &code);
	switch (err) {
	case 0:
		return EXIT_OK;
	case -EREMOTEIO:
		return code > 0 && code < 126 ? code : EXIT_FAILED;
	case -EINTR:
		return EXIT_INTERRUPTED;
	case -ENOENT:
	case -ENOTDIR:
	case -ECONNREFUSED:
	case -ETIMEDOUT:
		*ret_err = no_daemon(mount);
		return EXIT_NO_DAEMON;
	case -EACCES:
	case -EPERM:
		*ret_err = strdup("permission denied; spillctl must run as root");
		return EXIT_SYSTEM;
	case -ECONNRESET:
		*ret_err = strdup("the daemon went away before it had answered");
		return EXIT_NO_DAEMON;
	}
	if (asprintf(ret_err, "control socket: %s", strerror(-err)) < 0)
		*ret_err = NULL;
	return err == -ENOMEM ? EXIT_SYSTEM : EXIT_NO_DAEMON;
}
