/* SPDX-License-Identifier: MIT
 * gate.c: writers who pass us by wait, too, while the hot tier is nearly full (hot.h, hold).
 */
#ifndef SPILL_TIER_GATE_H
#define SPILL_TIER_GATE_H

#include "tier_int.h"

/* For a tier that spills by itself, before the first open. Where it cannot be, t->gate_err says
 * why, and there is none. */
void gate_start(struct tier *t);
/* Everybody goes on. After the last close; t->stop is set. */
void gate_stop(struct tier *t);
/* Is there one? */
bool gate_works(const struct tier *t);
/* Would it make somebody wait? Not where that is in vain. */
bool gate_serves(struct tier *t);
/* Do writers wait at it right now? */
bool gate_closed(const struct tier *t);
/* An open of n for writing is about to be granted passthrough. fd: its hot file, or -1 when the
 * kernel opened it before. [N] */
void gate_add(struct tier *t, struct node *n, int fd);
/* The last of them was closed. [N] */
void gate_remove(struct tier *t, struct node *n);
/* A lease was taken on fd, so nobody has it open, and we are about to change its content: see
 * hot.h. */
void gate_unwatch(struct tier *t, int fd);

#endif
