/* SPDX-License-Identifier: MIT
 * The supervisor: a process that holds what a mount needs to go on when its daemon dies, and starts
 * the next one. It does nothing else, so that nothing else can go wrong in it.
 */
#ifndef SPILLFS_SUPERVISE_H
#define SPILLFS_SUPERVISE_H

#include "launch.h"
#include "spill/fs.h"

/* What a daemon is given at its start. */
struct life {
	int dev_fd;    /* /dev/fuse, or -errno of opening it; stays the giver's */
	int state_fd;  /* fs_state_new */
	int keeper_fd; /* where descriptors go that must outlive the daemon (life_keep), -1: nowhere
			*/
	bool resume;   /* the mount is there, a daemon before us died */
	pid_t main_pid;            /* who is to be signalled to end the mount */
	struct fs_orphan *orphans; /* what came by life_keep before */
	size_t n_orphans;
	bool told; /* that one more cannot be kept: said once */
};

/* The body of a daemon. 0: a clean end; -1 with *o. May set *again: to be started once more, with
 * the mount left in place. */
typedef int (*life_fn)(void *ctx, const struct life *l, struct report *rep, struct outcome *o,
		       bool *again);

struct supervise_opts {
	bool on;         /* false: one life, in this process */
	bool foreground; /* leave stdio alone */
	/* For a restart, which starts the binary that is there then: the name of ours, its
	 * arguments, and what they name. Absolute. */
	const char *exe;
	char *const *argv;
	const char *dir, *store;
	/* No daemon will come: take our mount (the device number's minor) away. */
	void (*give_up)(void *ctx, unsigned dev_minor);
};
/* Run fn until it ends by itself; after a death start it anew. As launch_fn. */
int supervise(const struct supervise_opts *s, life_fn fn, void *ctx, struct report *rep,
	      struct outcome *o);
struct handover;
/* In a binary that was started to go on for another one: as its daemon (does not return), or in
 * the supervisor's place. The descriptors of h, and its orphans, are taken. */
_Noreturn void supervised_life(const struct handover *h, bool foreground, life_fn fn, void *ctx);
int supervise_on(const struct supervise_opts *s, struct handover *h, life_fn fn, void *ctx,
		 struct outcome *o);
/* tier_orphan_fn; ctx is the struct life. */
void life_keep(void *ctx, uint64_t nodeid, int fd);

#endif
