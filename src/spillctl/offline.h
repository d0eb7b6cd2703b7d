/* SPDX-License-Identifier: MIT
 * A store and its hot tier without a daemon (check_offline.c); private to spillctl.
 */
#ifndef SPILLCTL_OFFLINE_H
#define SPILLCTL_OFFLINE_H

#include "spillctl.h"

struct offline {
	int lock_fd, hot_fd; /* -1 */
	struct store *store;
	struct index *ix;
	struct hot *hot;
};
/* Read-only, with a shared lock on STORE held until offline_done. An exit code, already said. */
int offline_store(const struct cli *c, const char *store, struct offline *o);
int offline_hot(const struct cli *c, const char *dir, struct offline *o);
void offline_done(struct offline *o);

#endif
