/* SPDX-License-Identifier: MIT
 * Heat of files and layers: who was used, noted at each open, judged once a minute.
 *
 * An open leaves a record in a ring: no lock, no allocation, no disk. When the ring is full, uses
 * are lost, which costs a worse choice and nothing else. The janitor takes a minute's records at a
 * time, throws out those of scanners (policy.h) and counts the rest in a table, by node id, that
 * goes to the index lazily and is read at mount. Files that cooled down are forgotten.
 */
#include "tier_int.h"

#define RING       65536u /* a power of two */
#define TABLE_MIN  1024u  /* entries */
#define TABLE_MAX  (1u << 21)
#define DRAIN_NS   60000000000ull
#define COLD       0.05f
#define WANTED     256
#define PAGE       512
#define FLUSH_ROWS 4096
#define USED_COLD  (1u << 31) /* in slot.layer: it was a stub then */
#define EPOCH_2020 1577836800u

struct slot {
	_Atomic uint64_t node; /* 0: free */
	_Atomic uint32_t pid, layer;
};

/* 20 bytes: there is one for each file that was used lately, and that may be all of them. */
struct hrec {
	uint32_t id[2]; /* node id, the low half first; 0: free */
	struct heat h;
	uint32_t recalled : 31; /* seconds since EPOCH_2020; 0: it was not */
	uint32_t dirty : 1;
};
_Static_assert(sizeof(struct hrec) == 20, "see above");

struct heats {
	struct slot *ring;
	atomic_uint head, filled;
	pthread_mutex_t lock;  /* leaf */
	struct hrec *v;        /* open addressing; lock */
	size_t cap, n;         /* lock */
	unsigned sizes;        /* that v has had; lock */
	uint64_t want[WANTED]; /* stubs worth a recall; lock */
	size_t nwant;
	pthread_mutex_t drain_lock; /* outside lock and the layers' */
	uint64_t drained_ns;        /* drain_lock */
};

static uint32_t now_sec(void)
{
	return (uint32_t)(clock_wall_ns() / 1000000000);
}

/* ---- the table [lock] ------------------------------------------------------------------------ */

static uint64_t id_of(const struct hrec *h)
{
	return (uint64_t)h->id[1] << 32 | h->id[0];
}

static uint32_t recalled_sec(const struct hrec *h)
{
	return h->recalled ? h->recalled + EPOCH_2020 : 0;
}

static void set_recalled(struct hrec *h, uint32_t sec)
{
	h->recalled = sec ? MAX(sec, EPOCH_2020 + 1) - EPOCH_2020 : 0;
}

static struct hrec *place(struct hrec *v, size_t cap, uint64_t node)
{
	size_t i = ((node * 0x9e3779b97f4a7c15ull) >> 32) * cap >> 32;

	while (id_of(&v[i]) && id_of(&v[i]) != node)
		i = i + 1 == cap ? 0 : i + 1;
	return &v[i];
}

/* Give the table another size, without what was forgotten. */
static bool resize(struct heats *hs, size_t cap)
{
	struct hrec *v = calloc(cap, sizeof(*v));

	if (!v)
		return false;
	hs->n = 0;
	for (size_t i = 0; i < hs->cap; i++) {
		const struct hrec *h = &hs->v[i];

		if (!id_of(h) || (!h->h.used_sec && !h->recalled))
			continue;
		*place(v, cap, id_of(h)) = *h;
		hs->n++;
	}
	free(hs->v);
	hs->v = v;
	hs->cap = cap;
	hs->sizes++;
	return true;
}

/* By quarters: a table that doubles is half empty as often as not. */
static bool grow(struct heats *hs)
{
	size_t cap = hs->cap ? hs->cap + hs->cap / 4 : TABLE_MIN;

	return cap <= TABLE_MAX && resize(hs, cap);
}

static struct hrec *find(struct heats *hs, uint64_t node, bool make)
{
	struct hrec *h = hs->cap ? place(hs->v, hs->cap, node) : NULL;

	if (h && id_of(h))
		return h;
	if (!make || ((hs->n + 1) * 6 > hs->cap * 5 && !grow(hs)))
		return NULL;
	h = place(hs->v, hs->cap, node);
	h->id[0] = (uint32_t)node;
	h->id[1] = (uint32_t)(node >> 32);
	hs->n++;
	return h;
}

/* ---- life ------------------------------------------------------------------------------------ */

