/* SPDX-License-Identifier: MIT
 * A loop device for the guard's image: read-only, and gone by itself with its last user
 * (autoclear), so that no unmount, however it is done, leaks one.
 */
#include "mnt_int.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>

#ifndef LOOP_CONFIGURE /* Linux 5.8 */
#define LOOP_CONFIGURE 0x4C0A
struct loop_config {
	uint32_t fd, block_size;
	struct loop_info64 info;
	uint64_t reserved[8];
};
#endif

#define LOOP_TRIES 64

int loop_attach(int backing_fd, char dev[32])
{
	cleanup_fd int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (ctl < 0)
		return -errno;
	for (int i = 0; i < LOOP_TRIES; i++) {
		struct loop_config c = {
			.fd = (uint32_t)backing_fd,
			.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY,
		};
		cleanup_fd int fd = -1;
		int n = ioctl(ctl, LOOP_CTL_GET_FREE);

		if (n < 0)
			return -errno;
		snprintf(dev, 32, "/dev/loop%d", n);
		fd = open(dev, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		snprintf((char *)c.info.lo_file_name, LO_NAME_SIZE, "%s", GUARD_TMPFS_SOURCE);
		if (ioctl(fd, LOOP_CONFIGURE, &c) == 0)
			return steal_fd(&fd);
		/* Somebody took the free one first: ask again. */
		if (errno != EBUSY)
			return -errno;
	}
	return -EBUSY;
}

int loop_backing(unsigned major, unsigned minor, char **ret)
{
	static const char gone[] = " (deleted)"; /* as d_path() ends */
	char path[64];
	size_t len;
	int r;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/loop/backing_file", major, minor);
	r = read_file(AT_FDCWD, path, 8192, ret, &len);
	if (r < 0)
		return r;
	if (len && (*ret)[len - 1] == '\n')
		(*ret)[--len] = 0;
	/* Whoever tidied /run up took the name away, not the guard. */
	if (len > strlen(gone) && !strcmp(*ret + len - strlen(gone), gone))
		(*ret)[len - strlen(gone)] = 0;
	return 0;
}
