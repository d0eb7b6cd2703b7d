/* SPDX-License-Identifier: MIT
 * The decoded-frame cache: sharded, least recently used goes first, keyed by (pack, frame).
 *
 * Whoever asks first for a frame decodes it, outside the lock; those who ask meanwhile wait for it.
 * A failed entry leaves the table at once, so that the next reader tries again. An entry in use
 * outlives its eviction: eviction only takes it out of the table.
 */
#include "store_int.h"

#define SHARDS_MAX 16u
#define SHARD_MIN  (8u * FRAME_SIZE)
#define BUCKETS    64u

enum { LOADING, READY, FAILED };

struct shard {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct centry *bucket[BUCKETS];
	struct centry lru; /* ring; next is the most recent. READY and hashed entries only */
	uint64_t bytes;
};

struct cache {
	uint64_t shard_bytes;
	unsigned nshards;
	struct shard shard[];
};

static uint32_t key_hash(uint32_t pack, uint32_t frame)
{
	uint64_t h = ((uint64_t)pack << 32 | frame) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(h >> 32);
}

static struct shard *shard_of(struct cache *c, uint32_t pack, uint32_t frame)
{
	return &c->shard[key_hash(pack, frame) % c->nshards];
}

static struct centry **slot_of(struct shard *s, uint32_t pack, uint32_t frame)
{
	struct centry **p = &s->bucket[(key_hash(pack, frame) >> 8) % BUCKETS];

	while (*p && ((*p)->pack != pack || (*p)->frame != frame))
		p = &(*p)->hnext;
	return p;
}

int cache_new(struct cache **ret, uint64_t bytes)
{
	unsigned n = (unsigned)MIN((uint64_t)SHARDS_MAX, MAX(bytes / SHARD_MIN, (uint64_t)1));
	struct cache *c = calloc(1, sizeof(*c) + n * sizeof(c->shard[0]));

	if (!c)
		return -ENOMEM;
	c->nshards = n;
	c->shard_bytes = bytes / n;
	for (unsigned i = 0; i < n; i++) {
		struct shard *s = &c->shard[i];

		pthread_mutex_init(&s->lock, NULL);
		pthread_cond_init(&s->filled, NULL);
		s->lru.next = s->lru.prev = &s->lru;
	}
	*ret = c;
	return 0;
}

static void entry_free(struct centry *e)
{
	free(e->data);
	free(e);
}

static void lru_unlink(struct centry *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
}

static void lru_front(struct shard *s, struct centry *e)
{
	e->prev = &s->lru;
	e->next = s->lru.next;
	e->next->prev = e;
	s->lru.next = e;
}

/* Out of the table; returns it when nobody uses it: free it. */
static struct centry *unhash_locked(struct shard *s, struct centry *e)
{
	*slot_of(s, e->pack, e->frame) = e->hnext;
	e->hashed = false;
	if (e->state == READY) {
		lru_unlink(e);
		s->bytes -= e->ulen;
	}
	return e->refs ? NULL : e;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->nshards; i++) {
		struct shard *s = &c->shard[i];

		while (s->lru.next != &s->lru)
			entry_free(unhash_locked(s, s->lru.next));
		pthread_mutex_destroy(&s->lock);
		pthread_cond_destroy(&s->filled);
	}
	free(c);
}

struct centry *cache_peek(struct cache *c, uint32_t pack, uint32_t frame)
{
	struct shard *s = shard_of(c, pack, frame);
	struct centry *e;

	pthread_mutex_lock(&s->lock);
	e = *slot_of(s, pack, frame);
	if (e && e->state == READY) {
		e->refs++;
		lru_unlink(e);
		lru_front(s, e);
	} else {
		e = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return e;
}

/* Drop a reference; free outside of the lock what nobody uses and the table does not know. */
static void put_unlock(struct shard *s, struct centry *e)
{
	bool last = --e->refs == 0 && !e->hashed;

	pthread_mutex_unlock(&s->lock);
	if (last)
		entry_free(e);
}

int cache_begin(struct cache *c, uint32_t pack, uint32_t frame, struct centry **ret,
		bool *ret_owner)
{
	struct shard *s = shard_of(c, pack, frame);
	struct centry **slot, *e;
	int err;

	pthread_mutex_lock(&s->lock);
	slot = slot_of(s, pack, frame);
	e = *slot;
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e) {
			pthread_mutex_unlock(&s->lock);
			return -ENOMEM;
		}
		*e = (struct centry){.pack = pack, .frame = frame, .refs = 1, .hashed = true};
		*slot = e;
		pthread_mutex_unlock(&s->lock);
		*ret = e;
		*ret_owner = true;
		return 0;
	}
	e->refs++;
	while (e->state == LOADING)
		pthread_cond_wait(&s->filled, &s->lock);
	if (e->state == FAILED) {
		err = e->err;
		put_unlock(s, e);
		return err;
	}
	if (e->hashed) {
		lru_unlink(e);
		lru_front(s, e);
	}
	pthread_mutex_unlock(&s->lock);
	*ret = e;
	*ret_owner = false;
	return 0;
}

void cache_fill(struct cache *c, struct centry *e, uint8_t *data, uint32_t ulen, int err)
{
	struct shard *s = shard_of(c, e->pack, e->frame);
	struct centry *victims = NULL;

	pthread_mutex_lock(&s->lock);
	e->data = data;
	e->ulen = ulen;
	e->err = err;
	if (err && e->hashed)
		unhash_locked(s, e); /* we hold a reference */
	e->state = err ? FAILED : READY;
	if (e->hashed) {
		lru_front(s, e);
		s->bytes += ulen;
	}
	while (s->bytes > c->shard_bytes && s->lru.prev != &s->lru) {
		struct centry *v = unhash_locked(s, s->lru.prev);

		if (v) {
			v->hnext = victims;
			victims = v;
		}
	}
	pthread_cond_broadcast(&s->filled);
	pthread_mutex_unlock(&s->lock);
	while (victims) {
		struct centry *v = victims;

		victims = v->hnext;
		entry_free(v);
	}
}

void cache_put(struct cache *c, struct centry *e)
{
	struct shard *s = shard_of(c, e->pack, e->frame);

	pthread_mutex_lock(&s->lock);
	put_unlock(s, e);
}

void cache_drop_pack(struct cache *c, uint32_t pack)
{
	for (unsigned i = 0; i < c->nshards; i++) {
		struct shard *s = &c->shard[i];

		pthread_mutex_lock(&s->lock);
		for (unsigned b = 0; b < BUCKETS; b++) {
			for (struct centry *e = s->bucket[b], *n; e; e = n) {
				n = e->hnext;
				if (e->pack != pack)
					continue;
				e = unhash_locked(s, e);
				if (e)
					entry_free(e);
			}
		}
		pthread_mutex_unlock(&s->lock);
	}
}
