/* SPDX-License-Identifier: MIT
 * The table of hot inodes that the kernel, an open file or a worker refers to.
 *
 * A node is a cache: everything in it can be found again from its node id (the file handle) and the
 * marker on disk, so a daemon that takes over an old mount starts with an empty table. While a node
 * exists, its residency in memory is the truth: all changes of residency go through this daemon.
 */
#include "overflow.h"

#include <sys/stat.h>

#define SYNTH_BIT (1ull << 62) /* node ids made from a hash of the handle */

static struct shard *shard_of(struct tier *t, uint64_t nodeid)
{
	return &t->shards[(nodeid * 0x9e3779b97f4a7c15ull) >> 58];
}

static size_t bucket_of(const struct shard *s, uint64_t nodeid)
{
	return ((nodeid * 0x9e3779b97f4a7c15ull) >> 20) & (s->nbuckets - 1);
}

int nodes_init(struct tier *t)
{
	for (unsigned i = 0; i < TABLE_SHARDS; i++) {
		struct shard *s = &t->shards[i];

		pthread_mutex_init(&s->lock, NULL);
		s->nbuckets = 64;
		s->buckets = calloc(s->nbuckets, sizeof(*s->buckets));
		if (!s->buckets)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < NODE_STRIPES; i++) {
		pthread_mutex_init(&t->stripes[i].lock, NULL);
		pthread_cond_init(&t->stripes[i].cond, NULL);
	}
	return 0;
}

static void node_free(struct tier *t, struct node *n)
{
	int pin = atomic_load(&n->pin_fd);

	if (pin >= 0) {
		close(pin);
		atomic_fetch_sub(&t->n_pins, 1);
	}
	if (n->backing && t->pass.close)
		t->pass.close(t->pass.ctx, n->backing);
	if (node_has(n, NODE_KEPT) && t->orphan)
		t->orphan(t->orphan_ctx, n->nodeid, -1);
	cold_unref(n->cold);
	overflow_free(n->over);
	free(n->fh);
	free(n);
	atomic_fetch_sub(&t->n_nodes, 1);
}

void nodes_done(struct tier *t)
{
	for (unsigned i = 0; i < TABLE_SHARDS; i++) {
		struct shard *s = &t->shards[i];

		for (size_t b = 0; s->buckets && b < s->nbuckets; b++) {
			struct node *n = s->buckets[b];

			while (n) {
				struct node *next = n->next;

				node_free(t, n);
				n = next;
			}
		}
		free(s->buckets);
		pthread_mutex_destroy(&s->lock);
	}
}

static void shard_grow(struct shard *s)
{
	size_t old = s->nbuckets;
	struct node **nb = calloc(old * 2, sizeof(*nb));

	if (!nb)
		return; /* longer chains, still right */
	struct node **ob = s->buckets;

	s->buckets = nb;
	s->nbuckets = old * 2;
	for (size_t i = 0; i < old; i++) {
		struct node *n = ob[i];

		while (n) {
			struct node *next = n->next;
			size_t b = bucket_of(s, n->nodeid);

			n->next = nb[b];
			nb[b] = n;
			n = next;
		}
	}
	free(ob);
}

static struct node *chain_find(const struct shard *s, uint64_t nodeid)
{
	struct node *n = s->buckets[bucket_of(s, nodeid)];

	while (n && n->nodeid != nodeid)
		n = n->next;
	return n;
}

