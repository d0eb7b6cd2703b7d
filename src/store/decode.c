/* SPDX-License-Identifier: MIT
 * One frame from disk to plain bytes: read, verify, uncompress. Every read of the store ends here,
 * so this is the place that keeps the promise "wrong bytes are never returned": the checksum first
 * (-EBADMSG), then that the frame is the one asked for, by pack and number (-EUCLEAN).
 */
#include "store_int.h"

int scratch_get(struct store *s, struct scratch **ret)
{
	struct scratch *sc;

	pthread_mutex_lock(&s->pool_lock);
	sc = s->pool;
	if (sc)
		s->pool = sc->next;
	pthread_mutex_unlock(&s->pool_lock);
	if (!sc) {
		sc = calloc(1, sizeof(*sc));
		if (!sc)
			return -ENOMEM;
		sc->dctx = ZSTD_createDCtx();
		sc->disk = malloc(FRAME_DISK_MAX);
		sc->plain = malloc(FRAME_SIZE);
		if (!sc->dctx || !sc->disk || !sc->plain) {
			ZSTD_freeDCtx(sc->dctx);
			free(sc->disk);
			free(sc->plain);
			free(sc);
			return -ENOMEM;
		}
	}
	*ret = sc;
	return 0;
}

void scratch_put(struct store *s, struct scratch *sc)
{
	pthread_mutex_lock(&s->pool_lock);
	sc->next = s->pool;
	s->pool = sc;
	pthread_mutex_unlock(&s->pool_lock);
}

void scratch_pool_done(struct store *s)
{
	while (s->pool) {
		struct scratch *sc = s->pool;

		s->pool = sc->next;
		ZSTD_freeDCtx(sc->dctx);
		free(sc->disk);
		free(sc->plain);
		free(sc);
	}
}

int frame_unpack(ZSTD_DCtx *d, const uint8_t *raw, const struct frame_hdr *h, void *dst)
{
	if (h->type == FRAME_RAW)
		memcpy(dst, raw + FRAME_HDR_LEN, h->ulen);
	else if (h->type != FRAME_ZSTD ||
		 ZSTD_decompressDCtx(d, dst, h->ulen, raw + FRAME_HDR_LEN, h->clen) != h->ulen)
		return -EUCLEAN;
	return 0;
}

static int read_frame(struct store *s, const struct pack *p, uint32_t frame, const struct fent *e,
		      struct scratch *sc, void *dst)
{
	ssize_t want = (ssize_t)FRAME_HDR_LEN + e->clen, n;
	struct frame_hdr h;
	int r;

	atomic_fetch_add_explicit(&s->c_read, 1, memory_order_relaxed);
	n = pread_full(p->fd, sc->disk, (size_t)want, (off_t)e->off);
	if (n < 0)
		r = (int)n;
	else if (n < want)
		r = -EUCLEAN;
	else
		r = frame_sum_check(sc->disk, e->clen, s->seed);
	if (!r)
		r = frame_hdr_get(sc->disk, &h);
	if (!r && (h.pack != p->no || h.frame != frame || h.clen != e->clen || h.ulen != e->ulen))
		r = -EUCLEAN;
	if (!r)
		r = frame_unpack(sc->dctx, sc->disk, &h, dst);
	return r;
}

int frame_read(struct store *s, const struct pack *p, uint32_t frame, const struct fent *e,
	       struct scratch *sc, void *dst, bool asked)
{
	int r = read_frame(s, p, frame, e, sc, dst);

	if (r && asked)
		atomic_fetch_add_explicit(&s->c_bad, 1, memory_order_relaxed);
	return r;
}
