/* SPDX-License-Identifier: MIT
 * How fast space and inodes, as statfs tells them, are being used up. Pure; memory only.
 */
#ifndef SPILL_TIER_TREND_H
#define SPILL_TIER_TREND_H

#include "spill/tier.h"

#define TREND_EVERY_NS (10 * UINT64_C(1000000000)) /* between two samples */
#define TREND_MIN_SEC  60 /* watched for less: no forecast, one burst would decide it */

/* A mean that forgets with the time constant tau. Unlike the usual form it does not begin at zero:
 * the weight of what was never seen is taken out again. */
struct trend_mean {
	double sum, weight;
};
struct trend {
	uint64_t first_ns, last_ns; /* monotonic; last 0: no sample yet */
	uint64_t used_bytes, used_inodes;
	struct trend_mean bytes_short, bytes_long, inodes_long; /* per second */
};

/* Is it time for a sample? */
bool trend_due(const struct trend *t, uint64_t now_ns);
/* Take in what is used now. */
void trend_add(struct trend *t, uint64_t now_ns, uint64_t used_bytes, uint64_t used_inodes);
void trend_tell(const struct trend *t, struct tier_trend *ret);

#endif
