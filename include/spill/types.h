/* SPDX-License-Identifier: MIT
 * Types shared by several modules, and the limits they agree on. No code.
 */
#ifndef SPILL_TYPES_H
#define SPILL_TYPES_H

#include <stdint.h>
#include <stddef.h>

/* An object: the immutable content of one or more spilled files. Ids are counted up from 1 and
 * never reused, so they stay below 2^OBJ_ID_BITS; a larger one is damage. 0 is none. */
#define OBJ_ID_BITS 59
struct obj_id {
	uint64_t v;
};

/* A hot inode, identified for ever: inode number and generation on the hot file system. */
struct hot_id {
	uint64_t ino;
	uint32_t gen;
};

/* Uncompressed bytes per frame (DESIGN.md section 5: 128 KiB at level 3). */
#define FRAME_SIZE (128u * 1024)

/* Where a run of an object's stored stream lies: len uncompressed bytes beginning off bytes into
 * frame number `frame` of pack `pack`, going on in frame+1, ... Every frame of a run but its last
 * holds exactly FRAME_SIZE uncompressed bytes. */
struct seg {
	uint64_t stream_off; /* offset in the object's stored stream */
	uint64_t len;        /* bytes, uncompressed */
	uint32_t pack;
	uint32_t frame;
	uint32_t off; /* bytes into the uncompressed frame, < FRAME_SIZE */
};

/* One data range of a sparse file; ranges ascend, do not touch, and lie inside the size. */
struct range {
	uint64_t off;
	uint64_t len;
};

/* The residency of a file (DESIGN.md section 4). The numbers are stored in markers and index rows.
 */
enum residency {
	RES_RESIDENT = 0,
	RES_PREMIGRATED = 1, /* hot data, and a clean copy in the store */
	RES_SPILLING = 2,    /* marker durable, data not punched yet */
	RES_SPILLED = 3,     /* stub */
	RES_RECALLING = 4,   /* marker durable, hot data being refilled */
	RES_PARTIAL = 5,     /* some of it in the store's overflow (large files being written) */
};

/* An object as the index knows it. The stored stream is the file's data ranges, concatenated;
 * without ranges (nranges == 0) the stream is the file itself: stream_len == size. A file that is
 * all hole has nranges == 0, stream_len == 0 and size > 0. */
struct object {
	struct obj_id id;
	/* SHA-256 of the stored stream; for a sparse file (stream_len != size) of the stream
	 * followed by le64 size and le64 off, le64 len of each range. A dedup hit must also agree
	 * in size and stream_len. The index and the marker keep the first 16 bytes, the pack
	 * all 32. */
	uint8_t sha[32];
	uint64_t size; /* logical bytes */
	uint64_t stream_len;
	uint32_t refs; /* files that refer to it */
	uint32_t nsegs;
	uint32_t nranges;
	struct seg *segs;     /* ascending stream_off, contiguous from 0 */
	struct range *ranges; /* NULL when nranges == 0 */
};

#endif