int heats_load(struct tier *t)
{
	struct heats *hs = calloc(1, sizeof(*hs));
	struct heat_row rows[PAGE];
	const uint64_t *after = NULL;
	uint64_t last;
	ssize_t n;

	if (!hs)
		return -ENOMEM;
	t->heats = hs;
	pthread_mutex_init(&hs->lock, NULL);
	pthread_mutex_init(&hs->drain_lock, NULL);
	hs->drained_ns = clock_mono_ns();
	hs->ring = calloc(RING, sizeof(*hs->ring));
	if (!hs->ring)
		return -ENOMEM;
	while ((n = index_heat_list(t->ix, after, rows, PAGE)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct hrec *h = rows[i].node ? find(hs, rows[i].node, true) : NULL;

			if (h) {
				h->h.score = (float)rows[i].score / 1000;
				h->h.used_sec = rows[i].used_sec;
				set_recalled(h, rows[i].recalled_sec);
			}
		}
		last = rows[n - 1].node;
		after = &last;
	}
	return n < 0 ? (int)n : 0;
}

void heats_done(struct tier *t)
{
	if (!t->heats)
		return;
	free(t->heats->ring);
	free(t->heats->v);
	pthread_mutex_destroy(&t->heats->lock);
	pthread_mutex_destroy(&t->heats->drain_lock);
	free(t->heats);
	t->heats = NULL;
}

/* ---- noting ---------------------------------------------------------------------------------- */

void tier_used(struct tier *t, const struct node *n, uint32_t pid)
{
	struct heats *hs = t->heats;
	uint64_t none = 0;

	if (!node_has(n, NODE_REG))
		return;
	struct slot *s = &hs->ring[atomic_fetch_add(&hs->head, 1) & (RING - 1)];

	if (atomic_load_explicit(&s->node, memory_order_relaxed))
		return; /* full */
	atomic_store_explicit(&s->pid, pid, memory_order_relaxed);
	atomic_store_explicit(&s->layer, n->layer | (node_is_cold(n) ? USED_COLD : 0),
			      memory_order_relaxed);
	if (atomic_compare_exchange_strong_explicit(&s->node, &none, n->nodeid,
						    memory_order_release, memory_order_relaxed))
		atomic_fetch_add(&hs->filled, 1);
}

void heats_recalled(struct tier *t, uint64_t node)
{
	struct heats *hs = t->heats;

	pthread_mutex_lock(&hs->lock);
	struct hrec *h = find(hs, node, true);

	if (h) {
		set_recalled(h, now_sec());
		h->dirty = 1;
	}
	pthread_mutex_unlock(&hs->lock);
}

static void count_use(struct tier *t, const struct heat_use_rec *u, uint32_t now)
{
	struct heats *hs = t->heats;
	float heat = 0;

	pthread_mutex_lock(&hs->lock);
	struct hrec *h = find(hs, u->node, true);

	if (h && heat_use(&h->h, now, t->cfg->half_life_sec)) {
		h->dirty = 1;
		heat = h->h.score;
	}
	pthread_mutex_unlock(&hs->lock);
	layer_used_at(t, u->layer & ~USED_COLD, now);
	/* Spilled by hand after it was used: that is what somebody wants. */
	if (!(u->layer & USED_COLD) || !policy_recall_heat(heat))
		return;
	struct node *n = node_find(t, u->node);

	if (n && node_is_cold(n)) {
		pthread_mutex_lock(&hs->lock);
		if (hs->nwant < WANTED)
			hs->want[hs->nwant++] = u->node;
		pthread_mutex_unlock(&hs->lock);
		auto_kick(t);
	}
	tier_put(t, n);
}

/* The filled slots of the ring, emptied. */
static size_t take(struct heats *hs, struct heat_use_rec *v)
{
	size_t n = 0;

	for (size_t i = 0; i < RING; i++) {
		struct slot *s = &hs->ring[i];

		if (!atomic_load_explicit(&s->node, memory_order_acquire))
			continue;
		v[n].pid = atomic_load_explicit(&s->pid, memory_order_relaxed);
		v[n].layer = atomic_load_explicit(&s->layer, memory_order_relaxed);
		v[n++].node = atomic_exchange_explicit(&s->node, 0, memory_order_acq_rel);
	}
	atomic_fetch_sub(&hs->filled, (unsigned)n);
	return n;
}

