/* SPDX-License-Identifier: MIT
 * Private declarations of src/tier.
 *
 * Locks: their order is in ARCHITECTURE.md. The fields of struct node marked [N] are guarded by the
 * node lock, striped by node id: never two at once, and no long I/O under it; long transitions set
 * NODE_BUSY, drop the lock and wake the stripe's condition variable when done.
 */
#ifndef TIER_INT_H
#define TIER_INT_H

#include "spill/policy.h"
#include "spill/tier.h"
#include "trend.h"
#include <stdatomic.h>

#define NODE_STRIPES 1024
#define IO_STRIPES   256
#define TABLE_SHARDS 64

/* What a stub's readers need; shared by the node and every open file that reads cold. There is one
 * for each stub that the kernel knows: 56 bytes are what one of malloc's 64 can hold. The fields
 * are the marker's [N]. */
struct cold {
	atomic_uint refs;
	uint32_t blocks;
	uint64_t obj : OBJ_ID_BITS;
	uint64_t state : 3; /* enum residency */
	uint64_t ctime_valid : 1;
	uint64_t loaded : 1;
	uint64_t size;
	int64_t mtime_ns, ctime_ns;
	/* A loaded object has the hash, and was found to be the one that the marker names. */
	union {
		uint8_t hash16[16];
		struct object *object; /* when loaded; who has a reference from then on may read it
					  without the lock */
	};
};
_Static_assert(sizeof(struct cold) <= 56, "see above");

struct release_entry;
struct overflow;

enum {
	NODE_REG = 1 << 0,       /* a regular file */
	NODE_RES_KNOWN = 1 << 1, /* res is valid (marker was looked at) */
	NODE_BUSY = 1 << 2,      /* residency is changing; wait on the stripe */
	NODE_STALE_MARKER =
		1
		<< 3, /* a void marker (inode of size 0) is on disk; drop it before a write grant */
	NODE_DAMAGED = 1 << 4, /* content cannot be proved right: EIO unless it is replaced */
	NODE_QUEUED = 1 << 5,  /* in the current spill batch (a hard link comes by twice) */
	NODE_FILLING = 1 << 6, /* its data goes to the kernel's page cache (fill.c): writers wait */
	NODE_FILLED = 1 << 7,  /* ... or went there before */
	NODE_MAPPED = 1 << 8,  /* was open for passthrough, O_RDWR: a mapping may have stayed */
	NODE_KEPT = 1 << 9,    /* somebody else holds it for us, see tier_on_orphan */
	/* The kernel may have pages of it from before a passthrough write. They come in even past a
	 * passthrough open (readahead(2) does), so mediated opens drop them, until one of
	 * those is released. */
	NODE_OLD_PAGES = 1 << 10,
	/* Was open for passthrough, O_RDWR or O_RDONLY: a mapping of the hot inode may have stayed.
	 */
	NODE_PASSED = 1 << 12,
	NODE_CLASSED = 1 << 11,     /* cls and layer are known: it was looked up by name */
	NODE_SYNC_FAILED = 1 << 13, /* an fsync said so, see tier_fsync */
	/* Made by us, and never given file capabilities through us. Where somebody gives it some by
	 * another way (the disk mounted elsewhere), its next chown or truncate takes them off. */
	NODE_NO_CAPS = 1 << 15,
	NODE_META_NEW = 1 << 14, /* metadata was changed during its recall: ctime is its own */
};

struct node {
	uint64_t nodeid;
	struct node *next;      /* table chain */
	uint64_t nlookup : 42;  /* the kernel's references; table shard lock */
	uint64_t refs : 22;     /* ours, more than there can be handles; table shard lock */
	uint32_t opens;         /* granted open files, and holds [N] */
	uint32_t mediated;      /* those of them whose data comes to us [N] */
	uint32_t passed;        /* those that pass us by [N] */
	atomic_uint writers;    /* those of the latter that are open for writing [N] */
	int backing;            /* their backing id, or 0 [N] */
	uint32_t layer;         /* index into the layer table, 0 none; set once, see NODE_CLASSED */
	layer_class cls;        /* likewise */
	_Atomic uint8_t res;    /* enum residency [N], read without the lock by tier_read */
	_Atomic uint16_t flags; /* [N] */
	atomic_int pin_fd;      /* O_PATH fd that keeps an unlinked inode for the kernel, or -1 */
	struct cold *cold;      /* of a stub [N] */
	struct release_entry *rel; /* being released right now [N] */
	struct overflow *over;     /* of a partial file, see overflow.h */
	struct hot_fh *fh;         /* only when it cannot be recomputed from nodeid */
};

