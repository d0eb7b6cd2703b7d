/* SPDX-License-Identifier: MIT
 * Where kubelet's line is. Image GC computes `100 - int(available * 100 / capacity)` and begins at
 * that >= imageGCHighThresholdPercent (pkg/kubelet/images/image_gc_manager.go): by the rounding it
 * begins one percent early. The eviction manager begins at available < threshold
 * (pkg/kubelet/eviction/helpers.go). Whichever comes first.
 */
#include "spill/doctor.h"

static double limit_bytes(const struct doctor_limit *l, double capacity)
{
	return l->amount ? (double)l->amount : l->percent / 100 * capacity;
}

void doctor_line(const struct doctor_kubelet *k, uint64_t capacity, uint64_t available,
		 struct doctor_line *ret)
{
	double cap = (double)capacity, gc = 0, evict, at;

	*ret = (struct doctor_line){.at_percent = -1, .bytes_until = UINT64_MAX};
	if (!capacity)
		return;
	available = MIN(available, capacity);
	ret->used_percent = 100 - (unsigned)((double)available * 100 / cap);
	/* 100 turns image GC off */
	if (k->gc_high >= 0 && k->gc_high < 100)
		gc = (101 - k->gc_high) / 100.0 * cap;
	evict = MAX(limit_bytes(&k->hard.imagefs, cap), limit_bytes(&k->soft.imagefs, cap));
	at = MAX(gc, evict);
	if (at <= 0)
		return;
	ret->by_eviction = evict > gc;
	ret->at_percent =
		ret->by_eviction ? (int)(100 - MIN(evict / cap, 1) * 100 + 0.5) : k->gc_high;
	ret->bytes_until = (double)available > at ? (uint64_t)((double)available - at) : 0;
}
