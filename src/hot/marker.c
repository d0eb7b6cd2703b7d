/* SPDX-License-Identifier: MIT
 * The stub marker: the xattr trusted.spill, which says that a file's data is in the store and
 * which object it is. 60 bytes, little-endian; small because it has to fit into a 256-byte ext4
 * inode beside the attributes an image brings along.
 *
 *	off len
 *	  0   1  version, 1
 *	  1   1  state (enum residency): 2 spilling, 3 spilled, 4 recalling, 5 partial
 *	  2   1  flags: bit 0 the ctime is valid; the others are 0
 *	  3   1  0
 *	  4   4  st_blocks before the punch, 512-byte units, saturating
 *	  8   8  object id, not 0, below 2^59
 *	 16  16  first half of the object's SHA-256
 *	 32   8  size, bytes, at most 2^63 - 1
 *	 40   8  mtime, signed nanoseconds since the epoch
 *	 48   8  ctime, likewise; 0 when it is not valid
 *	(partial: all of 2..55 is 0; the file's size and times are the inode's own)
 *	 56   4  low half of XXH3-64 (seed 0) of bytes 0..55
 *
 * Every version keeps the version byte first and the checksum last, over all that is before it.
 * So damage to the version byte is seen as damage, not as a marker from the future.
 *
 * Invariant: one marker has exactly one encoding, and decode accepts nothing else. Reading a
 * damaged marker as none at all would serve a punched file's zeros as its content.
 */
#include "hot_int.h"
#include "spill/durable.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define MARKER_VERSION     1
#define MARKER_CTIME_VALID 0x01
#define MARKER_SUM_OFF     (MARKER_LEN - REC_SUM_LEN)
_Static_assert(MARKER_SUM_OFF == 56, "the byte map above");

void rec_seal(uint8_t *rec, size_t len)
{
	put_le32(rec + len - REC_SUM_LEN, (uint32_t)hash64(rec, len - REC_SUM_LEN));
}

int rec_check(const uint8_t *rec, size_t len, uint8_t version, size_t want_len)
{
	if (len <= REC_SUM_LEN)
		return -EUCLEAN;
	if (get_le32(rec + len - REC_SUM_LEN) != (uint32_t)hash64(rec, len - REC_SUM_LEN))
		return -EUCLEAN;
	if (rec[0] > version)
		return -EPROTONOSUPPORT;
	return rec[0] == version && len == want_len ? 0 : -EUCLEAN;
}

static bool state_ok(unsigned state)
{
	return state == RES_SPILLING || state == RES_SPILLED || state == RES_RECALLING ||
	       state == RES_PARTIAL;
}

static bool all_zero(const struct marker *m)
{
	static const uint8_t none[16];

	return !m->obj.v && !m->size && !m->mtime_ns && !m->ctime_ns && !m->ctime_valid &&
	       !m->blocks && !memcmp(m->hash16, none, sizeof(none));
}

void marker_encode(const struct marker *m, uint8_t out[MARKER_LEN])
{
	assert(state_ok(m->state) && m->size <= INT64_MAX);
	assert(m->state == RES_PARTIAL ? all_zero(m) : m->obj.v && !(m->obj.v >> OBJ_ID_BITS));
	out[0] = MARKER_VERSION;
	out[1] = (uint8_t)m->state;
	out[2] = m->ctime_valid ? MARKER_CTIME_VALID : 0;
	out[3] = 0;
	put_le32(out + 4, m->blocks);
	put_le64(out + 8, m->obj.v);
	memcpy(out + 16, m->hash16, 16);
	put_le64(out + 32, m->size);
	put_le64(out + 40, (uint64_t)m->mtime_ns);
	put_le64(out + 48, m->ctime_valid ? (uint64_t)m->ctime_ns : 0);
	rec_seal(out, MARKER_LEN);
}

int marker_decode(const void *buf, size_t len, struct marker *ret)
{
	const uint8_t *p = buf;
	struct marker m = {0};
	int r = rec_check(p, len, MARKER_VERSION, MARKER_LEN);

	if (r < 0)
		return r;
	if (!state_ok(p[1]) || p[2] & ~MARKER_CTIME_VALID || p[3])
		return -EUCLEAN;
	m.state = p[1];
	m.ctime_valid = p[2] & MARKER_CTIME_VALID;
	m.blocks = get_le32(p + 4);
	m.obj.v = get_le64(p + 8);
	memcpy(m.hash16, p + 16, 16);
	m.size = get_le64(p + 32);
	m.mtime_ns = (int64_t)get_le64(p + 40);
	m.ctime_ns = (int64_t)get_le64(p + 48);
	if (m.size > INT64_MAX || (!m.ctime_valid && m.ctime_ns))
		return -EUCLEAN;
	if (m.state == RES_PARTIAL ? !all_zero(&m) : !m.obj.v || m.obj.v >> OBJ_ID_BITS)
		return -EUCLEAN;
	*ret = m;
	return 0;
}

int hot_marker_get(int fd, struct marker *ret)
{
	uint8_t buf[256]; /* room for a later version's */
	ssize_t n = fgetxattr(fd, MARKER_XATTR, buf, sizeof(buf));

	if (n < 0 && errno == EBADF) {
		char path[32];

		/* An O_PATH fd: only paths will do. */
		n = getxattr(hot_fd_path(fd, path), MARKER_XATTR, buf, sizeof(buf));
		if (n < 0 && errno == ENOENT)
			return -EBADF;
	}
	if (n < 0)
		return errno == ERANGE ? -EUCLEAN : -errno;
	return marker_decode(buf, (size_t)n, ret);
}

/* Linux 6.13, uapi/asm-generic/unistd.h and uapi/linux/xattr.h. */
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif
struct getxattrat_args {
	uint64_t value;
	uint32_t size, flags;
};

int hot_marker_get_at(int dirfd, const char *name, const struct stat *st, struct marker *ret)
{
	static atomic_bool missing;
	uint8_t buf[256];
	struct getxattrat_args args = {.value = (uintptr_t)buf, .size = sizeof(buf)};
	struct timespec young;
	struct stat now;

	/* As in identify_fast: in one tick, or in the same second, a name may be exchanged and
	 * exchanged back. */
	clock_gettime(CLOCK_REALTIME_COARSE, &young);
	if (st->st_ctim.tv_sec >= young.tv_sec - 2)
		return -EAGAIN;
	if (atomic_load_explicit(&missing, memory_order_relaxed))
		return -EAGAIN;
	long n = syscall(SYS_getxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, MARKER_XATTR, &args,
			 sizeof(args));
	int err = n < 0 ? errno : 0;

	if (err == ENOSYS || err == EPERM) /* a seccomp filter's way to say the same */
		atomic_store(&missing, true);
	if (err && err != ENODATA)
		return -EAGAIN;
	/* Each change of an xattr changes ctime, and so does a rename. */
	if (fstatat(dirfd, name, &now, AT_SYMLINK_NOFOLLOW) || now.st_ino != st->st_ino ||
	    now.st_dev != st->st_dev || now.st_ctim.tv_sec != st->st_ctim.tv_sec ||
	    now.st_ctim.tv_nsec != st->st_ctim.tv_nsec)
		return -EAGAIN;
	return err ? -err : marker_decode(buf, (size_t)n, ret);
}

int hot_marker_set(int fd, const struct marker *m)
{
	uint8_t buf[MARKER_LEN];

	marker_encode(m, buf);
	return d_fsetxattr(fd, MARKER_XATTR, buf, sizeof(buf));
}

int hot_marker_drop(int fd)
{
	return d_fremovexattr(fd, MARKER_XATTR);
}
