/* SPDX-License-Identifier: MIT
 * The samples of `plan`: how well would it compress, how much of it is there twice?
 *
 * Compression: frames of 128 KiB at evenly spaced places of the files' bytes, laid end to end in
 * path order, which is how packs are filled; level 3. Each byte has the same chance.
 *
 * Twins: only files of equal size can be equal. All files of a sample of sizes are hashed, chosen
 * by a hash of the size, until a budget of bytes is spent; what of them is there twice is taken for
 * all files that have company of their size.
 */
#include "plan.h"

#include "spill/types.h"
#include <fcntl.h>
#include <zstd.h>

#define FRAMES      512
#define HASH_BUDGET (192ull << 20)
#define LEVEL       3

/* Up to len bytes of the file from off on; what is gone meanwhile reads short. */
static size_t read_some(const struct plan *p, const struct plan_file *f, uint64_t off, void *buf,
			size_t len)
{
	cleanup_fd int fd =
		openat(p->fd, f->path, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : pread_full(fd, buf, len, (off_t)off);

	return n > 0 ? (size_t)n : 0;
}

/* A frame that begins at byte `at` of file i. */
static size_t fill_frame(const struct plan *p, size_t i, uint64_t at, uint8_t *buf)
{
	size_t have = 0;

	for (; i < p->n && have < FRAME_SIZE; i++, at = 0) {
		uint64_t left = p->v[i].bytes - at;

		have += read_some(p, &p->v[i], at, buf + have, MIN(left, FRAME_SIZE - have));
		/* A file of a frame and more begins a new one. */
		if (have && i + 1 < p->n && p->v[i + 1].bytes >= FRAME_SIZE)
			break;
	}
	return have;
}

static int sample_frames(struct plan *p)
{
	size_t bound = ZSTD_compressBound(FRAME_SIZE), i = 0;
	cleanup_free uint8_t *in = malloc(FRAME_SIZE), *out = malloc(bound);
	ZSTD_CCtx *z = ZSTD_createCCtx();
	uint64_t passed = 0, frames = MIN(FRAMES, p->v_bytes / FRAME_SIZE + 1);
	int r = in && out && z ? 0 : -ENOMEM;
	uint64_t t0 = clock_mono_ns();

	for (uint64_t k = 0; k < frames && !r && p->n; k++) {
		/* The place in doubles: bytes times 512 may not fit 64 bits on a very large disk.
		 */
		uint64_t pos = (uint64_t)((double)p->v_bytes * (double)k / (double)frames);

		while (i + 1 < p->n && passed + p->v[i].bytes <= pos)
			passed += p->v[i++].bytes;
		size_t n = fill_frame(p, i, MIN(pos - passed, p->v[i].bytes), in), c;

		if (!n)
			continue;
		c = ZSTD_compressCCtx(z, out, bound, in, n, LEVEL);
		if (ZSTD_isError(c)) {
			r = -EIO;
			break;
		}
		p->sampled_bytes += n;
		p->sampled_out += c < n - n / 64 ? c : n; /* stored raw if it saves too little */
		if (!plan_go_on(p, "sampling", k, p->v[i].path))
			r = -EINTR;
	}
	p->sample_ns = clock_mono_ns() - t0;
	ZSTD_freeCCtx(z);
	return r;
}

/* ---- twins --------------------------------------------------------------------------------- */

struct twin {
	const struct plan_file *f;
	uint64_t order; /* hash of the size */
	uint8_t sha[SHA256_LEN];
};

static int by_order(const void *pa, const void *pb)
{
	const struct twin *a = pa, *b = pb;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return a->f->bytes < b->f->bytes ? -1 : a->f->bytes > b->f->bytes;
}

static int by_sha(const void *a, const void *b)
{
	return memcmp(((const struct twin *)a)->sha, ((const struct twin *)b)->sha, SHA256_LEN);
}

static int hash_file(struct plan *p, struct sha256 *h, struct twin *t, uint8_t *buf, size_t len)
{
	uint64_t at = 0;
	size_t n;

	sha256_reset(h);
	while ((n = read_some(p, t->f, at, buf, len))) {
		sha256_update(h, buf, n);
		at += n;
		if (!plan_go_on(p, "comparing", p->hashed_bytes >> 20, t->f->path))
			return -EINTR;
	}
	sha256_final(h, t->sha);
	return 0;
}

/* The files v[0..n) are all there are of one size. */
static int hash_class(struct plan *p, struct sha256 *h, struct twin *v, size_t n, uint8_t *buf,
		      size_t len)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		r = hash_file(p, h, &v[i], buf, len);
		p->hashed_bytes += v[i].f->bytes;
	}
	if (r)
		return r;
	qsort(v, n, sizeof(*v), by_sha);
	for (size_t i = 1; i < n; i++)
		if (!by_sha(&v[i - 1], &v[i]))
			p->dup_bytes += v[i].f->bytes;
	return 0;
}

static int sample_twins(struct plan *p)
{
	size_t len = 1 << 20, n;
	cleanup_free struct twin *v = calloc(p->n + 1, sizeof(*v));
	cleanup_free uint8_t *buf = malloc(len);
	struct sha256 *h = NULL;
	int r = v && buf ? sha256_new(&h) : -ENOMEM;

	for (size_t i = 0; i < p->n && !r; i++)
		v[i] = (struct twin){.f = &p->v[i],
				     .order = hash64(&p->v[i].bytes, sizeof(p->v[i].bytes))};
	if (!r && p->n)
		qsort(v, p->n, sizeof(*v), by_order);
	for (size_t i = 0; i < p->n && !r; i += n) {
		for (n = 1; i + n < p->n && v[i + n].f->bytes == v[i].f->bytes;)
			n++;
		if (n == 1)
			continue;
		uint64_t bytes = n * v[i].f->bytes;

		p->twin_bytes += bytes;
		/* Whole classes only, and the first in any case. */
		if (p->hashed_bytes + bytes <= HASH_BUDGET || !p->hashed_bytes)
			r = hash_class(p, h, v + i, n, buf, len);
	}
	if (h)
		sha256_free(h);
	return r;
}

int plan_sample(struct plan *p)
{
	int r = sample_frames(p);
	double dup = 0, ratio = 1;

	if (!r)
		r = sample_twins(p);
	if (r)
		return r;
	if (p->hashed_bytes)
		dup = (double)p->dup_bytes / (double)p->hashed_bytes * (double)p->twin_bytes;
	if (p->sampled_bytes)
		ratio = (double)p->sampled_out / (double)p->sampled_bytes;
	p->unique_bytes = p->v_bytes - MIN(p->v_bytes, (uint64_t)dup);
	p->stored_bytes = (uint64_t)((double)p->unique_bytes * ratio);
	return 0;
}
