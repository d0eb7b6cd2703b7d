/* SPDX-License-Identifier: MIT
 * Contract of src/hot: the hot tier, i.e. the directory below the mount, reached only through one
 * directory fd taken before mounting; its inodes by file handle; the stub marker; punch and refill.
 *
 * Knows nothing of FUSE, packs or SQLite. Locks: none of its own except the fd cache's; callers
 * hold the node lock (tier.h) where the text says so.
 */
#ifndef SPILL_HOT_H
#define SPILL_HOT_H

#include "spill/base.h"
#include "spill/types.h"
#include <sys/stat.h>
#include <sys/statvfs.h>

#define MARKER_XATTR "trusted.spill"      /* on each stub */
#define ROOT_XATTR   "trusted.spill.root" /* on the hot root: which store, which epoch */
/* True for names that the mount hides and refuses in all four xattr operations. */
bool hot_xattr_reserved(const char *name);

enum hot_type { HOT_EXT4, HOT_XFS, HOT_BTRFS, HOT_OTHER };

struct hot;

/* A kernel file handle (name_to_handle_at(2)); len is handle_bytes. */
#define HOT_FH_MAX 40
struct hot_fh {
	int32_t type;
	uint8_t len;
	uint8_t bytes[HOT_FH_MAX];
};

/* Open the hot tier on dirfd (a directory; kept by the caller's choice: hot dups it). Probes what
 * spillfs needs: trusted xattrs, file handles, FALLOC_FL_PUNCH_HOLE.
 * -EOPNOTSUPP, -EPERM, -EROFS, ...: *ret_why says what is missing and what to do (static text; set
 * at every failure). A full disk is no failure.
 * Needs CAP_DAC_READ_SEARCH and CAP_SYS_ADMIN. */
int hot_open(struct hot **ret, int dirfd, const char **ret_why);
void hot_close(struct hot *h);
int hot_root_fd(const struct hot *h); /* borrowed */
enum hot_type hot_fs_type(const struct hot *h);
dev_t hot_dev(const struct hot *h);

/* Identity of name in dirfd ("" for dirfd itself, O_PATH is enough), with its attributes,
 * atomically: the handle and the stat are of the same inode. *ret_nodeid: generation << 32 | ino
 * where that names the inode for ever (ext4; xfs and btrfs while the inode number fits 32 bits,
 * same device), else 0 (the caller keeps fh). -ENOENT, -EOPNOTSUPP, ...; -EXDEV: in something
 * mounted below the root. */
int hot_identify(const struct hot *h, int dirfd, const char *name, struct stat *ret_st,
		 struct hot_fh *ret_fh, uint64_t *ret_nodeid);
/* The handle that nodeid (not 0, not 1) stands for. False when it cannot be recomputed. */
bool hot_fh_of_nodeid(const struct hot *h, uint64_t nodeid, struct hot_fh *ret);
/* Handle of (ino, gen) on the root's device, for index rows. False when this file system's handles
 * cannot be rebuilt from them (HOT_OTHER). */
bool hot_fh_of_id(const struct hot *h, struct hot_id id, struct hot_fh *ret);
/* The id for index rows. {0, 0}: a file of another btrfs subvolume, which has no id of its own here
 * and must not be spilled. */
struct hot_id hot_id_of_fh(const struct hot *h, const struct hot_fh *fh, uint64_t st_ino);
/* open_by_handle_at(2) on the hot tier; flags as open(2) plus O_CLOEXEC. Returns an fd or -errno
 * (-ESTALE: no such inode any more). */
int hot_open_fh(const struct hot *h, const struct hot_fh *fh, int flags);
/* Open a second, different description of an O_PATH (or any) fd, through /proc/self/fd. */
int hot_reopen(int fd, int flags);
/* chmod(2) and utimensat(2) of the inode that fd stands for; O_PATH is enough. Return 0 or -errno.
 */
int hot_chmod(int fd, mode_t mode);
int hot_utimens(int fd, const struct timespec ts[2]);
/* "/proc/self/fd/N" for calls that only know paths (xattrs); buf >= 32 bytes. The look-up costs
 * more than most calls do: use AT_EMPTY_PATH where a call has it. */
const char *hot_fd_path(int fd, char buf[32]);

/* statvfs of the hot file system. */
int hot_statfs(const struct hot *h, struct statvfs *ret);

/* ---- marker ------------------------------------------------------------------------------------
 * The marker's byte map is at the top of src/hot/marker.c. 60 bytes. */
