/* SPDX-License-Identifier: MIT
 * Which chunks of a partial file are in its overflow: a bitmap at the end of the overflow file.
 *
 *	offset 0 .. OVERFLOW_MAX	the user's bytes, at their own offsets
 *	OVERFLOW_MAX ..			one bit for each chunk, le64 words
 *
 * Only the bitmap counts. Data of a chunk whose bit is not set is what a copy left that was cut
 * short, and is punched when the file is loaded: so a chunk is empty whenever its bit is set anew.
 * A bit is cleared when the chunk went back alone, as the store was full. The bitmap lies behind
 *all data, so writes of data never extend the file (xfs gives a growing file blocks behind its end
 *that may count as data later).
 */
#include "overflow_int.h"

#include "spill/durable.h"

#include <sys/stat.h>

bool over_here(const struct overflow *o, uint64_t chunk)
{
	return chunk < o->nchunks && o->bits[chunk / 64] >> (chunk % 64) & 1;
}

static int reserve(struct overflow *o, uint64_t chunk)
{
	if (chunk < o->nchunks)
		return 0;
	uint64_t n = MAX(o->nchunks * 2, (chunk / 64 + 1) * 64);
	uint64_t *v = realloc(o->bits, n / 8);

	if (!v)
		return -ENOMEM;
	memset(v + o->nchunks / 64, 0, (n - o->nchunks) / 8);
	o->bits = v;
	o->nchunks = n;
	return 0;
}

static int write_word(struct overflow *o, uint64_t word, uint64_t v)
{
	uint8_t le[8];

	put_le64(le, v);
	return d_pwrite(o->fd, le, sizeof(le), (off_t)(OVERFLOW_MAX + word * 8));
}

int over_set(struct overflow *o, uint64_t chunk)
{
	if (o->spoilt)
		return -EIO;
	int r = reserve(o, chunk);
	uint64_t word = chunk / 64, bit = 1ull << (chunk % 64);

	if (!r)
		r = write_word(o, word, o->bits[word] | bit);
	if (!r)
		o->bits[word] |= bit;
	return r;
}

int over_set_all(struct overflow *o, uint64_t size)
{
	int r = 0;

	for (uint64_t c = 0; c * OVERFLOW_CHUNK < size && !r; c++)
		r = over_set(o, c);
	return r;
}

int over_clear(struct overflow *o, uint64_t chunk)
{
	uint64_t word = chunk / 64, bit = 1ull << (chunk % 64);
	int r = write_word(o, word, o->bits[word] & ~bit);

	if (!r)
		r = overflow_sync(o);
	if (r)
		write_word(o, word, o->bits[word]);
	else
		o->bits[word] &= ~bit;
	return r;
}

int over_clean(struct overflow *o, uint64_t chunk)
{
	int r = d_punch(o->fd, (off_t)(chunk * OVERFLOW_CHUNK), OVERFLOW_CHUNK);

	if (r)
		o->spoilt = true;
	return r;
}

uint64_t over_run_end(const struct overflow *o, uint64_t off, uint64_t end)
{
	uint64_t c = off / OVERFLOW_CHUNK;
	bool is = over_here(o, c);

	do
		c++;
	while (c * OVERFLOW_CHUNK < end && over_here(o, c) == is);
	return MIN(end, c * OVERFLOW_CHUNK);
}

static int read_map(struct overflow *o)
{
	struct stat st;

	if (fstat(o->fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < OVERFLOW_MAX)
		return 0; /* made, and nothing written yet */
	uint64_t bytes = ((uint64_t)st.st_size - OVERFLOW_MAX) & ~7ull;

	if (bytes > OVERFLOW_MAX / OVERFLOW_CHUNK / 8)
		return -EUCLEAN;
	int r = bytes ? reserve(o, bytes * 8 - 1) : 0;

	if (r)
		return r;
	ssize_t got = pread_full(o->fd, o->bits, bytes, (off_t)OVERFLOW_MAX);

	if (got != (ssize_t)bytes)
		return got < 0 ? (int)got : -EIO;
	for (uint64_t w = 0; w < bytes / 8; w++)
		o->bits[w] = get_le64((uint8_t *)&o->bits[w]);
	return 0;
}

/* What lies in chunks that are not here, or behind the user's end. */
static int punch_rest(struct overflow *o, uint64_t size)
{
	off_t pos = 0;

	while ((pos = lseek(o->fd, pos, SEEK_DATA)) >= 0 && (uint64_t)pos < OVERFLOW_MAX) {
		off_t end = lseek(o->fd, pos, SEEK_HOLE);
		int r = 0;

		if (end < 0)
			return -errno;
		for (uint64_t c = (uint64_t)pos / OVERFLOW_CHUNK;
		     !r && c * OVERFLOW_CHUNK < MIN((uint64_t)end, OVERFLOW_MAX); c++)
			if (!over_here(o, c))
				r = over_clean(o, c);
		if (r)
			return r;
		pos = end;
	}
	if (pos < 0 && errno != ENXIO)
		return -errno;
	return over_cut(o, size);
}

int over_cut(const struct overflow *o, uint64_t size)
{
	return size < OVERFLOW_MAX ? d_punch(o->fd, (off_t)size, (off_t)(OVERFLOW_MAX - size)) : 0;
}

void over_count(struct overflow *o)
{
	struct stat st;

	if (!fstat(o->fd, &st)) {
		uint64_t was = atomic_exchange(&o->blocks, (uint64_t)st.st_blocks);

		store_grew(o->store, ((int64_t)st.st_blocks - (int64_t)was) * 512);
	}
}

static void over_done(struct overflow *o)
{
	free(o->bits);
	free(o);
}

int over_new(struct store *s, int fd, struct overflow **ret)
{
	struct overflow *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->store = s;
	o->fd = fd;
	/* Says whether files may be so large here. */
	int r = write_word(o, 0, 0);

	if (r)
		over_done(o);
	else
		*ret = o;
	return r;
}

int over_open(struct store *s, int fd, uint64_t size, bool read_only, struct overflow **ret)
{
	struct overflow *o = calloc(1, sizeof(*o));

	struct stat st;

	if (!o)
		return -ENOMEM;
	o->store = s;
	o->fd = fd;
	int r = read_map(o);

	if (!fstat(fd, &st)) /* the store knows of these */
		o->blocks = (uint64_t)st.st_blocks;
	if (!r && !read_only)
		r = punch_rest(o, size);
	over_count(o);
	if (r)
		over_done(o);
	else
		*ret = o;
	return r;
}

void overflow_free(struct overflow *o)
{
	if (!o)
		return;
	close(o->fd);
	over_done(o);
}
