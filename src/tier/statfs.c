/* SPDX-License-Identifier: MIT
 * What df and kubelet see: both tiers together, at ratio 1, what an incompressible writer could
 * store (DESIGN.md section 7).
 *
 * A thread of its own asks the store; tier_statfs only looks at what it last heard. A store that
 * does not answer, or answers with an error, is not an empty store: its last numbers hold for
 * store-grace=, in which writes wait, so that kubelet does not delete every image because of a
 * pause of a network disk. After that it counts for nothing, neither as space nor as use: the
 * numbers are the hot tier's own. When the store answers again it counts at once.
 */
#include "overflow.h"

#define ASK_MS   300   /* statfs of the store */
#define PROBE_MS 10000 /* and a read that reaches its disk */
/* Of what the store can take, at most one part in so many goes to headers, directories and index
 * rows: a frame of 128 KiB has 50 bytes of them, a file about 250, and on xfs its inode. */
#define OVERHEAD_SHARE 54

static int ask(struct tier *t, uint64_t *probed_ns)
{
	struct store_space sp;
	int r = store_space(t->store, &sp);

	if (!r && clock_mono_ns() - *probed_ns >= PROBE_MS * UINT64_C(1000000)) {
		r = store_probe(t->store);
		if (!r || r == -EOPNOTSUPP) {
			*probed_ns = clock_mono_ns();
			r = 0;
		}
	}
	if (r)
		return r;
	pthread_mutex_lock(&t->space_lock);
	t->space_known = true;
	t->space_ns = clock_mono_ns();
	pthread_mutex_unlock(&t->space_lock);
	overflow_refresh(t);
	space_looked(t);
	return 0;
}

void *space_main(void *arg)
{
	struct tier *t = arg;
	uint64_t probed_ns = clock_mono_ns();
	struct timespec until;

	pthread_mutex_lock(&t->space_lock);
	while (!atomic_load(&t->stop)) {
		pthread_mutex_unlock(&t->space_lock);
		int r = ask(t, &probed_ns);

		pthread_mutex_lock(&t->space_lock);
		if (r != t->space_err) {
			t->space_err = r;
			if (r)
				log_warn("the store does not answer: %s", strerror(-r));
			else
				log_info("the store answers again");
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += ASK_MS * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (!atomic_load(&t->stop))
			pthread_cond_timedwait(&t->space_cond, &t->space_lock, &until);
	}
	pthread_mutex_unlock(&t->space_lock);
	return NULL;
}

void tier_space_first(struct tier *t)
{
	uint64_t probed_ns = clock_mono_ns();

	ask(t, &probed_ns); /* not now: then the thread */
}

bool tier_space(struct tier *t, struct store_space *ret, unsigned *ret_silent_sec)
{
	uint64_t now = clock_mono_ns();

	pthread_mutex_lock(&t->space_lock);
	bool known = t->space_known;
	uint64_t silent_ns = known && now > t->space_ns ? now - t->space_ns : 0;

	pthread_mutex_unlock(&t->space_lock);
	store_space_now(t->store, ret);
	*ret_silent_sec = (unsigned)(silent_ns / 1000000000);
	return known && silent_ns <= t->cfg->store_grace_sec * UINT64_C(1000000000) +
					     ASK_MS * UINT64_C(2000000);
}

/* Bytes in the store that are copies of data which is in the hot tier, too, and which that gives
 * back when somebody needs space; at the store's usual ratio, and never more than the data itself.
 * hot_used: bytes. */
static uint64_t copies(struct tier *t, uint64_t stored, uint64_t hot_used)
{
	uint64_t copied, spilled;

	index_moved_bytes(t->ix, &copied, &spilled);
	copied = MIN(copied + (uint64_t)MAX(atomic_load(&t->releasing_bytes), 0), hot_used);
	if (!copied)
		return 0;
	return (uint64_t)((double)copied *
			  MIN(1.0, (double)stored / ((double)copied + (double)spilled)));
}

void tier_statfs(struct tier *t, struct statvfs *ret)
{
	struct store_space sp;
	unsigned silent;

	if (hot_statfs(t->hot, ret))
		return;
	ret->f_bsize = ret->f_frsize;
	if (!ret->f_frsize || !tier_space(t, &sp, &silent))
		return;
	/* What a batch has written is still in the hot tier, too, until that is punched: it is
	 * counted once, and so is what was copied ahead. The frames, the directories and the index
	 * that go with it are no user's. */
	uint64_t all = sp.stored_bytes + sp.free_bytes, room = sp.free_bytes + sp.moving_bytes;

	room += copies(t, sp.stored_bytes - MIN(sp.stored_bytes, sp.moving_bytes),
		       (ret->f_blocks - ret->f_bfree) * ret->f_frsize);
	room -= MIN(room, all) / OVERHEAD_SHARE;
	ret->f_blocks += all / ret->f_frsize;
	ret->f_bfree += room / ret->f_frsize;
	ret->f_bavail += room / ret->f_frsize;
}
