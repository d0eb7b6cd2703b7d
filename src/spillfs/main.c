/* SPDX-License-Identifier: MIT
 * spillfs, also as mount.spillfs: read the command line, check, and launch the daemon. Exit codes:
 * exit.h.
 */
#include "args.h"
#include "handover.h"
#include "launch.h"
#include "paths.h"
#include "serve.h"
#include "start.h"
#include "supervise.h"
#include "spill/durable.h"
#include "spill/mnt.h"
#include "spill/version.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
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
			 " (%s stays under a read-only guard, which spillctl unguard removes if "
			 "nothing is spilled)",
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

static struct supervise_opts supervise_opts_of(const struct start *s)
{
	return (struct supervise_opts){
		.on = s->cfg->supervisor,
		.foreground = s->args->foreground,
		.exe = s->args->exe,
		.argv = s->args->argv,
		.dir = s->cfg->dir,
		.store = s->cfg->store,
		.give_up = give_up,
	};
}

static int supervised(void *ctx, struct report *rep, struct outcome *o)
{
	const struct supervise_opts opts = supervise_opts_of(ctx);

	return supervise(&opts, daemon_main, ctx, rep, o);
}

/* A binary before us ended for this one, see upgrade.c. */
static int go_on(struct start *s, struct handover *h, struct outcome *o)
{
	s->cfg->dir = steal_ptr(h->dir);
	s->cfg->store = steal_ptr(h->store);
	launch_again(s->args->foreground, s->cfg->debug);
	if (fs_state_check(h->state_fd) < 0)
		return outcome_set(
			o, EXIT_USAGE,
			"the open files of a running mount are of a version that %s does "
			"not understand: umount and mount again to use it",
			SPILLFS_VERSION);
	if (h->role == HANDOVER_DAEMON)
		supervised_life(h, s->args->foreground, daemon_main, s);
	const struct supervise_opts opts = supervise_opts_of(s);

	return supervise_on(&opts, h, daemon_main, s, o);
}

/* By which name we were started: an upgrade is what that name stands for later. */
static char *own_name(void)
{
	const char *name = (const char *)getauxval(AT_EXECFN);
	char *abs = NULL;

	if (!name || !strncmp(name, "/proc/", 6) || !strncmp(name, "/dev/fd/", 8) ||
	    path_absolute(name, &abs) < 0)
		return realpath("/proc/self/exe", NULL);
	return abs;
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
	int from = handover_wanted(&argc, argv);
	cleanup_(handover_done) struct handover h = {.report_fd = -1};
	int told = from < 0 ? 0 : handover_read(from, &h);
	cleanup_free char *exe = h.exe ? steal_ptr(h.exe) : own_name();

	r = command_line(argc, argv, &a, &cfg, &o);
	a.argv = argv;
	a.exe = exe;
	if (told < 0)
		r = outcome_set(&o, EXIT_USAGE,
				"the hand-over of another version is not understood");
	else if (!r && !exe)
		r = outcome_set(&o, EXIT_SYSTEM, "out of memory");
	if (from >= 0) {
		struct report rep = {.fd = h.report_fd};

		r = r ? r : go_on(&s, &h, &o);
		if (r < 0 && rep.fd < 0)
			log_err("%s", o.msg);
		if (r < 0)
			report_outcome(&rep, &o);
		config_done(&cfg);
		return o.code;
	}
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
