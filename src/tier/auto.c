/* SPDX-License-Identifier: MIT
 * Automatic spilling: watch the hot tier's usage, spill from the high mark down to the low one.
 *
 * A store that is full or fails parks the work with a reason; it is tried again after a while,
 * never in a spin. A writer that met ENOSPC waits here (tier_wait_space): young files are taken
 * then too, and above the critical mark.
 */
#include "gate.h"
#include "overflow.h"
#include "rounds.h"

#include <stdio.h>

#define PARK_MS     5000
#define LOOK_BYTES  (4ull << 20) /* the disk is looked at after so many written bytes */
#define PACE_BYTES  (1ull << 20) /* a writer may be paused once for so many */
#define LOOK_NS     10000000ull
#define BRIM_OFF_NS 5000000000ull

void auto_kick(struct tier *t)
{
	pthread_mutex_lock(&t->auto_lock);
	t->auto_kick = true;
	pthread_cond_broadcast(&t->auto_cond);
	pthread_mutex_unlock(&t->auto_lock);
}

static void park(struct tier *t, const char *why)
{
	pthread_mutex_lock(&t->auto_lock);
	if (strcmp(t->parked, why)) {
		if (*why)
			log_warn("spilling stands still: %s", why);
		else
			log_info("spilling goes on");
		snprintf(t->parked, sizeof(t->parked), "%s", why);
	}
	pthread_mutex_unlock(&t->auto_lock);
}

unsigned used_now(struct tier *t)
{
	struct statvfs sv;
	bool known = !hot_statfs(t->hot, &sv);
	unsigned used = known ? policy_used_percent(&sv) : 0;

	atomic_store(&t->brim, known && policy_at_brim(&sv));
	atomic_store(&t->roomy, known && policy_roomy(&sv, t->cfg->critical, gate_serves(t)));
	atomic_store(&t->used, used);
	atomic_store(&t->used_ns, clock_mono_ns());
	return used;
}

/* What passes us by fills the disk unseen: so each open looks, unless somebody just did. */
unsigned auto_used(struct tier *t)
{
	if (clock_mono_ns() - atomic_load(&t->used_ns) < LOOK_NS)
		return atomic_load(&t->used);
	unsigned used = used_now(t);

	atomic_store(&t->pressed, used >= t->cfg->critical);
	if (used >= t->cfg->high)
		auto_kick(t);
	return used;
}

void auto_relieved(struct tier *t)
{
	pthread_mutex_lock(&t->auto_lock);
	t->relief++;
	pthread_cond_broadcast(&t->auto_cond);
	pthread_mutex_unlock(&t->auto_lock);
}

/* Nothing to be done for waiting writers: they get their ENOSPC. */
static void hopeless(struct tier *t)
{
	pthread_mutex_lock(&t->auto_lock);
	t->hopeless++;
	pthread_cond_broadcast(&t->auto_cond);
	pthread_mutex_unlock(&t->auto_lock);
}

bool auto_urgent(struct tier *t)
{
	pthread_mutex_lock(&t->auto_lock);
	unsigned waiters = t->waiters;

	pthread_mutex_unlock(&t->auto_lock);
	struct policy_rules rules = policy_rules_of(t->cfg);

	return policy_urgent(&rules, used_now(t), waiters);
}

/* Or until there is something to do. */
void auto_pause(struct tier *t, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&t->auto_lock);
	while (!t->auto_kick && !atomic_load(&t->stop))
		if (pthread_cond_timedwait(&t->auto_cond, &t->auto_lock, &until))
			break;
	t->auto_kick = false;
	pthread_mutex_unlock(&t->auto_lock);
}

static void round_done(struct tier *t, int r, const struct tier_work *sum)
{
	if (r == -ENOSPC || (!r && !sum->files_done && sum->files_no_room))
		park(t, "the store is full; give it room (or raise store-size=) and it goes on by "
			"itself");
	else if (r == -EROFS)
		park(t, "the store is read-only");
	else if (r < 0 && r != -EINTR)
		park(t, strerror(-r));
	else if (r == 0 && sum->files_done == 0)
		park(t, sum->files_busy ? "everything left is in use"
			: t->cfg->spill_all
				? "what is left is in use, young, pinned or excluded; spillctl why "
				  "PATH "
				  "says which"
				: "what is left is in use, young, pinned, excluded or of no image "
				  "layer "
				  "(spill=all takes that, too); spillctl why PATH says which");
	else
		park(t, "");
	if (sum->files_done)
		log_info("spilled %llu files, %llu bytes; freed %llu bytes; hot tier at %u%%",
			 (unsigned long long)sum->files_done, (unsigned long long)sum->bytes_done,
			 (unsigned long long)sum->freed_bytes, used_now(t));
	atomic_store(&t->stuck, !sum->files_done);
	if (!sum->files_done)
		hopeless(t);
}

