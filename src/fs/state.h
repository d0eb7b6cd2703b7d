/* SPDX-License-Identifier: MIT
 * What must outlive the daemon, in a memfd that the supervisor holds: the kernel's INIT, the
 * handles it was given, and what was being done. Shared memory of processes on one machine: no byte
 * order; written so that a process killed between any two stores leaves it usable. A live upgrade
 * hands it to another binary, so its layout has a name (fs_state_format), to be changed with it.
 */
#ifndef FS_STATE_H
#define FS_STATE_H

#include "spill/fs.h"
#include "spill/hot.h"

#include <stdatomic.h>

#define STATE_SLOTS   (1u << 20) /* open handles; sparse, 80 bytes each */
#define STATE_WORKERS 256
#define STATE_OLD     4096 /* intents of daemons before: 16 deaths in a row */
#define STATE_INIT    256

/* A handle that the kernel has, or was about to be given. */
struct state_slot {
	_Atomic uint32_t
		kind; /* enum handle_kind; stored last when a slot is taken, first when freed */
	uint32_t gen; /* of the slot's uses */
	uint64_t
		unique; /* the request that asked for it: when that comes again, it has no answer */
	uint64_t nodeid;
	int32_t flags;   /* of the open */
	int32_t backing; /* id, or 0: mediated */
	struct hot_fh fh;
};

/* A change that cannot simply be made again, begun and maybe done. */
struct state_intent {
	_Atomic uint64_t unique; /* 0: none; stored last */
	int64_t begun_ns;        /* wall clock, as coarse as the file systems' times */
	uint64_t a, b;           /* what the operation wants to know again */
};

/* What a thread works on, alone on its cache line. */
struct state_doing {
	_Alignas(64) _Atomic uint64_t unique; /* 0: nothing; stored last */
	uint64_t nodeid;
	uint32_t opcode;
};

/* What a thread has begun and the next daemon must mend, see mend.c. */
struct state_end {
	_Alignas(
		64) _Atomic int32_t floor; /* a backing id is being made, not below this; 0: none */
	_Atomic int32_t made, released;    /* the last backing ids of this thread */
	_Atomic uint32_t caps_len;         /* 0: no capabilities to be restored; stored last */
	uint64_t nodeid;
	struct hot_fh fh;
	uint8_t caps[64];
};

/* What was being worked on when daemons died, see poison.c. */
#define STATE_SUSPECTS STATE_WORKERS
struct state_suspect {
	uint64_t unique; /* 0: free */
	uint64_t nodeid;
	uint32_t opcode;
	uint16_t deaths;
	uint16_t now; /* at the last death too */
};

struct state {
	char format[16]; /* fs_state_format; the size of this struct is checked too */
	uint64_t size;
	char refused[FS_REFUSED_MAX]; /* the supervisor's: why a new binary did not take over */
	uint32_t init_len;            /* 0: not answered yet */
	uint32_t granted; /* with init_len: ABI flags >> 16 of what the kernel was promised */
	uint32_t old_pos; /* next of old[] */
	_Atomic uint32_t nslots;
	_Atomic uint64_t lives, again; /* daemons so far, requests that came again */
	_Atomic uint32_t dev_minor;    /* of the mount: its connection's number, 0: not known yet */
	_Atomic uint64_t progress;     /* requests taken, and ticks of long work */
	uint8_t init[STATE_INIT];
	_Atomic uint32_t own_fault; /* the supervisor's: nobody else has ended the daemon */
	uint32_t npoison;           /* refused so far, the last of them in poison[] */
	_Atomic uint64_t refusals;  /* requests answered for that with EIO */
	struct {
		uint64_t nodeid;
		uint32_t opcode;
	} poison[16];
	struct state_suspect suspects[STATE_SUSPECTS];
	struct state_doing doing[STATE_WORKERS];
	uint32_t gen_base; /* of handles given since the state was lost, see lost.c */
	bool handles_lost;
	_Atomic int32_t backing_max; /* the highest id seen */
	struct state_end ends[STATE_WORKERS];
	struct state_intent now[STATE_WORKERS];
	struct state_intent old[STATE_OLD];
	struct state_slot slots[STATE_SLOTS];
};

extern const char fs_state_format[16];

/* A new, empty one in the memfd. */
int fs_state_init(int fd);
/* Map the memfd of fs_state_new. -EPROTONOSUPPORT: another version's. */
int state_map(int fd, struct state **ret);
void state_unmap(struct state *s);
/* After a death: what was being done becomes what was being done before. */
void state_inherit(struct state *s);
/* The intent of a request that comes again, or NULL: it was not begun. */
const struct state_intent *state_find(const struct state *s, uint64_t unique);

#endif
