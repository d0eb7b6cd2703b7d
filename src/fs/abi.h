/* SPDX-License-Identifier: MIT
 * The few FUSE protocol numbers that Debian 12's <linux/fuse.h> (7.38) or libfuse 3.14 lack or
 * hide. Source: the kernel's include/uapi/linux/fuse.h; the version that brought each is behind it.
 */
#ifndef FS_ABI_H
#define FS_ABI_H

#define ABI_INIT_EXT           (1u << 30) /* 7.36: flags2 is valid */
#define ABI_HANDLE_KILLPRIV_V2 (1u << 28) /* 7.33 */

#define ABI_OP_INIT    26
#define ABI_OP_TMPFILE 51 /* 7.37 */

#define ABI_FATTR_KILL_SUIDGID (1u << 11) /* fuse_setattr_in.valid, 7.33 */
#define ABI_WRITE_KILL_SUIDGID (1u << 2)  /* fuse_write_in.write_flags, 7.33 */
#define ABI_OPEN_KILL_SUIDGID                                                                      \
	(1u << 0) /* fuse_open_in.open_flags, fuse_create_in.open_flags, 7.33 */

#endif
