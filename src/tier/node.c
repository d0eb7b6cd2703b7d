/* SPDX-License-Identifier: MIT
 * The table of hot inodes that the kernel, an open file or a worker refers to.
 *
 * A node is a cache: everything in it can be found again from its node id (the file handle) and the
 * marker on disk, so a daemon that takes over an old mount starts with an empty table. While a node
 * exists, its residency in memory is the truth: all changes of residency go through this daemon.
 */
#include "tier_int.h"

#include <fcntl.h>
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

	if (pin >= 0)
		close(pin);
	if (n->backing && t->pass.close)
		t->pass.close(t->pass.ctx, n->backing);
	if (node_has(n, NODE_KEPT) && t->orphan)
		t->orphan(t->orphan_ctx, n->nodeid, -1);
	cold_unref(n->cold);
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
		atomic_store(&n->flags, NODE_REG | (t->resumed ? NODE_MAPPED | NODE_OLD_PAGES : 0));
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

/* Drop refs and lookups; free the node when nothing holds it. */
static void node_drop(struct tier *t, uint64_t nodeid, unsigned refs, uint64_t lookups)
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

/* ---- identity ---------------------------------------------------------------------------------
 */

int node_fh(struct tier *t, const struct node *n, struct hot_fh *ret)
{
	if (n->fh) {
		*ret = *n->fh;
		return 0;
	}
	return hot_fh_of_nodeid(t->hot, n->nodeid, ret) ? 0 : -ESTALE;
}

int node_open(struct tier *t, struct node *n, int flags)
{
	struct hot_fh fh;
	int pin = atomic_load(&n->pin_fd);

	if (n->nodeid == 1)
		return hot_reopen(hot_root_fd(t->hot), flags);
	if (pin >= 0)
		return hot_reopen(pin, flags);
	int r = node_fh(t, n, &fh);

	return r ? r : hot_open_fh(t->hot, &fh, flags);
}

int node_of_fd(struct tier *t, int fd, struct node **ret, struct stat *ret_st)
{
	struct hot_fh fh;
	uint64_t id;
	bool fresh;
	int r = hot_identify(t->hot, fd, "", ret_st, &fh, &id);

	return r ? r : node_intern(t, id, &fh, ret_st, 0, ret, &fresh);
}

int node_learn(struct tier *t, struct node *n, int fd, const struct stat *st)
{
	struct marker mk;

	if (node_has(n, NODE_RES_KNOWN) || !node_has(n, NODE_REG))
		return 0;
	if (st->st_size == 0) {
		/* A stub is never empty: a marker here is what an interrupted truncation left. */
		int r = hot_marker_get(fd, &mk);

		node_flag(n, NODE_RES_KNOWN | (r == -ENODATA ? 0 : NODE_STALE_MARKER), 0);
		return 0;
	}
	int r = hot_marker_get(fd, &mk);

	if (r == -ENODATA || r == -EOPNOTSUPP) {
		node_flag(n, NODE_RES_KNOWN, 0);
		return 0;
	}
	if (r == -EUCLEAN || r == -EPROTONOSUPPORT || (!r && mk.size != (uint64_t)st->st_size)) {
		log_err("inode %llu: the stub marker is damaged or does not fit the file (size "
			"%lld): "
			"its content cannot be proved right; run spillctl check",
			(unsigned long long)st->st_ino, (long long)st->st_size);
		atomic_fetch_add(&t->n_errors, 1);
		node_flag(n, NODE_RES_KNOWN | NODE_DAMAGED, 0);
		return 0;
	}
	if (r)
		return r;
	n->cold = cold_new(&mk);
	if (!n->cold)
		return -ENOMEM;
	atomic_store(&n->res, RES_SPILLED);
	node_flag(n, NODE_RES_KNOWN, 0);
	return 0;
}

/* Attach layer identity and residency to a node just found by name. */
static int node_attach(struct tier *t, struct node *dir, int dirfd, const char *name, int fd,
		       struct node *n, bool fresh, struct stat *st)
{
	if (fresh && dir && dir != n) {
		layer_class cls;
		uint32_t layer;

		layer_of_child(t, dir, dirfd, name, &cls, &layer);
		node_lock(t, n);
		n->cls = cls;
		n->layer = layer;
		node_unlock(t, n);
	}
	if (!S_ISREG(st->st_mode))
		return 0;
	if (!node_has(n, NODE_RES_KNOWN)) {
		cleanup_fd int tmp = -1;

		if (fd < 0) {
			tmp = node_open(t, n, O_PATH | O_NOFOLLOW);
			if (tmp < 0)
				return tmp == -ESTALE ? -ENOENT : tmp;
			fd = tmp;
		}
		node_lock(t, n);
		int r = node_learn(t, n, fd, st);

		node_unlock(t, n);
		if (r)
			return r;
	}
	return tier_fix_attr(t, n, fd, st);
}

