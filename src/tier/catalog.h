/* SPDX-License-Identifier: MIT
 * Private to src/tier: the files that the policy may choose from, as of one walk.
 */
#ifndef TIER_CATALOG_H
#define TIER_CATALOG_H

#include "work.h"

/* Where a file is: offsets into names; the number of its layer, 0: none. */
struct cat_name {
	uint32_t dir, name, layer;
};

/* About 70 bytes a file, and its name. */
struct catalog {
	struct policy_file *f; /* in walk order: neighbours of a layer stand together */
	struct cat_name *at;
	size_t n, cap;
	char *names;
	size_t names_len, names_cap;
	struct cat_layer {
		uint32_t key; /* offset into names */
		bool asleep;
	} * layers; /* the first is none */
	size_t nlayers, layers_cap;
	uint64_t asked_ns, ask_took_ns; /* which layers are asleep; monotonic */
	uint64_t built_ns, took_ns;     /* monotonic */
};

/* Walk the layers (spill=all: everything). Stops early with -EINTR when the tier stops. */
int catalog_build(struct tier *t, struct catalog *ret);
void catalog_done(struct catalog *c);
/* Offer the files of the plan to k, in walk order, those with a copy first. As work_spill_tree;
 * what was taken has no bytes in the catalog any more (copy_only: has its copy). */
int catalog_spill(struct catalog *c, const struct policy_plan *p, struct work *k);
/* By exclude=: a pattern matches the whole path below the root, a star also a slash. */
bool path_excluded(const struct config *c, const char *path);
/* In no mounted overlay, though others of its engine are; nor used for the time of retain=. */
bool layer_asleep(struct tier *t, const struct layer *l);
/* Before a plan: POLICY_ASLEEP, which changes whenever a container starts or ends; if it is worth
 * asking already. */
void catalog_ask(struct tier *t, struct catalog *c);

#endif
