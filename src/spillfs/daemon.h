/* SPDX-License-Identifier: MIT
 * What one daemon is made of, as far as the control verbs need to know. Built in main, lives until
 * the control server has stopped.
 */
#ifndef SPILLFS_DAEMON_H
#define SPILLFS_DAEMON_H

#include "spill/config.h"
#include "spill/ctl.h"
#include "spill/fs.h"
#include "spill/tier.h"

struct daemon {
	struct tier *tier;
	struct fs *fs;
	const struct config *cfg;
	struct ctl_server *ctl;
	/* Hand the mount over to a new daemon; false: there is no supervisor to start one. */
	bool (*restart)(struct daemon *d);
	uint64_t start_mono_ns; /* when the mount was made */
};

/* The control verbs; their ctx is the struct daemon. Ends with a NULL name. */
const struct ctl_verb *daemon_verbs(void);

#endif
