/* SPDX-License-Identifier: MIT
 * The few FUSE protocol numbers that Debian 12's <linux/fuse.h> (7.38) or libfuse 3.14 lack or
 * hide. Source: the kernel's include/uapi/linux/fuse.h; the version that brought each is behind it.
 */
#ifndef FS_ABI_H
#define FS_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

#define ABI_INIT_EXT           (1u << 30) /* 7.36: flags2 is valid */
#define ABI_HANDLE_KILLPRIV_V2 (1u << 28) /* 7.33 */

#define ABI_WRITEBACK_CACHE (1u << 16) /* 7.23 */

#define ABI_PASSTHROUGH (1ull << 37) /* 7.40 */
#define ABI_HAS_RESEND  (1ull << 39) /* 7.41 */

#define ABI_UNIQUE_RESEND (1ull << 63) /* fuse_in_header.unique of a request that comes again */
#define ABI_NOTIFY_RESEND 7            /* fuse_out_header.error with unique 0 */

/* struct fuse_init_out: bytes from its begin */
#define ABI_INIT_OUT_FLAGS2      32 /* u32, 7.36 */
#define ABI_INIT_OUT_STACK_DEPTH 36 /* u32, 7.40 */

#define ABI_FOPEN_PASSTHROUGH (1u << 7) /* fuse_open_out.open_flags, 7.40 */

/* struct fuse_backing_map, 7.40 */
struct abi_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define ABI_BACKING_OPEN  _IOW(229, 1, struct abi_backing_map)
#define ABI_BACKING_CLOSE _IOW(229, 2, uint32_t)

/* struct fuse_open_out since 7.40: the last word was padding */
struct abi_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

#define ABI_OP_INIT    26
#define ABI_OP_TMPFILE 51 /* 7.37 */

#define ABI_FATTR_KILL_SUIDGID (1u << 11) /* fuse_setattr_in.valid, 7.33 */
#define ABI_WRITE_KILL_SUIDGID (1u << 2)  /* fuse_write_in.write_flags, 7.33 */
#define ABI_OPEN_KILL_SUIDGID                                                                      \
	(1u << 0) /* fuse_open_in.open_flags, fuse_create_in.open_flags, 7.33 */

#endif
