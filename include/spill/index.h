/* SPDX-License-Identifier: MIT
 * Contract of src/index: the only SQLite user. A cache that can be rebuilt from packs and markers.
 *
 * WAL, synchronous=FULL, temp_store=MEMORY. One write connection, serialized by the index's own
 * mutex (index_begin..index_commit hold it: one writing transaction at a time); reads go through a
 * small pool of read connections and never wait for a writer. SQLITE_BUSY is waited out and never
 * returned. Errors: -ENOENT no such row, -EUCLEAN the database is damaged, -ENOSPC, -EROFS, -EIO,
 * -ENOMEM, -EPROTONOSUPPORT newer schema. All calls thread-safe; all may block on disk: not for
 * request threads' hot path (opening a stub may use the read calls).
 */
#ifndef SPILL_INDEX_H
#define SPILL_INDEX_H

#include "spill/base.h"
#include "spill/types.h"
#include "spill/store.h"

struct index;

/* Open (create when create) "index.db" in the directory dirfd. path is the directory's path, for
 * SQLite. Runs migrations. read_only opens without creating a WAL where possible. */
int index_open(struct index **ret, const char *path, bool create, bool read_only);
void index_close(struct index *ix);
/* PRAGMA quick_check and the sums (refs, live bytes); each problem to cb. Returns problems found or
 * -errno. */
int index_check(struct index *ix, void (*cb)(void *ctx, const char *what), void *ctx);

/* ---- transactions
 * -------------------------------------------------------------------------------- begin takes the
 * writer mutex; commit is durable when it returns. Calls marked [W] need an open transaction of the
 * calling thread; the others read committed state. A commit that fails has rolled back
 * (index_rollback is then a no-op). After -ENOENT, -EEXIST, -EINVAL or -EBUSY from a [W] call the
 * transaction stands and may go on; a failed write sticks to it and comes back from commit. */
int index_begin(struct index *ix);
int index_commit(struct index *ix);
void index_rollback(struct index *ix);
/* Give the writer's page cache (up to 16 MiB) back to the heap, after the last of much work. Waits
 * for the transaction that is open. */
void index_trim(struct index *ix);

/* ---- meta: small named numbers and blobs
 * --------------------------------------------------------- */
int index_meta_get(struct index *ix, const char *key, uint64_t *ret); /* -ENOENT */
int index_meta_set(struct index *ix, const char *key, uint64_t v);    /* [W] */
/* The same in a transaction of its own: durable when it returns. */
int index_meta_put(struct index *ix, const char *key, uint64_t v);

/* ---- objects
 * --------------------------------------------------------------------------------------- */
/* Full object with segs and ranges; only sha[0..15] is filled. Free with object_free. This,
 * index_object_find and index_file_get see the calling thread's open transaction when it has one;
 * everything else that reads sees what is committed. */
int index_object_get(struct index *ix, struct obj_id id, struct object **ret);
void object_free(struct object *o);
/* An object with this content (sha[0..15], size, stream_len), for dedup. -ENOENT. */
int index_object_find(struct index *ix, const uint8_t sha[32], uint64_t size, uint64_t stream_len,
		      struct obj_id *ret);
/* Is there any object of this size (>= FRAME_SIZE)? Tells whether hashing a large file first may
 * pay. */
bool index_object_size_known(struct index *ix, uint64_t size);
/* Insert with o->refs; o->id must be fresh (-EEXIST). -EINVAL: segs or ranges break their rules.
 * [W] */
int index_object_put(struct index *ix, const struct object *o);
/* refs += delta, returns the new count (>= 0) or -errno (-EUCLEAN: it would fall below 0). [W] */
int64_t index_object_ref(struct index *ix, struct obj_id id, int delta);
/* Delete an object with refs 0 (-EBUSY otherwise), and take its bytes off its packs' live counts.
 * [W] */
int index_object_delete(struct index *ix, struct obj_id id);
/* The next free object id; ids handed out are never handed out again once committed. [W] */
int index_object_newid(struct index *ix, struct obj_id *ret);

/* ---- files: one row per hot inode that refers to an object
 * ------------------------------------------ */
struct file_row {
	struct hot_id id;
	struct obj_id obj;
	enum residency state;
	uint64_t size; /* premigrated: size, mtime and ctime of the snapshot; else 0 */
	int64_t mtime_ns;
	int64_t ctime_ns;
	int64_t snap_ns; /* wall clock when the snapshot was taken */
};
int index_file_get(struct index *ix, struct hot_id id, struct file_row *ret);
/* Insert or replace; refs are the caller's. -ENOENT: its object has no row. -EINVAL: RESIDENT. [W]
 */
