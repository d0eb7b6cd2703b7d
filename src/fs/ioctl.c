/* SPDX-License-Identifier: MIT
 * The few ioctls that belong to files: inode flags (chattr) and project ids. The kernel's FUSE
 * client turns FS_IOC_*FLAGS and FS_IOC_FS*XATTR into these; everything else is ENOTTY, as for any
 * file that lacks it.
 */
#include "fs_int.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in_buf, size_t in_size, size_t out_size)
{
	struct fs *f = fs_of(req);
	uint8_t data[64] = {0};
	struct node *n;
	int r;

	(void)arg;
	(void)fi;
	(void)flags;
	if (cmd != FS_IOC_GETFLAGS && cmd != FS_IOC_SETFLAGS && cmd != FS_IOC_FSGETXATTR &&
	    cmd != FS_IOC_FSSETXATTR && cmd != FS_IOC_GETVERSION) {
		reply_err(req, -ENOTTY);
		return;
	}
	if (in_size > sizeof(data) || out_size > sizeof(data)) {
		reply_err(req, -EINVAL);
		return;
	}
	r = node_get(req, ino, &n);
	if (r) {
		reply_err(req, r);
		return;
	}
	/* A descriptor of its own: the one behind fi may be missing (a stub). */
	cleanup_fd int fd = tier_node_open(f->t, n, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);

	memcpy(data, in_buf, in_size);
	if (fd < 0)
		r = fd;
	else if (ioctl(fd, cmd, data))
		r = -errno;
	if (!r && (cmd == FS_IOC_SETFLAGS || cmd == FS_IOC_FSSETXATTR))
		tier_meta_changed(f->t, n);
	tier_put(f->t, n);
	if (r)
		reply_err(req, r);
	else
		fuse_reply_ioctl(req, 0, data, out_size);
}
