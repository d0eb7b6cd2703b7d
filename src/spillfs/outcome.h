/* SPDX-License-Identifier: MIT
 * How a start ended: an exit code of exit.h and one line for a person.
 */
#ifndef SPILLFS_OUTCOME_H
#define SPILLFS_OUTCOME_H

#include "spill/base.h"
#include "spill/exit.h"

#define OUTCOME_MSG_MAX 1024

struct outcome {
	int code;
	char msg[OUTCOME_MSG_MAX]; /* "" when there is nothing to say */
};

/* Fill o; returns -1, so that `return outcome_set(...)` ends a step. */
int outcome_set(struct outcome *o, enum spill_exit code, const char *fmt, ...) printf_like(3, 4);

/* What an -errno of a step means: exit code, and the rest of a sentence that begins with a path.
 * Tables end with err 0, whose line is for every other errno (its text gets ": strerror" appended).
 */
struct meaning {
	int err;
	enum spill_exit code;
	const char *text;
};
int outcome_errno(struct outcome *o, const struct meaning *table, int err, const char *path);

#endif
