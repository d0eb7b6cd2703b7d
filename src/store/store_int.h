/* SPDX-License-Identifier: MIT
 * Private declarations of src/store. Byte maps: FORMAT.md.
 *
 * Who owns what: struct store owns the pack registry (pack.c), the frame cache (cache.c) and the
 * scratch pool (decode.c); a store_writer owns its parts (part.c) and its pipeline (pipe.c).
 * Locks, none of them held over disk I/O, (de)compression or a call-back:
 *   store->lock       pack registry, descriptors, frame tables, next_pack
 *   cache shard lock  the entries of one shard
 *   store->pool_lock  scratch pool and the memo of store_stream
 *   pipe->lock        job queue
 * Nobody takes two of them at once.
 */
#ifndef STORE_INT_H
#define STORE_INT_H

#include <stdatomic.h>
#include <zstd.h>
#include "spill/store.h"

/* ---- on-disk constants and codecs (format.c) ----------------------------------------------- */
#define STORE_FORMAT   1
#define PACK_HDR_LEN   64u
#define FRAME_HDR_LEN  32u
#define TRAILER_LEN    32u
#define FRAME_MAGIC    "SPLF"
#define TRAILER_MAGIC  "SPLT"
#define UNIT_MAGIC_OFF 8u /* both magics lie here, so that a scan finds either */
#define FRAME_DISK_MAX (FRAME_HDR_LEN + FRAME_SIZE)
/* A directory frame claims no more memory than this, nor than DIR_MAX_RATIO times its bytes. */
#define DIR_MAX_ULEN  (32u << 20)
#define DIR_MAX_RATIO 256u
/* A writer begins a new directory frame when its records take more than this. */
#define DIR_SOFT_BYTES (1u << 20)
/* Every so many directory frames one repeats the whole frame table, so the chain stays short. */
#define DIR_FULL_EVERY 16u
/* Space is given back in whole blocks of this size. */
#define PUNCH_BLOCK 4096u

enum frame_type {
	FRAME_ZSTD = 1,
	FRAME_RAW = 2,
	FRAME_DIR_ZSTD = 3,
	FRAME_DIR_RAW = 4,
};

struct frame_hdr {
	enum frame_type type;
	uint32_t pack;
	uint32_t frame; /* data: frame number; directory: its number among the pack's directories */
	uint32_t clen;  /* bytes after the header */
	uint32_t ulen;  /* bytes uncompressed */
};

struct trailer {
	uint32_t pack;
	uint64_t dir_off; /* of the directory frame right before it */
	uint32_t frames;  /* data frames in the pack up to here: numbers 0 .. frames - 1 */
	uint32_t dirs;    /* directory frames up to here */
};

uint64_t format_seed(const uint8_t uuid[16]);
void pack_hdr_put(uint8_t b[PACK_HDR_LEN], uint32_t pack, const uint8_t uuid[16]);
/* -EBADMSG checksum, -EUCLEAN not this pack of this store, -EPROTONOSUPPORT newer. */
int pack_hdr_get(const uint8_t b[PACK_HDR_LEN], uint32_t pack, const uint8_t uuid[16]);
/* b: header room followed by h->clen payload bytes; fills the header in, checksum last. */
void frame_put(uint8_t *b, const struct frame_hdr *h, uint64_t seed);
/* Header fields only, no checksum: -EUCLEAN unless they make sense. */
int frame_hdr_get(const uint8_t b[FRAME_HDR_LEN], struct frame_hdr *ret);
/* Checksum over header and payload: 0 or -EBADMSG. */
int frame_sum_check(const uint8_t *b, uint32_t clen, uint64_t seed);
bool frame_is_dir(const struct frame_hdr *h);
void trailer_put(uint8_t b[TRAILER_LEN], const struct trailer *t, uint64_t seed);
/* -EUCLEAN not a trailer, -EBADMSG checksum. */
int trailer_get(const uint8_t b[TRAILER_LEN], struct trailer *ret, uint64_t seed);

/* ---- growable byte buffer and varints (buf.c) ----------------------------------------------- */
struct buf {
	uint8_t *p;
	size_t len, cap;
	bool failed; /* an allocation failed: checked once, at the end */
};
void buf_free(struct buf *b);
void buf_put(struct buf *b, const void *data, size_t len);
void buf_put_uv(struct buf *b, uint64_t v);
void buf_put_sv(struct buf *b, int64_t v); /* zigzag */

/* Reader with a sticky error: after it every get gives 0. */
struct cur {
	const uint8_t *p, *end;
	bool bad;
};
uint64_t cur_uv(struct cur *c);
int64_t cur_sv(struct cur *c);
size_t cur_left(const struct cur *c);