struct file {
	struct node *n;
	_Atomic uint64_t word; /* hot fd and its users, see openfds.c */
	int flags;             /* open flags, without O_CREAT, O_EXCL, O_TRUNC, O_APPEND */
	int backing;           /* id of a passthrough grant, or 0 */
	bool drop_pages;       /* see NODE_OLD_PAGES */
	bool listed;           /* older, newer: list of openfds.c; stripe lock there */
	atomic_bool recent;    /* it was used since the last look */
	struct file *older, *newer;
	_Atomic uint64_t errors; /* openfds.errors when the fd was closed, 0: never was */
	struct cold *cold;       /* own reference, or NULL */
};

struct shard {
	pthread_mutex_t lock;
	struct node **buckets;
	size_t nbuckets, count;
};

struct stripe {
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

/* A layer as seen by look-ups: its key, and when a file of it was last opened. */
struct layer_ref {
	char *key;
	int64_t last_used_ns; /* wall clock */
	bool dirty;
	struct heat heat;
};

/* Deferred index changes (see janitor.c). */
enum defer_kind {
	DEFER_TOMB,        /* last link of a stub gone */
	DEFER_DROP,        /* stub was emptied or overwritten: its row and reference go */
	DEFER_PREMIGRATED, /* stub was recalled: the copy stays, clean */
	DEFER_ADOPT,       /* a stub without a row was opened: make one */
};
struct defer {
	struct defer *next;
	enum defer_kind kind;
	struct file_row row;
};

struct catalog;
struct fdcache;
struct gate;
struct heats;
struct pins;

#define COLD_KEPT 1024 /* objects of stubs that are not open */
#define WARMED    256  /* directories */

struct tier {
	const struct config *cfg;
	struct hot *hot;
	struct store *store;
	struct index *ix;

	struct shard shards[TABLE_SHARDS];
	struct tier_backing pass;      /* open is NULL: no passthrough */
	atomic_bool pass_off;          /* given up: the kernel refuses */
	atomic_uint used;              /* percent of the hot tier, as last seen */
	_Atomic uint64_t used_ns;      /* when that was */
	atomic_bool roomy;             /* one file will hardly outgrow what is left */
	atomic_bool brim;              /* what is left is for names and attributes */
	_Atomic uint64_t brim_from_ns; /* until then it is for everybody */
	atomic_uint attr_epoch;        /* mappings that have gone, see tier_attr_stable */
	tier_attr_fn attr_changed;
	void *attr_ctx;
	_Atomic uint64_t *work; /* see tier_count_work; may be NULL */
	atomic_uint n_mediated; /* opens that go through us */
	tier_orphan_fn orphan;
	void *orphan_ctx;
	bool resumed; /* the kernel knows more nodes than we do */
	struct stripe stripes[NODE_STRIPES];
	pthread_rwlock_t io[IO_STRIPES];   /* see overflow.h */
	_Atomic uint64_t overflow_seen_ns; /* when the store last answered */
	atomic_bool overflow_dirty;        /* written to since the last epoch */
	struct node *root;
	struct fdcache *fds;
	struct openfds *open_fds;
	atomic_uint n_pins; /* descriptors that keep deleted inodes */
	unsigned max_pins;
	unsigned batch_files; /* of a spill batch: each holds a descriptor for a while */
	struct stat root_st;
	uint64_t root_alias; /* the node id hot_identify gives the root; we say 1 */
	char *root_path;     /* /proc path of the hot root, for layer keys */

