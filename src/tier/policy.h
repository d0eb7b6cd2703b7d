/* SPDX-License-Identifier: MIT
 * Private to src/tier: the policy, pure functions without I/O or clock.
 */
#ifndef TIER_POLICY_H
#define TIER_POLICY_H

#include "spill/layers.h"
#include <sys/statvfs.h>

/* Percent of the space that ordinary users can have which is in use, as df(1) rounds it: up. */
unsigned policy_used_percent(const struct statvfs *sv);
/* Only what names and attributes may need is left. */
bool policy_at_brim(const struct statvfs *sv);

enum policy_act {
	POLICY_REST,  /* below the high mark */
	POLICY_SPILL, /* spill down to the low mark */
};
/* running: a round down to the low mark is under way. */
enum policy_act policy_decide(unsigned used, unsigned high, unsigned low, bool running);

/* Files too young to be spilled are taken too: a writer waits for space, or the critical mark is
 * reached. Not at the low mark: there it is a quota that is full, not the disk. */
bool policy_urgent(unsigned used, unsigned low, unsigned critical, unsigned waiters);

struct policy_candidate {
	const struct layer *l;
	int64_t last_used_ns;
};
/* Coldest first: blobs (already unpacked, rarely read again), then image layers, then containers'
 * own writable layers; within a kind the one used longest ago. Stable. */
void policy_order(struct policy_candidate *v, size_t n);

/* Pause until the next look at the disk: shorter the nearer the high mark. Milliseconds, 200..max.
 */
unsigned policy_pause_ms(unsigned used, unsigned high, unsigned max_ms);

#endif
