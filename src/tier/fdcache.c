/* SPDX-License-Identifier: MIT
 * A bounded cache of O_PATH descriptors by node id.
 *
 * One descriptor per known inode would hit RLIMIT_NOFILE; a handle can always be opened again. A
 * descriptor keeps its inode alive, so a node's descriptor is dropped with the node: otherwise
 * deleted files would hold their space.
 */
#include "tier_int.h"

#define WAYS 8 /* set-associative: no lists to keep, eviction is local */

struct slot {
	uint64_t nodeid; /* 0: free */
	uint64_t used;   /* set's clock at last use */
	int fd;
	unsigned refs;
	bool dead; /* close at the last put */
};

struct set {
	pthread_mutex_t lock;
	uint64_t clock;
	struct slot s[WAYS];
};

struct fdcache {
	size_t nsets;
	struct set sets[];
};

int fdcache_new(struct fdcache **ret, unsigned max)
{
	size_t n = 8;

	while (n * 2 * WAYS <= max)
		n *= 2;
	struct fdcache *c = calloc(1, sizeof(*c) + n * sizeof(c->sets[0]));

	if (!c)
		return -ENOMEM;
	c->nsets = n;
	for (size_t i = 0; i < n; i++)
		pthread_mutex_init(&c->sets[i].lock, NULL);
	*ret = c;
	return 0;
}

void fdcache_free(struct fdcache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->nsets; i++)
		for (unsigned w = 0; w < WAYS; w++)
			if (c->sets[i].s[w].nodeid)
				close(c->sets[i].s[w].fd);
	free(c);
}

static struct set *set_of(struct fdcache *c, uint64_t nodeid)
{
	return &c->sets[((nodeid * 0x9e3779b97f4a7c15ull) >> 32) & (c->nsets - 1)];
}

int fdcache_get(struct fdcache *c, uint64_t nodeid, struct node_fd *ret)
{
	struct set *s = set_of(c, nodeid);
	int r = -ENOENT;

	pthread_mutex_lock(&s->lock);
	for (unsigned w = 0; w < WAYS; w++) {
		struct slot *e = &s->s[w];

		if (e->nodeid == nodeid && !e->dead) {
			e->refs++;
			e->used = ++s->clock;
			*ret = (struct node_fd){.fd = e->fd, .slot = e};
			r = 0;
			break;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void fdcache_put_new(struct fdcache *c, uint64_t nodeid, int fd, struct node_fd *ret)
{
	struct set *s = set_of(c, nodeid);
	struct slot *victim = NULL;
	int close_fd = -1;

	pthread_mutex_lock(&s->lock);
	for (unsigned w = 0; w < WAYS; w++) {
		struct slot *e = &s->s[w];

		if (e->refs)
			continue;
		if (!victim || !e->nodeid || (victim->nodeid && e->used < victim->used))
			victim = e;
		if (!e->nodeid)
			break;
	}
	if (victim) {
		if (victim->nodeid)
			close_fd = victim->fd;
		*victim = (struct slot){.nodeid = nodeid, .fd = fd, .refs = 1, .used = ++s->clock};
	}
	pthread_mutex_unlock(&s->lock);
	if (close_fd >= 0)
		close(close_fd);
	*ret = (struct node_fd){.fd = fd, .slot = victim};
}

/* Slots know their set by address. */
void fdcache_release(struct fdcache *c, struct node_fd *f)
{
	struct slot *e = f->slot;
	int close_fd = -1;

	if (!e) { /* found no room: uncached */
		close(f->fd);
		return;
	}
	size_t i = (size_t)((char *)e - (char *)c->sets) / sizeof(c->sets[0]);
	struct set *s = &c->sets[i];

	pthread_mutex_lock(&s->lock);
	if (--e->refs == 0 && e->dead) {
		close_fd = e->fd;
		*e = (struct slot){0};
	}
	pthread_mutex_unlock(&s->lock);
	if (close_fd >= 0)
		close(close_fd);
}

void fdcache_drop(struct fdcache *c, uint64_t nodeid)
{
	struct set *s = set_of(c, nodeid);
	int fds[WAYS];
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	for (unsigned w = 0; w < WAYS; w++) {
		struct slot *e = &s->s[w];

		if (e->nodeid != nodeid || e->dead)
			continue;
		if (e->refs) {
			e->dead = true;
		} else {
			fds[n++] = e->fd;
			*e = (struct slot){0};
		}
	}
	pthread_mutex_unlock(&s->lock);
	while (n)
		close(fds[--n]);
}

unsigned fdcache_shrink(struct fdcache *c)
{
	unsigned n = 0;

	for (size_t i = 0; i < c->nsets; i++) {
		struct set *s = &c->sets[i];

		pthread_mutex_lock(&s->lock);
		for (unsigned w = 0; w < WAYS; w++) {
			if (!s->s[w].nodeid || s->s[w].refs)
				continue;
			close(s->s[w].fd); /* O_PATH: nothing to wait for */
			s->s[w] = (struct slot){0};
			n++;
		}
		pthread_mutex_unlock(&s->lock);
	}
	return n;
}
