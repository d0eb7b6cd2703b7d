/* SPDX-License-Identifier: MIT
 * spillfs, also as mount.spillfs: read the command line, check, and launch the daemon. Exit codes:
 * exit.h.
 */
#include "args.h"
#include "launch.h"
#include "serve.h"
#include "start.h"
#include "supervise.h"
#include "spill/durable.h"
#include "spill/mnt.h"
#include "spill/version.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>

/* Everything from the guard on: one daemon. */
static int daemon_main(void *ctx, const struct life *l, struct report *rep, struct outcome *o,
		       bool *again)
{
	struct start *s = ctx;
	cleanup_free char *dir = strdup(s->cfg->dir);
	bool guarded;
	int r;

	r = l->resume ? start_below(s, o) : start_guard(s, o);
	if (!r && getenv("SPILLFS_FAULT_EARLY"))
		durable_arm();
	if (!r)
		r = start_tiers(s, o);
	if (!r) {
		launch_point_of_no_return();
		r = l->resume ? 0 : start_mount(s, l->dev_fd, o);
	}
	if (!r)
		r = serve(s, l, rep, o);
	*again = s->again;
	guarded = s->guarded;
	start_done(s);
	/* The last act: whoever waits for this file to go knows that the store is closed. */
	if (dir && guarded && !*again && !(l->resume && r < 0))
		mnt_run_put(dir, "pid", NULL);
	if (r < 0 && guarded && !l->resume) {
		size_t len = strlen(o->msg);

		snprintf(o->msg + len, sizeof(o->msg) - len,
			 " (%s stays under a read-only guard; spillctl unguard removes it)",
			 dir ? dir : "DIR");
	}
	return r;
}

/* The mount leaves the tree, if it is still ours; what it covered is the guard. */
static void give_up(void *ctx, unsigned dev_minor)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	struct start *s = ctx;
	const struct mnt_entry *e = mnt_table_read(&t) < 0 ? NULL : mnt_top(&t, s->cfg->dir);

	if (!e || strcmp(e->fstype, SPILLFS_FSTYPE) != 0 || e->dev_minor != dev_minor)
		return;
	if (umount2(s->cfg->dir, MNT_DETACH | UMOUNT_NOFOLLOW))
		log_err("%s: umount: %s", s->cfg->dir, strerror(errno));
	mnt_run_put(s->cfg->dir, "pid", NULL);
}

static int supervised(void *ctx, struct report *rep, struct outcome *o)
{
	const struct start *s = ctx;
	const struct supervise_opts opts = {
		.on = s->cfg->supervisor,
		.foreground = s->args->foreground,
		.give_up = give_up,
	};

	return supervise(&opts, daemon_main, ctx, rep, o);
}

/* One line, whatever a path holds. */
static void speak(const char *program, const char *msg)
{
	fprintf(stderr, "%s: ", program);
	for (; *msg; msg++)
		fputc((unsigned char)*msg < ' ' || *msg == 0x7f ? '?' : *msg, stderr);
	fputc('\n', stderr);
}

/* 0, 1 and 2 are open in what follows, so that no file of ours gets their numbers. */
static void fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

static int command_line(int argc, char **argv, struct args *a, struct config *cfg,
			struct outcome *o)
{
	cleanup_free char *msg = NULL;
	int r = args_parse(argc, argv, a, cfg, &msg);

	if (!r && !a->help && !a->version)
		r = config_validate(cfg, &msg);
	if (r < 0)
		return outcome_set(o, r == -ENOMEM ? EXIT_SYSTEM : EXIT_USAGE, "%s",
				   msg ? msg : strerror(-r));
	return 0;
}

int main(int argc, char **argv)
{
	struct outcome o = {0};
	struct config cfg;
	struct args a;
	struct start s = {.args = &a, .cfg = &cfg, .hot_fd = -1};
	int r;

	fill_stdio();
	config_init(&cfg);
	r = command_line(argc, argv, &a, &cfg, &o);
	if (!r && a.help) {
		args_usage(&a);
	} else if (!r && a.version) {
		printf("spillfs %s\n", SPILLFS_VERSION);
	} else if (!r) {
		log_init("spillfs", LOG_L_INFO, false);
		r = start_check(&s, &o);
		if (!r && !s.already && !a.fake)
			launch(a.foreground, cfg.debug, supervised, &s, &o);
	}
	if (o.msg[0])
		speak(a.program, o.msg);
	config_done(&cfg);
	return o.code;
}
