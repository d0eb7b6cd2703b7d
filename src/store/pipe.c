/* SPDX-License-Identifier: MIT
 * The compression pipeline of a writer: the caller fills jobs (one frame each), threads compress
 * them in any order, one writer thread hands them to the sink in the order of submission.
 *
 *   free -> (caller fills) -> QUEUED -> PACKING -> PACKED -> sink -> free
 *
 * The queue is a ring of as many places as there are jobs, so submitting never waits; asking for a
 * free job does. After an error nothing reaches the sink any more, but jobs still come back.
 */
#include "store_int.h"
#include <zstd_errors.h>

enum { QUEUED, PACKING, PACKED };

struct pipe {
	int level;
	uint64_t seed;
	pipe_sink_fn sink;
	void *ctx;
	unsigned njobs, nthreads;
	struct job *jobs;
	struct job **ring; /* njobs places */
	pthread_t *tid;    /* nthreads compressors; the writer is wtid */
	pthread_t wtid;
	bool have_writer;

	pthread_mutex_t lock;
	pthread_cond_t work;  /* something to compress, or stop */
	pthread_cond_t ready; /* the oldest job may be packed, or stop */
	pthread_cond_t freed; /* a job came back */
	/* under lock; positions count up for ever */
	struct job *free;
	uint64_t head, mid, tail; /* next to write, to compress, to submit */
	uint64_t pending;         /* uncompressed bytes between head and tail */
	int err;
	bool stop;
};

/* ---- compressing
 * --------------------------------------------------------------------------------- */
static int pack_job(const struct pipe *p, ZSTD_CCtx *cctx, struct job *j)
{
	size_t n = ZSTD_compress2(cctx, j->out + FRAME_HDR_LEN, ZSTD_compressBound(FRAME_SIZE),
				  j->in, j->ulen);
	struct frame_hdr h = {.pack = j->pack, .frame = j->frame, .ulen = j->ulen};
	uint8_t *disk;

	if (ZSTD_isError(n))
		return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
	if (n < j->ulen && n <= j->ulen - j->ulen / 64) {
		h.type = FRAME_ZSTD;
		h.clen = (uint32_t)n;
		disk = j->out;
	} else {
		h.type = FRAME_RAW;
		h.clen = j->ulen;
		disk = j->in_base;
	}
	frame_put(disk, &h, p->seed);
	j->clen = h.clen;
	j->disk = disk;
	return 0;
}

static ZSTD_CCtx *new_cctx(int level)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	if (c && (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level)) ||
		  ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_dictIDFlag, 0)) ||
		  ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 0)))) {
		ZSTD_freeCCtx(c);
		c = NULL;
	}
	return c;
}

static void *pack_main(void *arg)
{
	struct pipe *p = arg;
	ZSTD_CCtx *cctx = new_cctx(p->level);

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct job *j;
		int r;

		while (p->mid == p->tail && !p->stop)
			pthread_cond_wait(&p->work, &p->lock);
		if (p->stop)
			break;
		j = p->ring[p->mid++ % p->njobs];
		j->state = PACKING;
		r = p->err;
		pthread_mutex_unlock(&p->lock);
		if (!r)
			r = cctx ? pack_job(p, cctx, j) : -ENOMEM;
		pthread_mutex_lock(&p->lock);
		if (r && !p->err)
			p->err = r;
		j->state = PACKED;
		if (p->ring[p->head % p->njobs] == j)
			pthread_cond_signal(&p->ready);
	}
	pthread_mutex_unlock(&p->lock);
	ZSTD_freeCCtx(cctx);
	return NULL;
}

/* ---- writing
 * ----------------------------------------------------------------------------------------- */
