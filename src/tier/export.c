/* SPDX-License-Identifier: MIT
 * The data of a stub without a daemon: straight from the store, proved by its hash.
 */
#include "tier_int.h"

struct out {
	const struct object *o;
	struct sha256 *sha;
	tier_data_fn fn;
	void *ctx;
	uint32_t range;
	uint64_t range_stream; /* stream offset where range begins */
};

/* A piece of the stream, cut at the ranges of a sparse file. */
static int piece(void *ctx, const void *data, size_t len, uint64_t off)
{
	struct out *u = ctx;
	const uint8_t *p = data;

	sha256_update(u->sha, data, len);
	if (!u->o->nranges)
		return u->fn(u->ctx, data, len, off);
	while (len) {
		const struct range *g = &u->o->ranges[u->range];

		if (off >= u->range_stream + g->len) {
			u->range_stream += g->len;
			if (++u->range == u->o->nranges)
				return -EUCLEAN;
			continue;
		}
		uint64_t in = off - u->range_stream;
		size_t n = MIN(len, g->len - in);
		int r = u->fn(u->ctx, p, n, g->off + in);

		if (r)
			return r;
		p += n;
		len -= n;
		off += n;
	}
	return 0;
}

int tier_stub_data(struct store *store, struct index *ix, const struct marker *mk, tier_data_fn fn,
		   void *ctx)
{
	struct out u = {.fn = fn, .ctx = ctx};
	struct store_pos bad = {0};
	uint8_t sha[SHA256_LEN];
	struct object *o = NULL;
	int r = index_object_get(ix, mk->obj, &o);

	if (r)
		return r;
	if (o->size != mk->size || memcmp(o->sha, mk->hash16, sizeof(mk->hash16))) {
		object_free(o);
		return -EBADMSG;
	}
	u.o = o;
	r = sha256_new(&u.sha);
	if (!r) {
		sha256_reset(u.sha);
		r = o->nsegs ? store_stream(store, o->segs, o->nsegs, piece, &u, &bad) : 0;
		if (!r) {
			object_sha_tail(u.sha, o);
			sha256_final(u.sha, sha);
			r = memcmp(sha, o->sha, 16) ? -EBADMSG : 0;
		}
		sha256_free(u.sha);
	}
	object_free(o);
	return r;
}