/* ---- directory payload (dir.c) ----------------------------------------------------------------
 */
/* Where one data frame lies. off 0: unknown. */
struct fent {
	uint64_t off;
	uint32_t clen, ulen;
};
struct fpos {
	uint32_t frame;
	struct fent e;
};

/* Builds one directory: frames in file order, then objects. */
struct dir_builder {
	struct buf recs; /* object records without the hashes */
	struct buf shas;
	uint32_t pack, nobjects;
	uint64_t prev_id;
	uint32_t prev_frame, prev_end;
};
void dir_builder_init(struct dir_builder *b, uint32_t pack);
void dir_builder_free(struct dir_builder *b);
/* False: too many ranges or segments for a directory. */
bool dir_fits(const struct object *o);
int dir_builder_add(struct dir_builder *b, const struct object *o);
size_t dir_builder_bytes(const struct dir_builder *b);
/* The payload; frames[] ascends by offset. The builder is empty afterwards. */
int dir_builder_finish(struct dir_builder *b, bool full, uint64_t prev_dir,
		       const struct fpos *frames, size_t n, struct buf *ret);

struct dir_cb {
	void *ctx;
	/* May be NULL. Not 0: stop, and dir_parse returns it. */
	int (*frame)(void *ctx, const struct fpos *f);
	int (*object)(void *ctx, const struct object *o);
};
struct dir_info {
	bool full;
	uint64_t prev; /* offset of the directory before this one, 0: none */
};
/* Parse a payload of the directory at self_off of pack: -EUCLEAN malformed, -ENOMEM. */
int dir_parse(const uint8_t *p, size_t len, uint32_t pack, uint64_t self_off,
	      const struct dir_cb *cb, struct dir_info *ret);
/* Uncompress a directory frame (header + payload, checksum verified). *ret is malloced. */
int dir_unpack(const uint8_t *b, const struct frame_hdr *h, uint8_t **ret);

/* ---- frame table of a pack (table.c) ----------------------------------------------------------
 */
struct ptable {
	atomic_uint refs;
	uint32_t n;
	uint32_t dirs;     /* directory frames in the chain */
	uint32_t dirs_add; /* of these, how many since a full one (counting it) */
	uint64_t last_dir; /* offset; 0: none */
	bool scanned;      /* made by a scan: a directory is damaged, do not append to this pack */
	struct fent e[];
};
struct ptable *ptable_new(uint32_t n);
struct ptable *ptable_ref(struct ptable *t);
void ptable_unref(struct ptable *t);
size_t ptable_bytes(const struct ptable *t);
/* Load it from the first len bytes of fd: by the directory chain, else by a scan of the frames. */
int ptable_load(int fd, uint32_t pack, uint64_t seed, uint64_t len, struct ptable **ret);

/* ---- scan of a pack's bytes (scan.c) -----------------------------------------------------------
 */
struct scan_cb {
	void *ctx;
	/* A unit whose checksum matches. raw: header + payload, until the return. */
	int (*frame)(void *ctx, const struct frame_hdr *h, const uint8_t *raw, uint64_t off);
	int (*dir)(void *ctx, const struct frame_hdr *h, const uint8_t *raw, uint64_t off);
	int (*trailer)(void *ctx, const struct trailer *t, uint64_t off);
};
/* Every valid unit in [PACK_HDR_LEN, len) in file order; what is not valid is stepped over.
 * 0, -ENOMEM, -EIO (something could not be read; the rest was visited), or what a call-back gave.
 */
int pack_scan(int fd, uint32_t pack, uint64_t seed, uint64_t len, const struct scan_cb *cb);

/* ---- pack registry (pack.c)
 * ---------------------------------------------------------------------- */
#define PACK_FDS_MAX    256u
#define TABLE_BYTES_MAX (64u << 20)

struct pack {
	uint32_t no;
	int fd;        /* for reading, -1: closed */
	unsigned pins; /* users of fd */
	bool removed;  /* out of the registry; freed by the last pack_put */
	bool nowrite;  /* damaged or not cut back: never appended to */
	bool in_batch; /* the running batch writes to it */
	uint64_t tick; /* last use */
	uint64_t len;  /* durable length */
	uint64_t disk_bytes;
	struct ptable *table; /* NULL: not loaded */
};
void pack_name(uint32_t no, char out[16]);
/* Pinned and open. -EUCLEAN no such pack, or not ours; -EBADMSG; -EIO; -ENOMEM. */
int pack_get(struct store *s, uint32_t no, struct pack **ret);
void pack_put(struct store *s, struct pack *p);
/* Of a pinned pack; *ret is the caller's reference. */
int pack_table(struct store *s, struct pack *p, struct ptable **ret);
/* What is known of a registered pack after a commit. table: consumed, may be NULL. */
void pack_publish(struct store *s, uint32_t no, uint64_t len, uint64_t disk_bytes, uint64_t written,
		  struct ptable *table);
