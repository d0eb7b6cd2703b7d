/* SPDX-License-Identifier: MIT
 * Private to src/tier: the rounds of the policy, and what they ask auto.c. All in its thread.
 */
#ifndef TIER_ROUNDS_H
#define TIER_ROUNDS_H

#include "work.h"

/* ---- rounds.c */
struct policy_rules policy_rules_of(const struct config *c);
/* One round down to the low mark. WORK_ENOUGH reached, 0 nothing left, -errno. */
int round_spill(struct tier *t, struct tier_work *sum);
/* Copy the next few of the coldest ahead of need, in the background. True: there may be more. */
bool round_premigrate(struct tier *t);
/* Bring stubs back that are used again and again, while there is room. */
void round_recall(struct tier *t);
void round_forget(struct tier *t); /* the catalog */

/* ---- auto.c */
unsigned used_now(struct tier *t);
bool auto_urgent(struct tier *t);
void auto_relieved(struct tier *t); /* something was freed: waiting writers try again */
void auto_pause(struct tier *t, unsigned ms);

#endif
