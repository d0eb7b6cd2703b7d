/* SPDX-License-Identifier: MIT
 * Contract of src/tier: residency. Which bytes are where, who may have them, and moving them
 * safely. Sits on hot, store, index and layers; knows no FUSE (src/fs is a thin skin over it) and
 * no socket.
 *
 * Lock order (outer first): node lock (one per inode, from a striped array) -> index writer mutex.
 * The table lock and the fd cache lock are leaves; no I/O happens under them. The spill engine
 * takes node locks one at a time and never while it holds the index mutex.
 */
#ifndef SPILL_TIER_H
#define SPILL_TIER_H

#include "spill/base.h"
#include "spill/config.h"
#include "spill/hot.h"
#include "spill/index.h"
#include "spill/layers.h"
#include "spill/store.h"
#include "spill/types.h"

#include <stdatomic.h>

struct tier;

/* ---- life
 * ------------------------------------------------------------------------------------------ Takes
 * hot, store and index (borrowed; they outlive the tier). Binds the tiers to each other or checks
 * that they belong together, then recovers what an unclean stop left (DESIGN.md section 4).
 * -EMEDIUMTYPE: store and hot tier belong to others. Others: -errno with *ret_msg (caller frees).
 */
int tier_open(struct tier **ret, const struct config *cfg, struct hot *hot, struct store *store,
	      struct index *ix, char **ret_msg);
/* Start the background threads (policy, freeing, reconcile). */
int tier_start(struct tier *t);
/* A restart comes: end what is under way in the background, while requests are still served. Waits
 * for it, about timeout_ms at most. */
void tier_quiesce(struct tier *t, unsigned timeout_ms);
/* Stop them, make everything durable, mark the store clean. */
void tier_close(struct tier *t);

/* ---- nodes: hot inodes the kernel (or a worker) knows
 * -------------------------------------------------- Named by nodeid (see hot_identify; the root is
 * 1). A node reference keeps the struct, not an fd. */
struct node;
struct node *tier_root(struct tier *t); /* borrowed, lives as long as the tier */
/* Find name below dir ("" for dir itself is not allowed), count one kernel lookup on it and return
 * it with a reference. ret_st: attributes as the user left them. -ENOENT, ... */
int tier_lookup(struct tier *t, struct node *dir, const char *name, struct node **ret,
		struct stat *ret_st);
/* The same while dir is being listed: the kernel holds its lock, and lets no name in it change. */
int tier_lookup_listed(struct tier *t, struct node *dir, const char *name, struct node **ret,
		       struct stat *ret_st);
/* The same for an inode the caller just created and holds an fd of (O_PATH is enough): it has
 * neither a marker nor capabilities. */
int tier_lookup_fd(struct tier *t, struct node *dir, const char *name, int fd, struct node **ret,
		   struct stat *ret_st);
/* Whether n has no file capabilities for sure. To be told before it may get some. */
bool tier_no_caps(const struct node *n);
void tier_caps_come(struct tier *t, struct node *n);
/* By node id; rebuilt from the handle when it is not known (after a takeover). -ESTALE. */
int tier_get(struct tier *t, uint64_t nodeid, struct node **ret);
void tier_put(struct tier *t, struct node *n);
void tier_forget(struct tier *t, uint64_t nodeid, uint64_t nlookup);
uint64_t node_id(const struct node *n);

/* An O_PATH fd of the node from the bounded fd cache; tier_fd_put gives it back. Returns fd or
 * -errno. */
struct node_fd {
	int fd;
	void *slot;
};
int tier_fd_get(struct tier *t, struct node *n, struct node_fd *ret);
void tier_fd_put(struct tier *t, struct node_fd *f);

/* Attributes as the user left them: a stub shows its original mtime, ctime and st_blocks. */
int tier_getattr(struct tier *t, struct node *n, struct stat *ret);
/* The same for an already stat'ed fd of n. */
int tier_fix_attr(struct tier *t, struct node *n, int fd, struct stat *st);
/* fn is called, with no lock held, whenever attributes change by our own doing: a recall cannot
 * keep ctime. NULL ends it. Not while requests or workers run. */
