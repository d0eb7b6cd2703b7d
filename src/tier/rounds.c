/* SPDX-License-Identifier: MIT
 * The rounds of the policy: ask for a plan over the catalog, act on it.
 *
 * The catalog is kept for a while, so that the round that has to free space need not walk first:
 * what was premigrated is in it. A walk is made again no sooner than twenty times its own length
 * later, unless files too young or all that is left must be looked at anew: looking costs at most a
 * twentieth of a CPU, however large the tree.
 */
#include "catalog.h"
#include "rounds.h"

#include <linux/ioprio.h>
#include <sys/syscall.h>

#define CATALOG_MIN_NS 5000000000ull
#define CATALOG_MAX_NS 300000000000ull
#define STEP_BYTES     (32ull << 20)  /* a batch of copies: pressure waits no longer than that */
#define PREMIGRATE_NS  15000000000ull /* between two looks for what could be copied */
#define REST_NS        60000000000ull

struct policy_rules policy_rules_of(const struct config *c)
{
	return (struct policy_rules){
		.premigrate = MIN(c->premigrate, c->low),
		.low = c->low,
		.high = c->high,
		.critical = c->critical,
		.min_age_sec = c->min_age_sec,
		.retain_sec = c->retain_sec,
		.half_life_sec = c->half_life_sec,
		.min_size_bytes = c->min_size_bytes,
		.spill_all = c->spill_all,
	};
}

void round_forget(struct tier *t)
{
	if (t->catalog)
		catalog_done(t->catalog);
	free(t->catalog);
	t->catalog = NULL;
}

/* The catalog, or a new one when it is older than max_ns. */
static int catalog_get(struct tier *t, uint64_t max_ns)
{
	if (t->catalog && clock_mono_ns() - t->catalog->built_ns <=
				  MAX(MAX(max_ns, CATALOG_MIN_NS), 20 * t->catalog->took_ns))
		return 0;
	round_forget(t);
	t->catalog = calloc(1, sizeof(*t->catalog));
	if (!t->catalog)
		return -ENOMEM;
	int r = catalog_build(t, t->catalog);

	if (r)
		round_forget(t);
	return r;
}

static int plan(struct tier *t, enum policy_act act, bool urgent, struct policy_plan *ret)
{
	struct policy_rules rules = policy_rules_of(t->cfg);
	struct statvfs sv;
	int r = hot_statfs(t->hot, &sv);

	if (r)
		return r;
	catalog_ask(t, t->catalog);
	uint64_t used = (uint64_t)(sv.f_blocks - sv.f_bfree) * sv.f_frsize;

	return policy_plan(&rules, act, urgent, used, used + (uint64_t)sv.f_bavail * sv.f_frsize,
			   t->catalog->f, t->catalog->n, ret);
}

static bool keep_going(void *ctx, const struct tier_work *w)
{
	struct tier *t = ctx;

	if (w->freed_bytes)
		atomic_store(&t->vain_ns, 0);
	return !winding_down(t) && !pause_active(t);
}

/* ---- spilling -------------------------------------------------------------------------------- */

static bool enough(void *ctx)
{
	struct tier *t = ctx;

	auto_relieved(t);
	return winding_down(t) || pause_active(t) || used_now(t) <= t->cfg->low;
}

static void add_work(struct tier_work *sum, const struct tier_work *w)
{
	sum->files_done += w->files_done;
	sum->bytes_done += w->bytes_done;
	sum->freed_bytes += w->freed_bytes;
	sum->files_busy += w->files_busy;
	sum->files_no_room += w->files_no_room;
}

/* Plan and act, once. *ret_n: files that were chosen. */
static int spill_once(struct tier *t, bool urgent, struct tier_work *sum, size_t *ret_n)
{
	struct work k = {
		.t = t,
		.min_age_sec = urgent ? 0 : t->cfg->min_age_sec,
		.min_size = t->cfg->min_size_bytes,
		.fn = keep_going,
		.enough = enough,
		.ctx = t,
	};
	struct policy_plan p = {0};
	int r = plan(t, POLICY_SPILL, urgent, &p);

	*ret_n = p.n;
	if (!r)
		r = catalog_spill(t->catalog, &p, &k);
	policy_plan_done(&p);
	if (k.w.files_done)
		auto_relieved(t);
	if (k.w.freed_bytes)
		atomic_store(&t->vain_ns, 0);
	add_work(sum, &k.w);
	if (!r && used_now(t) <= t->cfg->low)
		r = WORK_ENOUGH;
	return r;
}

