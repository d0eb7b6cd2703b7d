/* SPDX-License-Identifier: MIT
 * Private to src/tier/overflow*.c: which chunks of a partial file are in its overflow.
 */
#ifndef TIER_OVERFLOW_INT_H
#define TIER_OVERFLOW_INT_H

#include "overflow.h"

struct overflow {
	struct store *store;
	int fd;
	uint64_t nchunks; /* room in bits */
	uint64_t *bits;   /* chunks that are here */
	bool spoilt;      /* a chunk that is not here cannot be emptied: none comes here any more */
	_Atomic uint64_t blocks; /* 512-byte units, as last seen */
	_Atomic int err;         /* of a sync: data of some writer is lost, all are told */
};

/* Both take fd on success. new: a fresh, empty one. open: size is the user's end. */
int over_new(struct store *s, int fd, struct overflow **ret);
int over_open(struct store *s, int fd, uint64_t size, bool read_only, struct overflow **ret);
bool over_here(const struct overflow *o, uint64_t chunk);
/* The chunk is here from now on; durable with the next sync. Its data there are empty, or written
 * and synced. set_all: each chunk of a file of that size. */
int over_set(struct overflow *o, uint64_t chunk);
int over_set_all(struct overflow *o, uint64_t size);
/* It is not, durably; its data are in the hot inode, synced. */
int over_clear(struct overflow *o, uint64_t chunk);
/* Empty a chunk that is not here after a copy that failed. */
int over_clean(struct overflow *o, uint64_t chunk);
void over_count(struct overflow *o); /* look at its blocks, and tell the store */
/* Drop all data from size on. */
int over_cut(const struct overflow *o, uint64_t size);
/* The end of the run of chunks, beginning at off, that are where off's is; at most end. */
uint64_t over_run_end(const struct overflow *o, uint64_t off, uint64_t end);

#endif