void heats_drain(struct tier *t, bool now_please)
{
	struct heats *hs = t->heats;
	uint64_t now_ns = clock_mono_ns();
	unsigned filled = atomic_load(&hs->filled);

	pthread_mutex_lock(&hs->drain_lock);
	bool due = filled &&
		   (now_please || filled >= RING / 4 * 3 || now_ns - hs->drained_ns >= DRAIN_NS);
	struct heat_use_rec *v = due ? malloc(RING * sizeof(*v)) : NULL;

	if (v) {
		long long files = atomic_load(&t->n_regular);
		size_t n = heat_judge(v, take(hs, v), heat_scan_limit((uint64_t)MAX(files, 0)));
		uint32_t now = now_sec();

		hs->drained_ns = now_ns;
		for (size_t i = 0; i < n; i++)
			count_use(t, &v[i], now);
		free(v);
	}
	pthread_mutex_unlock(&hs->drain_lock);
}

/* ---- asking ---------------------------------------------------------------------------------- */

float heats_of(struct tier *t, uint64_t node, uint32_t now, uint32_t *ret_used,
	       uint32_t *ret_recalled)
{
	struct heats *hs = t->heats;
	float heat = 0;

	*ret_used = *ret_recalled = 0;
	pthread_mutex_lock(&hs->lock);
	const struct hrec *h = find(hs, node, false);

	if (h) {
		heat = heat_at(&h->h, now, t->cfg->half_life_sec);
		*ret_used = h->h.used_sec;
		*ret_recalled = MIN(recalled_sec(h), now); /* a clock that was set back */
	}
	pthread_mutex_unlock(&hs->lock);
	return heat;
}

bool heats_want(struct tier *t, uint64_t *ret_node)
{
	struct heats *hs = t->heats;

	pthread_mutex_lock(&hs->lock);
	bool any = hs->nwant;

	if (any)
		*ret_node = hs->want[--hs->nwant];
	pthread_mutex_unlock(&hs->lock);
	return any;
}

/* ---- keeping ----------------------------------------------------------------------------------
 */

/* The next changes from *at on, at most FLUSH_ROWS; what cooled down is emptied. [lock] */
static size_t changes(const struct tier *t, uint32_t now, size_t *at, struct hrec *v,
		      bool *ret_gone)
{
	struct heats *hs = t->heats;
	size_t n = 0;

	for (; *at < hs->cap && n < FLUSH_ROWS; ++*at) {
		struct hrec *h = &hs->v[*at];

		if (!id_of(h))
			continue;
		if (heat_at(&h->h, now, t->cfg->half_life_sec) < COLD &&
		    (!h->recalled || now > recalled_sec(h) + t->cfg->retain_sec)) {
			h->h = (struct heat){0};
			h->recalled = 0;
			v[n++] = *h;
			*ret_gone = true;
		} else if (h->dirty) {
			v[n++] = *h;
		}
		h->dirty = 0;
	}
	return n;
}

/* Without what was emptied. [lock] */
static void shrink(struct heats *hs)
{
	size_t live = 0;

	for (size_t i = 0; i < hs->cap; i++)
		live += id_of(&hs->v[i]) && (hs->v[i].h.used_sec || hs->v[i].recalled);
	resize(hs, MIN(MAX(live + live / 2, TABLE_MIN), hs->cap));
}

static int write_rows(struct tier *t, const struct hrec *v, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		struct heat_row row = {
			.node = id_of(&v[i]),
			.score = (uint32_t)MIN(v[i].h.score * 1000, 4e9f),
			.used_sec = v[i].h.used_sec,
			.recalled_sec = recalled_sec(&v[i]),
		};

		r = row.used_sec || row.recalled_sec ? index_heat_set(t->ix, &row)
						     : index_heat_del(t->ix, row.node);
	}
	return r;
}

int heats_flush(struct tier *t)
{
	struct heats *hs = t->heats;
	struct hrec *v = malloc(FLUSH_ROWS * sizeof(*v));
	uint32_t now = now_sec();
	unsigned sizes = 0;
	bool gone = false, more = v != NULL;
	size_t at = 0;
	int r = 0;

	/* The changes are copied out, so that no request waits for the index; some at a time, as
	 * all may be as much as the table. */
	while (more && !r) {
		pthread_mutex_lock(&hs->lock);
		if (!at || sizes != hs->sizes) { /* moved: what is written is not dirty any more */
			sizes = hs->sizes;
			at = 0;
		}
		size_t n = changes(t, now, &at, v, &gone);

		more = at < hs->cap;
		if (!more && gone)
			shrink(hs);
		pthread_mutex_unlock(&hs->lock);
		r = write_rows(t, v, n);
	}
	free(v);
	return r;
}