int tier_lookup(struct tier *t, struct node *dir, const char *name, struct node **ret,
		struct stat *ret_st)
{
	struct node_fd dfd;
	struct hot_fh fh;
	uint64_t id;
	bool fresh;
	int r = tier_fd_get(t, dir, &dfd);

	if (r)
		return r;
	r = hot_identify(t->hot, dfd.fd, name, ret_st, &fh, &id);
	if (!r)
		r = node_intern(t, id, &fh, ret_st, 1, ret, &fresh);
	if (!r) {
		r = node_attach(t, dir, dfd.fd, name, -1, *ret, fresh, ret_st);
		if (r)
			node_drop(t, (*ret)->nodeid, 1, 1);
	}
	tier_fd_put(t, &dfd);
	return r;
}

int tier_lookup_fd(struct tier *t, struct node *dir, const char *name, int fd, struct node **ret,
		   struct stat *ret_st)
{
	struct node_fd dfd;
	struct hot_fh fh;
	uint64_t id;
	bool fresh;
	int r = hot_identify(t->hot, fd, "", ret_st, &fh, &id);

	if (!r)
		r = node_intern(t, id, &fh, ret_st, 1, ret, &fresh);
	if (r)
		return r;
	r = tier_fd_get(t, dir, &dfd);
	if (!r) {
		r = node_attach(t, dir, dfd.fd, name, fd, *ret, fresh, ret_st);
		tier_fd_put(t, &dfd);
	}
	if (!r && ret_st->st_nlink == 0 && atomic_load(&(*ret)->pin_fd) < 0) {
		/* O_TMPFILE: no name keeps the inode for the kernel's reference. */
		int pin = hot_reopen(fd, O_PATH), none = -1;

		if (pin >= 0 && !atomic_compare_exchange_strong(&(*ret)->pin_fd, &none, pin))
			close(pin);
	}
	if (r)
		node_drop(t, (*ret)->nodeid, 1, 1);
	return r;
}

int tier_get(struct tier *t, uint64_t nodeid, struct node **ret)
{
	struct node *n = node_find(t, nodeid);
	struct hot_fh fh;
	struct stat st;
	bool fresh;

	if (n) {
		*ret = n;
		return 0;
	}
	if (!hot_fh_of_nodeid(t->hot, nodeid, &fh))
		return -ESTALE;
	cleanup_fd int fd = hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	/* It stays until the kernel forgets it: as good as a lookup. */
	return node_intern(t, nodeid, &fh, &st, t->resumed, ret, &fresh);
}

void tier_handle(const struct node *n, struct hot_fh *ret)
{
	*ret = n->fh ? *n->fh : (struct hot_fh){0};
}

void tier_resumed(struct tier *t)
{
	t->resumed = true;
}

/* ---- fds ---------------------------------------------------------------------------------------
 */

int tier_fd_get(struct tier *t, struct node *n, struct node_fd *ret)
{
	int pin = n == t->root ? hot_root_fd(t->hot) : atomic_load(&n->pin_fd);

	if (pin >= 0) { /* lives as long as the node, which the caller holds */
		*ret = (struct node_fd){.fd = pin, .slot = t};
		return 0;
	}
	if (!fdcache_get(t->fds, n->nodeid, ret))
		return 0;
	int fd = node_open(t, n, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	fdcache_put_new(t->fds, n->nodeid, fd, ret);
	return 0;
}

void tier_fd_put(struct tier *t, struct node_fd *f)
{
	if (f->slot != t)
		fdcache_release(t->fds, f);
}

/* ---- cold
 * ---------------------------------------------------------------------------------------- */

struct cold *cold_new(const struct marker *mk)
{
	struct cold *c = calloc(1, sizeof(*c));

	if (c) {
		atomic_store(&c->refs, 1);
		c->mk = *mk;
	}
	return c;
}

struct cold *cold_ref(struct cold *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void cold_unref(struct cold *c)
{
	if (c && atomic_fetch_sub(&c->refs, 1) == 1) {
		object_free(c->obj);
		free(c);
	}
}

int cold_load(struct tier *t, struct cold *c, uint64_t ino)
{
	struct object *o = NULL;

	if (c->obj)
		return 0;
	int r = index_object_get(t->ix, c->mk.obj, &o);

	if (!r && (memcmp(o->sha, c->mk.hash16, 16) || o->size != c->mk.size))
		r = -EBADMSG;
	if (r) {
		log_err("inode %llu: object %llu %s (%s); the file stays unreadable until the "
			"right "
			"store is back",
			(unsigned long long)ino, (unsigned long long)c->mk.obj.v,
			r == -EBADMSG ? "in the store is not the one this stub names"
				      : "cannot be had from the index",
			strerror(-r));
		atomic_fetch_add(&t->n_errors, 1);
		object_free(o);
		return r == -ENOMEM ? r : -EIO;
	}
	c->obj = o;
	return 0;
}
