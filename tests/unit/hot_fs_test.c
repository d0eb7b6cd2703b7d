/* SPDX-License-Identifier: MIT
 * src/hot on real file systems: identity and handles, stubs, ranges, the root record.
 */
#include "spill/hot.h"
#include "loopfs.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define KIB 1024u
#define MIB (1024u * 1024)

static const struct loopfs *cur; /* which file system the running body is on */

#define ON_ONE(fs, name)                                                                           \
	TEST(fs##_##name)                                                                          \
	{                                                                                          \
		cur = &loopfs_##fs;                                                                \
		loopfs_run(cur, name);                                                             \
	}
/* xfs32 differs in its handles only. */
#define ON_ALL(name)     ON_ONE(ext4, name) ON_ONE(xfs, name) ON_ONE(btrfs, name)
#define ON_HANDLES(name) ON_ALL(name) ON_ONE(xfs32, name)

struct who {
	struct stat st;
	struct hot_fh fh;
	uint64_t nodeid;
};

static struct hot *open_hot(const char *dir)
{
	cleanup_fd int fd = open(dir, O_PATH | O_DIRECTORY);
	const char *why = "?";
	struct hot *h = NULL;
	int r = hot_open(&h, fd, &why);

	if (r < 0)
		TEST_FAIL("hot_open: %s (%s)", strerror(-r), why);
	return h;
}

static int who_is(struct hot *h, const char *name, struct who *w)
{
	return hot_identify(h, hot_root_fd(h), name, &w->st, &w->fh, &w->nodeid);
}

static bool same_fh(const struct hot_fh *a, const struct hot_fh *b)
{
	return a->type == b->type && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

static bool same_who(const struct who *a, const struct who *b)
{
	return a->st.st_ino == b->st.st_ino && a->nodeid == b->nodeid && same_fh(&a->fh, &b->fh);
}

/* A file of len bytes of data, on disk. */
static int make(struct hot *h, const char *name, size_t len)
{
	int fd = openat(hot_root_fd(h), name, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644);
	static const char page[4096] = {"data"};

	for (size_t done = 0; done < len; done += sizeof(page))
		if (pwrite(fd, page, MIN(sizeof(page), len - done), (off_t)done) < 0)
			return -1;
	fsync(fd);
	return fd;
}

/* ---- identity ------------------------------------------------------------------------------- */

static void rename_and_link(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct who a, b;
	int root;

	CHECK(h);
	root = hot_root_fd(h);
	CHECK_EQ(mkdirat(root, "d", 0755), 0);
	close(make(h, "f", 10));
	CHECK_EQ(who_is(h, "f", &a), 0);
	CHECK(a.nodeid > 1);
	CHECK_EQ(a.st.st_size, 10);
	CHECK_EQ(renameat(root, "f", root, "d/g"), 0);
	CHECK_EQ(linkat(root, "d/g", root, "l", 0), 0);
	CHECK_EQ(who_is(h, "f", &b), -ENOENT);
	CHECK_EQ(who_is(h, "d/g", &b), 0);
	CHECK(same_who(&a, &b));
	CHECK_EQ(who_is(h, "l", &b), 0);
	CHECK(same_who(&a, &b));
	CHECK_EQ(b.st.st_nlink, 2);
	hot_close(h);
}
ON_ALL(rename_and_link)

/* By the two-call path (nothing happened for seconds), the careful one, and a descriptor. */
static void settled(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct who fresh, old, byfd;
	int fd;

	CHECK(h);
	fd = make(h, "f", 10);
	CHECK_EQ(who_is(h, "f", &fresh), 0);
	sleep(4);
	CHECK_EQ(who_is(h, "f", &old), 0);
	CHECK(same_who(&fresh, &old));
	CHECK_EQ(hot_identify(h, fd, "", &byfd.st, &byfd.fh, &byfd.nodeid), 0);
	CHECK(same_who(&fresh, &byfd));
	close(fd);
	hot_close(h);
}
ON_ONE(ext4, settled)

static void round_trip(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct hot_fh fh;
	struct hot_id id;
	struct who a;

	CHECK(h);
	close(make(h, "f", 10));
	CHECK_EQ(who_is(h, "f", &a), 0);
	CHECK(hot_fh_of_nodeid(h, a.nodeid, &fh));
	CHECK(same_fh(&a.fh, &fh));
	id = hot_id_of_fh(h, &a.fh, a.st.st_ino);
	CHECK_EQ(id.ino, a.st.st_ino);
	CHECK_EQ((uint64_t)id.gen << 32 | id.ino, a.nodeid);
	CHECK(hot_fh_of_id(h, id, &fh));
	CHECK(same_fh(&a.fh, &fh));
	CHECK(!hot_fh_of_nodeid(h, 0, &fh));
	CHECK(!hot_fh_of_nodeid(h, 1, &fh));
	CHECK_EQ(hot_dev(h), a.st.st_dev);
	/* The root itself is a good citizen, too. */
	CHECK_EQ(who_is(h, "", &a), 0);
	CHECK(a.nodeid > 1);
	hot_close(h);
}
ON_HANDLES(round_trip)

static void reuse(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct who first, again;
	int fd;

	CHECK(h);
	close(make(h, "f", 10));
	CHECK_EQ(who_is(h, "f", &first), 0);
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(unlinkat(hot_root_fd(h), "f", 0), 0);
		CHECK_EQ(hot_open_fh(h, &first.fh, O_PATH), -ESTALE);
		close(make(h, "f", 0));
		CHECK_EQ(who_is(h, "f", &again), 0);
		CHECK(again.nodeid != first.nodeid);
		CHECK(!same_fh(&again.fh, &first.fh));
		if (again.st.st_ino == first.st.st_ino)
			break;
	}
	if (hot_fs_type(h) != HOT_BTRFS) /* which never gives a number twice */
		CHECK_EQ(again.st.st_ino, first.st.st_ino);
	CHECK_EQ(hot_open_fh(h, &first.fh, O_RDONLY), -ESTALE);
	fd = hot_open_fh(h, &again.fh, O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	hot_close(h);
}
ON_HANDLES(reuse)

/* An inode of generation 0, as mke2fs -d makes them: the kernel's handle matches any successor. */
static const struct loopfs loopfs_ext4pop = {"ext4", "mkfs.ext4 -q -F -I 256 -d src", "loop", 48,
					     "mkdir -p src && echo x > src/f"};
static void generation_zero(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct who first, again;
	struct hot_fh fh;
	int fd;

	CHECK(h);
	CHECK_EQ(who_is(h, "f", &first), 0);
	CHECK_EQ(first.nodeid, first.st.st_ino);
	fd = hot_open_fh(h, &first.fh, O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(unlinkat(hot_root_fd(h), "f", 0), 0);
	close(make(h, "f", 10));
	CHECK_EQ(who_is(h, "f", &again), 0);
	CHECK_EQ(again.st.st_ino, first.st.st_ino);
	CHECK(hot_fh_of_nodeid(h, first.nodeid, &fh));
	CHECK_EQ(hot_open_fh(h, &fh, O_PATH), -ESTALE);
	hot_close(h);
}
ON_ONE(ext4pop, generation_zero)

static void kinds(const char *dir)
{
	static const char *const names[] = {"dir", "lnk", "fifo", "dev", "reg"};
	struct hot *h = open_hot(dir);
	char target[16] = "";
	struct stat st;
	struct who w;
	int root;

	CHECK(h);
	root = hot_root_fd(h);
	CHECK_EQ(mkdirat(root, "dir", 0755), 0);
	CHECK_EQ(symlinkat("nowhere", root, "lnk"), 0);
	CHECK_EQ(mknodat(root, "fifo", S_IFIFO | 0600, 0), 0);
	CHECK_EQ(mknodat(root, "dev", S_IFCHR | 0600, makedev(0, 0)), 0); /* a whiteout */
	close(make(h, "reg", 10));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_fd int fd = -1;

		CHECK_EQ(who_is(h, names[i], &w), 0);
		CHECK(w.nodeid > 1);
		fd = hot_open_fh(h, &w.fh, O_PATH);
		CHECK(fd >= 0);
		CHECK_EQ(fstat(fd, &st), 0);
		CHECK_EQ(st.st_ino, w.st.st_ino);
		CHECK_EQ(st.st_mode, w.st.st_mode);
		if (S_ISLNK(st.st_mode)) {
			CHECK_EQ(readlinkat(fd, "", target, sizeof(target)), 7);
			CHECK_STR(target, "nowhere");
		}
		if (S_ISDIR(st.st_mode)) {
			int again = hot_reopen(fd, O_RDONLY | O_DIRECTORY);

			CHECK(again >= 0);
			close(again);
		}
	}
	hot_close(h);
}
ON_HANDLES(kinds)

static void after_remount(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct who a, b;
	int fd;

	CHECK(h);
	close(make(h, "f", 10));
	CHECK_EQ(who_is(h, "f", &a), 0);
	hot_close(h);
	CHECK_EQ(loopfs_remount(cur, dir), 0);
	h = open_hot(dir);
	CHECK(h);
	fd = hot_open_fh(h, &a.fh, O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(who_is(h, "f", &b), 0);
	CHECK(same_who(&a, &b));
	hot_close(h);
}
ON_HANDLES(after_remount)

/* Two inodes change places all the time: handle and attributes must be those of one of them. */
static void swapped_meanwhile(const char *dir)
{
	struct hot *h = open_hot(dir);
	uint64_t end = clock_mono_ns() + 300 * 1000 * 1000;
	struct who w;
	struct stat st;
	pid_t pid;
	int root;

	CHECK(h);
	root = hot_root_fd(h);
	close(make(h, "a", 1));
	close(make(h, "b", 2));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		while (clock_mono_ns() < end)
			renameat2(root, "a", root, "b", 2 /* RENAME_EXCHANGE */);
		_exit(0);
	}
	while (clock_mono_ns() < end) {
		cleanup_fd int fd = -1;

		CHECK_EQ(who_is(h, "a", &w), 0);
		fd = hot_open_fh(h, &w.fh, O_PATH);
		CHECK(fd >= 0);
		CHECK_EQ(fstat(fd, &st), 0);
		CHECK_EQ(st.st_ino, w.st.st_ino);
		CHECK_EQ(st.st_size, w.st.st_size);
	}
	waitpid(pid, NULL, 0);
	hot_close(h);
}
ON_ONE(ext4, swapped_meanwhile)

static void subvolume(const char *dir)
{
	struct hot *h;
	struct hot_id id;
	struct who w;
	int fd;

	CHECK_EQ(loopfs_sh("btrfs subvolume create %s/s >/dev/null && touch %s/s/x", dir, dir), 0);
	h = open_hot(dir);
	CHECK(h);
	CHECK_EQ(who_is(h, "s/x", &w), 0);
	CHECK(w.st.st_dev != hot_dev(h));
	CHECK_EQ(w.nodeid, 0);
	id = hot_id_of_fh(h, &w.fh, w.st.st_ino);
	CHECK_EQ(id.ino, 0);
	fd = hot_open_fh(h, &w.fh, O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	hot_close(h);
}
ON_ONE(btrfs, subvolume)

static void mounted_below(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct who w;
	char sub[256];

	CHECK(h);
	snprintf(sub, sizeof(sub), "%s/sub", dir);
	CHECK_EQ(mkdir(sub, 0755), 0);
	CHECK_EQ(mount("none", sub, "tmpfs", 0, NULL), 0);
	CHECK_EQ(who_is(h, "sub", &w), -EXDEV);
	CHECK_EQ(umount(sub), 0);
	CHECK_EQ(who_is(h, "sub", &w), 0);
	hot_close(h);
}
ON_ONE(ext4, mounted_below)

/* ---- stubs ---------------------------------------------------------------------------------- */

static const struct marker sample = {
	.state = RES_SPILLED, .obj = {7}, .size = 5000, .mtime_ns = 1, .blocks = 16};

/* With its marker, a small file keeps nothing but its inode. */
static void stub(const char *dir)
{
	struct hot *h = open_hot(dir);
	cleanup_fd int fd = -1, pfd = -1;
	struct marker m;
	struct stat st;
	char buf[8];

	CHECK(h);
	fd = make(h, "f", 5000);
	pfd = openat(hot_root_fd(h), "f", O_PATH);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK(st.st_blocks > 0);
	CHECK_EQ(hot_marker_get(fd, &m), -ENODATA);
	CHECK_EQ(hot_marker_get(pfd, &m), -ENODATA);
	CHECK_EQ(hot_marker_set(fd, &sample), 0);
	CHECK_EQ(hot_punch_all(fd, 5000), 0);
	CHECK_EQ(fsync(fd), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_blocks, 0);
	CHECK_EQ(st.st_size, 5000);
	CHECK_EQ(pread(fd, buf, 4, 0), 4);
	CHECK_MEM(buf, "\0\0\0\0", 4);
	CHECK_EQ(hot_marker_get(fd, &m), 0);
	CHECK_EQ(m.obj.v, 7);
	memset(&m, 0, sizeof(m));
	CHECK_EQ(hot_marker_get(pfd, &m), 0);
	CHECK_EQ(m.obj.v, 7);
	CHECK_EQ(fsetxattr(fd, MARKER_XATTR, "junk", 4, 0), 0);
	CHECK_EQ(hot_marker_get(pfd, &m), -EUCLEAN);
	CHECK_EQ(hot_marker_drop(fd), 0);
	CHECK_EQ(hot_marker_get(fd, &m), -ENODATA);
	CHECK_EQ(hot_marker_drop(fd), 0);
	CHECK_EQ(hot_marker_get(1 << 20, &m), -EBADF);
	hot_close(h);
}
ON_ALL(stub)

/* By name: what it says is of the inode that was asked for, or -EAGAIN. */
static void stub_by_name(const char *dir)
{
	struct hot *h = open_hot(dir);
	int root = hot_root_fd(h);
	cleanup_fd int fd = make(h, "g", 5000), other = make(h, "other", 5000);
	struct marker m;
	struct stat st, none;

	CHECK_EQ(hot_marker_set(fd, &sample), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(fstat(other, &none), 0);
	CHECK_EQ(hot_marker_get_at(root, "g", &st, &m), -EAGAIN); /* too young */
	CHECK_EQ(hot_marker_get_at(root, "other", &none, &m), -EAGAIN);
	sleep(4);
	if (hot_marker_get_at(root, "g", &st, &m) == -EAGAIN) {
		CHECK(syscall(464 /* getxattrat */, -1, "", 0, "", NULL, 0) < 0 && errno == ENOSYS);
		hot_close(h); /* before Linux 6.13 */
		return;
	}
	CHECK_EQ(hot_marker_get_at(root, "g", &st, &m), 0);
	CHECK_EQ(m.obj.v, 7);
	CHECK_EQ(hot_marker_get_at(root, "other", &none, &m), -ENODATA);
	CHECK_EQ(hot_marker_get_at(root, "none", &st, &m), -EAGAIN);
	CHECK_EQ(hot_marker_get_at(root, "other", &st, &m), -EAGAIN);
	CHECK_EQ(renameat2(root, "other", root, "g", RENAME_EXCHANGE), 0);
	CHECK_EQ(hot_marker_get_at(root, "g", &st, &m), -EAGAIN);
	hot_close(h);
}
ON_ALL(stub_by_name)

static void punch_sizes(const char *dir)
{
	static const size_t sizes[] = {1, 511, 4095, 4096, 4097, 65537, 3 * MIB + 1};
	struct hot *h = open_hot(dir);
	struct stat st;

	CHECK(h);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_fd int fd = make(h, "f", sizes[i]);

		CHECK_EQ(hot_punch_all(fd, sizes[i]), 0);
		CHECK_EQ(fsync(fd), 0);
		CHECK_EQ(fstat(fd, &st), 0);
		CHECK_EQ(st.st_blocks, 0);
		CHECK_EQ(st.st_size, sizes[i]);
	}
	/* Reserved space beyond the end goes, too. */
	cleanup_fd int fd = make(h, "r", 5000);
	CHECK_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * MIB), 0);
	CHECK_EQ(hot_punch_all(fd, 5000), 0);
	CHECK_EQ(fsync(fd), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_blocks, 0);
	CHECK_EQ(st.st_size, 5000);
	CHECK_EQ(hot_punch_all(fd, 0), 0);
	CHECK_EQ(hot_punch_all(fd, (uint64_t)INT64_MAX + 1), -EINVAL);
	hot_close(h);
}
ON_ALL(punch_sizes)

/* cap_net_raw+ep: the kernel would drop it with the data. */
static void file_capabilities(const char *dir)
{
	static const uint8_t cap[20] = {1, 0, 0, 2, 0, 0x20};
	struct hot *h = open_hot(dir);
	cleanup_fd int fd = -1;
	char buf[8];

	CHECK(h);
	fd = make(h, "ping", 5000);
	CHECK_EQ(fsetxattr(fd, "security.capability", cap, sizeof(cap), 0), 0);
	CHECK_EQ(hot_punch_all(fd, 5000), -EPERM);
	CHECK_EQ(fgetxattr(fd, "security.capability", NULL, 0), sizeof(cap));
	CHECK_EQ(pread(fd, buf, 4, 0), 4);
	CHECK_MEM(buf, "data", 4);
	hot_close(h);
}
ON_ONE(ext4, file_capabilities)

static void ranges(const char *dir)
{
	struct hot *h = open_hot(dir);
	cleanup_free struct range *r = NULL;
	cleanup_fd int fd = -1;
	uint32_t n = 9;
	bool dense;

	CHECK(h);
	fd = make(h, "f", 0);
	CHECK_EQ(hot_ranges(fd, 0, &r, &n, &dense), 0); /* empty */
	CHECK(dense && !n && !r);
	CHECK_EQ(ftruncate(fd, 8 * MIB), 0);
	CHECK_EQ(hot_ranges(fd, 8 * MIB, &r, &n, &dense), 0); /* all hole */
	CHECK(!dense && !n && !r);
	CHECK_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 2 * MIB, MIB), 0);
	CHECK_EQ(hot_ranges(fd, 8 * MIB, &r, &n, &dense), 0); /* reserved is not data */
	CHECK(!dense && !n && !r);
	for (unsigned i = 0; i < 20; i++) /* more than the list starts with */
		CHECK_EQ(pwrite(fd, "data", 4, i * 2 * 64 * KIB + 64 * KIB), 4);
	CHECK_EQ(ftruncate(fd, 39 * 64 * KIB + 3), 0);
	CHECK_EQ(hot_ranges(fd, 39 * 64 * KIB + 3, &r, &n, &dense), 0);
	CHECK_EQ(n, 20);
	CHECK(!dense);
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(r[i].off, i * 2 * 64 * KIB + 64 * KIB);
		CHECK(r[i].len >= 3 && r[i].len <= 64 * KIB);
	}
	CHECK_EQ(r[19].len, 3); /* cut at the size */
	free(steal_ptr(r));
	CHECK_EQ(hot_ranges(fd, 64 * KIB + 2, &r, &n, &dense), 0);
	CHECK_EQ(n, 1);
	CHECK_EQ(r[0].len, 2);
	free(steal_ptr(r));
	close(fd);
	fd = make(h, "d", 300 * KIB + 5);
	CHECK_EQ(hot_ranges(fd, 300 * KIB + 5, &r, &n, &dense), 0);
	CHECK(dense && !n && !r);
	hot_close(h);
}
ON_ALL(ranges)

