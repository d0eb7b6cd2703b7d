/* SPDX-License-Identifier: MIT
 * Private to src/tier/overflow*.c: which chunks of a partial file are in its overflow.
 */
#ifndef TIER_OVERFLOW_INT_H
#define TIER_OVERFLOW_INT_H

#include "overflow.h"

struct overflow {
	int fd;
	uint64_t nchunks; /* room in bits */
	uint64_t *bits;   /* chunks that are here */
};

/* Takes fd on success. */
int over_new(int fd, struct overflow **ret);
bool over_here(const struct overflow *o, uint64_t chunk);
int over_set(struct overflow *o, uint64_t chunk);
/* The end of the run of chunks, beginning at off, that are where off's is; at most end. */
uint64_t over_run_end(const struct overflow *o, uint64_t off, uint64_t end);

#endif
