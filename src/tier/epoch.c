/* SPDX-License-Identifier: MIT
 * Epochs: how a hot tier or a store restored from an older copy is noticed (invariant 8).
 *
 * Both tiers carry the same 64-bit epoch (upper half counts, lower half is random, so that two
 * histories that forked never agree by accident). It changes at every mount, every batch that is
 * released, every round of freeing, and within a second or two of writes to overflow files:
 * "epoch_next" goes into the index first, together with what the hot tier shows until then as
 * "epoch", then the hot root's record is made durable, then "epoch" follows. At rest all agree;
 * after a crash the hot tier shows either of the index's two, also when the last change was cut off
 * before its "epoch" and the next one (at the mount) is cut off again.
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
	err = hot_root_set(t->hot, &r);
	if (!err)
		t->epoch = e;
	return err;
}

int epoch_announce(struct tier *t, uint64_t e)
{
	int r = index_meta_set(t->ix, "epoch", t->epoch);

	return r ? r : index_meta_set(t->ix, "epoch_next", e);
}

int epoch_bump(struct tier *t)
{
	uint64_t e = epoch_after(t->epoch);
	int r = index_begin(t->ix);

	if (r)
		return r;
	r = epoch_announce(t, e);
	if (r) {
		index_rollback(t->ix);
		return r;
	}
	r = index_commit(t->ix);
	if (!r)
		r = epoch_hot_set(t, e);
	if (!r)
		r = index_meta_put(t->ix, "epoch", e);
	return r;
}