typedef void (*tier_attr_fn)(void *ctx, uint64_t nodeid);
void tier_on_attr_change(struct tier *t, tier_attr_fn fn, void *ctx);
/* *counter is incremented as long work for a request gets on (recalls). NULL ends it. */
void tier_count_work(struct tier *t, _Atomic uint64_t *counter);
/* fn(ctx, nodeid, fd) is called when an inode without a name is open and mediated, so that only our
 * descriptor (borrowed) keeps it alive: somebody else may hold it too, in case we die. fd -1: no
 * longer. Called under locks; must not wait for requests. */
typedef void (*tier_orphan_fn)(void *ctx, uint64_t nodeid, int fd);
void tier_on_orphan(struct tier *t, tier_orphan_fn fn, void *ctx);

/* ---- open files
 * ------------------------------------------------------------------------------------------
 * tier_open_file grants under one lock hold: it decides residency and counts the open. Opening a
 * stub for writing recalls it first (may take long: the caller runs it off the request lane when
 * tier_would_block says so); with O_TRUNC it empties it without recall. */
struct file;
int tier_open_file(struct tier *t, struct node *n, int flags, struct file **ret);
/* Wrap an fd the caller just created on n (O_CREAT, O_TMPFILE). Takes the fd. */
int tier_adopt_file(struct tier *t, struct node *n, int fd, int flags, struct file **ret);
/* A file that was granted (with this backing id, or 0) before a daemon died, by its handle as
 * tier_handle told it. orphan: an O_PATH fd of the inode, borrowed, or -1. Before any request. */
int tier_adopt_open(struct tier *t, uint64_t nodeid, const struct hot_fh *fh, int orphan, int flags,
		    int backing, struct file **ret);
/* What nodeid does not say of n; len 0: it says all. */
void tier_handle(const struct node *n, struct hot_fh *ret);
/* The kernel knows nodes from before: they stay known until it forgets them. */
void tier_resumed(struct tier *t);
/* As tier_get, after a death, by the handle that tier_handle told. -errno. */
int tier_get_known(struct tier *t, uint64_t nodeid, const struct hot_fh *fh, struct node **ret);
/* The last name of what fd (O_PATH) stands for may be about to go: see tier_on_orphan. */
void tier_unlinking(struct tier *t, int fd);
bool tier_would_block(struct tier *t, struct node *n, int flags);
/* ---- passthrough: the kernel reads and writes the hot inode itself.
 * A backing id stands for an inode at the device. open: fd is O_PATH; an id > 0 or -errno, where
 * -EBADF (or -EOPNOTSUPP) asks for an fd that is not O_PATH and -EPERM, -ENOSYS, -ENOTTY, -ELOOP
 * end it for good. Called under
 * a node lock: neither may wait for a request. */
struct tier_backing {
	int (*open)(void *ctx, int fd);
	void (*close)(void *ctx, int id);
	void *ctx;
};
/* From now on opens are granted passthrough where they may be. Before the first open. */
void tier_use_passthrough(struct tier *t, const struct tier_backing *b);
/* The backing id that goes with the grant, 0: reads and writes come to us. The kernel allows one
 * way at a time for an inode, so the first open decides, until the last release. */
int file_backing(const struct file *f);
/* Mediated: the kernel may have pages of the file that are out of date. */
bool file_drops_pages(const struct file *f);
unsigned tier_passed_writers(const struct node *n); /* such opens for writing */
/* All changes of n's attributes come through us: nobody writes to it by passthrough or through a
 * mapping that was made so, nor did since epoch, which was asked for before the attributes were
 * read. */
unsigned tier_attr_epoch(struct tier *t, struct node *n); /* n: NULL, not known yet */
bool tier_attr_stable(const struct tier *t, const struct node *n, unsigned epoch);
void tier_release_file(struct tier *t, struct file *f);
/* n was opened by this process: noted, and counted as a use later unless it is a scanner. */
void tier_used(struct tier *t, const struct node *n, uint32_t pid);
struct node *file_node(const struct file *f);
int file_flags(const struct file *f); /* access mode, O_DIRECT, O_NOATIME as opened */
/* pread as the user sees the file, from the hot tier or the store. -EIO: the data cannot be proved
 * right. */
