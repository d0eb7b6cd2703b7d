/* SPDX-License-Identifier: MIT
 * Private to src/tier: partial residency. A file that is being written while the hot tier is nearly
 * full goes on in the store: in whole chunks, plain, in a file of its own (store_overflow_*). A
 * chunk that the overflow's own map names is there; every other one is in the hot inode, also its
 * holes.
 *
 * Only mediated files can be partial. Locks: the io lock of the node, shared by whoever moves data
 * of an open file and exclusive for whoever changes where data is; outside of the node lock, never
 * taken under it. node->over is changed under both, and so may be looked at under either.
 */
#ifndef TIER_OVERFLOW_H
#define TIER_OVERFLOW_H

#include "tier_int.h"

#define OVERFLOW_CHUNK (1u << 20)
/* Smaller files wait for space instead: one more file on the store each would cost more. */
#define OVERFLOW_MIN OVERFLOW_CHUNK
/* Larger offsets stay in the hot tier: the map lies here in the overflow file (overflow_map.c). */
#define OVERFLOW_MAX (1ull << 41)

struct overflow;

void io_locks_init(struct tier *t);
void io_locks_done(struct tier *t);
unsigned io_stripe(const struct node *n);
void io_shared(struct tier *t, const struct node *n);
void io_exclusive(struct tier *t, const struct node *n);
void io_unlock(struct tier *t, const struct node *n);

/* May a write that ends at `end` go to the store? Memory only. */
bool overflow_wanted(struct tier *t, uint64_t end);
/* Is there room for len bytes? */
bool overflow_room(struct tier *t, uint64_t len);
void overflow_refresh(struct tier *t); /* the store's space was looked at */
/* After overflow files were written to: a new epoch, so that a store which is put back to a copy
 * from before is noticed. Called every second or so; 0 when there is nothing to do, or not now. */
int overflow_epoch(struct tier *t);

/* Turn n into a partial file; fd: open for writing, nobody else's. [io exclusive] -EBUSY: not now.
 */
int overflow_begin(struct tier *t, struct node *n, int fd);
/* What a partial file's inode (hot: a descriptor of it, O_PATH is enough) says: node->over.
 * -ENOENT: its overflow is gone. [N] */
int overflow_load(struct tier *t, struct node *n, int hot);
void overflow_free(struct overflow *o);
/* The data of a spilled file that does not fit into the hot tier goes there: the inode behind fd
 * becomes partial, durably. mk: its marker. On failure the stub is as before. No lock. */
int overflow_from_object(struct tier *t, int fd, const struct object *o, const struct marker *mk,
			 struct hot_id id);
/* All of it back into the hot inode; or none of it: emptied. [N], dropped in between, not busy. */
int overflow_return(struct tier *t, struct node *n);
int overflow_empty(struct tier *t, struct node *n);
/* n became a stub: give the overflow up. It is not open. No lock. */
void overflow_spilled(struct tier *t, struct node *n);

/* One write, all or the first part of it, wherever it belongs. force: the hot tier has no room.
 * shared: -EAGAIN when it takes the exclusive lock. strip: setuid and setgid go. */
ssize_t overflow_write(struct tier *t, struct node *n, int fd, const void *buf, size_t len,
		       uint64_t off, bool shared, bool force, bool strip);
ssize_t overflow_read(const struct overflow *o, int fd, void *buf, size_t len, uint64_t off);
int overflow_truncate(struct overflow *o, int fd, uint64_t size); /* [io exclusive] */
int overflow_sync(struct overflow *o); /* an error is told to all who ask from then on */
int overflow_punch(struct overflow *o, uint64_t off, uint64_t len);
int64_t overflow_seek(const struct overflow *o, int fd, uint64_t off, int whence);
uint64_t overflow_blocks(const struct overflow *o); /* 512-byte units; memory only */
/* The data ranges of the whole file, as hot_ranges. */
int overflow_ranges(const struct overflow *o, int fd, uint64_t size, struct range **ret,
		    uint32_t *ret_n, bool *ret_dense);
int overflow_marker(int fd); /* say "partial" on the inode, not durable yet */

/* Overflow files that no marker names, after a scan of all inodes: removed. */
void overflow_sweep(struct tier *t);
/* Spill what is partial and not in use. */
void overflow_tidy(struct tier *t);

#endif
