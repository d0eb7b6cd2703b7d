/* SPDX-License-Identifier: MIT
 * Private to src/tier: a walk that spills, shared by spillctl's request and the policy.
 */
#ifndef TIER_WORK_H
#define TIER_WORK_H

#include "tier_int.h"

#define WORK_ENOUGH 1 /* the walk stopped because `enough` said so */

struct work {
	struct tier *t;
	struct spill_batch *batch;
	struct tier_work w;
	unsigned min_age_sec;
	uint64_t min_size;
	bool copy_only;            /* premigrate */
	uint64_t batch_bytes;      /* a batch ends early; 0: when it is full */
	tier_progress_fn fn;       /* may be NULL */
	tier_note_fn note;         /* may be NULL */
	bool (*enough)(void *ctx); /* asked after each batch; may be NULL */
	void *ctx;
	uint64_t reported_ns, in_batch;
	struct ahead *ahead; /* of a tree, or NULL (ahead.h) */
};

int work_spill_file(void *ctx, int dirfd, const char *name, const struct stat *st,
		    const char *path);
/* Spill what can be below path. 0, WORK_ENOUGH or -errno (-ENOSPC: the store is full). */
int work_spill_tree(struct work *k, const char *path);
int work_finish(struct work *k);

#endif