ssize_t tier_read(struct tier *t, struct file *f, void *buf, size_t len, uint64_t off);
/* The same for a hot file, through another descriptor of it (opened with other flags). */
ssize_t tier_read_direct(struct tier *t, struct file *f, int fd, void *buf, size_t len,
			 uint64_t off);
/* pwrite through fd, f's own or another descriptor of it; may write less. When the disk is full or
 * nearly so, a large file goes on in the store (it becomes partial). strip: setuid and setgid bits
 * go, as the kernel would have it for this caller. -ENOSPC: see tier_wait_space. */
ssize_t tier_write(struct tier *t, struct file *f, int fd, const void *buf, size_t len,
		   uint64_t off, bool strip);
/* A write that ends there need not wait for space in the hot tier: it can go to the store. */
bool tier_absorbs(struct tier *t, uint64_t end);
int tier_fsync(struct tier *t, struct file *f, bool datasync);
int tier_ftruncate(struct tier *t, struct file *f, uint64_t size);
int tier_fallocate(struct tier *t, struct file *f, int mode, off_t off, off_t len);
/* -EXDEV: one of them is a stub or partial; copy through the page cache. */
ssize_t tier_copy_range(struct tier *t, struct file *in, off_t off_in, struct file *out,
			off_t off_out, size_t len, unsigned flags);
/* May the caller put the whole of f into the kernel's page cache unasked? Once for each node, while
 * it is a stub of 1 to max bytes. True: *ret_len is its size, and writers, truncations and recalls
 * wait until tier_fill_end. */
bool tier_fill_begin(struct tier *t, struct file *f, size_t max, size_t *ret_len);
void tier_fill_end(struct tier *t, struct file *f);
/* After tier_read, by the same thread, when the answer is on its way: see store_read_ahead. */
void tier_read_ahead(struct tier *t);
/* Directory n was listed; read_disk: for that, this thread had to read from a disk. Is the one who
 * asked walking through a tree that is not in memory? Then, when the answer is on its way,
 * tier_warm reads what the listing of n's directories will need, for at most 0.1 s. */
bool tier_walked(struct tier *t, struct node *n, bool read_disk);
/* Blocks that this thread has read from disks so far; 0 where the kernel does not count. */
long tier_disk_reads(void);
void tier_warm(struct tier *t, uint64_t nodeid);
/* The hot fd of an open file (NULL: -EBADF), for everything else, until tier_file_fd_put; -EXDEV
 * while the file is a stub opened for reading, -EMFILE, ... Opened again when it was closed to make
 * room for others. */
struct file_fd {
	int fd;
	struct file *f;
};
struct file_fd tier_file_fd(struct tier *t, struct file *f);
void tier_file_fd_put(struct file_fd *h);
/* fsync(2) or fdatasync(2) of an open file; -EXDEV as above, -EIO, ... */
int tier_fsync(struct tier *t, struct file *f, bool data_only);
/* Was err "too many open files", and were some closed, so that it is worth another try? */
bool tier_fds_short(struct tier *t, int err);
/* SEEK_DATA / SEEK_HOLE for the original file. */
int64_t tier_seek(struct tier *t, struct file *f, int64_t off, int whence);

/* A write met ENOSPC: wait until spilling has freed something (true: try again), or until there is
 * room in the store for a file that may go on there; at most timeout_ms. end: of the write; 0:
 * nothing that could go on in the store. False: there is nothing to hope for. Call it with no lock
 * held, and never from a request that holds a directory's lock in the kernel (CREATE, MKDIR,
 * RENAME...). */
bool tier_wait_space(struct tier *t, unsigned timeout_ms, uint64_t end);
/* Bytes are about to be written: looked at now and then, so that spilling starts in time. True: the
 * critical mark is reached and spilling gets on; the writer may wait a little with tier_pace (at
 * most timeout_ms, or until something was freed). */
