/* SPDX-License-Identifier: MIT
 * Life of the tier: put together, recover, run, close.
 */
#include "gate.h"
#include "overflow.h"

#include "spill/durable.h"

#include <sys/stat.h>

/* Who may have how many descriptors. The other half is for packs (PACK_FDS_MAX), deleted files that
 * are still open, and what requests hold for a moment. */
static int share_fds(struct tier *t)
{
	uint64_t limit = fd_limit();
	int r = fdcache_new(&t->fds, (unsigned)MIN(MAX(limit / 8, 64), 8192));

	t->max_pins = (unsigned)MIN(limit / 2, UINT32_MAX);
	t->batch_files = (unsigned)MIN(MAX(limit / 8, 16), UINT32_MAX);
	return r ? r : openfds_new(&t->open_fds, (unsigned)MIN(MAX(limit / 4, 32), 32768));
}

static int init_locks(struct tier *t)
{
	pthread_condattr_t ca;

	pthread_mutex_init(&t->spill_lock, NULL);
	pthread_mutex_init(&t->grace_lock, NULL);
	pthread_mutex_init(&t->auto_lock, NULL);
	pthread_mutex_init(&t->space_lock, NULL);
	pthread_mutex_init(&t->trend_lock, NULL);
	io_locks_init(t);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&t->auto_cond, &ca);
	pthread_cond_init(&t->space_cond, &ca);
	pthread_condattr_destroy(&ca);
	return janitor_init(t);
}

static void tier_free(struct tier *t)
{
	if (!t)
		return;
	nodes_done(t);
	io_locks_done(t);
	fdcache_free(t->fds);
	openfds_free(t->open_fds);
	janitor_done(t);
	layerrefs_done(t);
	pins_done(t);
	heats_done(t);
	free(t);
}

/* The root's node: id 1 for the kernel, whatever its handle says. */
static int make_root(struct tier *t)
{
	struct hot_fh fh;
	uint64_t id;
	bool fresh;
	int r = hot_identify(t->hot, hot_root_fd(t->hot), "", &t->root_st, &fh, &id);

	if (r)
		return r;
	t->root_alias = id;
	return node_intern(t, 1, &fh, &t->root_st, 1, &t->root, &fresh);
}

int tier_open(struct tier **ret, const struct config *cfg, struct hot *hot, struct store *store,
	      struct index *ix, char **ret_msg)
{
	struct tier *t = calloc(1, sizeof(*t));
	int r = t ? 0 : -ENOMEM;

	*ret_msg = NULL;
	if (r)
		return r;
	t->cfg = cfg;
	t->hot = hot;
	t->store = store;
	t->ix = ix;
	r = init_locks(t);
	if (!r)
		r = nodes_init(t);
	if (!r)
		r = share_fds(t);
	if (!r)
		r = layerrefs_init(t);
	if (!r)
		r = make_root(t);
	if (!r)
		r = pins_load(t);
	if (!r)
		r = heats_load(t);
	if (!r)
		r = pause_load(t);
	if (!r)
		r = tier_bind(t, ret_msg);
	if (!r)
		r = tier_recover(t, ret_msg);
	if (!r)
		tier_space_first(t);
	if (!r && cfg->auto_spill)
		gate_start(t);
	if (r)
		tier_free(t);
	else
		*ret = t;
	return r;
}

int tier_start(struct tier *t)
{
	int r = thread_start(&t->janitor_thread, "janitor", janitor_main, t);

	if (r)
		return r;
	r = thread_start(&t->space_thread, "space", space_main, t);
	bool space_on = !r;

	if (!r && t->cfg->auto_spill)
		r = thread_start(&t->auto_thread, "policy", auto_main, t);
	if (r) {
		atomic_store(&t->stop, true);
		pthread_join(t->janitor_thread, NULL);
		if (space_on)
			pthread_join(t->space_thread, NULL);
		return r;
	}
	t->threads_on = true;
	if (t->cfg->auto_spill && t->pass.open && !gate_works(t))
		log_info("writers whom the kernel serves cannot be made to wait (%s; it takes "
			 "Linux 6.14, and ext4, xfs or btrfs): ENOSPC for who outruns spilling",
			 strerror(-t->gate_err));
	t->reconcile_on = !thread_start(&t->reconcile_thread, "reconcile", reconcile_main, t);
	return 0;
}

void tier_close(struct tier *t)
{
	int r;

	if (!t)
		return;
	pthread_mutex_lock(&t->auto_lock);
	pthread_mutex_lock(&t->defer_lock);
	atomic_store(&t->stop, true);
	pthread_cond_broadcast(&t->auto_cond);
	pthread_cond_broadcast(&t->defer_cond);
	pthread_mutex_unlock(&t->defer_lock);
	pthread_mutex_unlock(&t->auto_lock);
	pthread_mutex_lock(&t->space_lock);
	pthread_cond_broadcast(&t->space_cond);
	pthread_mutex_unlock(&t->space_lock);
	if (t->threads_on) {
		pthread_join(t->janitor_thread, NULL);
		pthread_join(t->space_thread, NULL);
		if (t->cfg->auto_spill)
			pthread_join(t->auto_thread, NULL);
		if (t->reconcile_on)
			pthread_join(t->reconcile_thread, NULL);
	}
	gate_stop(t);
	r = janitor_flush(t);
	heats_drain(t, true);
	if (!r)
		r = overflow_epoch(t);
	if (!r)
		r = index_begin(t->ix);
	if (!r) {
		r = layers_flush(t);
		if (!r)
			r = heats_flush(t);
		if (r)
			index_rollback(t->ix);
		else
			r = index_commit(t->ix);
	}
	/* Times restored after punches, dropped markers: all of it before the store says "clean".
	 */
	if (!r)
		r = d_syncfs(hot_root_fd(t->hot));
	/* A scan that did not end leaves its work for the next mount. */
	if (!r && (!t->unclean || atomic_load(&t->regular_known)) && !atomic_load(&t->frozen) &&
	    !atomic_load(&t->scan_due))
		r = tier_mark_clean(t);
	if (r)
		log_err("closing: %s; the next mount recovers", strerror(-r));
	tier_free(t);
}
