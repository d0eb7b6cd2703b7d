/* SPDX-License-Identifier: MIT
 * The supervisor's state; private to supervise.c, keep.c and upgrade.c.
 */
#ifndef SPILLFS_SUPERVISE_INT_H
#define SPILLFS_SUPERVISE_INT_H

#include "supervise.h"
#include "handover.h"

struct super {
	const struct supervise_opts *opts;
	struct life life;
	int keeper, signals; /* our end of keeper_fd; signalfd */
	pid_t child;
	int child_fd; /* pidfd */
	int launcher; /* the pipe to whoever started us, until it has been told */
	unsigned short_lives;
	uint64_t progress, since_ns; /* as last seen, and since when it stands there */
	int asked;                   /* the last signal to end */
	pid_t asked_pid; /* the daemon that heard of it; the next one must hear of it too */
	unsigned hangs;
	bool told_stuck;
	unsigned slow_starts; /* daemons in a row that were ended before they served */
	bool hung;            /* we ended the daemon for it */
	uint64_t refusals;    /* of requests that killed daemons, as last seen */
	bool trial;           /* the daemon is of a binary that was started for a restart */
	uint64_t ready_ns;    /* since when it serves */
};

/* keep.c: what the daemon has sent meanwhile */
void keep_receive(struct super *s);

/* upgrade.c: see there */
void upgrade_begin(struct super *s);
_Noreturn void upgrade_child(struct super *s, int report_fd);
void upgrade_refused(struct super *s, const char *why);
void upgrade_follow(struct super *s);

#endif