void *auto_main(void *arg)
{
	struct tier *t = arg;
	struct policy_rules rules = policy_rules_of(t->cfg);
	bool running = false;

	while (!atomic_load(&t->stop)) {
		unsigned used = used_now(t);

		if (winding_down(t)) {
			auto_pause(t, PARK_MS);
			continue;
		}
		if (atomic_load(&t->frozen)) {
			park(t, "one tier is an older copy; run spillctl check");
			auto_pause(t, PARK_MS);
			continue;
		}
		if (pause_active(t)) {
			int64_t left = (tier_paused(t) - clock_wall_ns()) / 1000000 + 1;

			park(t, PAUSED_TEXT);
			hopeless(t);
			auto_pause(t, (unsigned)MIN(MAX(left, 1), PARK_MS));
			continue;
		}
		if (!auto_urgent(t) && policy_decide(&rules, used, running) != POLICY_SPILL) {
			running = false;
			park(t, "");
			hopeless(t);
			overflow_tidy(t);
			round_recall(t);
			if (policy_decide(&rules, used, false) == POLICY_REST)
				round_forget(t);
			else if (round_premigrate(t))
				continue; /* there is more, unless somebody fills the disk */
			auto_pause(t, policy_pause_ms(used, t->cfg->high,
						      t->cfg->interval_sec * 1000));
			continue;
		}
		struct tier_work sum = {0};

		overflow_tidy(t);
		atomic_fetch_add(&t->working, 1);
		int r = round_spill(t, &sum);
		atomic_fetch_sub(&t->working, 1);

		running = r == 0 && sum.files_done > 0;
		round_done(t, r, &sum);
		if (!running && r != WORK_ENOUGH)
			auto_pause(t, sum.files_done ? 200
						     : MIN(PARK_MS, t->cfg->interval_sec * 1000));
	}
	round_forget(t);
	return NULL;
}

bool tier_written(struct tier *t, size_t bytes)
{
	uint64_t before;

	if (!t->cfg->auto_spill)
		return false;
	before = atomic_fetch_add(&t->written, bytes);
	if (before / LOOK_BYTES != (before + bytes) / LOOK_BYTES) {
		unsigned used = used_now(t);

		atomic_store(&t->pressed, used >= t->cfg->critical);
		if (used >= t->cfg->high)
			auto_kick(t);
	}
	/* By bytes, not by writes: those of tar are of 10 KiB. */
	return before / PACE_BYTES != (before + bytes) / PACE_BYTES && atomic_load(&t->pressed) &&
	       !atomic_load(&t->stuck) && !atomic_load(&t->frozen) && !pause_active(t);
}

bool auto_at_brim(struct tier *t)
{
	return atomic_load(&t->brim) && t->cfg->auto_spill && !atomic_load(&t->frozen) &&
	       !pause_active(t) && clock_mono_ns() >= atomic_load(&t->brim_from_ns);
}

void tier_use_brim(struct tier *t)
{
	atomic_store(&t->brim_from_ns, clock_mono_ns() + BRIM_OFF_NS);
}

void tier_pace(struct tier *t, unsigned timeout_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until = ns_to_ts(until.tv_sec * 1000000000 + until.tv_nsec + timeout_ms * 1000000ll);
	pthread_mutex_lock(&t->auto_lock);
	uint64_t relief = t->relief, hopeless = t->hopeless;

	while (t->relief == relief && t->hopeless == hopeless && !atomic_load(&t->stop))
		if (pthread_cond_timedwait(&t->auto_cond, &t->auto_lock, &until))
			break;
	pthread_mutex_unlock(&t->auto_lock);
	atomic_store(&t->pressed, used_now(t) >= t->cfg->critical);
}

void space_looked(struct tier *t)
{
	bool room = overflow_room(t, OVERFLOW_CHUNK);

	pthread_mutex_lock(&t->auto_lock);
	t->looks++;
	t->relief += room && !t->had_room;
	t->had_room = room;
	pthread_cond_broadcast(&t->auto_cond);
	pthread_mutex_unlock(&t->auto_lock);
}

bool space_waited_for(struct tier *t)
{
	pthread_mutex_lock(&t->auto_lock);
	bool yes = t->waiters;

	pthread_mutex_unlock(&t->auto_lock);
	return yes;
}

bool tier_wait_space(struct tier *t, unsigned timeout_ms, uint64_t end)
{
	struct timespec until;

	if (!t->cfg->auto_spill || atomic_load(&t->frozen) || pause_active(t))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	pthread_mutex_lock(&t->auto_lock);
	uint64_t relief = t->relief, hopeless = t->hopeless, looks = t->looks;

	t->waiters++;
	t->auto_kick = true;
	pthread_cond_broadcast(&t->auto_cond);
	/* A round, or a look at the store, that began before we came may end without having seen
	 * young files, or what was deleted last. */
	while (t->relief == relief && (t->hopeless < hopeless + 2 || t->looks < looks + 2) &&
	       !atomic_load(&t->stop)) {
		if (pthread_cond_timedwait(&t->auto_cond, &t->auto_lock, &until))
			break;
		t->auto_kick = true;
	}
	bool yes = t->relief != relief || (t->had_room && overflow_wanted(t, end));

	t->waiters--;
	pthread_mutex_unlock(&t->auto_lock);
	return yes;
}
