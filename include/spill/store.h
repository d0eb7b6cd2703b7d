/* SPDX-License-Identifier: MIT
 * Contract of src/store: the backing directory, its packs and frames. Byte maps:
 * src/store/FORMAT.md.
 *
 *   STORE/STORE      text: format version, uuid, hot uuid
 *   STORE/LOCK       flock(2)ed by the one daemon (or an offline verb that changes something)
 *   STORE/index.db   src/index
 *   STORE/packs/NNNNNNNN.pack
 *   STORE/overflow/INO-GEN  plain bytes of a file that outgrew the hot tier
 *
 * The store knows objects only as byte streams and directory records; who refers to them is the
 * index's business. Wrong bytes are never returned: a frame is verified (checksum over the
 * compressed bytes, and its identity: pack and frame number) at every decode, and -EBADMSG or
 * -EUCLEAN comes back.
 */
#ifndef SPILL_STORE_H
#define SPILL_STORE_H

#include "spill/base.h"
#include "spill/types.h"

struct store;
struct store_writer;

struct store_opts {
	int level;            /* zstd level, 3 */
	uint64_t pack_bytes;  /* roll to a new pack after about this many bytes on disk, 128 MiB */
	unsigned threads;     /* compression threads of a writer; 0: number of CPUs */
	uint64_t cache_bytes; /* decoded-frame cache, 32 MiB */
	uint64_t max_bytes;   /* store-size=: packs may take no more than this; 0: no limit */
};

/* What is in STORE/STORE. */
struct store_id {
	uint8_t uuid[16];
	uint8_t hot_uuid[16]; /* zeros: not bound yet */
};

/* Make a new store in an existing, empty directory (a lost+found is fine): -ENOTEMPTY otherwise. */
int store_create(const char *path, const uint8_t hot_uuid[16], struct store_id *ret);
/* Read STORE/STORE without opening the store. -ENOENT: path missing; -ENOTDIR; -ENODATA: an empty
 * directory (store_create would work); -EMEDIUMTYPE: not a spillfs store; -EUCLEAN: damaged;
 * -EPROTONOSUPPORT: newer format. */
int store_identify(const char *path, struct store_id *ret);
/* Open. Takes LOCK unless read_only (-EBUSY: someone has it). -EROFS, -ENOSPC as found.
 * Removes nothing. */
int store_open(struct store **ret, const char *path, const struct store_opts *opts, bool read_only);
void store_close(struct store *s);
int store_dirfd(const struct store *s); /* borrowed; for index.db and statvfs */
const struct store_id *store_ident(const struct store *s);

/* The durable length of each pack is recorded in the index with the rows that use it. At mount,
 * bytes behind it come from a batch that never committed: cut them. known[] is by pack number,
 * ascending. Packs not in known[] with a number behind all of known[] are removed: they never held
 * committed data. Reported through cb and kept: a pack shorter than known (-EUCLEAN) or missing
 * (-ENOENT); an unknown pack between known ones, and with an empty known[] every pack that holds a
 * complete batch
 * (-ESTALE): after gc store_remove_pack, after a lost index rebuild. */
struct pack_len {
	uint32_t pack;
	uint64_t bytes;  /* durable length */
	uint32_t frames; /* frames in it */
};
typedef void (*store_problem_fn)(void *ctx, uint32_t pack, int err, const char *what);
int store_recover(struct store *s, const struct pack_len *known, size_t n, store_problem_fn cb,
		  void *ctx);

/* ---- reading ----------------------------------------------------------------------------------
 * Read len bytes at stream offset off of the stream described by segs[nsegs]. Returns bytes read
 * (short only at the stream's end), -EBADMSG, -EUCLEAN, -EIO, -ENOMEM. Decodes whole frames
 * straight into buf where they fit; partial ones go through the frame cache. Thread-safe, no lock
 * is held over disk I/O or decompression. On an error *ret_bad, if not NULL, names the pack and
 * frame. */
struct store_pos {
	uint32_t pack, frame;
	uint64_t offset; /* file offset in the pack */
};
ssize_t store_read(struct store *s, const struct seg *segs, uint32_t nsegs, void *buf, size_t len,
		   uint64_t off, struct store_pos *ret_bad);
/* Decode into the frame cache what the reader of this thread's last store_read is likely to ask for
 * next, if it reads in order. Takes as long as a frame; errors are its next reader's. */
void store_read_ahead(struct store *s);

/* ---- writing: one writer at a time
 * --------------------------------------------------------------- A batch: begin, any number of
 * objects, then commit (everything is on disk and fsynced when it returns) or abort (packs are cut
 * back). Frames are compressed by opts.threads workers and written in order. Small objects (stream
 * < FRAME_SIZE) share frames, in the order they come; a larger one starts a frame of its own and
 * its tail frame is its own ("hyb"). A frame that compression does not make smaller by 1/64 is
 * stored raw. All calls from one thread. Errors are sticky: after one, only abort. -ENOSPC: disk or
 * max_bytes. Not sticky: -EINVAL, and -EFBIG for an object with more ranges than a directory takes
 * (800,000). -EBUSY: another writer is open; -EROFS. */
int store_writer_begin(struct store *s, struct store_writer **ret);
/* One object in one piece; ret_seg: where it lies (nsegs is 1). */
int store_writer_small(struct store_writer *w, const struct object *meta, const void *data,
		       size_t len, struct seg *ret_seg);
