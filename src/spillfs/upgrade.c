/* SPDX-License-Identifier: MIT
 * A restart starts the binary that is installed now, which may be of another version.
 *
 *	daemon ends (EXIT_AGAIN)  ->  a child becomes the new binary, and its daemon
 *	it gets ready             ->  after a trial we become that binary ourselves, same pid
 *	it does not, or dies soon ->  a fork of ours serves on, as after any death
 *
 * So whatever the new binary is (missing, no program, of a version that does not understand us,
 * broken), there is a supervisor that holds everything and knows how to go on. The name is looked
 * up by the child: it may lie on the very mount that nobody serves at that moment.
 */
#include "supervise_int.h"

#include <stdio.h>
#include <sys/stat.h>

static struct handover what(const struct super *s, enum handover_role role)
{
	return (struct handover){
		.role = role,
		.dev_fd = s->life.dev_fd,
		.state_fd = s->life.state_fd,
		.keeper_fd = s->life.keeper_fd,
		.report_fd = -1,
		.keeper = -1,
		.main_pid = s->life.main_pid,
		.hangs = s->hangs,
		.orphans = s->life.orphans,
		.n_orphans = s->life.n_orphans,
		.exe = (char *)s->opts->exe,
		.dir = (char *)s->opts->dir,
		.store = (char *)s->opts->store,
	};
}

void upgrade_begin(struct super *s)
{
	fs_state_refused(s->life.state_fd, "");
}

void upgrade_refused(struct super *s, const char *why)
{
	char text[FS_REFUSED_MAX];

	snprintf(text, sizeof(text), "%s does not take the mount over: %s", s->opts->exe, why);
	log_err("%s; the old binary goes on", text);
	fs_state_refused(s->life.state_fd, text);
	s->trial = false;
}

/* May it get our descriptors and our rights? Whoever may change it could do anything with them. */
static bool trusted(const char *path)
{
	struct stat st;

	return !stat(path, &st) && (st.st_uid == 0 || st.st_uid == geteuid()) &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
}

void upgrade_child(struct super *s, int report_fd)
{
	struct handover h = what(s, HANDOVER_DAEMON);
	struct report rep = {.fd = report_fd};
	struct outcome o = {0};

	h.report_fd = report_fd;
	bool strange = !access(s->opts->exe, F_OK) && !trusted(s->opts->exe);
	int r = strange ? -EPERM : handover_write(&h);

	if (r >= 0)
		r = handover_exec(s->opts->exe, s->opts->argv, r);
	if (strange)
		outcome_set(&o, EXIT_MOUNT,
			    "it can be changed by others than root (chown root, chmod go-w)");
	else
		outcome_set(&o, EXIT_MOUNT, "cannot execute it: %s", strerror(-r));
	report_outcome(&rep, &o);
	_exit(EXIT_MOUNT);
}

void upgrade_follow(struct super *s)
{
	struct handover h = what(s, HANDOVER_SUPERVISOR);
	char path[32];

	s->trial = false;
	h.keeper = s->keeper;
	h.child = s->child;
	/* What the daemon is, whatever its name stands for by now. */
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)s->child);
	keep_receive(s);
	h.orphans = s->life.orphans;
	h.n_orphans = s->life.n_orphans;
	int fd = handover_write(&h), r = fd;

	if (fd >= 0)
		r = handover_exec(path, s->opts->argv, fd);
	handover_close_on_exec(&h, fd);
	log_err("the supervisor cannot become the new binary (%s) and stays what it is",
		strerror(-r));
}
