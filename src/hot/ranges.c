/* SPDX-License-Identifier: MIT
 * What of a file is data, and giving all of it back to the file system.
 *
 * Why ranges: natural holes must survive a round trip through the store, and they cost nothing
 * there. Space that was reserved but never written reads as zeros and counts as a hole.
 */
#include "hot_int.h"
#include "spill/durable.h"

#include <fcntl.h>
#include <sys/xattr.h>

/* No file system block or cluster is larger (ext4 bigalloc's limit). */
#define PUNCH_ALIGN ((off_t)1 << 20)
/* st_blocks of a stub whose xattrs needed a block of their own: 64 KiB, the largest block size. */
#define XATTR_BLOCKS 128

/* The next data at or after pos: 1, or 0 when there is none below size, or -errno. */
static int next_range(int fd, uint64_t pos, uint64_t size, struct range *ret)
{
	off_t data, hole;

	if (pos >= size)
		return 0;
	data = lseek(fd, (off_t)pos, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	if ((uint64_t)data >= size)
		return 0;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return errno == ENXIO ? 0 : -errno; /* cut off meanwhile */
	*ret = (struct range){.off = (uint64_t)data,
			      .len = MIN((uint64_t)hole, size) - (uint64_t)data};
	return ret->len > 0;
}

static int append(struct range **list, uint32_t *n, uint32_t *cap, struct range r)
{
	struct range *last = *n ? *list + *n - 1 : NULL, *bigger;

	/* Ranges do not touch, even if someone fills a hole while we look. */
	if (last && last->off + last->len == r.off) {
		last->len += r.len;
		return 0;
	}
	if (*n == HOT_RANGES_MAX)
		return -E2BIG;
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 8;
		bigger = reallocarray(*list, *cap, sizeof(**list));
		if (!bigger)
			return -ENOMEM;
		*list = bigger;
	}
	(*list)[(*n)++] = r;
	return 0;
}

int hot_ranges(int fd, uint64_t size, struct range **ret, uint32_t *ret_n, bool *ret_dense)
{
	cleanup_free struct range *list = NULL;
	uint32_t n = 0, cap = 0;
	uint64_t pos = 0;
	struct range one = {0};
	int r;

	if (size > INT64_MAX)
		return -EINVAL;
	while ((r = next_range(fd, pos, size, &one)) > 0) {
		pos = one.off + one.len;
		r = append(&list, &n, &cap, one);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret_dense = !size || (n == 1 && list[0].len == size);
	*ret_n = *ret_dense ? 0 : n;
	*ret = *ret_n ? steal_ptr(list) : NULL;
	return 0;
}

/* Blocks reserved beyond the end of the file (fallocate, xfs preallocation) survive a punch on
 * ext4; cutting the file at its own size frees them. */
static int drop_reserved(int fd, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_blocks <= XATTR_BLOCKS || (uint64_t)st.st_size != size)
		return 0;
	return d_ftruncate(fd, st.st_size);
}

int hot_punch_all(int fd, uint64_t size)
{
	off_t len;
	int r;

	if (size > INT64_MAX)
		return -EINVAL;
	/* The kernel drops file capabilities on any change of content, a punch included. */
	if (fgetxattr(fd, "security.capability", NULL, 0) >= 0)
		return -EPERM;
	if (!size)
		return 0;
	/* Whole blocks, or the last one is only zeroed. */
	len = (off_t)size;
	if (len <= INT64_MAX - PUNCH_ALIGN)
		len = (len + PUNCH_ALIGN - 1) & ~(PUNCH_ALIGN - 1);
	r = d_punch(fd, 0, len);
	if (r == -EFBIG) /* beyond what this file system can address */
		r = d_punch(fd, 0, (off_t)size);
	if (r < 0)
		return r;
	r = drop_reserved(fd, size);
	return r == -EPERM ? -EIO
			   : r; /* made immutable meanwhile: -EPERM would say "nothing done" */
}
