/* SPDX-License-Identifier: MIT
 * Exit codes of spillfs (also as mount.spillfs) and spillctl. Documented in README.md; never
 * reused. 1, 2 and 32 mean what mount(8) says they mean.
 */
#ifndef SPILL_EXIT_H
#define SPILL_EXIT_H

enum spill_exit {
	EXIT_OK = 0,
	EXIT_USAGE = 1,          /* unknown or contradictory options or arguments */
	EXIT_SYSTEM = 2,         /* out of memory, no /dev/fuse, no permission */
	EXIT_STORE_MISSING = 10, /* STORE does not exist or is not a directory */
	EXIT_STORE_FOREIGN = 11, /* STORE is something else, or belongs to another hot tier */
	EXIT_STORE_CORRUPT = 12, /* STORE is ours but damaged */
	EXIT_STORE_LOCKED = 13,  /* another daemon uses it */
	EXIT_STORE_READONLY = 14,
	EXIT_STORE_FULL = 15,
	EXIT_STORE_INSIDE = 16, /* STORE lies inside DIR or DIR inside STORE */
	EXIT_DIR_BAD = 17,      /* DIR is missing, a symbolic link or not a directory */
	EXIT_DIR_BUSY = 18,     /* something is mounted below DIR */
	EXIT_MOUNTED = 19,      /* DIR is already a spillfs mount */
	EXIT_HOT_BAD = 20,      /* the hot file system lacks something spillfs needs */
	EXIT_NO_DAEMON = 21,    /* spillctl: no mount found, or its daemon does not answer */
	EXIT_FOUND = 22,        /* spillctl check: problems were found */
	EXIT_PARTIAL = 23,      /* spillctl: some paths were not done (the output says which) */
	EXIT_FAILED = 24,       /* spillctl: the operation failed */
	EXIT_STUBS = 25,        /* the guard stays: stubs exist */
	EXIT_UNFIT = 26,        /* spillctl doctor: something is wrong */
	EXIT_NO_ANCHOR = 27,    /* kubelet=anchor, and nothing by which kubelet would find DIR */
	EXIT_TIMEOUT = 28,      /* spillctl wait: not yet so after --timeout */
	EXIT_NO_ROOM = 29,      /* spillctl pin, drain: would not fit in the hot tier */
	EXIT_NOT_UPGRADED = 30, /* spillctl restart: the installed binary did not take over */
	EXIT_MOUNT = 32,        /* any other failure to mount */
};

#endif