/* ---- the tier as a whole -------------------------------------------------------------------- */

static void root_record(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct hot_root r = {.store_uuid = "store", .hot_uuid = "hot", .epoch = UINT64_MAX}, got;

	CHECK(h);
	CHECK_EQ(hot_root_get(h, &got), -ENODATA);
	CHECK_EQ(hot_root_set(h, &r), 0);
	hot_close(h);
	CHECK_EQ(loopfs_remount(cur, dir), 0);
	h = open_hot(dir);
	CHECK(h);
	CHECK_EQ(hot_root_get(h, &got), 0);
	CHECK_MEM(&got, &r, sizeof(r));
	r.epoch = 5;
	CHECK_EQ(hot_root_set(h, &r), 0);
	CHECK_EQ(hot_root_get(h, &got), 0);
	CHECK_EQ(got.epoch, 5);
	CHECK_EQ(fsetxattr(hot_root_fd(h), ROOT_XATTR, "junk", 4, 0), 0);
	CHECK_EQ(hot_root_get(h, &got), -EUCLEAN);
	hot_close(h);
}
ON_ONE(ext4, root_record)
ON_ONE(btrfs, root_record)

static void no_trace(const char *dir)
{
	char list[256];
	struct stat before, after;
	struct hot *h;

	CHECK_EQ(stat(dir, &before), 0);
	h = open_hot(dir);
	CHECK(h);
	hot_close(h);
	CHECK_EQ(stat(dir, &after), 0);
	CHECK_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	CHECK_EQ(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	CHECK_EQ(listxattr(dir, list, sizeof(list)), 0);
	CHECK_EQ(loopfs_sh("test -z \"$(find %s -mindepth 1 ! -name lost+found)\"", dir), 0);
}
ON_ALL(no_trace)

/* Not a byte and (on ext4) not an inode left. */
static void full_disk(const char *dir)
{
	struct hot *h = open_hot(dir);
	struct statvfs sv;
	char name[16];
	int fd;

	CHECK(h);
	fd = make(h, "fill", 0);
	CHECK(fd >= 0);
	for (off_t at = 0, len = 256 * MIB; len >= 512;) {
		if (!fallocate(fd, 0, at, len))
			at += len;
		else
			len /= 2;
	}
	close(fd);
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		fd = openat(hot_root_fd(h), name, O_CREAT | O_WRONLY, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	CHECK_EQ(errno, ENOSPC);
	CHECK_EQ(hot_statfs(h, &sv), 0);
	if (hot_fs_type(h) == HOT_EXT4)
		CHECK_EQ(sv.f_bavail, 0);
	hot_close(h);
	h = open_hot(dir);
	CHECK(h);
	hot_close(h);
}
ON_ONE(ext4, full_disk)
ON_ONE(xfs, full_disk)
ON_ONE(btrfs, full_disk)

static void refusals(const char *dir)
{
	cleanup_fd int fd = open(dir, O_PATH | O_DIRECTORY), ramfs = -1, file = -1;
	const char *why = NULL;
	struct hot *h = NULL;
	char sub[256];

	file = open("/proc/self/exe", O_PATH);
	CHECK_EQ(hot_open(&h, file, &why), -ENOTDIR);
	CHECK(why);
	snprintf(sub, sizeof(sub), "%s/sub", dir);
	CHECK_EQ(mkdir(sub, 0755), 0);
	CHECK_EQ(mount("none", sub, "ramfs", 0, NULL), 0);
	ramfs = open(sub, O_PATH | O_DIRECTORY);
	why = NULL;
	CHECK_EQ(hot_open(&h, ramfs, &why), -EOPNOTSUPP);
	CHECK(why);
	umount2(sub, MNT_DETACH);
	CHECK_EQ(loopfs_sh("mount -o remount,ro %s", dir), 0);
	why = NULL;
	CHECK_EQ(hot_open(&h, fd, &why), -EROFS);
	CHECK(why && strstr(why, "read-only"));
	CHECK(!h);
}
ON_ONE(ext4, refusals)

/* A file system we know nothing about: opaque handles, no node ids. */
static void unknown_fs(const char *dir)
{
	struct who a, b;
	struct hot_fh fh;
	struct hot *h;
	int fd;

	CHECK_EQ(mount("none", dir, "tmpfs", 0, NULL), 0);
	h = open_hot(dir);
	CHECK(h);
	CHECK_EQ(hot_fs_type(h), HOT_OTHER);
	close(make(h, "a", 1));
	close(make(h, "b", 1));
	CHECK_EQ(who_is(h, "a", &a), 0);
	CHECK_EQ(who_is(h, "b", &b), 0);
	CHECK_EQ(a.nodeid, 0);
	CHECK(!same_fh(&a.fh, &b.fh));
	CHECK(!hot_fh_of_id(h, hot_id_of_fh(h, &a.fh, a.st.st_ino), &fh));
	CHECK(!hot_fh_of_nodeid(h, 7, &fh));
	fd = hot_open_fh(h, &a.fh, O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	hot_close(h);
	umount(dir);
}
ON_ONE(ext4, unknown_fs)

TEST_MAIN
