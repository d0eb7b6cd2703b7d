/* SPDX-License-Identifier: MIT
 * src/hot without a tier: the marker codec, the reserved names, and calls on an O_PATH fd.
 */
#include "spill/hot.h"
#include "test.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const struct marker sample = {
	.state = RES_SPILLED,
	.obj = {0x0122334455667788},
	.hash16 = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	.size = 5000,
	.mtime_ns = -1,
	.ctime_ns = 1700000000123456789,
	.ctime_valid = true,
	.blocks = 16,
};

static bool same(const struct marker *a, const struct marker *b)
{
	return a->state == b->state && a->obj.v == b->obj.v && !memcmp(a->hash16, b->hash16, 16) &&
	       a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
	       a->ctime_valid == b->ctime_valid && a->blocks == b->blocks;
}

/* Make the checksum right again after an edit. */
static void reseal(uint8_t *p, size_t len)
{
	put_le32(p + len - 4, (uint32_t)hash64(p, len - 4));
}

TEST(marker_round_trip)
{
	static const enum residency states[] = {RES_SPILLING, RES_SPILLED, RES_RECALLING};
	static const int64_t times[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
	static const uint64_t sizes[] = {0, 1, UINT32_MAX, INT64_MAX};
	uint8_t buf[MARKER_LEN];
	struct marker m, got;

	for (size_t i = 0; i < ARRAY_SIZE(states) * ARRAY_SIZE(times) * ARRAY_SIZE(sizes); i++) {
		m = sample;
		m.state = states[i % 3];
		m.mtime_ns = times[i / 3 % 5];
		m.ctime_ns = times[(i / 3 + 1) % 5];
		m.size = sizes[i / 15];
		m.blocks = i % 2 ? UINT32_MAX : 0;
		m.obj.v = i % 2 ? (UINT64_C(1) << OBJ_ID_BITS) - 1 : 1;
		marker_encode(&m, buf);
		CHECK_EQ(marker_decode(buf, sizeof(buf), &got), 0);
		CHECK(same(&m, &got));
	}
}

TEST(marker_byte_map)
{
	static const uint8_t want[56] = {
		1,    3,    1,    0,    16,   0,    0,    0,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
		0x22, 0x01, 1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,
		13,   14,   15,   16,   0x88, 0x13, 0,    0,    0,    0,    0,    0,    0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x15, 0xcd, 0x85, 0x3d, 0xfe, 0x9c, 0x97, 0x17};
	uint8_t buf[MARKER_LEN];

	marker_encode(&sample, buf);
	CHECK_MEM(buf, want, sizeof(want));
	CHECK_EQ(get_le32(buf + 56), (uint32_t)hash64(buf, 56));
}

TEST(marker_invalid_ctime_is_not_kept)
{
	struct marker m = sample, got;
	uint8_t buf[MARKER_LEN];

	m.ctime_valid = false;
	marker_encode(&m, buf);
	CHECK_EQ(marker_decode(buf, sizeof(buf), &got), 0);
	CHECK(!got.ctime_valid);
	CHECK_EQ(got.ctime_ns, 0);
}

TEST(marker_every_bit_flip)
{
	uint8_t buf[MARKER_LEN];
	struct marker got;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct marker m = sample;

		m.obj.v = seed * 0x9e3779b97f4a7c15 >> (64 - OBJ_ID_BITS);
		m.size = seed * seed;
		marker_encode(&m, buf);
		for (unsigned bit = 0; bit < 8 * MARKER_LEN; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK_EQ(marker_decode(buf, sizeof(buf), &got), -EUCLEAN);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		CHECK_EQ(marker_decode(buf, sizeof(buf), &got), 0);
	}
}

TEST(marker_length)
{
	uint8_t buf[2 * MARKER_LEN] = {0};
	struct marker got;

	marker_encode(&sample, buf);
	for (size_t len = 0; len <= sizeof(buf); len++)
		CHECK_EQ(marker_decode(buf, len, &got), len == MARKER_LEN ? 0 : -EUCLEAN);
	/* Also when the checksum fits the length. */
	for (size_t len = 5; len <= sizeof(buf); len++) {
		marker_encode(&sample, buf);
		reseal(buf, len);
		CHECK_EQ(marker_decode(buf, len, &got), len == MARKER_LEN ? 0 : -EUCLEAN);
	}
}

TEST(marker_version)
{
	uint8_t buf[80] = {0};
	struct marker got;

	marker_encode(&sample, buf);
	buf[0] = 2;
	reseal(buf, MARKER_LEN);
	CHECK_EQ(marker_decode(buf, MARKER_LEN, &got), -EPROTONOSUPPORT);
	reseal(buf, sizeof(buf)); /* a later version may be longer */
	CHECK_EQ(marker_decode(buf, sizeof(buf), &got), -EPROTONOSUPPORT);
	buf[0] = 0;
	reseal(buf, MARKER_LEN);
	CHECK_EQ(marker_decode(buf, MARKER_LEN, &got), -EUCLEAN);
}

/* Well-formed, with a right checksum, and yet impossible. */
TEST(marker_impossible_values)
{
	static const struct {
		unsigned off, len;
		uint8_t val;
	} edits[] = {
		{1, 1, RES_RESIDENT},
		{1, 1, RES_PREMIGRATED},
		{1, 1, RES_PARTIAL},
		{1, 1, 6},
		{1, 1, 0xff},
		{2, 1, 0x03}, /* an unknown flag */
		{2, 1, 0x81},
		{2, 1, 0x00}, /* ctime not valid, but there */
		{3, 1, 1},
		{8, 8, 0},     /* no object */
		{15, 1, 0x08}, /* an object id of 2^59 and more */
		{39, 1, 0x80}, /* a size of 2^63 and more */
	};
	uint8_t buf[MARKER_LEN];
	struct marker got = sample;

	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		marker_encode(&sample, buf);
		memset(buf + edits[i].off, edits[i].val, edits[i].len);
		reseal(buf, sizeof(buf));
		CHECK_EQ(marker_decode(buf, sizeof(buf), &got), -EUCLEAN);
	}
	CHECK(same(&got, &sample)); /* written only on success */
}

