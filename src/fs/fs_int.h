/* SPDX-License-Identifier: MIT
 * Private declarations of src/fs.
 *
 * A request runs from decode to its one reply on the thread that read it. Threads are added while
 * all are at work, so an OPEN that waits for a recall never keeps a GETATTR or STATFS waiting (for
 * longer than two milliseconds: lead.c).
 */
#ifndef FS_INT_H
#define FS_INT_H

#define FUSE_USE_VERSION 314

#include "spill/fs.h"

#include "abi.h"

#include "state.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdatomic.h>

#define ENTRY_TIMEOUT 86400.0 /* all changes come through us */
#define IO_MAX        (1u << 20)

enum handle_kind { HANDLE_FREE, HANDLE_FILE, HANDLE_DIR };

struct handles;
struct stray;

struct fs {
	struct tier *t;
	struct fuse_session *se;
	struct fs_opts o;
	char *mountpoint;
	struct handles *h;
	struct state *state;
	bool replayed;       /* that was done: its reply is not sent */
	bool replay;         /* the kernel has its answer to INIT: libfuse gets the old request */
	bool dir_handles;    /* see dirs.c */
	bool fill;           /* see files.c */
	bool no_ahead;       /* see do_later */
	bool writeback;      /* the kernel collects writes; excludes pass */
	bool pass;           /* the kernel has passthrough, and may */
	int dev_fd;          /* /dev/fuse; the session's own */
	atomic_uint waiting; /* writers for space */
	_Atomic uint64_t requests[FS_OPCODES];

	uint32_t fault_opcode, fault_ino; /* poison_arm */
	const char *fault_point;          /* mend.c */
	_Atomic uint64_t lost;            /* handles that could not be opened again */
	pthread_mutex_t stray_lock;
	struct stray *strays;        /* stray_lock */
	pthread_mutex_t one_suspect; /* held while a suspect is handled */

	uint64_t init_unique;  /* the INIT request being answered */
	uint64_t kernel_flags; /* its offer: flags | flags2 << 32 */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	_Atomic uint64_t side_effect; /* the last one that a SETATTR may follow, see creds.c */
	bool ready;                   /* lock */
	unsigned nthreads, idle;      /* lock */
	unsigned keep;                /* threads that stay when idle */
	uint64_t short_ns;            /* when none was idle; lock */
	pthread_t *threads;           /* lock; [FS_THREADS_MAX], valid where used[] */
	bool *used;

	/* spin.c */
	bool spin;
	atomic_bool spinning;
	atomic_uint spin_skip;
	unsigned spin_pause; /* who has set spinning */

	/* lead.c; under lock but for on, which is changed under it, row and taken */
	struct lead {
		atomic_bool on;
		unsigned row; /* who has set spinning */
		unsigned parked;
		bool watched; /* by one of these */
		pthread_cond_t cond;
		unsigned waiting, calm;            /* ticks */
		atomic_uint taken;                 /* requests */
		unsigned seen;                     /* of these, at the last tick */
		uint64_t since, pause, not_before; /* ns, CLOCK_MONOTONIC */
	} lead;
};

#define FS_THREADS_MAX STATE_WORKERS

/* The raw request this thread works on, for what libfuse does not pass on (valid during an
 * operation). */
struct raw_req {
	const uint8_t *buf;
	size_t len;
	uint64_t unique; /* without the mark of one that comes again */
	bool again;
};
extern _Thread_local unsigned worker_slot; /* of this thread, below FS_THREADS_MAX */
extern _Thread_local struct raw_req cur_raw;
/* The request's fixed-size argument struct, or NULL when it is shorter than need. */
const void *raw_arg(size_t need);

static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The kernel fills a page before it changes a part of it: with its writeback cache, who writes
 * reads too. */
static inline int hot_access(const struct fs *f, int flags)
{
	return f->writeback && (flags & O_ACCMODE) == O_WRONLY ? (flags & ~O_ACCMODE) | O_RDWR
							       : flags;
}

/* ---- spin.c: before a read of /dev/fuse, which may sleep */
void spin_init(struct fs *f);
void spin_for_request(struct fs *f, int fd);

/* ---- lead.c: one thread alone waits for requests, as long as they come one by one */
void lead_init(struct fs *f);
/* A look for a request found one, or not. By who has set spinning. */
void lead_found(struct fs *f, bool found);
/* Before a read of /dev/fuse, by a thread that counts as idle: may wait until the others are wanted
 * again. */
void lead_park(struct fs *f);
/* Nobody needs to wait for requests while this thread works: somebody watches. [lock] */
bool lead_alone(const struct fs *f);
void lead_take(struct fs *f);  /* a request was read */
void lead_leave(struct fs *f); /* this thread has more to do than requests */

/* What this thread does when the answer of its request is on its way: reading ahead. */
struct later {
	bool frames;  /* tier_read_ahead */
	uint64_t dir; /* tier_warm, or 0 */
};
extern _Thread_local struct later later;

/* Page-aligned buffer of IO_MAX bytes of this thread (O_DIRECT), or NULL. */
void *io_buffer(void);

