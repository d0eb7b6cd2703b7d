/* SPDX-License-Identifier: MIT
 * From the mount to its end.
 */
#ifndef SPILLFS_SERVE_H
#define SPILLFS_SERVE_H

#include "launch.h"
#include "start.h"
#include "supervise.h"

/* Serve the mount until it is unmounted or a signal says so; threads live only in here. 0: a clean
 * end, or s->again. -1 with *o: it never became usable (the mount is gone again, but for a resumed
 * one), or it broke. */
int serve(struct start *s, const struct life *l, struct report *rep, struct outcome *o);

#endif
