/* SPDX-License-Identifier: MIT
 * The data of a stub without a daemon: straight from the store, proved by its hash. And that of a
 * partial file, from both tiers; as in any file, nothing proves it.
 */
#include "overflow_int.h"

#include <sys/stat.h>

#define PIECE (1u << 20)

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

static int partial_pieces(const struct overflow *o, int fd, uint64_t size, tier_data_fn fn,
			  void *ctx)
{
	cleanup_free uint8_t *buf = malloc(PIECE);
	uint64_t pos = 0;
	int r = buf ? 0 : -ENOMEM;

	while (!r && pos < size) {
		int64_t data = overflow_seek(o, fd, pos, SEEK_DATA);

		if (data == -ENXIO)
			break;
		int64_t hole = data < 0 ? data : overflow_seek(o, fd, (uint64_t)data, SEEK_HOLE);

		if (hole < 0)
			return (int)hole;
		for (pos = (uint64_t)data; !r && pos < (uint64_t)hole;) {
			ssize_t n =
				overflow_read(o, fd, buf, MIN(PIECE, (uint64_t)hole - pos), pos);

			if (n <= 0)
				return n ? (int)n : -EIO;
			r = fn(ctx, buf, (size_t)n, pos);
			pos += (uint64_t)n;
		}
	}
	return r;
}

int tier_partial_data(struct hot *hot, struct store *store, int fd, tier_data_fn fn, void *ctx)
{
	struct overflow *o;
	struct hot_fh fh;
	struct stat st;
	uint64_t id;
	int r = hot_identify(hot, fd, "", &st, &fh, &id);

	if (r)
		return r;
	int ofd = store_overflow_open(store, hot_id_of_fh(hot, &fh, st.st_ino), false);

	if (ofd < 0)
		return ofd;
	r = over_open(store, ofd, (uint64_t)st.st_size, true, &o);
	if (r) {
		close(ofd);
		return r;
	}
	r = partial_pieces(o, fd, (uint64_t)st.st_size, fn, ctx);
	overflow_free(o);
	return r;
}