bool tier_written(struct tier *t, size_t bytes);
void tier_pace(struct tier *t, unsigned timeout_ms);
/* tier_write gives -ENOSPC when only a little is left, which is kept for creates: for a few seconds
 * from now on it may be used for data. For a writer that waited in vain. */
void tier_use_brim(struct tier *t);

/* Make n resident and keep it from being spilled until tier_unhold. For what a punch or refill
 * would destroy: the kernel drops security.capability with every change of data. */
int tier_hold(struct tier *t, struct node *n);
void tier_unhold(struct tier *t, struct node *n);

/* truncate(2) by node: size 0 drops a stub's content without recall, others recall first. */
int tier_truncate(struct tier *t, struct node *n, uint64_t size);
/* chmod, chown, xattr, link, rename were done on n: its own ctime counts from now on. */
void tier_meta_changed(struct tier *t, struct node *n);
void tier_meta_changed_fd(struct tier *t, int fd); /* the same by an fd, O_PATH is enough */
/* A new descriptor of n's hot inode, for what needs one that is not O_PATH (inode flags). Not for
 * data. */
int tier_node_open(struct tier *t, struct node *n, int flags);
/* Does the hot file system list trusted.* names only to the privileged (ext4, xfs), or to everybody
 * (btrfs)? */
bool tier_hides_trusted(const struct tier *t);
/* A regular file came into being (for the counts in status). */
void tier_created(struct tier *t);
/* utimensat(2) on n, excluded against spill and recall, which restore times themselves. */
int tier_utimens(struct tier *t, struct node *n, const struct timespec ts[2]);
/* May its last name go? -EMFILE: it is open, and too many deleted ones are already. */
int tier_may_delete(struct tier *t, int fd);
/* A directory entry of the inode behind fd (O_PATH, opened before the change) was removed or
 * replaced. Keeps the inode alive for the kernel's references and journals a tombstone when a
 * stub's last link is gone. Takes fd. */
void tier_unlinked(struct tier *t, int fd);

/* ---- what spillctl asks for
 * ---------------------------------------------------------------------------- */
/* How statfs' numbers change, seen by a sample every 10 seconds since the mount (or since a new
 * daemon took over). Negative: space comes back. */
struct tier_trend {
	bool known; /* watched long enough to be worth telling */
	uint64_t watched_sec;
	int64_t bytes_per_hour;     /* over about the last hour */
	int64_t bytes_per_hour_now; /* over about the last ten minutes */
	int64_t inodes_per_hour;    /* over about the last hour */
};
struct tier_status {
	struct tier_trend trend;
	struct {
		uint64_t total_bytes, used_bytes, free_bytes, inodes_total, inodes_free;
	} hot;
	struct {
		uint64_t total_bytes, free_bytes, stored_bytes, index_bytes;
		unsigned silent_sec; /* it has not answered for so long */
	} backing;
	uint64_t files_resident; /* regular files with data in the hot tier; UINT64_MAX: not counted
				    yet */
	uint64_t files_premigrated, files_spilled, files_partial;
	uint64_t premigrated_bytes, spilled_logical_bytes, objects;
	uint64_t nodes_known, files_open;
	bool passthrough; /* granted to files that are not spilled */
	bool gate;        /* who writes by it can be made to wait for spilling, */
	bool gate_closed; /* and does now */
	uint64_t spilled_bytes_total, recalled_bytes_total; /* since mount */
	uint64_t errors;  /* data that could not be proved right, since mount */
	bool auto_spill;  /* running */
	bool frozen;      /* rolled back tier: no punch and no freeing until check has passed */
	char parked[160]; /* why spilling stands still, or "" */
	int64_t paused_until_ns; /* wall clock, INT64_MAX: until resumed, 0: not paused */
	bool busy;               /* something is being moved, freed or scanned, or soon will be */
	unsigned used_percent;   /* of the hot tier, as the watermarks count it */
	uint64_t pins, pinned_bytes; /* bytes in the hot tier, UINT64_MAX: not measured yet */
};
int tier_status(struct tier *t, struct tier_status *ret);