/* Forget decoded frames: their numbers may come to mean something else (a pack that is cut). */
void pack_uncache(struct store *s, uint32_t no);
/* Out of the registry, the table and the cache. False: there was none. */
bool pack_forget(struct store *s, uint32_t no);
struct pack *pack_find_locked(struct store *s, uint32_t no);
int pack_add_locked(struct store *s, uint32_t no, struct pack **ret);
void pack_registry_done(struct store *s);

/* ---- frame cache (cache.c)
 * ------------------------------------------------------------------------ */
struct cache;
struct centry {
	uint32_t pack, frame;
	uint32_t ulen;
	uint8_t state; /* enum in cache.c */
	bool hashed;
	atomic_bool ahead; /* decoded before anybody asked for it, and nobody has since */
	int err;
	unsigned refs;
	struct centry *hnext, *prev, *next;
	uint8_t *data;
};
int cache_new(struct cache **ret, uint64_t bytes);
void cache_free(struct cache *c);
/* A ready entry or NULL; does not wait. */
struct centry *cache_peek(struct cache *c, uint32_t pack, uint32_t frame);
/* *ret_owner: the caller must decode and call cache_fill. Otherwise the entry is ready (waits for
 * whoever decodes it); a failed one gives its error. */
int cache_begin(struct cache *c, uint32_t pack, uint32_t frame, struct centry **ret,
		bool *ret_owner);
/* data is consumed (NULL with err). */
void cache_fill(struct cache *c, struct centry *e, uint8_t *data, uint32_t ulen, int err);
void cache_put(struct cache *c, struct centry *e);
void cache_drop_pack(struct cache *c, uint32_t pack);

/* ---- decoding (decode.c)
 * ----------------------------------------------------------------------------- */
struct scratch {
	struct scratch *next;
	ZSTD_DCtx *dctx;
	uint8_t *disk;  /* FRAME_DISK_MAX: header + compressed bytes */
	uint8_t *plain; /* FRAME_SIZE */
};
int scratch_get(struct store *s, struct scratch **ret);
void scratch_put(struct store *s, struct scratch *sc);
void scratch_pool_done(struct store *s);
/* Uncompress a verified data frame into dst (h->ulen bytes): 0 or -EUCLEAN. */
int frame_unpack(ZSTD_DCtx *d, const uint8_t *raw, const struct frame_hdr *h, void *dst);
/* Read, verify and uncompress frame number `frame` of a pinned pack into dst (e->ulen bytes).
 * asked: somebody needs it, so a failure is damage (it may have been freed otherwise). */
int frame_read(struct store *s, const struct pack *p, uint32_t frame, const struct fent *e,
	       struct scratch *sc, void *dst, bool asked);

/* One piece of a stream: bytes [off, off+len) of an uncompressed frame. */
struct piece {
	uint32_t pack, frame, off, len;
};
/* The piece of segs[] that holds stream offset pos, cut to max bytes. *seg is a hint, begin with 0.
 * 1: found, 0: end of stream, -EUCLEAN. */
int piece_at(const struct seg *segs, uint32_t nsegs, uint64_t pos, uint64_t max, uint32_t *seg,
	     struct piece *ret);

/* The last frame store_stream decoded, for the small objects that share it. */
struct memo {
	uint32_t pack, frame, ulen;
	uint64_t t_ns; /* 0: empty */
	uint8_t *data;
};

/* ---- compression pipeline (pipe.c)
 * ------------------------------------------------------------------- */
struct pipe;
struct job {
	uint8_t *in;         /* FRAME_SIZE, with header room before it */
	uint8_t *in_base;    /* header room and in: a raw frame is written from here */
	uint8_t *out;        /* header room and compressed bytes */
	const uint8_t *disk; /* after compression: one of the two */
	uint32_t ulen, clen;
	uint32_t pack, frame;
	uint8_t state;
	struct job *next;
};
/* Called by the pipeline's writer thread, in the order of pipe_submit. */
typedef int (*pipe_sink_fn)(void *ctx, const struct job *j);
int pipe_new(struct pipe **ret, unsigned threads, int level, uint64_t seed, pipe_sink_fn sink,
	     void *ctx);
