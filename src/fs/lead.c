/* SPDX-License-Identifier: MIT
 * While requests come one after the other, one thread alone waits for them: the leader.
 *
 * The kernel wakes a thread that sleeps in read(2) for each request, also when spin.c has the
 * request already: a wake-up in vain, which the asking process pays for. So once a row of requests
 * was found by looking (LEAD_ROW), the others park here. Each still in read(2) is woken by one more
 * request, and parks after it.
 *
 * Nobody listens while the leader works, and what it works on may wait for a disk. So one of those
 * who park looks once a TICK_NS, and brings all of them back when requests wait and none was taken
 * since the last look, when they wait at most looks (there is more than one who asks), or when they
 * have become few. A request waits for two ticks at most until somebody takes one. After it soon
 * went wrong it is not tried again for a while, twice as long each time.
 */
#include "fs_int.h"

#include <poll.h>

#define LEAD_ROW    64u
#define TICK_NS     1000000
#define WAITING_MAX 8u /* so many more ticks with requests that wait than without */
#define CALM_MAX    5u /* ticks in a row without requests to speak of */
#define CALM        3u /* requests in a tick */
#define WORTH_NS    UINT64_C(200000000) /* it went well for so long */
#define PAUSE_NS    UINT64_C(5000000)
#define PAUSE_MAX   UINT64_C(1000000000)

void lead_init(struct fs *f)
{
	pthread_condattr_t mono;

	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&f->lead.cond, &mono);
	pthread_condattr_destroy(&mono);
}

void lead_found(struct fs *f, bool found)
{
	struct lead *l = &f->lead;

	l->row = found ? l->row + 1 : l->row / 2;
	if (l->row < LEAD_ROW || atomic_load_explicit(&l->on, memory_order_relaxed))
		return;
	l->row = 0;
	pthread_mutex_lock(&f->lock);
	uint64_t now = clock_mono_ns();

	if (f->ready && now >= l->not_before) {
		l->since = now;
		l->waiting = l->calm = 0;
		l->seen = atomic_load(&l->taken);
		atomic_store(&l->on, true);
	}
	pthread_mutex_unlock(&f->lock);
}

/* Back to all threads. [lock] */
static void lead_end(struct fs *f, bool in_vain)
{
	struct lead *l = &f->lead;

	uint64_t now = clock_mono_ns();

	if (!in_vain)
		l->pause = 0;
	else if (now - l->since >= WORTH_NS)
		l->pause = PAUSE_NS;
	else
		l->pause = MIN(MAX(2 * l->pause, PAUSE_NS), PAUSE_MAX);
	l->not_before = now + l->pause;
	atomic_store(&l->on, false);
	pthread_cond_broadcast(&l->cond);
}

/* [lock] */
static void tick(struct fs *f)
{
	struct lead *l = &f->lead;
	struct pollfd p = {.fd = f->dev_fd, .events = POLLIN};
	unsigned taken = atomic_load(&l->taken), n = taken - l->seen;
	bool waits = poll(&p, 1, 0) != 0;

	l->seen = taken;
	if (waits)
		l->waiting++;
	else if (l->waiting)
		l->waiting--;
	l->calm = n < CALM ? l->calm + 1 : 0;
	if ((waits && !n) || l->waiting >= WAITING_MAX)
		lead_end(f, true);
	else if (l->calm >= CALM_MAX || fuse_session_exited(f->se))
		lead_end(f, false);
}

/* Parked, and no longer on: they are on their way to read(2). */
bool lead_alone(const struct fs *f)
{
	return f->lead.parked != 0;
}

void lead_take(struct fs *f)
{
	atomic_fetch_add_explicit(&f->lead.taken, 1, memory_order_relaxed);
}

void lead_leave(struct fs *f)
{
	if (likely(!atomic_load_explicit(&f->lead.on, memory_order_relaxed)))
		return;
	pthread_mutex_lock(&f->lock);
	if (atomic_load(&f->lead.on))
		lead_end(f, false);
	pthread_mutex_unlock(&f->lock);
}

void lead_park(struct fs *f)
{
	struct lead *l = &f->lead;

	if (likely(!atomic_load_explicit(&l->on, memory_order_relaxed)))
		return;
	pthread_mutex_lock(&f->lock);
	if (atomic_load(&l->on) && f->idle > 1) { /* another one listens, or is about to */
		f->idle--;
		l->parked++;
		while (atomic_load(&l->on)) {
			if (l->watched) {
				pthread_cond_wait(&l->cond, &f->lock);
				continue;
			}
			struct timespec until;

			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_nsec += TICK_NS;
			if (until.tv_nsec >= 1000000000) {
				until.tv_nsec -= 1000000000;
				until.tv_sec++;
			}
			l->watched = true;
			pthread_cond_timedwait(&l->cond, &f->lock, &until);
			l->watched = false;
			if (atomic_load(&l->on))
				tick(f);
		}
		l->parked--;
		f->idle++;
	}
	pthread_mutex_unlock(&f->lock);
}
