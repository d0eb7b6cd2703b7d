/* SPDX-License-Identifier: MIT
 * Private to src/tier: reading ahead of a tree that is being spilled, see ahead.c. NULL stands for
 * "there is none", which is no error, and can be given to all of these.
 */
#ifndef TIER_AHEAD_H
#define TIER_AHEAD_H

#include "tier_int.h"

struct ahead;

/* path is borrowed until the end. Returns NULL when there is no memory or thread for it. */
struct ahead *ahead_begin(struct tier *t, const char *path);
/* It reads while go. When this returns after !go it has no file open; that can take an open and a
 * fadvise of some MiB. */
void ahead_go(struct ahead *a, bool go);
/* A file of the tree was taken in. */
void ahead_used(struct ahead *a, const struct stat *st, const char *path);
/* From now on it has none of the files open that were taken in so far. Takes as long as ahead_go.
 */
void ahead_clear(struct ahead *a);
/* Waits for the thread, and frees it; after the last batch that reads ahead. */
void ahead_end(struct ahead *a);

#endif
