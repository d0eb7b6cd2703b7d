/* SPDX-License-Identifier: MIT
 * What readers of a stub need, and reading its original bytes from the store.
 */
#include "tier_int.h"

struct cold *cold_new(const struct marker *mk)
{
	struct cold *c = calloc(1, sizeof(*c));

	if (c) {
		atomic_store(&c->refs, 1);
		c->obj = mk->obj.v;
		memcpy(c->hash16, mk->hash16, sizeof(c->hash16));
		cold_set_marker(c, mk);
	}
	return c;
}

struct marker cold_marker(const struct cold *c)
{
	struct marker mk = {
		.obj = {c->obj},
		.size = c->size,
		.mtime_ns = c->mtime_ns,
		.ctime_ns = c->ctime_ns,
		.blocks = c->blocks,
		.state = (enum residency)c->state,
		.ctime_valid = c->ctime_valid,
	};

	memcpy(mk.hash16, c->loaded ? c->object->sha : c->hash16, sizeof(mk.hash16));
	return mk;
}

void cold_set_marker(struct cold *c, const struct marker *mk)
{
	c->size = mk->size;
	c->mtime_ns = mk->mtime_ns;
	c->ctime_ns = mk->ctime_ns;
	c->blocks = mk->blocks;
	c->state = (unsigned)mk->state & 7;
	c->ctime_valid = mk->ctime_valid;
}

static void drop_object(struct cold *c)
{
	struct object *o = c->loaded ? c->object : NULL;

	if (!o)
		return;
	memcpy(c->hash16, o->sha, sizeof(c->hash16));
	c->loaded = 0;
	object_free(o);
}

struct cold *cold_ref(struct cold *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void cold_unref(struct cold *c)
{
	if (c && atomic_fetch_sub(&c->refs, 1) == 1) {
		drop_object(c);
		free(c);
	}
}

static void load_failed(struct tier *t, const struct marker *mk, uint64_t ino, int r)
{
	log_err("inode %llu: object %llu %s (%s); the file stays unreadable until the right "
		"store is back",
		(unsigned long long)ino, (unsigned long long)mk->obj.v,
		r == -EBADMSG ? "in the store is not the one this stub names"
			      : "cannot be had from the index",
		strerror(-r));
	atomic_fetch_add(&t->n_errors, 1);
}

/* Nobody waits for the store's disk with the node lock: renames and look-ups need it. */
int cold_load(struct tier *t, struct node *n)
{
	struct cold *c = n->cold;
	struct object *o = NULL;

	if (c->loaded)
		return 0;
	uint64_t ino = node_hot_id(t, n).ino;
	const struct marker mk = cold_marker(c);

	cold_ref(c);
	node_unlock(t, n);
	int r = index_object_get(t->ix, mk.obj, &o);

	if (!r && (memcmp(o->sha, mk.hash16, 16) || o->size != mk.size))
		r = -EBADMSG;
	node_lock(t, n);
	/* No longer this stub, and its object may be gone with it; or somebody else has it. */
	if (n->cold != c || c->loaded) {
		r = 0;
	} else if (r) {
		load_failed(t, &mk, ino, r);
	} else {
		c->object = steal_ptr(o);
		c->loaded = 1;
	}
	object_free(o);
	cold_unref(c);
	return !r || r == -ENOMEM ? r : -EIO;
}

/* Where the object is kept that is asked for again and again, one that was read once goes. */
void cold_rest(struct tier *t, struct node *n)
{
	uint64_t hash = n->nodeid * 0x9e3779b97f4a7c15ull;
	uint64_t before = atomic_exchange(&t->kept[(hash >> 32) % COLD_KEPT], n->nodeid);
	struct node *old = before && before != n->nodeid ? node_find(t, before) : NULL;

	if (!old)
		return;
	node_lock(t, old);
	struct cold *c = old->cold;

	/* Nobody else: references are taken under the node lock. One that is open rests later. */
	if (c && !old->opens && !old->rel && !node_has(old, NODE_BUSY) &&
	    atomic_load(&c->refs) == 1)
		drop_object(c);
	node_unlock(t, old);
	tier_put(t, old);
}

uint32_t range_after(const struct object *o, uint64_t off)
{
	uint32_t lo = 0, hi = o->nranges;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (o->ranges[mid].off + o->ranges[mid].len > off)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static ssize_t read_sparse(struct tier *t, const struct object *o, uint8_t *buf, size_t len,
			   uint64_t off, struct store_pos *bad)
{
	uint64_t stream = 0, end = off + len;
	uint32_t i = range_after(o, off);

	memset(buf, 0, len);
	for (uint32_t k = 0; k < i; k++)
		stream += o->ranges[k].len;
	for (; i < o->nranges && o->ranges[i].off < end; i++) {
		const struct range *rg = &o->ranges[i];
		uint64_t from = MAX(rg->off, off), to = MIN(rg->off + rg->len, end);
		ssize_t n = store_read(t->store, o->segs, o->nsegs, buf + (from - off), to - from,
				       stream + (from - rg->off), bad);

		if (n < 0)
			return n;
		if ((uint64_t)n != to - from)
			return -EUCLEAN;
		stream += rg->len;
	}
	return (ssize_t)len;
}

ssize_t cold_read(struct tier *t, const struct cold *c, void *buf, size_t len, uint64_t off)
{
	const struct object *o = c->object;
	struct store_pos bad = {0};
	ssize_t n;

	if (off >= o->size)
		return 0;
	len = MIN(len, o->size - off);
	unsigned parity = read_enter(t);

	if (o->stream_len == o->size)
		n = store_read(t->store, o->segs, o->nsegs, buf, len, off, &bad);
	else
		n = read_sparse(t, o, buf, len, off, &bad);
	read_exit(t, parity);
	if (n >= 0 && (size_t)n != len)
		n = -EUCLEAN;
	if (n < 0) {
		log_err("object %llu: pack %u, frame %u at offset %llu cannot be read: %s",
			(unsigned long long)o->id.v, bad.pack, bad.frame,
			(unsigned long long)bad.offset, strerror((int)-n));
		atomic_fetch_add(&t->n_errors, 1);
		return n == -ENOMEM ? n : -EIO;
	}
	return n;
}

void tier_read_ahead(struct tier *t)
{
	unsigned parity = read_enter(t);

	store_read_ahead(t->store);
	read_exit(t, parity);
}

int64_t cold_seek(const struct object *o, int64_t off, int whence)
{
	if (off < 0 || (uint64_t)off >= o->size)
		return -ENXIO;
	if (o->stream_len == o->size)
		return whence == SEEK_DATA ? off : (int64_t)o->size;
	uint32_t i = range_after(o, (uint64_t)off);

	if (whence == SEEK_DATA) {
		if (i == o->nranges)
			return -ENXIO;
		return MAX(off, (int64_t)o->ranges[i].off);
	}
	if (i == o->nranges || o->ranges[i].off > (uint64_t)off)
		return off;
	while (i + 1 < o->nranges && o->ranges[i + 1].off == o->ranges[i].off + o->ranges[i].len)
		i++;
	return (int64_t)MIN(o->ranges[i].off + o->ranges[i].len, o->size);
}