int round_spill(struct tier *t, struct tier_work *sum)
{
	bool urgent = auto_urgent(t), fresh = !t->catalog;
	size_t n = 0;
	int r = catalog_get(t, CATALOG_MAX_NS);

	if (!r)
		r = spill_once(t, urgent, sum, &n);
	/* Not what the catalog promised, or nothing that it knows: look again. */
	if (!r && !fresh && clock_mono_ns() - t->catalog->built_ns > 1000000000) {
		if (urgent)
			round_forget(t);
		r = catalog_get(t, 0);
		if (!r)
			r = spill_once(t, urgent, sum, &n);
	}
	if (r < 0 && r != -EINTR && !sum->freed_bytes)
		atomic_store(&t->vain_ns, clock_mono_ns());
	else if (!r && urgent && !sum->files_done)
		atomic_store(&t->vain_ns, t->catalog->built_ns - t->catalog->took_ns);
	return r;
}

/* ---- premigrating ---------------------------------------------------------------------------- */

/* Of this thread, and of those it starts. */
static void io_idle(bool on)
{
	int prio = on ? IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)
		      : IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 0);

	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, prio); /* refused: as before */
}

static bool step_done(void *ctx)
{
	(void)ctx;
	return true; /* one batch at a time */
}

/* How long to leave it alone when there was nothing to copy: a hundredth of a CPU for looking. */
static uint64_t rest_ns(const struct catalog *c)
{
	return MAX(REST_NS, 100 * c->took_ns);
}

bool round_premigrate(struct tier *t)
{
	struct work k = {
		.t = t,
		.min_age_sec = t->cfg->min_age_sec,
		.min_size = t->cfg->min_size_bytes,
		.copy_only = true,
		.batch_bytes = STEP_BYTES,
		.fn = keep_going,
		.enough = step_done,
		.ctx = t,
	};
	struct policy_plan p = {0};
	/* Two percent more are worth a look before its time. */
	if (hot_fs_type(t->hot) == HOT_OTHER) /* no copy can be trusted: see premigrated() */
		return false;
	if (clock_mono_ns() < t->premigrate_ns && atomic_load(&t->used) < t->premigrate_used + 2)
		return false;
	int r = catalog_get(t, PREMIGRATE_NS);

	if (!r)
		r = plan(t, POLICY_PREMIGRATE, false, &p);
	if (r || !p.n) { /* all is done: the next walk can wait */
		t->premigrate_ns = clock_mono_ns() + (r ? REST_NS : rest_ns(t->catalog));
		t->premigrate_used = atomic_load(&t->used);
		policy_plan_done(&p);
		return false;
	}
	atomic_fetch_add(&t->working, 1);
	io_idle(true);
	uint64_t start = clock_mono_ns();

	r = catalog_spill(t->catalog, &p, &k);
	io_idle(false);
	atomic_fetch_sub(&t->working, 1);
	policy_plan_done(&p);
	if (k.w.files_done)
		log_debug("premigrated %llu files, %llu bytes", (unsigned long long)k.w.files_done,
			  (unsigned long long)k.w.bytes_done);
	if (r < 0) { /* when space must be freed, the reason is told */
		t->premigrate_ns = clock_mono_ns() + REST_NS;
		t->premigrate_used = 100;
		return false;
	}
	uint64_t took_ms = (clock_mono_ns() - start) / 1000000;
	uint64_t ms = t->cfg->rate_bytes ? k.w.bytes_done * 1000 / t->cfg->rate_bytes : 0;

	if (ms > took_ms)
		auto_pause(t, (unsigned)MIN(ms - took_ms, 60000));
	return r == WORK_ENOUGH;
}

/* ---- recalling ------------------------------------------------------------------------------- */

static bool fits(struct tier *t, const struct node *n)
{
	struct policy_rules rules = policy_rules_of(t->cfg);
	uint64_t bytes = (uint64_t)n->cold->blocks * 512;
	struct statvfs sv;

	if (hot_statfs(t->hot, &sv))
		return false;
	uint64_t used = (uint64_t)(sv.f_blocks - sv.f_bfree) * sv.f_frsize;

	return policy_recall(&rules, 1e9f, bytes, used, used + (uint64_t)sv.f_bavail * sv.f_frsize);
}

void round_recall(struct tier *t)
{
	uint64_t id;

	while (!winding_down(t) && heats_want(t, &id)) {
		struct node *n = node_find(t, id);

		if (!n)
			continue;
		node_lock(t, n);
		/* Somebody reads it right now from the store: next time. */
		if (node_is_cold(n) && !n->opens && !n->rel &&
		    !node_has(n, NODE_BUSY | NODE_DAMAGED | NODE_FILLING) && fits(t, n)) {
			int r = recall_node(t, n, true);

			if (r)
				log_debug("recall of what is used often: %s", strerror(-r));
		}
		node_unlock(t, n);
		tier_put(t, n);
	}
}
