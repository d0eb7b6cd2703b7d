/* SPDX-License-Identifier: MIT
 * Private to src/tier: reading ahead of a tree that is being spilled, see ahead.c. All take NULL
 * for "there is none", which is no error.
 */
#ifndef TIER_AHEAD_H
#define TIER_AHEAD_H

#include "tier_int.h"

struct ahead;

/* path is borrowed until the end. NULL: there is none. */
struct ahead *ahead_begin(struct tier *t, const char *path);
/* It reads while go; when this returns after !go, it has no file open. */
void ahead_go(struct ahead *a, bool go);
/* A file of the tree was taken in. */
void ahead_used(struct ahead *a, const struct stat *st, const char *path);
void ahead_end(struct ahead *a);

#endif
