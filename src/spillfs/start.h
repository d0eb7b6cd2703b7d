/* SPDX-License-Identifier: MIT
 * The order of a start, and its reverse. Each step fails with an outcome of its own; from
 * start_guard on, DIR is covered whatever happens.
 */
#ifndef SPILLFS_START_H
#define SPILLFS_START_H

#include "args.h"
#include "outcome.h"
#include "spill/hot.h"
#include "spill/index.h"
#include "spill/store.h"
#include "spill/tier.h"

/* Everything a daemon holds; zeroed (fds -1) at first, taken down by start_done in any state. */
struct start {
	const struct args *args;
	struct config *cfg;
	bool guarded; /* the guard is up: failures say so */
	bool again;   /* asked to end for another daemon: the mount stays */
	bool already; /* check found the wanted mount in place: nothing to do */
	int hot_fd;
	struct hot *hot;
	struct store *store;
	struct index *ix;
	struct tier *tier;
	char *source; /* what the mount table will show */
};

/* What can be said without changing anything: names, nesting, what is mounted where. */
int start_check(struct start *s, struct outcome *o);
int start_guard(struct start *s, struct outcome *o);
/* Part of start_guard: what the mount table will show, by kubelet=. */
int start_source(struct start *s, struct outcome *o);
/* Hot tier, store, index, tier. Makes a new store in an empty directory. */
int start_tiers(struct start *s, struct outcome *o);
/* In place of start_guard, below a mount whose daemon died: nothing of it is asked. */
int start_below(struct start *s, struct outcome *o);
/* Mount on the open /dev/fuse dev_fd (or -errno: it could not be opened). */
int start_mount(struct start *s, int dev_fd, struct outcome *o);
/* tier, index, store, hot: close what is open. */
void start_done(struct start *s);

#endif