TEST(reserved_names)
{
	CHECK(hot_xattr_reserved("trusted.spill"));
	CHECK(hot_xattr_reserved("trusted.spill.root"));
	CHECK(hot_xattr_reserved("trusted.spill."));
	CHECK(!hot_xattr_reserved("trusted.spil"));
	CHECK(!hot_xattr_reserved("trusted.spillway"));
	CHECK(!hot_xattr_reserved("trusted.overlay.opaque"));
	CHECK(!hot_xattr_reserved("user.trusted.spill"));
	CHECK(!hot_xattr_reserved(""));
}

/* From here on system call nr of this process fails with err. */
static bool refuse(unsigned nr, unsigned err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(code), code};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

#define FCHMODAT2 452 /* not in every libc's headers; Linux 6.6 */

enum kernel { AS_IT_IS, WITHOUT, FILTERED, ONLY };

static bool pretend(enum kernel k)
{
	switch (k) {
	case AS_IT_IS:
		return true;
	case WITHOUT:
		return refuse(FCHMODAT2, ENOSYS);
	case FILTERED:
		return refuse(FCHMODAT2, EPERM);
	case ONLY: /* nothing but fchmodat2 changes a mode */
#ifdef SYS_chmod
		if (!refuse(SYS_chmod, EACCES))
			return false;
#endif
		return refuse(SYS_fchmodat, EACCES);
	}
	return false;
}

static bool by_o_path(const char *path)
{
	static const struct timespec times[2] = {{1000, 1}, {2000, 2}};
	static const struct timespec wrong[2] = {{1000, 1}, {2000, 1000000000}};
	struct stat st;
	cleanup_fd int fd = open(path, O_PATH | O_CLOEXEC);

	return fd >= 0 && !hot_chmod(fd, 04711) && !hot_chmod(fd, 04710) &&
	       !hot_utimens(fd, times) && hot_utimens(fd, wrong) == -EINVAL && !fstat(fd, &st) &&
	       (st.st_mode & 07777) == 04710 && st.st_atim.tv_sec == 1000 &&
	       st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 2;
}

TEST(mode_and_times_by_o_path)
{
	char path[128];
	int status;

	snprintf(path, sizeof(path), "%s/file", test_tmpdir());
	cleanup_fd int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	bool there = syscall(FCHMODAT2, -1, "", 0, AT_EMPTY_PATH) && errno == EBADF;

	for (enum kernel k = AS_IT_IS; k <= ONLY; k++) {
		if (k == ONLY && !there)
			continue;
		CHECK(!fchmod(fd, 0600));
		pid_t pid = fork();

		if (!pid)
			_exit(!pretend(k) ? 2 : !by_o_path(path));
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		CHECK_EQ(status, 0);
	}
	CHECK(hot_chmod(-1, 0600) < 0);
	CHECK_EQ(hot_utimens(-1, NULL), -EBADF);
}

TEST_MAIN
