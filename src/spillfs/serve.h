/* SPDX-License-Identifier: MIT
 * From the mount to its end.
 */
#ifndef SPILLFS_SERVE_H
#define SPILLFS_SERVE_H

#include "launch.h"
#include "start.h"

/* Serve the mount on dev_fd (taken) until it is unmounted or a signal says so; threads live only in
 * here. 0: a clean end. -1 with *o: it never became usable (the mount is gone again), or it broke.
 */
int serve(struct start *s, int dev_fd, struct report *rep, struct outcome *o);

#endif