/* ---- handles.c: numbers for open files; no pointer ever goes to the kernel. A handle without a
 * pointer (NULL) is one whose file could not be opened again after a daemon's death. */
int handles_new(struct handles **ret, struct state *state);
void handles_free(struct handles *h);
/* what: all but kind and gen. */
int handle_put(struct handles *h, enum handle_kind kind, void *p, const struct state_slot *what,
	       uint64_t *ret_fh);
void *handle_get(struct handles *h, enum handle_kind kind, uint64_t fh); /* NULL: no such handle */
void *handle_take(struct handles *h, enum handle_kind kind, uint64_t fh);
/* One without a pointer: fn makes it now, or NULL; it may wait for a disk, so no lock is held.
 * *ret_spare: made, but not needed any more, to be freed by the caller. */
typedef void *(*handle_adopt_fn)(void *ctx, enum handle_kind kind, const struct state_slot *what);
void *handle_retry(struct handles *h, enum handle_kind kind, uint64_t fh, handle_adopt_fn fn,
		   void *ctx, void **ret_spare);
/* The backing id that one without a pointer stands for, 0: none. */
int handle_lost_backing(struct handles *h, uint64_t fh);
bool handles_backing(struct handles *h, int id); /* does any handle have it? */
/* The one that a request which comes again was about to be given. */
void *handle_take_unanswered(struct handles *h, uint64_t unique, enum handle_kind *ret_kind);
/* Before any of the above, after a death: fn makes its pointer for each handle. */
int handles_adopt(struct handles *h, handle_adopt_fn fn, void *ctx);

/* ---- resume.c: going on where a daemon before us was killed */
int resume_handles(struct fs *f);
/* Once more for one that could not be opened then; NULL: still not, or no such handle. */
void *resume_late(struct fs *f, enum handle_kind kind, uint64_t fh);
/* A request comes again: nothing that was prepared for its answer counts. */
void resume_request(struct fs *f, uint64_t unique);
/* A change that cannot be made twice begins. Returns whether it was begun before already, by a
 * daemon that was killed before it could answer; *was then is what it noted. */
bool intent_begin(fuse_req_t req, uint64_t a, uint64_t b, struct state_intent *was);
/* Was name in dirfd born (or its inode changed: link, rename) after the intent's begin? */
bool born_since(int dirfd, const char *name, const struct state_intent *was);
bool changed_since(int dirfd, const char *name, const struct state_intent *was);

/* ---- poison.c: requests that kill daemons */
void poison_arm(struct fs *f);
bool poison_inherit(struct state *s); /* after a death: was it the daemon's own fault? */
/* A request that comes again: answered with EIO, as it has killed often enough? */
bool poison_refuse(struct fs *f, const struct fuse_in_header *h);
/* This thread works on the request of cur_raw. May wait until another suspect is done. */
void doing_begin(struct fs *f, bool may_wait);
void doing_end(struct fs *f);

/* ---- mend.c: what the next daemon must mend if this one dies now */
void end_backing_begin(struct fs *f); /* a backing id is about to be made */
void end_backing_made(struct fs *f, int id);
void end_backing_released(struct fs *f, int id);
void end_caps_begin(struct fs *f, struct node *n, const void *val, size_t len);
void end_caps_done(struct fs *f);
void mend(struct fs *f); /* after a death, when the handles are known */
void fault_point(const struct fs *f, const char *name);

/* ---- lost.c: a takeover without the shared state */
void spare_keep(struct fs *f); /* INIT, once answered, for that case */
int lost_renew(struct fs *f);  /* in place of state_map */
void lost_orphans(struct fs *f);
/* The file of a handle from before, opened by its node; NULL: cannot be, or nothing was lost. */
struct file *stray_get(struct fs *f, uint64_t nodeid, uint64_t fh, bool writes);
void stray_release(struct fs *f, uint64_t fh);
void strays_free(struct fs *f);

/* ---- creds.c: act with a caller's ids while creating; capabilities stay */
void creds_init(void); /* once, before threads */
void creds_enter(uid_t uid, gid_t gid, mode_t umask_bits);
void creds_leave(void);
/* By the caller's own group or one of its others (read from /proc). */
bool caller_in_group(fuse_req_t req, gid_t gid);
/* A capability (linux/capability.h) in the initial user namespace, as capable() asks, for requests
 * that do not say it themselves (read from /proc; a caller that cannot be seen there has it if it
 * is root). */
bool caller_has_cap(fuse_req_t req, int cap);
/* What the kernel does by itself in two requests of one caller on one inode, of which the second, a
 * SETATTR, looks like the caller's own call: noted at the first, taken (once) at the second. */
enum side_effect { CAPS_REMOVED = 1, DIRECT_WRITE_FAILED };
void side_effect_note(fuse_req_t req, fuse_ino_t ino, enum side_effect what);
bool side_effect_take(fuse_req_t req, fuse_ino_t ino, enum side_effect what);
/* Act as a caller without CAP_FSETID: writes and truncations clear setuid and setgid bits of the
 * file (the setgid bit of one that its group may not execute only for callers outside that group).
 * False: it has none. */