#define MARKER_LEN 60
struct marker {
	struct obj_id obj;
	uint8_t hash16[16]; /* first half of object.sha */
	uint64_t size;      /* bytes */
	int64_t mtime_ns;   /* as the user left it */
	int64_t ctime_ns; /* as the user saw it when the file was spilled; only when ctime_valid */
	uint32_t blocks;  /* st_blocks before the punch, 512-byte units, saturating */
	/* Small: there is one of these in memory for each stub that the kernel knows. */
	enum residency state : 8; /* RES_SPILLING, RES_SPILLED, RES_RECALLING; RES_PARTIAL: the
				     rest is 0 */
	bool ctime_valid; /* cleared when metadata is changed later: then the inode's own ctime
			     counts */
};
/* Pure codec. decode: -EUCLEAN malformed or wrong checksum, -EPROTONOSUPPORT newer version. */
void marker_encode(const struct marker *m, uint8_t out[MARKER_LEN]);
int marker_decode(const void *buf, size_t len, struct marker *ret);
/* Read the marker of an fd (O_PATH is enough). -ENODATA: none. Otherwise as marker_decode, or
 * -errno. */
int hot_marker_get(int fd, struct marker *ret);
/* The same of what name stands for in dirfd, if that is still the inode of *st. -EAGAIN: it is not
 * for sure (always so within three seconds of a change), or the kernel has no getxattrat(2) (before
 * 6.13): open it. */
int hot_marker_get_at(int dirfd, const char *name, const struct stat *st, struct marker *ret);
/* Set or drop it through the durable waist. Not durable until fsync. Changes ctime. */
int hot_marker_set(int fd, const struct marker *m);
int hot_marker_drop(int fd);

/* ---- root record: binds a hot tier to a store ---------------------------------------------------
 */
struct hot_root {
	uint8_t store_uuid[16];
	uint8_t hot_uuid[16]; /* random, made when the directory was adopted */
	uint64_t epoch;
};
/* -ENODATA: never adopted. -EUCLEAN. */
int hot_root_get(const struct hot *h, struct hot_root *ret);
/* Sets and makes it durable (fsync of the root directory). */
int hot_root_set(const struct hot *h, const struct hot_root *r);

/* ---- data ranges
 * --------------------------------------------------------------------------------- The data ranges
 * of a file by SEEK_DATA/SEEK_HOLE, caller frees. *ret_n == 0 with *ret == NULL and *ret_dense ==
 * true: no holes at all (or an empty file). Block-aligned by nature; the last range is cut at the
 * size. fd's file offset is changed. -E2BIG: more than HOT_RANGES_MAX, not worth spilling. */
#define HOT_RANGES_MAX (1u << 20)
int hot_ranges(int fd, uint64_t size, struct range **ret, uint32_t *ret_n, bool *ret_dense);
/* Punch all data, also blocks reserved beyond the end; keep the size. fd is open for writing.
 * Caller restores times. Durable waist. -EPERM: the file has file capabilities
 * (security.capability), which the kernel drops at *every* change of content: punch, pwrite,
 * ftruncate, even a reservation. Such a file must not be spilled, and a stub must be recalled
 * before it is given any. */
int hot_punch_all(int fd, uint64_t size);

/* ---- hold --------------------------------------------------------------------------------------
 * Make other processes wait in read(2) and write(2) of chosen files, also where the kernel does
 * these without us (FUSE passthrough): fanotify's pre-content events, Linux 6.14, on ext4, xfs and
 * btrfs. Only those who opened the file while it was watched can be held. Not held at all:
 * mappings, and what comes by splice(2) or sendfile(2). Who waits is killable, but has locks of the
 * file (and who deletes it waits with those of its directory). All go on when the hold is freed, or
 * the last thread of its process has ended.
 *
 * Thread-safe, but for what is said below. What this process itself reads, writes, punches or
 * truncates is not held, but of a watched file takes the thread's answer, for which the kernel
 * opens the file: nobody may have a lease on it then (hold_unwatch). */
struct hold;
/* Is this access to wait? Called by a thread of its own, with none of the process's descriptors,
 * while the hold is on. Of the file *st, bytes off to off + len; a read is not told from a write.
 * Nothing in it may wait for anybody who is held, or for a lock of the file. */
typedef bool (*hold_wait_fn)(void *ctx, const struct stat *st, uint64_t off, uint64_t len);
/* Off at first. -EOPNOTSUPP: this kernel or file system has no such events; or -errno. */
int hold_new(struct hold **ret, const struct hot *h, hold_wait_fn wait, void *ctx);
void hold_free(struct hold *h);
/* From now on fd's inode is watched (O_PATH is enough), and held if the hold is on. While it is off
 * that costs a read or write 0.2 us (measured), until hold_forget. Not while another thread is in
 * hold_forget. */
int hold_watch(struct hold *h, int fd);
/* The hold is on: hold those too who opened it while it was watched, before hold_forget or
 * hold_off. */
int hold_again(struct hold *h, int fd);
/* Of this inode no event comes any more. */
void hold_unwatch(struct hold *h, int fd);
/* Nothing is watched any more. */
void hold_forget(struct hold *h);
/* Who comes to a file given to hold_watch or hold_again from now on waits. */
void hold_on(struct hold *h);
/* Nobody waits any more. */
void hold_off(struct hold *h);
/* While it is on: nobody waits longer than that for each MiB, nor a minute in all. */
void hold_limit(struct hold *h, unsigned ms);

#endif
