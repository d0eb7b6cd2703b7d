/* SPDX-License-Identifier: MIT
 * Before a restart, background work ends while requests are still served: nobody is to wait for the
 * rest of a large file, or for what the disk has to write, when nothing is served any more.
 *
 * Those who wait for space in WRITE are requests too: as long as there are some, spilling goes on.
 */
#include "overflow.h"
#include "tier_int.h"

#include "spill/durable.h"

#define LOOK_NS 10000000

bool winding_down(struct tier *t)
{
	return atomic_load(&t->stop) || (atomic_load(&t->winding_down) && !space_waited_for(t));
}

void tier_quiesce(struct tier *t, unsigned timeout_ms)
{
	uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;

	atomic_store(&t->winding_down, true);
	auto_kick(t);
	while (atomic_load(&t->working) && clock_mono_ns() < until)
		nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	if (atomic_load(&t->working))
		log_warn("what is being spilled or recalled does not end: requests wait for it "
			 "now");
	/* tier_close does it too, and has less to do then. */
	int r = d_syncfs(hot_root_fd(t->hot));

	if (r)
		log_warn("before the restart: the hot tier cannot be written back: %s",
			 strerror(-r));
}
