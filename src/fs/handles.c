/* SPDX-License-Identifier: MIT
 * File handles as the kernel sees them: generation << 32 | slot. A number that is no longer valid,
 * or was never given out, is found out instead of being followed.
 */
#include "fs_int.h"

#define CHUNK      1024
#define CHUNKS_MAX 4096

struct slot {
	uint32_t gen;
	uint32_t next_free; /* slot + 1, 0: end */
	enum handle_kind kind;
	void *p;
};

struct handles {
	pthread_rwlock_t lock;
	struct slot *chunks[CHUNKS_MAX];
	uint32_t nslots, free; /* free: slot + 1 */
};

int handles_new(struct handles **ret)
{
	struct handles *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	pthread_rwlock_init(&h->lock, NULL);
	*ret = h;
	return 0;
}

void handles_free(struct handles *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < CHUNKS_MAX; i++)
		free(h->chunks[i]);
	pthread_rwlock_destroy(&h->lock);
	free(h);
}

static struct slot *slot_at(struct handles *h, uint32_t i)
{
	return &h->chunks[i / CHUNK][i % CHUNK];
}

int handle_put(struct handles *h, enum handle_kind kind, void *p, uint64_t *ret_fh)
{
	uint32_t i;
	int r = 0;

	pthread_rwlock_wrlock(&h->lock);
	if (h->free) {
		i = h->free - 1;
		h->free = slot_at(h, i)->next_free;
	} else {
		i = h->nslots;
		if (i / CHUNK >= CHUNKS_MAX)
			r = -ENFILE;
		else if (!h->chunks[i / CHUNK])
			h->chunks[i / CHUNK] = calloc(CHUNK, sizeof(struct slot));
		if (!r && !h->chunks[i / CHUNK])
			r = -ENOMEM;
		if (!r)
			h->nslots++;
	}
	if (!r) {
		struct slot *s = slot_at(h, i);

		s->gen++;
		s->kind = kind;
		s->p = p;
		*ret_fh = (uint64_t)s->gen << 32 | i;
	}
	pthread_rwlock_unlock(&h->lock);
	return r;
}

static struct slot *find(struct handles *h, enum handle_kind kind, uint64_t fh)
{
	uint32_t i = (uint32_t)fh;

	if (i >= h->nslots)
		return NULL;
	struct slot *s = slot_at(h, i);

	return s->kind == kind && s->gen == fh >> 32 ? s : NULL;
}

void *handle_get(struct handles *h, enum handle_kind kind, uint64_t fh)
{
	pthread_rwlock_rdlock(&h->lock);
	struct slot *s = find(h, kind, fh);
	void *p = s ? s->p : NULL;

	pthread_rwlock_unlock(&h->lock);
	return p;
}

void *handle_take(struct handles *h, enum handle_kind kind, uint64_t fh)
{
	void *p = NULL;

	pthread_rwlock_wrlock(&h->lock);
	struct slot *s = find(h, kind, fh);

	if (s) {
		p = s->p;
		s->p = NULL;
		s->kind = HANDLE_FREE;
		s->next_free = h->free;
		h->free = (uint32_t)fh + 1;
	}
	pthread_rwlock_unlock(&h->lock);
	return p;
}