struct tier_info {
	enum residency state;
	mode_t mode;
	uint64_t ino, size_bytes, nlink;
	uint64_t hot_blocks;   /* 512-byte units really allocated in the hot tier */
	uint64_t stored_bytes; /* compressed bytes of its frames; shared frames count in full */
	struct obj_id obj;     /* 0: none */
	uint32_t obj_refs;
	uint8_t hash16[16];
	unsigned opens;
	char layer[256]; /* key of the layer it lies in, or "" */
	char name[256];  /* last component (ls) */
};
/* path is relative to the root ("" or "." for it); symlinks are not followed. -ENOENT, ... */
int tier_info(struct tier *t, const char *path, struct tier_info *ret);
/* Each entry of a directory (or the file itself), in name order. cb returns false to stop. */
int tier_ls(struct tier *t, const char *path, bool (*cb)(void *ctx, const struct tier_info *i),
	    void *ctx);

/* Why a file is where it is. */
enum tier_why_keeps { /* what keeps it from being spilled by itself */
		      WHY_NO_FILE = 1 << 0,
		      WHY_PINNED = 1 << 1,
		      WHY_NO_LAYER = 1 << 2, /* in no image layer, and spill=layers */
		      WHY_OPEN = 1 << 3,
		      WHY_YOUNG = 1 << 4, /* no obstacle when space is urgent */
		      WHY_SMALL = 1 << 5,
		      WHY_EMPTY = 1 << 6, /* no data in the hot tier */
		      WHY_CAPABILITY = 1 << 7,
		      WHY_IMMUTABLE = 1 << 8,
		      WHY_TIMES = 1 << 9,  /* beyond what a marker can keep */
		      WHY_NO_ID = 1 << 10, /* of another btrfs subvolume */
		      WHY_DAMAGED = 1 << 11,
		      WHY_RECALLED = 1 << 12, /* lately; no obstacle when space is urgent */
		      WHY_EXCLUDED = 1 << 13, /* by exclude= */
};
struct tier_why {
	struct tier_info info;
	unsigned keeps;        /* enum tier_why_keeps */
	int64_t age_ns;        /* since the last change, of resident files */
	bool in_layer, asleep; /* asleep: see layers.h; and its layer was not used lately */
	enum layer_kind layer_kind;
	int64_t layer_used_ns;                /* wall clock */
	uint64_t layers_total, layers_colder; /* used longer ago than its own */
	float heat;                           /* decayed count of its uses, see policy.h */
	uint32_t used_sec, recalled_sec;      /* since 1970; 0: never, or forgotten */
};
int tier_why(struct tier *t, const char *path, struct tier_why *ret);

/* Long work on a tree. progress is called now and then from the calling thread; false interrupts
 * (-EINTR). */
struct tier_work {
	uint64_t files_seen, files_done, bytes_done; /* logical bytes moved */
	uint64_t bytes_stored;                       /* written to the store (spill) */
	uint64_t files_busy, files_skipped, files_failed;
	uint64_t files_pinned;  /* left alone (spill) */
	uint64_t files_no_room; /* likewise: the store cannot take them */
	uint64_t freed_bytes;   /* hot tier, spill */
	const char *current;    /* path being worked on; valid during the callback only */
};
typedef bool (*tier_progress_fn)(void *ctx, const struct tier_work *w);
/* Called once for each file that is busy or failed: err is -EBUSY or another -errno. */
typedef void (*tier_note_fn)(void *ctx, const char *path, int err);
int tier_spill_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
		    void *ctx, struct tier_work *ret);
/* The same, but the data stays in the hot tier, too: freeing it later takes no time. */
int tier_premigrate_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
			 void *ctx, struct tier_work *ret);
int tier_recall_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
		     void *ctx, struct tier_work *ret);

/* No automatic spilling until then (wall clock; INT64_MAX: until resumed; 0: resume). Durable. */
int tier_pause(struct tier *t, int64_t until_ns);
int64_t tier_paused(struct tier *t); /* until when, or 0 */

/* ---- pins: what lies at or below a pinned path is never spilled, and neither is a pinned file by
 * another name (hard link). A pin is of a path: what is moved away loses it, what comes to be there
 * has it. owner: the image it is pinned for, "" when a person named the path. */