bool fsetid_drop(fuse_req_t req, const struct stat *st);
void fsetid_restore(void);
/* For a while as if it had not been dropped; what pause returns goes to resume. */
bool fsetid_pause(void);
void fsetid_resume(bool paused);

/* ---- dirs.c: a position in an open directory; -errno in *ret_err */
struct dirh;
struct dirh *dirh_new(struct fs *f, struct node *n, int *ret_err);
void dirh_free(struct dirh *d);

/* ---- reply helpers */
/* epoch: of tier_attr_epoch, from before st was read. */
double attr_timeout(const struct fs *f, struct node *n, const struct stat *st, unsigned epoch);
void fill_attr(struct fuse_attr *a, const struct stat *st);
/* The answers to OPEN, CREATE and TMPFILE, in the kernel's own structures: libfuse 3.14 has no
 * passthrough. */
void open_out(struct abi_open_out *out, uint64_t fh, const struct file *file);
/* Give an open file its handle. */
int handle_file(struct fs *f, struct node *n, int flags, struct file *file,
		struct abi_open_out *out);
void created_out(struct fuse_entry_out *out, struct node *n, const struct stat *st);
void reply_err(fuse_req_t req, int err); /* 0 or -errno; maps internal errors to EIO */
/* Look name up below dir and reply (the lookup count is given back when that fails). -errno: not
 * replied. */
int reply_lookup(fuse_req_t req, struct node *dir, const char *name);
int node_get(fuse_req_t req, fuse_ino_t ino, struct node **ret);

/* ---- operations */
extern const struct fuse_lowlevel_ops fs_ops;
void op_lookup(fuse_req_t, fuse_ino_t, const char *);
void op_forget(fuse_req_t, fuse_ino_t, uint64_t);
void op_forget_multi(fuse_req_t, size_t, struct fuse_forget_data *);
void op_mkdir(fuse_req_t, fuse_ino_t, const char *, mode_t);
void op_mknod(fuse_req_t, fuse_ino_t, const char *, mode_t, dev_t);
void op_symlink(fuse_req_t, const char *, fuse_ino_t, const char *);
void op_link(fuse_req_t, fuse_ino_t, fuse_ino_t, const char *);
void op_unlink(fuse_req_t, fuse_ino_t, const char *);
void op_rmdir(fuse_req_t, fuse_ino_t, const char *);
void op_rename(fuse_req_t, fuse_ino_t, const char *, fuse_ino_t, const char *, unsigned);
void op_readlink(fuse_req_t, fuse_ino_t);
void op_getattr(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_setattr(fuse_req_t, fuse_ino_t, struct stat *, int, struct fuse_file_info *);
void op_statfs(fuse_req_t, fuse_ino_t);
void op_create(fuse_req_t, fuse_ino_t, const char *, mode_t, struct fuse_file_info *);
void op_open(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_read(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void op_write(fuse_req_t, fuse_ino_t, const char *, size_t, off_t, struct fuse_file_info *);
void op_release(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_fsync(fuse_req_t, fuse_ino_t, int, struct fuse_file_info *);
void op_fallocate(fuse_req_t, fuse_ino_t, int, off_t, off_t, struct fuse_file_info *);
void op_lseek(fuse_req_t, fuse_ino_t, off_t, int, struct fuse_file_info *);
void op_copy_file_range(fuse_req_t, fuse_ino_t, off_t, struct fuse_file_info *, fuse_ino_t, off_t,
			struct fuse_file_info *, size_t, int);
void op_opendir(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_releasedir(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_readdir(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void op_readdirplus(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void op_fsyncdir(fuse_req_t, fuse_ino_t, int, struct fuse_file_info *);
void op_setxattr(fuse_req_t, fuse_ino_t, const char *, const char *, size_t, int);
void op_getxattr(fuse_req_t, fuse_ino_t, const char *, size_t);
void op_listxattr(fuse_req_t, fuse_ino_t, size_t);
void op_removexattr(fuse_req_t, fuse_ino_t, const char *);
void op_ioctl(fuse_req_t, fuse_ino_t, unsigned, void *, struct fuse_file_info *, unsigned,
	      const void *, size_t, size_t);

/* tmpfile.c: answer FUSE_TMPFILE, which libfuse 3.14 does not know, from the read hook. */
void tmpfile_answer(struct fs *f, int devfd, const uint8_t *req, size_t len);
/* backing.c: let the tier grant passthrough. */
void backing_use(struct fs *f);
void backing_close(void *ctx, int id); /* ctx: the struct fs */
/* Is a SETATTR without any bit the announcement of a write that the kernel does by itself, and
 * which clears setuid and setgid bits? Then they are cleared, *ret is 0 or -errno. */
bool passed_write(fuse_req_t req, struct node *n, int *ret);
/* count.c */
void count_request(struct fs *f, uint32_t opcode);
/* init.c */
void op_init(void *userdata, struct fuse_conn_info *conn);
extern const struct fuse_custom_io fs_io;

#endif