	pthread_rwlock_t layer_lock;
	struct layer_ref *layers; /* [0] unused */
	uint32_t nlayers, layers_cap;

	pthread_mutex_t spill_lock;
	uint64_t next_obj, obj_limit; /* reserved ids; spill_lock */
	uint64_t epoch;               /* what the hot tier shows; spill_lock */
	/* What the store had no room for; spill_lock. */
	uint64_t batch_cap;                 /* bytes a batch may take, 0: as many as usual */
	uint64_t too_large, too_large_room; /* a file of that size did not fit into that room */
	bool unclean;                       /* the last stop was */

	pthread_mutex_t defer_lock;
	pthread_cond_t defer_cond;
	struct defer *defer_head, **defer_tail;
	size_t defer_n;

	_Atomic uint64_t kept[COLD_KEPT]; /* node ids by their hash, see cold_rest */

	atomic_bool warming;             /* somebody is at it */
	_Atomic uint64_t warmed[WARMED]; /* inode numbers by their hash, see warm.c */

	/* Grace periods for freed frames: cold reads in flight, by the parity they began in. */
	atomic_uint read_parity;
	atomic_uint reads[2];

	pthread_t janitor_thread, auto_thread, reconcile_thread;
	bool threads_on, reconcile_on;
	atomic_bool stop;
	pthread_mutex_t auto_lock;
	pthread_cond_t auto_cond;
	bool auto_kick;
	atomic_bool frozen;
	unsigned premigrate_used; /* percent, when that was set; likewise */
	uint64_t premigrate_ns;   /* no copies ahead of need before; auto_thread's */
	uint64_t tidy_ns;         /* the last look at partial files; auto_thread's */
	struct catalog *catalog;  /* what the last plan chose from, or NULL; auto_thread's */
	char parked[160];         /* auto_lock */
	uint64_t relief;          /* batches that freed space; auto_lock */
	uint64_t hopeless;        /* rounds that freed nothing; auto_lock */
	uint64_t looks;           /* at the store's space; auto_lock */
	bool had_room;            /* in the store, at the last look; auto_lock */
	unsigned waiters;         /* writers waiting for space; auto_lock */
	atomic_ullong written;    /* bytes, since mount */
	atomic_bool pressed;      /* the critical mark is reached */
	atomic_bool stuck;        /* the last round freed nothing */
	/* Among what there was then, an urgent round found nothing to free; 0: the last one did. */
	_Atomic uint64_t vain_ns;
	struct gate *gate; /* gate.c; NULL: none, for gate_err. Set before the first open */
	int gate_err;

	pthread_mutex_t trend_lock; /* leaf */
	struct trend trend;         /* written by trend_tick's thread under the lock */

	pthread_mutex_t space_lock;
	pthread_cond_t space_cond;
	bool space_known;
	uint64_t space_ns; /* when the store last answered; space_lock */
	int space_err;     /* of the last try, or 0; space_lock */
	pthread_t space_thread;

