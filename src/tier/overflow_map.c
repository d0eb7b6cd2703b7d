/* SPDX-License-Identifier: MIT
 * Which chunks of a partial file are in its overflow: told by the overflow file's own data ranges.
 */
#include "overflow_int.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>

bool over_here(const struct overflow *o, uint64_t chunk)
{
	return chunk < o->nchunks && o->bits[chunk / 64] >> (chunk % 64) & 1;
}

int over_set(struct overflow *o, uint64_t chunk)
{
	if (chunk >= o->nchunks) {
		uint64_t n = MAX(o->nchunks * 2, (chunk / 64 + 1) * 64);
		uint64_t *v = realloc(o->bits, n / 8);

		if (!v)
			return -ENOMEM;
		memset(v + o->nchunks / 64, 0, (n - o->nchunks) / 8);
		o->bits = v;
		o->nchunks = n;
	}
	o->bits[chunk / 64] |= 1ull << (chunk % 64);
	return 0;
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
	off_t pos = 0, end;

	while ((pos = lseek(o->fd, pos, SEEK_DATA)) >= 0) {
		end = lseek(o->fd, pos, SEEK_HOLE);
		if (end < 0)
			break;
		for (uint64_t c = (uint64_t)pos / OVERFLOW_CHUNK;
		     c * OVERFLOW_CHUNK < (uint64_t)end; c++) {
			int r = over_set(o, c);

			if (r)
				return r;
		}
		pos = end;
	}
	return errno == ENXIO ? 0 : -errno;
}

int over_new(int fd, struct overflow **ret)
{
	struct overflow *o = calloc(1, sizeof(*o));
	int r = o ? 0 : -ENOMEM;

	if (o) {
		o->fd = fd;
		r = read_map(o);
	}
	if (r) {
		free(o ? o->bits : NULL);
		free(o);
		return r;
	}
	*ret = o;
	return 0;
}

void overflow_free(struct overflow *o)
{
	if (!o)
		return;
	close(o->fd);
	free(o->bits);
	free(o);
}
