/* SPDX-License-Identifier: MIT
 * Epochs: how a hot tier or a store restored from an older copy is noticed (invariant 8).
 *
 * Both tiers carry the same 64-bit epoch (upper half counts, lower half is random, so that two
 * histories that forked never agree by accident). It changes at every mount, every batch that is
 * released and every round of freeing: "epoch_next" goes into the index first, then the hot root's
 * record is made durable, then "epoch" follows. At rest all agree; after a crash the hot tier shows
 * either of the index's two.
 */
#include "tier_int.h"

#include <sys/random.h>

uint64_t epoch_after(uint64_t e)
{
	uint32_t rnd = 0;

	if (getrandom(&rnd, sizeof(rnd), GRND_NONBLOCK) != sizeof(rnd))
		rnd = (uint32_t)clock_mono_ns();
	return ((e >> 32) + 1) << 32 | rnd;
}

int epoch_hot_set(struct tier *t, uint64_t e)
{
	struct hot_root r;
	int err = hot_root_get(t->hot, &r);

	if (err)
		return err;
	r.epoch = e;
	return hot_root_set(t->hot, &r);
}

int epoch_bump(struct tier *t)
{
	uint64_t e = epoch_after(t->epoch);
	int r = index_meta_put(t->ix, "epoch_next", e);

	if (!r)
		r = epoch_hot_set(t, e);
	if (!r)
		r = index_meta_put(t->ix, "epoch", e);
	if (!r)
		t->epoch = e;
	return r;
}
