/* SPDX-License-Identifier: MIT
 * LD_PRELOAD: a kernel that refuses backing files (FUSE_DEV_IOC_BACKING_OPEN), as far as spillfs
 *can tell.
 *
 *	REFUSE_BACKING=ERRNO	all of them
 *	REFUSE_BACKING=path	those given as O_PATH descriptors, as Linux 6.9 to 6.11 do (fget in
 *				fuse_backing_open, fs/fuse/passthrough.c)
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, ...);
	const char *what = getenv("REFUSE_BACKING");
	va_list ap;

	va_start(ap, request);
	void *arg = va_arg(ap, void *);

	va_end(ap);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ioctl");
	if (request == BACKING_OPEN && what) {
		const struct backing_map *m = arg;
		int flags = fcntl(m->fd, F_GETFL);

		errno = strcmp(what, "path") != 0 ? atoi(what) : flags & O_PATH ? EBADF : 0;
		if (errno)
			return -1;
	}
	return real(fd, request, arg);
}
