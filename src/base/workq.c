/* SPDX-License-Identifier: MIT
 * A fixed pool of threads working on a bounded first-in first-out queue.
 *
 * Every item has a ticket: its position in the order of workq_put. Workers take tickets in order
 * but finish in any order, so "everything queued so far is done" means that no ticket below the
 * mark is queued or in a worker's hands; a count of finished items would answer too early.
 *
 * Lock: q->lock guards everything below it; it is not held while fn runs, so fn may queue more (but
 * must not drain the queue it works for, and waits for ever on a full one if all workers do the
 * same).
 */
#include "spill/base.h"

#define IDLE UINT64_MAX

struct worker {
	struct workq *q;
	pthread_t thread;
	uint64_t ticket; /* being worked on, or IDLE */
};

struct workq {
	workq_fn fn;
	void *ctx;
	pthread_mutex_t lock;
	pthread_cond_t not_empty, not_full, progress;
	uint64_t next_put, next_take; /* tickets; their difference is the length of the queue */
	bool stop;
	unsigned depth, nworkers;
	struct worker *workers;
	void *ring[]; /* depth entries, ticket modulo depth */
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct workq *q = w->q;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		void *item;

		while (q->next_take == q->next_put && !q->stop)
			pthread_cond_wait(&q->not_empty, &q->lock);
		if (q->next_take == q->next_put)
			break;
		w->ticket = q->next_take++;
		item = q->ring[w->ticket % q->depth];
		pthread_cond_signal(&q->not_full);
		pthread_mutex_unlock(&q->lock);

		q->fn(q->ctx, item);

		pthread_mutex_lock(&q->lock);
		w->ticket = IDLE;
		pthread_cond_broadcast(&q->progress);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int workq_new(struct workq **ret, const char *name, unsigned nthreads, unsigned depth, workq_fn fn,
	      void *ctx)
{
	struct workq *q;

	if (!nthreads || !depth)
		return -EINVAL;
	q = calloc(1, sizeof(*q) + depth * sizeof(q->ring[0]));
	if (!q)
		return -ENOMEM;
	q->fn = fn;
	q->ctx = ctx;
	q->depth = depth;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->not_empty, NULL);
	pthread_cond_init(&q->not_full, NULL);
	pthread_cond_init(&q->progress, NULL);
	q->workers = calloc(nthreads, sizeof(*q->workers));
	if (!q->workers) {
		workq_free(q);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < nthreads; i++) {
		struct worker *w = &q->workers[i];
		int r;

		w->q = q;
		w->ticket = IDLE;
		r = thread_start(&w->thread, name, worker_main, w);
		if (r < 0) {
			workq_free(q);
			return r;
		}
		q->nworkers++;
	}
	*ret = q;
	return 0;
}

void workq_put(struct workq *q, void *item)
{
	pthread_mutex_lock(&q->lock);
	while (q->next_put - q->next_take == q->depth)
		pthread_cond_wait(&q->not_full, &q->lock);
	q->ring[q->next_put++ % q->depth] = item;
	pthread_cond_signal(&q->not_empty);
	pthread_mutex_unlock(&q->lock);
}

static bool done_below_locked(const struct workq *q, uint64_t mark)
{
	if (q->next_take < mark)
		return false;
	for (unsigned i = 0; i < q->nworkers; i++)
		if (q->workers[i].ticket < mark)
			return false;
	return true;
}

void workq_drain(struct workq *q)
{
	uint64_t mark;

	pthread_mutex_lock(&q->lock);
	mark = q->next_put;
	while (!done_below_locked(q, mark))
		pthread_cond_wait(&q->progress, &q->lock);
	pthread_mutex_unlock(&q->lock);
}

void workq_free(struct workq *q)
{
	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_broadcast(&q->not_empty);
	pthread_mutex_unlock(&q->lock);
	for (unsigned i = 0; i < q->nworkers; i++)
		pthread_join(q->workers[i].thread, NULL);
	pthread_cond_destroy(&q->progress);
	pthread_cond_destroy(&q->not_full);
	pthread_cond_destroy(&q->not_empty);
	pthread_mutex_destroy(&q->lock);
	free(q->workers);
	free(q);
}
