/* SPDX-License-Identifier: MIT
 * Handing a small stub's data to the kernel's page cache when it is opened, which saves the reader
 * a round trip. Old data that arrives there after a write would destroy it: no open for writing, no
 * truncation and no recall goes on between begin and end. Filling waits for pages that the kernel
 * has locked, and those for the answer to a READ, which may find no thread: so nobody else has the
 * file open, and none is let in until the end.
 */
#include "tier_int.h"

bool tier_fill_begin(struct tier *t, struct file *f, size_t max, size_t *ret_len)
{
	struct node *n = f->n;
	bool yes;

	if (!f->cold || !f->cold->object->size || f->cold->object->size > max)
		return false;
	node_lock(t, n);
	yes = n->cold == f->cold && n->opens == 1 && !n->rel &&
	      !node_has(n, NODE_BUSY | NODE_DAMAGED | NODE_FILLING | NODE_FILLED);
	if (yes)
		node_flag(n, NODE_FILLING | NODE_FILLED, 0);
	node_unlock(t, n);
	*ret_len = (size_t)f->cold->object->size;
	return yes;
}

void tier_fill_end(struct tier *t, struct file *f)
{
	node_lock(t, f->n);
	node_flag(f->n, 0, NODE_FILLING);
	node_wake(t, f->n);
	node_unlock(t, f->n);
}
