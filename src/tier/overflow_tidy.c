/* SPDX-License-Identifier: MIT
 * Overflow files that no marker names, and partial files that wait to be spilled.
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* Between two looks: partial files wait for their age, which is in seconds. */
#define TIDY_NS 1000000000ull

struct listed {
	struct hot_id *v;
	size_t n, cap;
};

static int collect(void *ctx, struct hot_id id, uint64_t bytes)
{
	struct listed *l = ctx;

	(void)bytes;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct hot_id *v = reallocarray(l->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = id;
	return 0;
}

/* Remove it unless a marker counts on it, or that cannot be told. */
static void remove_unneeded(struct tier *t, struct hot_id id)
{
	struct hot_fh fh;
	struct marker mk;
	struct stat st;
	struct node *n;

	if (!hot_fh_of_id(t->hot, id, &fh))
		return;
	cleanup_fd int fd = hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);

	if (fd == -ESTALE)
		store_overflow_remove(t->store, id);
	if (fd < 0 || node_of_fd(t, fd, &n, &st))
		return;
	/* Not while it is being made, by a write or by an open of a stub. */
	io_shared(t, n);
	node_lock(t, n);
	bool busy = n->over || n->rel || node_has(n, NODE_BUSY);

	if (!busy)
		node_busy_set(n);
	node_unlock(t, n);
	if (busy) {
		io_unlock(t, n);
		tier_put(t, n);
		return;
	}
	int r = hot_marker_get(fd, &mk);

	/* Spilling: the copy in the packs is only proved when that is over. */
	bool needed = (r && r != -ENODATA) ||
		      (!r && (mk.state == RES_PARTIAL || mk.state == RES_SPILLING));

	if (!needed && !d_syncfs(hot_root_fd(t->hot)))
		store_overflow_remove(t->store, id);
	node_lock(t, n);
	node_busy_clear(t, n);
	node_unlock(t, n);
	io_unlock(t, n);
	tier_put(t, n);
}

void overflow_sweep(struct tier *t)
{
	struct listed l = {0};

	if (store_overflow_list(t->store, collect, &l))
		l.n = 0;
	for (size_t i = 0; i < l.n; i++)
		remove_unneeded(t, l.v[i]);
	free(l.v);
}

static void spill_listed(struct tier *t, struct hot_id id, struct spill_batch *b)
{
	char path[40];
	struct hot_fh fh;

	if (!hot_fh_of_id(t->hot, id, &fh))
		return;
	int fd = hot_open_fh(t->hot, &fh, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK);

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "(inode %llu)", (unsigned long long)id.ino);
	spill_batch_add_fd(b, fd, path);
}

void overflow_tidy(struct tier *t)
{
	struct spill_batch *b;
	struct tier_work w = {0};
	struct listed l = {0};
	int r = 0;

	if (!store_overflow_files(t->store) || atomic_load(&t->frozen) ||
	    clock_mono_ns() - t->tidy_ns < (space_waited_for(t) ? TIDY_NS / 5 : TIDY_NS))
		return;
	t->tidy_ns = clock_mono_ns();
	if (store_overflow_list(t->store, collect, &l))
		l.n = 0;
	for (size_t i = 0; i < l.n && !r && !atomic_load(&t->stop); i++) {
		/* One file a batch: they are large. */
		r = spill_batch_new(t, t->cfg->min_age_sec, t->cfg->min_size_bytes, &b);
		if (r)
			break;
		/* By inode nobody can tell what is below a pin; the walks spill those by path. */
		if (!pause_active(t) && !pins_any(t))
			spill_listed(t, l.v[i], b); /* an error of the store stays in b */
		r = spill_batch_finish(b, &w, NULL, NULL);
	}
	free(l.v);
}