static bool same_fh(const struct hot_fh *a, const struct hot_fh *b)
{
	return a->type == b->type && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

static uint64_t synth_id(const struct hot_fh *fh)
{
	return SYNTH_BIT | (hash64(fh->bytes, fh->len) >> 3);
}

int node_intern(struct tier *t, uint64_t nodeid, const struct hot_fh *fh, const struct stat *st,
		unsigned lookups, struct node **ret, bool *ret_new)
{
	bool synth = nodeid == 0;
	uint64_t id = synth ? synth_id(fh) : nodeid;
	struct shard *s;
	struct node *n;

	if (id == t->root_alias)
		id = 1;
	for (;;) {
		s = shard_of(t, id);
		pthread_mutex_lock(&s->lock);
		n = chain_find(s, id);
		if (!n || id == 1 || (!synth && !n->fh) || (synth && n->fh && same_fh(n->fh, fh)))
			break;
		/* Two handles with one hash: the next free id serves as well. */
		pthread_mutex_unlock(&s->lock);
		if (!synth)
			return -EIO;
		id++;
	}
	if (n) {
		n->nlookup += lookups;
		n->refs++;
		pthread_mutex_unlock(&s->lock);
		*ret = n;
		*ret_new = false;
		return 0;
	}
	n = calloc(1, sizeof(*n));
	if (n && synth) {
		n->fh = malloc(sizeof(*n->fh));
		if (n->fh)
			*n->fh = *fh;
	}
	if (!n || (synth && !n->fh)) {
		pthread_mutex_unlock(&s->lock);
		free(n);
		return -ENOMEM;
	}
	n->nodeid = id;
	n->nlookup = lookups;
	n->refs = 1;
	atomic_store(&n->pin_fd, -1);
	if (S_ISREG(st->st_mode))
		atomic_store(&n->flags,
			     NODE_REG |
				     (t->resumed ? NODE_MAPPED | NODE_PASSED | NODE_OLD_PAGES : 0));
	if (s->count >= s->nbuckets * 2)
		shard_grow(s);
	size_t b = bucket_of(s, id);

	n->next = s->buckets[b];
	s->buckets[b] = n;
	s->count++;
	pthread_mutex_unlock(&s->lock);
	atomic_fetch_add(&t->n_nodes, 1);
	*ret = n;
	*ret_new = true;
	return 0;
}

struct node *node_find(struct tier *t, uint64_t nodeid)
{
	struct shard *s = shard_of(t, nodeid);

	pthread_mutex_lock(&s->lock);
	struct node *n = chain_find(s, nodeid);

	if (n)
		n->refs++;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void node_pin(struct tier *t, struct node *n, int fd)
{
	int none = -1;

	if (fd < 0)
		return;
	if (atomic_compare_exchange_strong(&n->pin_fd, &none, fd))
		atomic_fetch_add(&t->n_pins, 1);
	else
		close(fd);
}

bool node_known(struct tier *t, uint64_t nodeid)
{
	struct shard *s = shard_of(t, nodeid);

	pthread_mutex_lock(&s->lock);
	bool known = chain_find(s, nodeid) != NULL;

	pthread_mutex_unlock(&s->lock);
	return known;
}

uint64_t node_id_of(struct tier *t, struct hot_id id)
{
	struct hot_fh fh;

	if (id.ino <= UINT32_MAX)
		return (uint64_t)id.gen << 32 | id.ino;
	return hot_fh_of_id(t->hot, id, &fh) ? synth_id(&fh) : 0;
}

void node_drop(struct tier *t, uint64_t nodeid, unsigned refs, uint64_t lookups)
{
	struct shard *s = shard_of(t, nodeid);

	pthread_mutex_lock(&s->lock);
	struct node **pn = &s->buckets[bucket_of(s, nodeid)];

	while (*pn && (*pn)->nodeid != nodeid)
		pn = &(*pn)->next;
	struct node *n = *pn;

	if (!n) { /* a forget for an inode from before a takeover */
		pthread_mutex_unlock(&s->lock);
		return;
	}
	n->refs -= refs;
	n->nlookup -= MIN(n->nlookup, lookups);
	bool last = !n->refs && !n->nlookup && n != t->root;

	if (last) {
		*pn = n->next;
		s->count--;
	}
	pthread_mutex_unlock(&s->lock);
	if (last) {
		/* An O_PATH fd in the cache would keep a deleted inode's space. */
		fdcache_drop(t->fds, n->nodeid);
		node_free(t, n);
	}
}

void node_ref(struct tier *t, struct node *n)
{
	struct shard *s = shard_of(t, n->nodeid);

	pthread_mutex_lock(&s->lock);
	n->refs++;
	pthread_mutex_unlock(&s->lock);
}

void tier_put(struct tier *t, struct node *n)
{
	if (n)
		node_drop(t, n->nodeid, 1, 0);
}

void tier_forget(struct tier *t, uint64_t nodeid, uint64_t nlookup)
{
	if (nodeid != 1)
		node_drop(t, nodeid, 0, nlookup);
}

struct node *tier_root(struct tier *t)
{
	return t->root;
}

uint64_t node_id(const struct node *n)
{
	return n->nodeid;
}

/* ---- node lock and flags ------------------------------------------------------------------- */

struct stripe *node_stripe(struct tier *t, const struct node *n)
{
	return &t->stripes[((n->nodeid * 0x9e3779b97f4a7c15ull) >> 40) % NODE_STRIPES];
}

void node_lock(struct tier *t, struct node *n)
{
	pthread_mutex_lock(&node_stripe(t, n)->lock);
}

void node_unlock(struct tier *t, struct node *n)
{
	pthread_mutex_unlock(&node_stripe(t, n)->lock);
}

void node_wait(struct tier *t, struct node *n)
{
	struct stripe *s = node_stripe(t, n);

	pthread_cond_wait(&s->cond, &s->lock);
}

void node_wake(struct tier *t, struct node *n)
{
	pthread_cond_broadcast(&node_stripe(t, n)->cond);
}

bool node_has(const struct node *n, unsigned flag)
{
	return atomic_load_explicit(&n->flags, memory_order_acquire) & flag;
}

void node_flag(struct node *n, unsigned set, unsigned clear)
{
	unsigned f = atomic_load_explicit(&n->flags, memory_order_relaxed);

	atomic_store_explicit(&n->flags, (uint16_t)((f & ~clear) | set), memory_order_release);
}

void node_busy_set(struct node *n)
{
	node_flag(n, NODE_BUSY, 0);
}

void node_busy_clear(struct tier *t, struct node *n)
{
	node_flag(n, 0, NODE_BUSY);
	node_wake(t, n);
}
