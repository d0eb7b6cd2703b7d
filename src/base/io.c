/* SPDX-License-Identifier: MIT
 * Reads and writes that do all of it. Effects that must survive a crash go through durable.c
 * instead.
 */
#include "spill/base.h"

#include <fcntl.h>
#include <limits.h>

ssize_t pread_full(int fd, void *buf, size_t len, off_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, off + (off_t)done);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int write_full(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Not by st_size: files of /proc and /sys have none. */
int read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	cleanup_free char *buf = NULL;
	size_t len = 0, cap = 0;

	if (fd < 0)
		return -errno;
	max = MIN(max, (size_t)SSIZE_MAX - 2); /* the sums below cannot overflow */
	for (;;) {
		ssize_t n;

		if (len == cap) {
			char *bigger;

			/* One byte beyond max shows that there is more; one is for the NUL. */
			if (cap > max)
				return -EFBIG;
			cap = cap ? MIN(cap * 2, max + 1) : MIN((size_t)4096, max + 1);
			bigger = realloc(buf, cap + 1);
			if (!bigger)
				return -ENOMEM;
			buf = bigger;
		}
		n = read(fd, buf + len, cap - len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!n)
			break;
		len += (size_t)n;
	}
	if (len > max)
		return -EFBIG;
	buf[len] = 0;
	*ret = steal_ptr(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}
