/* SPDX-License-Identifier: MIT
 * File handles as the kernel sees them: generation << 32 | slot. A number that is no longer valid,
 * or was never given out, is found out instead of being followed. What a handle stands for is in
 * the shared state (state.h), so that it stays valid when the daemon dies; what we make of it is
 * here.
 */
#include "fs_int.h"

#define CHUNK 1024

struct handles {
	pthread_rwlock_t lock;
	struct state *state;
	void **chunks[STATE_SLOTS / CHUNK];
	uint32_t *next_free; /* slot + 1, 0: end; grown with the slots */
	uint32_t cap, free;  /* free: slot + 1 */
};

int handles_new(struct handles **ret, struct state *state)
{
	struct handles *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	pthread_rwlock_init(&h->lock, NULL);
	h->state = state;
	*ret = h;
	return 0;
}

void handles_free(struct handles *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(h->chunks); i++)
		free(h->chunks[i]);
	free(h->next_free);
	pthread_rwlock_destroy(&h->lock);
	free(h);
}

static void **ptr_at(struct handles *h, uint32_t i)
{
	return &h->chunks[i / CHUNK][i % CHUNK];
}

/* Room for what belongs to slot i. [lock] */
static int reserve(struct handles *h, uint32_t i)
{
	if (!h->chunks[i / CHUNK])
		h->chunks[i / CHUNK] = calloc(CHUNK, sizeof(void *));
	if (!h->chunks[i / CHUNK])
		return -ENOMEM;
	if (i < h->cap)
		return 0;
	uint32_t *v = realloc(h->next_free, (size_t)(i + CHUNK) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	h->next_free = v;
	h->cap = i + CHUNK;
	return 0;
}

static void set_free(struct handles *h, uint32_t i)
{
	h->next_free[i] = h->free;
	h->free = i + 1;
}

/* A slot that nobody uses. [lock] */
static int take_slot(struct handles *h, uint32_t *ret)
{
	uint32_t n = atomic_load(&h->state->nslots);
	int r;

	if (h->free) {
		*ret = h->free - 1;
		h->free = h->next_free[*ret];
		return 0;
	}
	if (n == STATE_SLOTS)
		return -ENFILE;
	r = reserve(h, n);
	if (!r)
		atomic_store(&h->state->nslots, n + 1);
	*ret = n;
	return r;
}

int handle_put(struct handles *h, enum handle_kind kind, void *p, const struct state_slot *what,
	       uint64_t *ret_fh)
{
	uint32_t i;

	pthread_rwlock_wrlock(&h->lock);
	int r = take_slot(h, &i);

	if (!r) {
		struct state_slot *s = &h->state->slots[i];

		if (!s->gen)
			s->gen = h->state->gen_base;
		s->gen++;
		s->unique = what->unique;
		s->nodeid = what->nodeid;
		s->flags = what->flags;
		s->backing = what->backing;
		s->fh = what->fh;
		*ptr_at(h, i) = p;
		*ret_fh = (uint64_t)s->gen << 32 | i;
		atomic_store_explicit(&s->kind, kind, memory_order_release);
	}
	pthread_rwlock_unlock(&h->lock);
	return r;
}

static struct state_slot *find(struct handles *h, enum handle_kind kind, uint64_t fh)
{
	uint32_t i = (uint32_t)fh;

	if (i >= atomic_load(&h->state->nslots))
		return NULL;
	struct state_slot *s = &h->state->slots[i];

	return atomic_load(&s->kind) == kind && s->gen == fh >> 32 ? s : NULL;
}

void *handle_get(struct handles *h, enum handle_kind kind, uint64_t fh)
{
	pthread_rwlock_rdlock(&h->lock);
	void *p = find(h, kind, fh) ? *ptr_at(h, (uint32_t)fh) : NULL;

	pthread_rwlock_unlock(&h->lock);
	return p;
}

/* [lock] */
static void *take(struct handles *h, uint32_t i)
{
	void *p = *ptr_at(h, i);

	atomic_store(&h->state->slots[i].kind, HANDLE_FREE);
	*ptr_at(h, i) = NULL;
	set_free(h, i);
	return p;
}

void *handle_take(struct handles *h, enum handle_kind kind, uint64_t fh)
{
	pthread_rwlock_wrlock(&h->lock);
	void *p = find(h, kind, fh) ? take(h, (uint32_t)fh) : NULL;

	pthread_rwlock_unlock(&h->lock);
	return p;
}

void *handle_retry(struct handles *h, enum handle_kind kind, uint64_t fh, handle_adopt_fn fn,
		   void *ctx, void **ret_spare)
{
	struct state_slot what = {0};

	*ret_spare = NULL;
	pthread_rwlock_rdlock(&h->lock);
	struct state_slot *s = find(h, kind, fh);
	void *p = s ? *ptr_at(h, (uint32_t)fh) : NULL;

	if (s && !p) {
		what.nodeid = s->nodeid;
		what.flags = s->flags;
		what.backing = s->backing;
		what.fh = s->fh;
	}
	pthread_rwlock_unlock(&h->lock);
	if (!s || p)
		return p;
	void *made = fn(ctx, kind, &what);

	if (!made)
		return NULL;
	pthread_rwlock_wrlock(&h->lock);
	s = find(h, kind, fh);
	p = s ? *ptr_at(h, (uint32_t)fh) : NULL;
	if (s && !p)
		p = *ptr_at(h, (uint32_t)fh) = made;
	pthread_rwlock_unlock(&h->lock);
	if (p != made) /* released meanwhile, or another request was quicker */
		*ret_spare = made;
	return p;
}

int handle_lost_backing(struct handles *h, uint64_t fh)
{
	pthread_rwlock_rdlock(&h->lock);
	struct state_slot *s = find(h, HANDLE_FILE, fh);
	int id = s && !*ptr_at(h, (uint32_t)fh) ? s->backing : 0;

	pthread_rwlock_unlock(&h->lock);
	return id;
}

bool handles_backing(struct handles *h, int id)
{
	bool yes = false;

	pthread_rwlock_rdlock(&h->lock);
	for (uint32_t i = 0; i < atomic_load(&h->state->nslots) && !yes; i++)
		yes = atomic_load(&h->state->slots[i].kind) == HANDLE_FILE &&
		      h->state->slots[i].backing == id;
	pthread_rwlock_unlock(&h->lock);
	return yes;
}

void *handle_take_unanswered(struct handles *h, uint64_t unique, enum handle_kind *ret_kind)
{
	void *p = NULL;

	pthread_rwlock_wrlock(&h->lock);
	for (uint32_t i = 0; i < atomic_load(&h->state->nslots); i++) {
		struct state_slot *s = &h->state->slots[i];

		if (atomic_load(&s->kind) == HANDLE_FREE || s->unique != unique)
			continue;
		*ret_kind = atomic_load(&s->kind);
		p = take(h, i);
		break;
	}
	pthread_rwlock_unlock(&h->lock);
	return p;
}

int handles_adopt(struct handles *h, handle_adopt_fn fn, void *ctx)
{
	uint32_t n = atomic_load(&h->state->nslots);

	for (uint32_t i = 0; i < n; i++) {
		struct state_slot *s = &h->state->slots[i];
		int r = reserve(h, i);

		if (r)
			return r;
		if (atomic_load(&s->kind) == HANDLE_FREE)
			set_free(h, i);
		else
			*ptr_at(h, i) = fn(ctx, atomic_load(&s->kind), s);
	}
	return 0;
}