static void *write_main(void *arg)
{
	struct pipe *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct job *j;
		int r;

		while (!p->stop &&
		       (p->head == p->mid || p->ring[p->head % p->njobs]->state != PACKED))
			pthread_cond_wait(&p->ready, &p->lock);
		if (p->stop)
			break;
		j = p->ring[p->head % p->njobs];
		r = p->err;
		pthread_mutex_unlock(&p->lock);
		if (!r)
			r = p->sink(p->ctx, j);
		pthread_mutex_lock(&p->lock);
		if (r && !p->err)
			p->err = r;
		p->head++;
		p->pending -= j->ulen;
		j->next = p->free;
		p->free = j;
		pthread_cond_signal(&p->freed);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- the caller's side
 * ---------------------------------------------------------------------------------- */
static int make_jobs(struct pipe *p)
{
	p->jobs = calloc(p->njobs, sizeof(*p->jobs));
	p->ring = calloc(p->njobs, sizeof(*p->ring));
	if (!p->jobs || !p->ring)
		return -ENOMEM;
	for (unsigned i = 0; i < p->njobs; i++) {
		struct job *j = &p->jobs[i];

		j->in_base = malloc(FRAME_DISK_MAX);
		j->out = malloc(FRAME_HDR_LEN + ZSTD_compressBound(FRAME_SIZE));
		if (!j->in_base || !j->out)
			return -ENOMEM;
		j->in = j->in_base + FRAME_HDR_LEN;
		j->next = p->free;
		p->free = j;
	}
	return 0;
}

static int start_threads(struct pipe *p, unsigned threads)
{
	int r = 0;

	p->tid = calloc(threads, sizeof(*p->tid));
	if (!p->tid)
		return -ENOMEM;
	while (p->nthreads < threads) {
		r = thread_start(&p->tid[p->nthreads], "spill-compress", pack_main, p);
		if (r)
			break;
		p->nthreads++;
	}
	if (p->nthreads) /* fewer than wished do too */
		r = thread_start(&p->wtid, "spill-write", write_main, p);
	p->have_writer = !r;
	return r;
}

int pipe_new(struct pipe **ret, unsigned threads, int level, uint64_t seed, pipe_sink_fn sink,
	     void *ctx)
{
	struct pipe *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->level = level;
	p->seed = seed;
	p->sink = sink;
	p->ctx = ctx;
	p->njobs = 3 * threads + 8; /* the caller holds up to three */
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->ready, NULL);
	pthread_cond_init(&p->freed, NULL);
	r = make_jobs(p);
	if (!r)
		r = start_threads(p, threads);
	if (r)
		pipe_free(p);
	else
		*ret = p;
	return r;
}

void pipe_free(struct pipe *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_cond_broadcast(&p->ready);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->tid[i], NULL);
	if (p->have_writer)
		pthread_join(p->wtid, NULL);
	for (unsigned i = 0; p->jobs && i < p->njobs; i++) {
		free(p->jobs[i].in_base);
		free(p->jobs[i].out);
	}
	free(p->jobs);
	free(p->ring);
	free(p->tid);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->ready);
	pthread_cond_destroy(&p->freed);
	free(p);
}

int pipe_job(struct pipe *p, struct job **ret)
{
	struct job *j = NULL;
	int r;

	pthread_mutex_lock(&p->lock);
	while (!p->free)
		pthread_cond_wait(&p->freed, &p->lock);
	r = p->err;
	if (!r) {
		j = p->free;
		p->free = j->next;
		j->ulen = 0;
	}
	pthread_mutex_unlock(&p->lock);
	if (!r)
		*ret = j;
	return r;
}

void pipe_submit(struct pipe *p, struct job *j)
{
	pthread_mutex_lock(&p->lock);
	j->state = QUEUED;
	p->ring[p->tail++ % p->njobs] = j;
	p->pending += j->ulen;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void pipe_return(struct pipe *p, struct job *j)
{
	pthread_mutex_lock(&p->lock);
	j->next = p->free;
	p->free = j;
	pthread_mutex_unlock(&p->lock);
}

int pipe_drain(struct pipe *p)
{
	int r;

	pthread_mutex_lock(&p->lock);
	while (p->head != p->tail)
		pthread_cond_wait(&p->freed, &p->lock);
	r = p->err;
	pthread_mutex_unlock(&p->lock);
	return r;
}

int pipe_error(struct pipe *p)
{
	int r;

	pthread_mutex_lock(&p->lock);
	r = p->err;
	pthread_mutex_unlock(&p->lock);
	return r;
}

uint64_t pipe_pending(struct pipe *p)
{
	uint64_t n;

	pthread_mutex_lock(&p->lock);
	n = p->pending;
	pthread_mutex_unlock(&p->lock);
	return n;
}