/* A free job (waits for one); a sticky error. */
int pipe_job(struct pipe *p, struct job **ret);
void pipe_submit(struct pipe *p, struct job *j);
void pipe_return(struct pipe *p, struct job *j); /* unused */
/* Wait until everything submitted is with the sink. Afterwards the writer thread rests. */
int pipe_drain(struct pipe *p);
/* Pending jobs are not written. NULL is fine. */
void pipe_free(struct pipe *p);
int pipe_error(struct pipe *p);
/* Uncompressed bytes submitted that the sink has not taken yet. */
uint64_t pipe_pending(struct pipe *p);

/* ---- a batch's share of one pack (part.c)
 * -------------------------------------------------------------- */
#define WRITE_BYTES (1u << 20)
struct part {
	struct store *s;
	struct part *next;
	uint32_t no;
	int fd;
	bool created;
	uint64_t begin_len;
	atomic_uint_fast64_t pos; /* file length once wbuf is written */
	uint32_t next_frame;      /* next number to give out */
	struct ptable *old;       /* before the batch; NULL when created */
	struct fpos *ents;        /* of this batch, in file order */
	size_t nents, cap;
	size_t listed; /* ents already in a directory */
	uint64_t last_dir;
	uint32_t dirs, dirs_add;
	struct dir_builder recs;
	uint8_t *wbuf; /* bytes not written yet; they end at pos */
	size_t wlen, wcap;
};
/* The last pack if it has room and is sound (and not `fresh`), else a new one. */
int part_open(struct store *s, bool fresh, struct part **ret);
void part_free(struct part *p);
int part_append_frame(struct part *p, const struct job *j);
/* With the pipeline drained: directory frame, trailer, and everything written (not fsynced). */
int part_finish(struct part *p);
/* Start write-back, so that the fsync at the end has less to wait for. */
void part_hint(struct part *p);
int part_sync(struct part *p);
/* Cut back what the batch wrote. */
void part_undo(struct part *p);
/* After the fsync: the frame table and the length become visible to readers. */
void part_publish(struct part *p);

struct store_writer {
	struct store *s;
	int err;
	struct pipe *pipe;
	struct part *parts; /* newest first; the first one is written to */
	struct job *shared; /* open frame of small objects */
	struct job *large;  /* open frame of the large object */
	struct {
		bool open;
		struct obj_id id;
		uint64_t len;
		struct seg *segs;
		uint32_t nsegs, cap;
	} big;
	uint64_t done_bytes; /* of packs already left */
};

/* ---- store
 * ------------------------------------------------------------------------------------------------
 */
struct store {
	int dirfd, packsfd, lockfd;
	atomic_ullong overflow_files;
	bool read_only;
	struct store_opts opts;
	struct store_id id;
	uint64_t seed;

	pthread_mutex_t lock;
	struct pack **packs; /* ascending by number */
	size_t npacks, packs_cap;
	unsigned nfds;
	size_t table_bytes;
	uint64_t tick;
	uint32_t next_pack; /* numbers are not used twice while we run */
	bool writing;

	pthread_mutex_t pool_lock;
	struct scratch *pool;
	struct memo memo;

	struct cache *cache;
	atomic_uint_fast64_t last_filled;  /* pack << 32 | frame, see store_read_ahead */
	atomic_uint_fast64_t stored_bytes; /* disk blocks of the packs, as of the last commit */
	atomic_uint_fast64_t batch_bytes;  /* written by the running batch */
	atomic_int_fast64_t grown;         /* all that was written, less what was given back */
	atomic_int_fast64_t moving;        /* written, and not given back by the hot tier yet */
	pthread_mutex_t space_lock;        /* leaf */
	struct store_space space;          /* as last asked; space_lock */
	int64_t space_grown;               /* grown, as of then; space_lock */
	bool space_known;                  /* space_lock */
	atomic_uint_fast64_t c_read, c_cached, c_bad, c_written, c_in, c_out;
};

uint64_t fd_disk_bytes(int fd);

/* ---- space.c: may so many bytes more be written? 0 or -ENOSPC. May ask the disk. */
int space_for(struct store *s, uint64_t bytes);
/* What a batch had written was taken back: neither used nor twice there any more, at once in the
 * eyes of store_space_now. */
void store_undone(struct store *s, uint64_t bytes);

/* ---- overflow.c */
uint64_t overflow_bytes(struct store *s); /* on disk */
int overflow_count(struct store *s);      /* at open */

#endif
