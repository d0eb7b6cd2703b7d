/* SPDX-License-Identifier: MIT
 * Backing files: what the kernel reads and writes by itself for a passthrough open (Linux 6.9).
 *
 * It does so with our credentials, so its writes clear no setuid and setgid bits. But a write that
 * has to is announced by a SETATTR without any bit, in the writer's name (passed_write).
 */
#include "fs_int.h"

#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int backing_open(void *ctx, int fd)
{
	struct fs *f = ctx;
	struct abi_backing_map m = {.fd = fd};

	end_backing_begin(f);
	bool paused = fsetid_pause(); /* others will write by it too */
	int r = ioctl(f->dev_fd, ABI_BACKING_OPEN, &m);
	int err = errno;

	fsetid_resume(paused);
	end_backing_made(f, r);
	return r < 0 ? -err : r;
}

void backing_close(void *ctx, int id)
{
	struct fs *f = ctx;
	uint32_t v = (uint32_t)id;

	if (ioctl(f->dev_fd, ABI_BACKING_CLOSE, &v) < 0)
		log_debug("backing %d: %s", id, strerror(errno));
}

bool passed_write(fuse_req_t req, struct node *n, int *ret)
{
	struct fs *f = fs_of(req);
	struct node_fd fd;
	struct stat st;

	if (!tier_passed_writers(n) || tier_getattr(f->t, n, &st) ||
	    !(st.st_mode & (S_ISUID | S_ISGID)) || caller_has_cap(req, CAP_FSETID))
		return false;
	mode_t mode = st.st_mode & 07777 & ~(mode_t)S_ISUID;

	if (mode & S_IXGRP || !caller_in_group(req, st.st_gid))
		mode &= ~(mode_t)S_ISGID;
	*ret = tier_fd_get(f->t, n, &fd);
	if (!*ret) {
		*ret = hot_chmod(fd.fd, mode);
		tier_fd_put(f->t, &fd);
	}
	return true;
}

bool fs_passthrough(const struct fs *f)
{
	return f->pass;
}

bool fs_writeback(const struct fs *f)
{
	return f->writeback;
}

void backing_use(struct fs *f)
{
	const struct tier_backing b = {backing_open, backing_close, f};

	tier_use_passthrough(f->t, &b);
}