/* One large object in pieces. meta: id only. */
int store_writer_large_begin(struct store_writer *w, struct obj_id id);
int store_writer_large_data(struct store_writer *w, const void *data, size_t len);
/* meta: id, sha, size, stream_len, ranges. Fills meta->segs/nsegs (caller frees). */
int store_writer_large_end(struct store_writer *w, struct object *meta);
/* Give the large object up (its frames stay as dead bytes). */
int store_writer_large_drop(struct store_writer *w);
/* Flush, write directory records, fsync. *ret_lens/n: the packs touched, with their new durable
 * lengths (caller frees). *ret_bytes (may be NULL): bytes the batch took, all told. After success
 * the writer is freed; after an error call abort. */
int store_writer_commit(struct store_writer *w, struct pack_len **ret_lens, size_t *ret_n,
			uint64_t *ret_bytes);
void store_writer_abort(struct store_writer *w);
/* Bytes of frames written so far in this batch (compressed), for progress. */
uint64_t store_writer_bytes(const struct store_writer *w);

/* Read every frame of segs back from the file (not from the frame cache), check, decode and feed
 * the stream to fn in order. Used to verify before a punch, by recall and by check. fn may return
 * -errno to stop. Decodes with opts.threads threads ahead when the stream is long. */
typedef int (*store_sink_fn)(void *ctx, const void *data, size_t len, uint64_t stream_off);
int store_stream(struct store *s, const struct seg *segs, uint32_t nsegs, store_sink_fn fn,
		 void *ctx, struct store_pos *ret_bad);

/* ---- freeing ------------------------------------------------------------------------------------
 * Give back the space of frames [frame, frame+n) of a pack: punched out of the pack file. They must
 * be dead for good (no object row refers to them, durably). Best effort, 0 or -errno. */
int store_punch_frames(struct store *s, uint32_t pack, uint32_t frame, uint32_t n);
/* Remove a pack with no live byte. */
int store_remove_pack(struct store *s, uint32_t pack);

/* ---- overflow: plain, sparse files at their owner's own offsets, one for a hot inode. Nothing
 * here is verified: the bytes are the user's own, on another disk. The caller writes and syncs
 * through the descriptor. */
/* fresh: a new, empty one, in place of a leftover; its name is durable. Else the one there is:
 * -ENOENT. Returns the descriptor (read-only in a read-only store). */
int store_overflow_open(struct store *s, struct hot_id id, bool fresh);
int store_overflow_remove(struct store *s, struct hot_id id); /* absent is success */
/* fn for each, with its bytes on disk; a non-zero return stops with it. */
typedef int (*store_overflow_fn)(void *ctx, struct hot_id id, uint64_t bytes);
int store_overflow_list(struct store *s, store_overflow_fn fn, void *ctx);
uint64_t store_overflow_files(const struct store *s); /* how many; memory only */

/* ---- inspection
 * ---------------------------------------------------------------------------------- */
struct store_space {
	uint64_t total_bytes;  /* of the store's file system */
	uint64_t free_bytes;   /* what we may still write: statvfs f_bavail less what is kept for
				  the index, capped by max_bytes. Writers are held to it */
	uint64_t stored_bytes; /* disk blocks of our packs and overflow files */
	uint64_t moving_bytes; /* of those, twice there: the hot tier will give them back */
};
int store_space(struct store *s, struct store_space *ret);
/* From memory: as of the last store_space, with all that we wrote and gave back since. Zeros when
 * there was none. */
void store_space_now(struct store *s, struct store_space *ret);
/* The caller wrote, or punched, an overflow file: it takes so many bytes more, or less. */
void store_grew(struct store *s, int64_t bytes);
/* So much of what a batch wrote was given back by the hot tier; UINT64_MAX: the batch is over. */
void store_moved(struct store *s, uint64_t bytes);
/* Read a block from the store's disk, past every cache: 0 it answered, -errno (-EIO, -ESTALE, ...)
 * it failed, -EOPNOTSUPP its file system knows no O_DIRECT. Blocks for as long as the disk does. */
int store_probe(struct store *s);
/* Compressed bytes of the frames that segs lie in; a frame shared with other objects counts by the
 * share of its uncompressed bytes. 0 when a pack's table cannot be read. For information only. */
uint64_t store_seg_bytes(struct store *s, const struct seg *segs, uint32_t nsegs);
/* Walk a pack's frames and directory records from its own bytes alone (no index), verifying each.
 * Either callback may be NULL. Holes left by store_punch_frames are passed over. */
struct pack_walk {
	void *ctx;
	int (*frame)(void *ctx, uint32_t pack, uint32_t frame, uint32_t clen, uint32_t ulen,
		     int err);
	int (*object)(void *ctx, const struct object *o); /* from a directory record; borrowed */
};
/* As frame number: a directory frame is damaged or missing, object records are lost. */
#define STORE_WALK_DIR UINT32_MAX
int store_walk_pack(struct store *s, uint32_t pack, const struct pack_walk *w);
/* The length and frames of a pack up to its last complete batch, from its own bytes alone (0:
 * none). For rebuild-index, which hands them to store_recover. */
int store_pack_length(struct store *s, uint32_t pack, struct pack_len *ret);
/* Numbers of the packs present, ascending; caller frees. */
int store_list_packs(struct store *s, uint32_t **ret, size_t *ret_n);

struct store_counters {
	uint64_t frames_read, frames_cached, frames_bad, frames_written;
	uint64_t bytes_in, bytes_out; /* written: uncompressed, on disk */
};
void store_counters(const struct store *s, struct store_counters *ret);

#endif
