/* SPDX-License-Identifier: MIT
 * The io locks: shared by whoever moves data of an open file, exclusive for whoever changes where
 * data is (overflow.h).
 */
#include "overflow.h"

void io_locks_init(struct tier *t)
{
	pthread_rwlockattr_t a;

	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (unsigned i = 0; i < IO_STRIPES; i++)
		pthread_rwlock_init(&t->io[i], &a);
	pthread_rwlockattr_destroy(&a);
}

void io_locks_done(struct tier *t)
{
	for (unsigned i = 0; i < IO_STRIPES; i++)
		pthread_rwlock_destroy(&t->io[i]);
}

unsigned io_stripe(const struct node *n)
{
	return (unsigned)((n->nodeid * 0x9e3779b97f4a7c15ull) >> 32) % IO_STRIPES;
}

void io_shared(struct tier *t, const struct node *n)
{
	pthread_rwlock_rdlock(&t->io[io_stripe(n)]);
}

void io_exclusive(struct tier *t, const struct node *n)
{
	pthread_rwlock_wrlock(&t->io[io_stripe(n)]);
}

void io_unlock(struct tier *t, const struct node *n)
{
	pthread_rwlock_unlock(&t->io[io_stripe(n)]);
}
