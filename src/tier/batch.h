/* SPDX-License-Identifier: MIT
 * Private to src/tier: what the three parts of spilling share. spill.c takes files in, premigrate.c
 * makes or finds their copies, spill_finish.c makes it durable and lets go of the hot data.
 */
#ifndef TIER_BATCH_H
#define TIER_BATCH_H

#include "tier_int.h"

#define BATCH_FILES 2048
#define BATCH_BYTES (128ull << 20)
#define BATCH_MIN   (1ull << 20)
#define BATCH_SMALL (8ull << 20)
#define BATCH_BUF   (1u << 20)

/* One distinct content of the batch. */
struct bobj {
	struct bobj *next; /* hash chain */
	struct object *o;
	unsigned files; /* entries that refer to it */
	bool fresh;     /* written by this batch */
	bool listed;    /* for verification */
	bool trusted;   /* read back and compared lately: see premigrate.c */
	bool have_xx;   /* xx is the stream's hash, from the hot data */
	uint64_t xx;
	int err;
};

struct entry {
	struct release_entry rel;
	struct bobj *bo;
};

#define BOBJ_BUCKETS 4096

/* spill_lock is held as long as one exists. */
struct spill_batch {
	struct tier *t;
	unsigned min_age_sec;
	uint64_t min_size;
	struct store_writer *w;
	struct sha256 *sha;
	uint8_t *buf; /* BATCH_BUF bytes */
	struct entry **v;
	size_t n;
	uint64_t bytes, max;
	uint64_t room;  /* of the store, when the batch began */
	uint64_t given; /* what the files so far take there at most */
	uint64_t need;  /* the last one */
	bool tight;     /* the next file might not fit any more */
	struct bobj *table[BOBJ_BUCKETS];
	int err;        /* of the store: sticky */
	bool copy_only; /* premigrate, do not release */
	bool had_copy;  /* the last file: from before */
	struct ahead *ahead;
};

/* The store's copy of fd (node n, attributes st), made or found. *ret_snap: when the snapshot was
 * taken. -EBUSY it is being changed, -ENODATA it has no data, store errors also in b->err. */
int premigrate(struct spill_batch *b, int fd, struct node *n, struct stat *st, int64_t *ret_snap,
	       struct bobj **ret);
void batch_free(struct spill_batch *b);
/* Can somebody write to it unseen? See spill.c. [N] */
bool written_by_others(int fd);

#endif
