/* SPDX-License-Identifier: MIT
 * Contract of src/fs: the FUSE skin over the tier. The only module that knows FUSE.
 */
#ifndef SPILL_FS_H
#define SPILL_FS_H

#include "spill/base.h"
#include "spill/tier.h"

struct fs;

struct fs_orphan {
	uint64_t nodeid;
	int fd; /* O_PATH */
};

/* A new memfd for what must outlive the daemon (src/fs/state.h): an fd or -errno. */
int fs_state_new(void);

/* Can a daemon of this binary go on from it? -EPROTONOSUPPORT: it is another version's, or none. */
int fs_state_check(int fd);

/* How far the daemon of a state has come (changes while it does anything), and the number of its
 * connection below /sys/fs/fuse/connections, 0: none yet. For another process. */
int fs_state_watch(int fd, uint64_t *ret_progress, unsigned *ret_conn);

/* For the supervisor: the daemon died by its own fault; how many requests have been answered with
 * EIO because daemons died over them (fs_refusals: for the daemon). */
void fs_state_fault(int fd);
uint64_t fs_state_refusals(int fd);
uint64_t fs_refusals(const struct fs *f);
/* Files that were open when a daemon died and could not be opened again. */
uint64_t fs_lost(const struct fs *f);

/* Why the binary that a restart was to start did not take the mount over ("": it did): written by
 * the supervisor, told by the daemon that goes on. */
#define FS_REFUSED_MAX 256
void fs_state_refused(int fd, const char *why);
void fs_refused(const struct fs *f, char ret[FS_REFUSED_MAX]);

struct fs_opts {
	bool read_only, noatime, debug;
	bool blocks_at_once; /* the hot file system is ext4: st_blocks of small files is final, see
				src/fs/reply.c */
	bool dir_handles;    /* the hot file system is btrfs, see src/fs/dirs.c */
	bool passthrough;    /* where the kernel has it */
	bool writeback;      /* the kernel's writeback cache, where there is no passthrough */
	int state_fd;        /* of fs_state_new; borrowed */
	unsigned dev_minor;  /* of the mount */
	bool resume;         /* the state is of a daemon that died; dev_fd's kernel side goes on */
	/* Inodes without a name that were kept alive for us (tier_on_orphan), borrowed. */
	const struct fs_orphan *orphans;
	size_t n_orphans;
	void (*keep)(void *ctx, uint64_t nodeid, int fd); /* as tier_orphan_fn, or NULL */
	void *keep_ctx;
	unsigned threads; /* threads that always wait for requests; 0: 2 x CPUs, at least 4 */
};

/* Make a session on an open, mounted /dev/fuse descriptor (taken also on failure). */
int fs_new(struct fs **ret, struct tier *t, int dev_fd, const char *mountpoint,
	   const struct fs_opts *o);
/* Serve until unmounted or fs_stop; starts its own threads, returns when all are gone. 0 or -errno.
 */
int fs_run(struct fs *f);
/* From another thread: wait until the kernel's INIT has been answered. -ETIMEDOUT after 10 s. */
int fs_wait_ready(struct fs *f);
bool fs_passthrough(const struct fs *f); /* once ready: the kernel has it, and may */
bool fs_writeback(const struct fs *f);   /* the same */
/* Daemons this mount has had, and requests that the kernel sent again because one died over them.
 */
void fs_lives(const struct fs *f, uint64_t *ret_lives, uint64_t *ret_again);
/* How many requests with this opcode came since the mount; *ret_name NULL: no such one. */
#define FS_OPCODES 64
uint64_t fs_requests(const struct fs *f, unsigned opcode, const char **ret_name);
/* Make fs_run return. Not from a signal handler; from any thread. */
void fs_stop(struct fs *f);
void fs_free(struct fs *f);

#endif
