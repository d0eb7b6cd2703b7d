/* SPDX-License-Identifier: MIT
 * Process life: into the background, the report back to whoever started us, and the process
 * attributes of a daemon that may be serving /var.
 */
#ifndef SPILLFS_LAUNCH_H
#define SPILLFS_LAUNCH_H

#include "outcome.h"

/* Where the news go that everything is usable. */
struct report {
	int fd; /* pipe to the waiting parent, -1 in the foreground */
	bool keep_stdio;
};

/* The body of the daemon: returns 0 after a clean end, or -1 with *o filled. Calls report_ready
 * once. */
typedef int (*launch_fn)(void *ctx, struct report *rep, struct outcome *o);

/* Say once that a mount stands, what the process was not allowed to be. */
void launch_warn(void);
/* Run fn in this process (foreground), or in a child, returning when the child is usable or has
 * failed. o says how it went; in the child this does not return. */
void launch(bool foreground, bool debug, launch_fn fn, void *ctx, struct outcome *o);
/* In a program that goes on for another one, in the background or not as that: what launch does to
 * the process. */
void launch_again(bool foreground, bool debug);
/* Usable: let go of the parent, and (but for keep_stdio) the terminal and stderr. */
void report_ready(struct report *rep);
/* It failed. */
void report_outcome(struct report *rep, const struct outcome *o);
/* From here on SIGTERM, SIGINT and SIGHUP wait for sigwait, and our parent's death means nothing to
 * us. */
void launch_point_of_no_return(void);

#endif
