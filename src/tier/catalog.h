/* SPDX-License-Identifier: MIT
 * Private to src/tier: the files that the policy may choose from, as of one walk.
 */
#ifndef TIER_CATALOG_H
#define TIER_CATALOG_H

#include "work.h"

/* Where a file is: offsets into names. */
struct cat_name {
	uint32_t dir, name;
};

/* About 70 bytes a file, and its name. */
struct catalog {
	struct policy_file *f; /* in walk order: neighbours of a layer stand together */
	struct cat_name *at;
	size_t n, cap;
	char *names;
	size_t names_len, names_cap;
	uint64_t built_ns, took_ns; /* monotonic */
};

/* Walk the layers (spill=all: everything). Stops early with -EINTR when the tier stops. */
int catalog_build(struct tier *t, struct catalog *ret);
void catalog_done(struct catalog *c);
/* Offer the files of the plan to k, in walk order, those with a copy first. As work_spill_tree;
 * what was taken has no bytes in the catalog any more (copy_only: has its copy). */
int catalog_spill(struct catalog *c, const struct policy_plan *p, struct work *k);
/* By exclude=: a pattern matches the whole path below the root, a star also a slash. */
bool path_excluded(const struct config *c, const char *path);
/* No container runs with this layer of set, but some run. l NULL: no layer. */
bool layer_asleep(const struct layer_set *set, const struct layer *l);

#endif
