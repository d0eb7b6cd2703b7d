/* SPDX-License-Identifier: MIT
 * The root record: the xattr trusted.spill.root on the hot directory, which binds it to its store.
 * 48 bytes, little-endian.
 *
 *	off len
 *	  0   1  version, 1
 *	  1   3  0
 *	  4  16  uuid of the store
 *	 20  16  uuid of this hot tier
 *	 36   8  epoch
 *	 44   4  low half of XXH3-64 (seed 0) of bytes 0..43
 *
 * Why: stubs mean something only together with the one store their objects are in, and a tier that
 * was restored from a backup must be noticed (its epoch is behind).
 */
#include "hot_int.h"
#include "spill/durable.h"

#include <sys/xattr.h>

#define ROOT_VERSION 1
#define ROOT_LEN     48

int hot_root_get(const struct hot *h, struct hot_root *ret)
{
	uint8_t p[256];
	ssize_t n = fgetxattr(h->fd, ROOT_XATTR, p, sizeof(p));
	int r;

	if (n < 0)
		return errno == ERANGE ? -EUCLEAN : -errno;
	r = rec_check(p, (size_t)n, ROOT_VERSION, ROOT_LEN);
	if (r < 0)
		return r;
	if (p[1] || p[2] || p[3])
		return -EUCLEAN;
	memcpy(ret->store_uuid, p + 4, 16);
	memcpy(ret->hot_uuid, p + 20, 16);
	ret->epoch = get_le64(p + 36);
	return 0;
}

int hot_root_set(const struct hot *h, const struct hot_root *rec)
{
	uint8_t p[ROOT_LEN] = {ROOT_VERSION};
	int r;

	memcpy(p + 4, rec->store_uuid, 16);
	memcpy(p + 20, rec->hot_uuid, 16);
	put_le64(p + 36, rec->epoch);
	rec_seal(p, ROOT_LEN);
	r = d_fsetxattr(h->fd, ROOT_XATTR, p, sizeof(p));
	return r < 0 ? r : d_fsync(h->fd);
}
