/* SPDX-License-Identifier: MIT
 * Requests by kind: how often the kernel asked. Each is a round trip, which is what operations
 * cost.
 */
#include "fs_int.h"

/* By opcode, include/uapi/linux/fuse.h. */
static const char *const names[FS_OPCODES] = {
	[1] = "LOOKUP",        [2] = "FORGET",     [3] = "GETATTR",
	[4] = "SETATTR",       [5] = "READLINK",   [6] = "SYMLINK",
	[8] = "MKNOD",         [9] = "MKDIR",      [10] = "UNLINK",
	[11] = "RMDIR",        [12] = "RENAME",    [13] = "LINK",
	[14] = "OPEN",         [15] = "READ",      [16] = "WRITE",
	[17] = "STATFS",       [18] = "RELEASE",   [20] = "FSYNC",
	[21] = "SETXATTR",     [22] = "GETXATTR",  [23] = "LISTXATTR",
	[24] = "REMOVEXATTR",  [25] = "FLUSH",     [26] = "INIT",
	[27] = "OPENDIR",      [28] = "READDIR",   [29] = "RELEASEDIR",
	[30] = "FSYNCDIR",     [34] = "ACCESS",    [35] = "CREATE",
	[36] = "INTERRUPT",    [38] = "DESTROY",   [39] = "IOCTL",
	[42] = "BATCH_FORGET", [43] = "FALLOCATE", [44] = "READDIRPLUS",
	[45] = "RENAME2",      [46] = "LSEEK",     [47] = "COPY_FILE_RANGE",
	[50] = "SYNCFS",       [51] = "TMPFILE",   [52] = "STATX",
};

void count_request(struct fs *f, uint32_t opcode)
{
	if (opcode < FS_OPCODES)
		atomic_fetch_add_explicit(&f->requests[opcode], 1, memory_order_relaxed);
}

void fs_lives(const struct fs *f, uint64_t *ret_lives, uint64_t *ret_again)
{
	*ret_lives = atomic_load(&f->state->lives);
	*ret_again = atomic_load(&f->state->again);
}

uint64_t fs_lost(const struct fs *f)
{
	return atomic_load(&f->lost);
}

uint64_t fs_requests(const struct fs *f, unsigned opcode, const char **ret_name)
{
	*ret_name = opcode < FS_OPCODES ? names[opcode] : NULL;
	return opcode < FS_OPCODES
		       ? atomic_load_explicit(&f->requests[opcode], memory_order_relaxed)
		       : 0;
}
