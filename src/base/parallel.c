/* SPDX-License-Identifier: MIT
 * Work on a row of items that threads share for a moment, as long as it lasts.
 */
#include "spill/base.h"

bool parallel_next(struct parallel *p, size_t *from, size_t *to)
{
	*from = atomic_fetch_add(&p->next, p->run);
	*to = MIN(*from + p->run, p->n);
	return *from < p->n;
}

void parallel_do(const struct parallel *p, const char *name, void *(*fn)(void *), void *ctx)
{
	pthread_t thread[PARALLEL_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t runs = (p->n + p->run - 1) / p->run, others = 0;

	while (others < PARALLEL_MAX && (long)others + 1 < cpus && others + 1 < runs &&
	       !thread_start(&thread[others], name, fn, ctx))
		others++;
	fn(ctx);
	while (others)
		pthread_join(thread[--others], NULL);
}
