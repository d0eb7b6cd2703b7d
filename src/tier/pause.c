/* SPDX-License-Identifier: MIT
 * Pausing automatic spilling: a moment until which it stands still, kept in the index so that a new
 * daemon or mount keeps to it.
 *
 * A pause is a pause: nothing is freed for writers either, and whoever fills the disk gets ENOSPC
 * at once, as without spillfs. What a person asks for (spill, recall, drain) goes on.
 */
#include "tier_int.h"

#define META "paused_until" /* wall clock, ns; 0: not */

int pause_load(struct tier *t)
{
	uint64_t until = 0;
	int r = index_meta_get(t->ix, META, &until);

	if (r && r != -ENOENT)
		return r;
	atomic_store(&t->paused_until, (long long)MIN(until, (uint64_t)INT64_MAX));
	if (pause_active(t))
		log_warn("automatic spilling is paused since an earlier mount; spillctl resume "
			 "ends it");
	return 0;
}

bool pause_active(struct tier *t)
{
	long long until = atomic_load_explicit(&t->paused_until, memory_order_relaxed);

	return until && (until == INT64_MAX || until > clock_wall_ns());
}

int tier_pause(struct tier *t, int64_t until_ns)
{
	int r = index_meta_put(t->ix, META, (uint64_t)MAX(until_ns, 0));

	if (r)
		return r;
	atomic_store(&t->paused_until, (long long)MAX(until_ns, 0));
	if (until_ns > 0) { /* the batch under way ends first, and the next one looks */
		pthread_mutex_lock(&t->spill_lock);
		pthread_mutex_unlock(&t->spill_lock);
	}
	auto_kick(t);
	return 0;
}

int64_t tier_paused(struct tier *t)
{
	return pause_active(t) ? atomic_load(&t->paused_until) : 0;
}