struct tier_pin {
	const char *path, *owner;
	int64_t since_ns;                                        /* wall clock */
	bool missing;                                            /* nothing is there now */
	uint64_t files, hot_bytes, spilled_files, spilled_bytes; /* below it */
};
/* Make it durable and wait for a spill under way; does not recall. -ENOENT nothing is there,
 * -EINVAL the path is not canonical, -EEXIST pinned so already (made sure of again). */
int tier_pin_add(struct tier *t, const char *path, const char *owner);
/* path NULL: all of owner. -ENOENT: there was none. */
int tier_pin_del(struct tier *t, const char *path, const char *owner, uint64_t *ret_removed);
/* Every pin, measured (walks them). cb returns false to stop. */
int tier_pins(struct tier *t, bool (*cb)(void *ctx, const struct tier_pin *p), void *ctx);
/* Count what is pinned in the hot tier anew, for status, and warn when the low mark cannot be
 * reached for it. Walks the pins; ends early when the tier stops. */
void tier_pins_measure(struct tier *t);
/* Which pin keeps path, as "path" and "owner" (callers free), or -ENOENT. */
int tier_pin_of(struct tier *t, const char *path, char **ret_path, char **ret_owner);

/* Would a recall of what is spilled below path fit? Adds files and bytes to *ret, which begins
 * zeroed; sets the rest. */
struct tier_fit {
	uint64_t files, bytes; /* stubs, and what they take in the hot tier */
	uint64_t room_high;    /* until the hot tier is at the high mark */
	uint64_t room_free;    /* until it is full */
};
int tier_fit(struct tier *t, const char *path, tier_progress_fn fn, void *ctx,
	     struct tier_fit *ret);

struct tier_layer {
	const struct layer *l;
	struct layer_size size;
	uint64_t spilled_files, spilled_bytes;
	int64_t last_used_ns; /* wall clock; its birth when never seen used */
};
/* Every layer, measured (walks them). cb returns false to stop. */
int tier_layers(struct tier *t, bool (*cb)(void *ctx, const struct tier_layer *l), void *ctx);

/* ---- check: report only
 * ------------------------------------------------------------------------------------ Every marker
 * against the index, every index row against hot and packs, every frame's checksum, every object's
 * hash (deep). Online: passes over what is being moved. Each problem once to cb. */
struct check_result {
	uint64_t files, stubs, objects, packs, frames, bytes; /* looked at */
	uint64_t problems;
	uint64_t leaked_objects; /* referred to by nobody: space, not damage */
};
typedef void (*check_problem_fn)(void *ctx, const char *what, const char *path);
int tier_check(struct tier *t, bool deep, tier_progress_fn fn, check_problem_fn cb, void *ctx,
	       struct check_result *ret);
/* The same without a daemon: opens the store read-only. hot may be NULL (store only). */
int tier_check_offline(struct hot *hot, struct store *store, struct index *ix, bool deep,
		       tier_progress_fn fn, check_problem_fn cb, void *ctx,
		       struct check_result *ret);
/* The data of a stub without a daemon, in pieces with their offsets in the file, holes left out;
 * its hash is proved when it returns 0. -ENOENT no such object, -EBADMSG, -EUCLEAN, fn's error. */
typedef int (*tier_data_fn)(void *ctx, const void *data, size_t len, uint64_t off);
int tier_stub_data(struct store *store, struct index *ix, const struct marker *mk, tier_data_fn fn,
		   void *ctx);
/* That of a partial file, in the same way; fd: its inode, opened for reading. -ENOENT: its part in
 * the store is gone. */
int tier_partial_data(struct hot *hot, struct store *store, int fd, tier_data_fn fn, void *ctx);
/* Number of stubs below rootfd by a marker scan; stops at max (0: count all). */
int tier_count_stubs(int rootfd, uint64_t max, uint64_t *ret);

/* statfs as the user may see it: of the store what was last heard, never blocks for it. A store
 * that does not answer keeps its last numbers for store-grace=, then the hot tier's own are all. */
void tier_statfs(struct tier *t, struct statvfs *ret);

#endif