int index_file_put(struct index *ix, const struct file_row *r);
/* The snapshot's times survive SPILLING and are gone once SPILLED. [W] */
int index_file_state(struct index *ix, struct hot_id id, enum residency state);
int index_file_del(struct index *ix, struct hot_id id); /* [W] */
/* Rows in one state (or all: state < 0), in order of (ino, gen), in pages: starts after `after`
 * ({0,0}: from the beginning), fills at most max rows, returns how many. */
ssize_t index_file_list(struct index *ix, int state, struct hot_id after, struct file_row *rows,
			size_t max);
/* Files that refer to an object, at most max (check, info). Scans the table: an index for it would
 * cost as much as the rows themselves. */
ssize_t index_file_by_obj(struct index *ix, struct obj_id obj, struct file_row *rows, size_t max);

/* ---- tombstones: stubs whose last link is gone, waiting for it to be durable (invariant 7)
 * ----------- */
struct tomb {
	struct hot_id id;
	struct obj_id obj;
};
int index_tomb_put(struct index *ix, const struct tomb *t); /* [W] idempotent */
int index_tomb_del(struct index *ix, struct hot_id id);     /* [W] */
ssize_t index_tomb_list(struct index *ix, struct tomb *t, size_t max);

/* ---- packs
 * ------------------------------------------------------------------------------------------- */
struct pack_row {
	struct pack_len len;
	uint64_t live_bytes; /* uncompressed bytes that objects still refer to */
};
int index_pack_set(struct index *ix,
		   const struct pack_len *len);      /* upsert length; live bytes kept [W] */
int index_pack_del(struct index *ix, uint32_t pack); /* -EBUSY: it has live bytes [W] */
int index_pack_list(struct index *ix, struct pack_row **ret,
		    size_t *ret_n); /* ascending; caller frees */

/* ---- totals: kept in memory, exact after open
 * ----------------------------------------------------- */
struct index_totals {
	uint64_t files_premigrated, files_spilled; /* SPILLING and RECALLING count as spilled */
	uint64_t spilled_logical_bytes;            /* sizes of spilled files, per file */
	uint64_t premigrated_data_bytes;
	uint64_t objects;
	uint64_t db_bytes; /* index.db and its WAL on disk */
};
int index_totals(struct index *ix, struct index_totals *ret);
/* Bytes of data of premigrated files, and logical ones of spilled files; from memory alone. */
void index_moved_bytes(struct index *ix, uint64_t *ret_premigrated, uint64_t *ret_spilled);

/* ---- layers and heat: last use per layer, survives restarts
 * ----------------------------------------- */
int index_layer_used_set(struct index *ix, const char *key, int64_t when_ns); /* [W] */
int index_layer_used_get(struct index *ix, const char *key, int64_t *ret_ns); /* -ENOENT */

/* Its heat, in thousandths as of its last use; of a layer whose use was set. */
int index_layer_score_set(struct index *ix, const char *key, uint32_t score); /* [W] */
int index_layer_score_get(struct index *ix, const char *key, uint32_t *ret);  /* -ENOENT */
/* How often files were used lately, by node id; see policy.h. Times in seconds since 1970. */
struct heat_row {
	uint64_t node;
	uint32_t score; /* in thousandths, as of used_sec */
	uint32_t used_sec;
	uint32_t recalled_sec; /* 0: it was not */
};
int index_heat_set(struct index *ix, const struct heat_row *r); /* insert or replace [W] */
int index_heat_del(struct index *ix, uint64_t node);            /* 0 also when there was none [W] */
/* In pages: NULL after begins, else the last node of the page before. How many, or -errno. */
ssize_t index_heat_list(struct index *ix, const uint64_t *after, struct heat_row *rows, size_t max);

/* ---- pins: paths below the hot root that are never spilled. Only the index knows them: they are
 * what losing it loses.
 * ----------------------------------------------------------------------------- */
struct pin_row {
	char *path;       /* "" is the root */
	char *owner;      /* the image it is pinned for, or "" */
	struct hot_id id; /* of the inode when it was pinned; {0, 0}: not known */
	int64_t since_ns; /* wall clock; kept when it is pinned again */
};
int index_pin_put(struct index *ix, const struct pin_row *p);              /* [W] */
int index_pin_del(struct index *ix, const char *path, const char *owner);  /* -ENOENT [W] */
int index_pin_list(struct index *ix, struct pin_row **ret, size_t *ret_n); /* by path, owner */
void index_pins_free(struct pin_row *v, size_t n);

#endif