	atomic_ullong n_nodes, n_open, n_errors, n_spilled_bytes, n_recalled_bytes;
	atomic_llong n_regular; /* regular files: counted by the scan at mount, kept up by creates
				   and unlinks */
	pthread_mutex_t grace_lock;
	atomic_bool regular_known;
	atomic_bool
		scan_due; /* the scan for an unclean stop was not done: the next mount does it */
	pthread_mutex_t flush_lock;   /* one janitor_flush at a time */
	struct pins *pins;            /* pin.c */
	struct heats *heats;          /* heat.c */
	atomic_llong paused_until;    /* pause.c; wall clock, ns */
	atomic_llong releasing_bytes; /* of files that have a copy and lose their hot data now */
	atomic_bool winding_down;     /* see quiesce.c */
	atomic_uint working;          /* rounds, trees and scans under way, for status */
};

/* ---- node.c */
int nodes_init(struct tier *t);
void nodes_done(struct tier *t);
/* Find or make the node of an identified inode, with one reference; nlookup += lookups. */
int node_intern(struct tier *t, uint64_t nodeid, const struct hot_fh *fh, const struct stat *st,
		unsigned lookups, struct node **ret, bool *ret_new);
struct node *node_find(struct tier *t, uint64_t nodeid); /* with a reference, or NULL */
/* fd (taken) keeps n's inode, which has no name, as long as n. */
void node_pin(struct tier *t, struct node *n, int fd);
bool node_known(struct tier *t, uint64_t nodeid); /* the kernel or a file refers to it */
uint64_t node_id_of(struct tier *t, struct hot_id id);
void node_ref(struct tier *t, struct node *n);
/* Drop refs and lookups; free the node when nothing holds it. */
void node_drop(struct tier *t, uint64_t nodeid, unsigned refs, uint64_t lookups);
struct stripe *node_stripe(struct tier *t, const struct node *n);
void node_lock(struct tier *t, struct node *n);
void node_unlock(struct tier *t, struct node *n);
void node_wait(struct tier *t, struct node *n);       /* node lock held: wait for a change */
void node_wake(struct tier *t, struct node *n);       /* node lock held */
void node_busy_set(struct node *n);                   /* [N] */
void node_busy_clear(struct tier *t, struct node *n); /* [N], wakes */
bool node_has(const struct node *n, unsigned flag);
void node_flag(struct node *n, unsigned set, unsigned clear); /* [N] */

/* ---- lookup.c */
int node_fh(struct tier *t, const struct node *n, struct hot_fh *ret);
int node_open(struct tier *t, struct node *n, int flags); /* by handle or pinned fd */
/* Identify an fd (O_PATH is enough) and return its node with a reference. */
int node_of_fd(struct tier *t, int fd, struct node **ret, struct stat *ret_st);
/* Make sure res is known, from the marker on fd. [N] */
int node_learn(struct tier *t, struct node *n, int fd, const struct stat *st);

/* ---- cold.c */
struct cold *cold_new(const struct marker *mk);
struct marker cold_marker(const struct cold *c); /* [N] */
/* The same marker with another state or other times. [N] */
void cold_set_marker(struct cold *c, const struct marker *mk);
struct cold *cold_ref(struct cold *c);
void cold_unref(struct cold *c);
/* Load and check the object of a stub; -EIO (logged) or -ENOMEM. Lets go of the lock while the
 * index is asked: look again at what n is, also after 0. [N] */
int cold_load(struct tier *t, struct node *n);
/* n, a stub, was closed: its object stays in memory as one of a few. No node lock. */
void cold_rest(struct tier *t, struct node *n);
/* Read the original file's bytes of a stub. */
ssize_t cold_read(struct tier *t, const struct cold *c, void *buf, size_t len, uint64_t off);
/* SEEK_DATA or SEEK_HOLE in the original file. */
int64_t cold_seek(const struct object *o, int64_t off, int whence);
/* First data range of the object that ends behind off, or nranges. */
uint32_t range_after(const struct object *o, uint64_t off);

/* ---- file.c */
struct hot_id node_hot_id(struct tier *t, const struct node *n);
bool node_is_cold(const struct node *n); /* served from the store: spilled or being recalled */
/* Bring n to where an open for reading, for writing, or with O_TRUNC may be granted. [N] */
int make_ready(struct tier *t, struct node *n, bool wr, bool trunc);
/* Wait until no spill or recall is under way on n, cancelling a release. [N] */
void node_settle(struct tier *t, struct node *n);

/* ---- passthrough.c
 * Grant an open its way and count it; fd is the hot file or -1. Returns the backing id, 0:
 * mediated, or -errno (nothing is counted). [N]
 */
int grant_way(struct tier *t, struct node *n, int flags, int fd);
/* The same for an open granted before, with this backing id. [N] */
void grant_again(struct tier *t, struct node *n, int flags, int backing);
/* Before a mediated writer, who may take the file to the store: has the last mapping of the hot
 * inode gone? Then NODE_PASSED goes too. [N] */
void unpassed(struct tier *t, struct node *n);
/* It has, as a lease proved, or what is left of it cannot be written to. [N] */
void mapping_gone(struct tier *t, struct node *n);
/* n lost its last name, or is opened without one: see tier_on_orphan. [N] */
void node_keep(struct tier *t, struct node *n);
void grant_end(struct tier *t, struct node *n, int flags, int backing); /* [N] */

/* ---- fdcache.c */
int fdcache_new(struct fdcache **ret, unsigned max);
void fdcache_free(struct fdcache *c);
void fdcache_drop(struct fdcache *c, uint64_t nodeid);
int fdcache_get(struct fdcache *c, uint64_t nodeid, struct node_fd *ret); /* -ENOENT */
void fdcache_put_new(struct fdcache *c, uint64_t nodeid, int fd,
		     struct node_fd *ret); /* takes fd */
void fdcache_release(struct fdcache *c, struct node_fd *f);
unsigned fdcache_shrink(struct fdcache *c); /* closes what nobody uses; how many */

/* ---- quiesce.c: background work is to end soon. Takes auto_lock. */
bool winding_down(struct tier *t);

/* ---- openfds.c: at most about max descriptors of open files */
int openfds_new(struct openfds **ret, unsigned max);
void openfds_free(struct openfds *o);
void openfds_start(struct tier *t, struct file *f, int fd); /* takes fd; -1: none */
void openfds_end(struct tier *t, struct file *f);           /* f is about to be freed */
/* fsync(2) or fdatasync(2) of fd, which is f's; -EIO, ... also of what f missed while it was
 * closed. Takes the node lock. */
int openfds_sync(struct tier *t, struct file *f, int fd, bool data_only);
uint64_t fd_limit(void);

/* ---- layerref.c */
int layerrefs_init(struct tier *t);
void layerrefs_done(struct tier *t);
void layer_of_child(struct tier *t, struct node *dir, int dirfd, const char *name, layer_class *cls,
		    uint32_t *layer);
void node_set_layer(struct tier *t, struct node *n, layer_class cls, uint32_t layer);
void layer_used(struct tier *t, const struct node *n);
/* A use of a file in it that is no scanner's. */
void layer_used_at(struct tier *t, uint32_t layer, uint32_t now_sec);
int64_t layer_last_used(struct tier *t, const struct layer *l);
uint32_t layer_by_key(struct tier *t, const char *key, bool create);
/* Write dirty times to the index; inside an open transaction. */
int layers_flush(struct tier *t);

/* ---- recall.c: node lock held on entry and exit, dropped in between; res must be SPILLED and not
 * busy. keep: leave the row as premigrated; otherwise the copy is given up (a write follows). */
int recall_node(struct tier *t, struct node *n, bool keep);
/* Write the object's data into fd, and compare its hash. -EIO, logged: it cannot be proved right.
 */
int object_refill(struct tier *t, int fd, const struct object *o);
/* attr.c: a stub's inode has the user's mtime only in state SPILLED; a spill or recall that failed
 * half-way leaves it to the marker. Give it back. [N], not busy. */
int stub_repair_times(struct tier *t, struct node *n);
/* Empty a stub (or damaged file) without recall: size 0, marker gone, durable. Same locking. */
int stub_empty(struct tier *t, struct node *n);

/* ---- pin.c */
int pins_load(struct tier *t);
void pins_done(struct tier *t);
bool pins_any(const struct tier *t);
/* The one question of everything that spills: is the file at path (n, may be NULL: not known yet)
 * pinned? Costs nothing while there is no pin. */
bool pin_keeps(struct tier *t, const char *path, const struct node *n);
void pins_status(struct tier *t, struct tier_status *ret);

/* ---- heat.c */
int heats_load(struct tier *t);
void heats_done(struct tier *t);
/* Count the uses noted so far: when it is time, or now. */
void heats_drain(struct tier *t, bool now_please);
/* Heat of a file as of now; when it was last used and recalled, seconds since 1970 or 0. */
float heats_of(struct tier *t, uint64_t node, uint32_t now_sec, uint32_t *ret_used,
	       uint32_t *ret_recalled);
void heats_recalled(struct tier *t, uint64_t node);
bool heats_want(struct tier *t, uint64_t *ret_node); /* a stub that is worth a recall */
int heats_flush(struct tier *t);                     /* [W] */

/* ---- pause.c */
int pause_load(struct tier *t);
bool pause_active(struct tier *t);
#define PAUSED_TEXT "paused; spillctl resume ends it"

/* ---- content.c: pread of an inode's data wherever it is; fd: the hot inode */
ssize_t content_read(struct tier *t, struct node *n, int fd, void *buf, size_t len, uint64_t off);

/* ---- premigrate.c */
#define TICK_NS 20000000ll /* more than the coarsest clock tick of a time stamp (10 ms) */
/* Is the copy of a row (premigrated) of a file with these times, as far as they can tell? */
static inline bool copy_is_of(const struct file_row *row, int64_t mtime_ns, int64_t ctime_ns)
{
	return row->snap_ns && mtime_ns == row->mtime_ns && ctime_ns == row->ctime_ns &&
	       ctime_ns <= row->snap_ns - TICK_NS;
}

/* ---- spill.c */
struct spill_batch;
struct ahead;
enum spill_verdict {
	SPILL_QUEUED,
	SPILL_DONE_BEFORE,
	SPILL_NOT_ELIGIBLE,
	SPILL_IS_BUSY,
	SPILL_IS_PINNED,
	SPILL_NO_ROOM, /* in the store; in the next batch perhaps, when this one is full */
};
int spill_batch_new(struct tier *t, unsigned min_age_sec, uint64_t min_size,
		    struct spill_batch **ret);
/* Its files keep their data and get a copy: premigrated. Before the first is offered. */
void spill_batch_copy_only(struct spill_batch *b);
/* a (or NULL; borrowed until the batch is finished) reads from now on until spill_lock is given
 * back. */
void spill_batch_ahead(struct spill_batch *b, struct ahead *a);
/* Offer one directory entry. Returns a verdict or -errno (the batch stays usable unless it is a
 * store error, see spill_batch_failed). path is for messages; copied. */
int spill_batch_add(struct spill_batch *b, int dirfd, const char *name, const char *path);
/* The same by a descriptor that can be read; taken. */
int spill_batch_add_fd(struct spill_batch *b, int fd, const char *path);
bool spill_batch_full(const struct spill_batch *b);
int spill_batch_failed(const struct spill_batch *b); /* sticky store error or 0 */
bool spill_batch_alone(const struct spill_batch *b); /* an error of it concerns one file at most */
/* Commit, verify, release. Adds to *w; note() for each file that was not released. Frees the batch.
 */
int spill_batch_finish(struct spill_batch *b, struct tier_work *w, tier_note_fn note, void *ctx);

/* ---- release.c: one premigrated file on its way to being punched. */
struct release_entry {
	struct node *n;  /* own reference */
	int fd;          /* O_RDWR with the lease, or -1 */
	bool leased;     /* fd is set, with its lease, or never will be; under the node lock */
	bool cancelled;  /* set by an open, under the node lock */
	bool started;    /* marker SPILLING was set */
	bool done;       /* stub now */
	bool had_copy;   /* from before this batch */
	int err;         /* why not */
	struct stat st;  /* snapshot */
	int64_t snap_ns; /* when it was taken */
	struct obj_id obj;
	uint8_t hash16[16];
	char *path;
	uint64_t freed_bytes;
};
/* Of a file as it was when its snapshot was taken: what the hot tier gives back at least. */
static inline long long data_bytes(const struct stat *st)
{
	return MIN((long long)st->st_blocks * 512, (long long)st->st_size);
}
/* Release entries[n]; sets done/err of each. */
void release_batch(struct tier *t, struct release_entry **e, size_t n);

/* ---- janitor.c */
int janitor_init(struct tier *t);
void janitor_done(struct tier *t);
void defer_put(struct tier *t, enum defer_kind kind, const struct file_row *row);
int janitor_flush(struct tier *t); /* apply deferred changes now */
int janitor_free(struct tier *t);  /* one round of freeing what is durably gone */
void *janitor_main(void *arg);
/* Objects deleted in a transaction, whose frames are given back after its commit. */
struct freed {
	struct object **v;
	size_t n, cap;
};
/* Replace the row of a file, moving references. [W] */
int row_replace(struct tier *t, const struct file_row *row, struct freed *fr);
/* Drop the row of a file and its reference, if it still refers to obj. [W] */
int row_drop(struct tier *t, struct hot_id id, struct obj_id obj, struct freed *fr);
void freed_release(struct tier *t,
		   struct freed *fr); /* after commit: grace period, punch, remove packs */
void freed_forget(struct freed *fr);  /* after a rollback */

/* ---- epoch.c */
uint64_t epoch_after(uint64_t e);
/* The three steps of a change, spill_lock held; the first in the caller's index transaction, the
 * last is "epoch" in the index. */
int epoch_announce(struct tier *t, uint64_t e);
int epoch_hot_set(struct tier *t, uint64_t e); /* durable */
int epoch_bump(struct tier *t);                /* all three */

/* ---- recover.c, reconcile.c */
int tier_bind(struct tier *t, char **ret_msg);
int tier_recover(struct tier *t, char **ret_msg);
int tier_thaw(struct tier *t); /* after a check without problems */
int tier_mark_clean(struct tier *t);
void *reconcile_main(void *arg);
/* object.c
 * The part of an object's hash behind its stream (types.h): nothing unless it is sparse. */
void object_sha_tail(struct sha256 *h, const struct object *o);
/* Compare the data still in fd with the object; 0 equal or hole everywhere, -EBADMSG differs. */
int compare_hot(struct tier *t, int fd, const struct object *o);
/* Stream the object and check its hash; -EBADMSG. */
int object_verify(struct store *s, const struct object *o, bool full_sha);
/* The object that a marker names is there, is the one meant, and can be read; else -errno. */
int object_prove(struct tier *t, const struct marker *mk);

/* ---- walk.c: a tree below a path of the hot tier, in name order, not crossing file systems. */
typedef int (*walk_fn)(void *ctx, int dirfd, const char *name, const struct stat *st,
		       const char *path);
/* fn for every regular file (dirs only descended into); a non-zero return stops the walk with it.
 * What cannot be read is logged and passed over; *unread (may be NULL) becomes the first -errno of
 * that. */
int walk_tree(int rootfd, const char *path, walk_fn fn, void *ctx, int *unread);
/* Is path walked after other (not itself)? By names, a directory's content in its place. */
bool walk_after(const char *path, const char *other);
int walk_open(int rootfd, const char *path,
	      int flags); /* RESOLVE_BENEATH, no symlinks in the way */

/* ---- statfs.c */
void *space_main(void *arg);
void tier_space_first(struct tier *t); /* before the thread runs */
/* What the store last said. False: it counts for nothing (never heard of, or silent for too long).
 */
bool tier_space(struct tier *t, struct store_space *ret, unsigned *ret_silent_sec);

/* ---- status.c: a sample for the forecast, when it is time for one */
void trend_tick(struct tier *t);

/* ---- auto.c */
/* The store's space was looked at after what could be freed there was: waiting writers go on when
 * there is room, and may give up when there is not. */
void space_looked(struct tier *t);
bool space_waited_for(struct tier *t); /* by a writer */
void *auto_main(void *arg);
void auto_kick(struct tier *t);
/* Data must wait or go elsewhere: the last of the hot tier is for creates, which cannot wait. */
bool auto_at_brim(struct tier *t);
/* Percent of the hot tier in use, a few milliseconds old at most. May wake the policy. */
unsigned auto_used(struct tier *t);

/* Grace periods of cold reads. */
unsigned read_enter(struct tier *t);
void read_exit(struct tier *t, unsigned parity);
void read_grace(struct tier *t);

#endif
