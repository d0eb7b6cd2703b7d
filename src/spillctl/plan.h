/* SPDX-License-Identifier: MIT
 * What `plan` finds out about a directory; private to spillctl.
 */
#ifndef SPILLCTL_PLAN_H
#define SPILLCTL_PLAN_H

#include "spillctl.h"

#include "spill/layers.h"
#include <sys/stat.h>

struct plan_file {
	char *path;     /* below DIR */
	uint64_t bytes; /* of data: its size, or less when it has holes */
	uint64_t alloc;
	uint64_t ino;
};

enum plan_kind { PLAN_SNAPSHOT, PLAN_BLOB, PLAN_WRITABLE, PLAN_OTHER, PLAN_KINDS };

struct plan {
	const struct cli *c;
	const char *dir; /* resolved */
	int fd;
	struct progress progress;
	uint64_t shown_ns;
	/* the walk */
	struct layer_set layers;
	uint64_t files[PLAN_KINDS], bytes[PLAN_KINDS];
	uint64_t inodes, capabilities, immutable, empty, hard_links, unreadable, submounts;
	struct plan_file *v; /* what would be spilled (layers only), in path order */
	size_t n, cap;
	uint64_t v_bytes, v_alloc;
	/* the samples */
	uint64_t sampled_bytes, sampled_out, sample_ns;
	uint64_t hashed_bytes, dup_bytes; /* of files of equal sizes */
	uint64_t twin_bytes;              /* in files that have company of their size */
	/* estimates */
	uint64_t unique_bytes, stored_bytes;
};

/* plan_walk.c, plan_sample.c: 0, -EINTR or -errno. */
int plan_walk(struct plan *p);
int plan_sample(struct plan *p);
bool plan_go_on(struct plan *p, const char *what, uint64_t done, const char *path);
void plan_done(struct plan *p);
/* plan_risk.c: an array of {level: "OK"|"WARN"|"FAIL", what, text}. */
json_t *plan_risks(struct plan *p, const char *given, const char *store);

#endif
