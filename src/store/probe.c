/* SPDX-License-Identifier: MIT
 * Does the store's disk still answer? statfs(2) does not tell: local file systems answer it from
 * memory.
 */
#include "store_int.h"

#include <fcntl.h>

#define BLOCK 4096

int store_probe(struct store *s)
{
	cleanup_fd int fd = openat(s->dirfd, "STORE", O_RDONLY | O_CLOEXEC | O_DIRECT | O_NOFOLLOW);
	cleanup_free void *buf = NULL;

	if (fd < 0)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	if (posix_memalign(&buf, BLOCK, BLOCK))
		return -ENOMEM;
	ssize_t n = pread(fd, buf, BLOCK, 0);

	if (n < 0)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	return n ? 0 : -EIO;
}
