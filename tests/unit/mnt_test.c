/* SPDX-License-Identifier: MIT
 * src/mnt: the mount table parser, escaping, the guard's ext2 image, and (where permitted, in a
 * child with a mount namespace of its own) the guard itself: up, found, idempotent, down, no loop
 * device left behind.
 */
#include "test.h"
#include "../../src/mnt/mnt_int.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- table
 * ---------------------------------------------------------------------------------------- */
static const char table_text[] =
	"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	"30 22 0:25 / /run rw,nosuid shared:5 master:3 - tmpfs tmpfs rw,size=4k\n"
	"31 22 8:1 /a\\040b /mnt/with\\040space\\011tab\\134back rw - ext4 /dev/sda1 rw\n"
	"32 22 0:40 / /var/lib/docker rw - ext2 /dev/loop0 ro\n"
	"34 33 0:42 / /var/lib/docker rw - overlay overlay rw\n"
	"33 32 0:41 / /var/lib/docker rw - fuse.spillfs /dev/loop0 rw,user_id=0\n"
	"35 22 0:43 / /var/lib/dockerx rw - tmpfs  rw\n"
	"36 22 0:44 / /var/lib/docker/sub/deep rw - proc proc\n";

TEST(table_fields)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};

	CHECK_EQ(mnt_table_parse(table_text, &t), 0);
	CHECK_EQ(t.n, 8);
	CHECK_EQ(t.v[1].id, 30);
	CHECK_EQ(t.v[1].parent, 22);
	CHECK_EQ(t.v[2].dev_major, 8);
	CHECK_EQ(t.v[2].dev_minor, 1);
	CHECK_STR(t.v[2].root, "/a b");
	CHECK_STR(t.v[2].point, "/mnt/with space\ttab\\back");
	CHECK_STR(t.v[5].fstype, "fuse.spillfs");
	CHECK_STR(t.v[5].source, "/dev/loop0");
	CHECK_STR(t.v[6].source, "");
	CHECK_STR(t.v[7].source, "proc");
}

TEST(table_top_and_below)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};

	CHECK_EQ(mnt_table_parse(table_text, &t), 0);
	/* 34 is listed before the mount it sits on */
	CHECK_EQ(mnt_top(&t, "/var/lib/docker")->id, 34);
	CHECK_EQ(mnt_top(&t, "/")->id, 22);
	CHECK(!mnt_top(&t, "/var/lib"));
	CHECK_EQ(mnt_below(&t, "/var/lib/docker")->id, 36);
	CHECK(!mnt_below(&t, "/var/lib/dockerx"));
	CHECK_EQ(mnt_below(&t, "/")->id, 30);
}

TEST(table_should_fail)
{
	static const char *const bad[] = {
		"x",
		"22 1 254:0 / / rw",
		"22 1 254:0 / / rw - ext4",
		"22 1 254 / / rw - ext4 /dev/vda rw",
		"22 1 :0 / / rw - ext4 /dev/vda rw",
		"22 1 254:0 / rel rw - ext4 /dev/vda rw",
		"-1 1 254:0 / / rw - ext4 /dev/vda rw",
		"99999999999999999999 1 254:0 / / rw - ext4 /dev/vda rw",
		"22 1 254:0  / rw - ext4 /dev/vda rw",
		"22 1 254:0 / / rw shared:1 ext4 /dev/vda rw",
		"22 1 254:0 / / rw -  /dev/vda rw",
		"22 1 254:0 / / rw - ext4 /dev/vda rw\n\n 3",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct mnt_table t = {NULL, 0};
		int r = mnt_table_parse(bad[i], &t);

		if (r != -EUCLEAN)
			TEST_FAIL("line %zu gave %d", i, r);
		CHECK(!t.v);
	}
}

/* Any byte changed in any place: parsed or refused, never a crash (run under the sanitizers). */
TEST(table_mutations)
{
	char text[sizeof(table_text)];
	unsigned parsed = 0;

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		static const char with[] = {' ', '\n', '\\', '-', '\0', '9', ':', '/'};

		for (size_t k = 0; k < sizeof(with); k++) {
			struct mnt_table t = {NULL, 0};

			memcpy(text, table_text, sizeof(text));
			text[i] = with[k];
			if (mnt_table_parse(text, &t) == 0)
				parsed++;
			mnt_table_done(&t);
		}
	}
	CHECK(parsed > 0);
}

TEST(table_own)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};

	if (access("/proc/self/mountinfo", R_OK) < 0)
		SKIP("no /proc");
	CHECK_EQ(mnt_table_read(&t), 0);
	CHECK(t.n > 0);
	CHECK(mnt_top(&t, "/") != NULL);
}

/* ---- what kubelet sees, from tables
 * ---------------------------------------------------------------- */
static const char view_text[] = "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n"
				"31 22 8:1 / /part rw - xfs /dev/sda1 rw\n"
				"32 22 8:2 / /first rw - ext4 /dev/sdb1 rw\n"
				"33 22 8:2 /d /second rw - ext4 /dev/sdb1 rw\n"
				"34 22 0:50 / /tmp rw - tmpfs /dev/tmpfs rw\n"
				"40 22 7:9 / /anchored rw - ext2 /dev/loop9 ro\n"
				"41 40 0:60 / /anchored rw - fuse.spillfs /dev/loop9 rw\n"
				"42 31 0:61 / /part rw - fuse.spillfs /dev/sda1 rw\n"
				"43 33 0:62 / /second rw - fuse.spillfs /dev/sdb1 rw\n"
				"44 22 0:63 / /plain rw - fuse.spillfs /srv/store rw\n"
				"45 22 0:64 / /none rw - fuse.spillfs /dev/loop7 rw\n"
				"46 34 0:65 / /tmp rw - fuse.spillfs /dev/tmpfs rw\n"
				"47 22 0:66 / /covered rw - fuse.spillfs /dev/loop9 rw\n"
				"48 47 0:67 / /covered rw - tmpfs tmpfs rw\n";

TEST(views)
{
	static const struct {
		const char *dir;
		int r;
		enum mnt_seen seen;
		const char *source, *point;
	} want[] = {
		/* (no loop device of this machine is our guard: that is for the mount tests) */
		{"/anchored", 0, MNT_SEEN_PARTITION, "/dev/loop9", "/anchored"},
		{"/part", 0, MNT_SEEN_PARTITION, "/dev/sda1", "/part"},
		{"/second", 0, MNT_SEEN_ELSEWHERE, "/dev/sdb1", "/first"},
		{"/plain", 0, MNT_SEEN_NOT, "/srv/store", NULL},
		{"/none", 0, MNT_SEEN_NOT, "/dev/loop7", NULL},
		{"/tmp", 0, MNT_SEEN_NOT, "/dev/tmpfs", NULL},
		{"/covered", -ENOENT, MNT_SEEN_NOT, NULL, NULL},
		{"/first", -ENOENT, MNT_SEEN_NOT, NULL, NULL},
		{"/nowhere", -ENOENT, MNT_SEEN_NOT, NULL, NULL},
	};
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};

	CHECK_EQ(mnt_table_parse(view_text, &t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct mnt_view v = {.seen = MNT_SEEN_NOT};

		CHECK_EQ(mnt_view(&t, want[i].dir, &v), want[i].r);
		CHECK_EQ(v.seen, want[i].seen);
		CHECK(!v.source == !want[i].source && !v.point == !want[i].point);
		if (v.source)
			CHECK_STR(v.source, want[i].source);
		if (v.point)
			CHECK_STR(v.point, want[i].point);
		mnt_view_done(&v);
	}
}

static void check_partition(const struct mnt_table *t, const char *at, const char *want)
{
	cleanup_free char *dev = NULL;
	int r = mnt_partition(t, at, &dev);

	CHECK_EQ(r, want ? 0 : -ENODEV);
	if (want)
		CHECK_STR(dev, want);
}

TEST(partitions)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};

	CHECK_EQ(mnt_table_parse(view_text, &t), 0);
	check_partition(&t, "/part", "/dev/sda1");
	check_partition(&t, "/first", "/dev/sdb1");
	/* kubelet would ask at /first */
	check_partition(&t, "/second", NULL);
	check_partition(&t, "/tmp", NULL);
	check_partition(&t, "/plain", NULL);
	check_partition(&t, "/part/sub", NULL);
}

/* ---- names
 * ------------------------------------------------------------------------------------------ */
static void check_escape(const char *dir, const char *want)
{
	cleanup_free char *got = mnt_escape(dir);

	CHECK_STR(got, want);
}

TEST(escape)
{
	check_escape("/var/lib/docker", "var-lib-docker");
	check_escape("/", "-");
	check_escape("/var//lib/", "var-lib");
	check_escape("/srv/a-b", "srv-a\\x2db");
	check_escape("/.hidden/.x", "\\x2ehidden-.x");
	check_escape("/with space", "with\\x20space");
	check_escape("/\xc3\xa4", "\\xc3\\xa4");
	check_escape("/a_b:c.d", "a_b:c.d");
}

TEST(run_dir)
{
	cleanup_free char *a = NULL, *b = NULL, *c = NULL;
	char longdir[400];

	unsetenv("SPILLFS_RUN_DIR");
	a = mnt_run_dir("/var/lib/docker");
	CHECK_STR(a, "/run/spillfs/var-lib-docker");
	memset(longdir, 'x', sizeof(longdir));
	longdir[0] = '/';
	longdir[sizeof(longdir) - 1] = 0;
	b = mnt_run_dir(longdir);
	longdir[sizeof(longdir) - 2] = 'y';
	c = mnt_run_dir(longdir);
	CHECK(strlen(b) + strlen("/sock") < 108);
	CHECK(strcmp(b, c) != 0);
}

/* ---- image
 * ------------------------------------------------------------------------------------------ */
TEST(image_passes_e2fsck)
{
	static uint8_t img[GUARD_IMAGE_BYTES];
	const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16};
	char path[128], cmd[320];
	int fd;

	guard_image_build(img, uuid);
	CHECK_MEM(img + 1024 + 120, "spillfs-guard", 14);
	if (system("command -v e2fsck >/dev/null 2>&1"))
		SKIP("no e2fsck");
	CHECK(test_tmpdir());
	snprintf(path, sizeof(path), "%s/guard.img", test_tmpdir());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(write_full(fd, img, sizeof(img)), 0);
	close(fd);
	snprintf(cmd, sizeof(cmd), "e2fsck -fn %s >%s.log 2>&1", path, path);
	CHECK_EQ(system(cmd), 0);
}

/* ---- the guard, in a mount namespace of its own
 * -------------------------------------------------------- */
static char base[96], dir[128];

/* Run fn in a child; its failed checks make it exit 1. */
static int in_namespace(void (*fn)(void), int propagation)
{
	char path[160];
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		snprintf(base, sizeof(base), "%s/ns", test_tmpdir());
		if ((mkdir(base, 0755) < 0 && errno != EEXIST) ||
		    mount("spilltest", base, "tmpfs", 0, "mode=0755") < 0 ||
		    mount(NULL, base, NULL, (unsigned long)propagation, NULL) < 0)
			_exit(77);
		snprintf(dir, sizeof(dir), "%s/dir", base);
		snprintf(path, sizeof(path), "%s/inner", dir);
		if (mkdir(dir, 0755) < 0 || mkdir(path, 0755) < 0)
			_exit(1);
		snprintf(path, sizeof(path), "%s/run", base);
		setenv("SPILLFS_RUN_DIR", path, 1);
		fn();
		fflush(stdout);
		_exit(test_failed ? 1 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#define RUN_IN_NS(fn, propagation)                                                                 \
	do {                                                                                       \
		int r_ = in_namespace(fn, propagation);                                            \
		if (r_ == 77)                                                                      \
			SKIP("mount namespaces are not permitted");                                \
		CHECK_EQ(r_, 0);                                                                   \
	} while (0)

/* Loop devices behind our image; autoclear runs a moment after the unmount. */
static unsigned loops_of(const char *run)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 256; i++) {
		char *backing = NULL;

		if (loop_backing(7, i, &backing) == 0 && !strncmp(backing, run, strlen(run)))
			n++;
		free(backing);
	}
	return n;
}

static bool loops_gone(const char *run)
{
	for (int i = 0; i < 200; i++) {
		if (!loops_of(run))
			return true;
		usleep(10000);
	}
	return false;
}

static bool sees_inner(int fd)
{
	struct stat st;

	return fd >= 0 && !fstatat(fd, "inner", &st, 0);
}

/* With loop devices and a driver for it the guard must be the ext2, not the fallback. */
static bool guard_kind_ok(void)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	cleanup_free char *fs = NULL;
	const struct mnt_entry *e;
	size_t len;

	if (mnt_table_read(&t) < 0 || !(e = mnt_top(&t, dir)))
		return false;
	if (access("/dev/loop-control", F_OK) < 0 ||
	    read_file(AT_FDCWD, "/proc/filesystems", 65536, &fs, &len) < 0 || !strstr(fs, "\text"))
		return true;
	return !strncmp(e->fstype, "ext", 3) && !strncmp(e->source, "/dev/loop", 9);
}

static void guard_up_down(void)
{
	cleanup_free char *run = mnt_run_dir(dir), *msg = NULL, *store = NULL;
	enum mnt_state state;
	struct stat st;
	char inner[160];
	int fd, again;

	snprintf(inner, sizeof(inner), "%s/inner", dir);
	CHECK_EQ(mnt_probe(dir, &state, NULL), 0);
	CHECK_EQ(state, MNT_BARE);
	CHECK_EQ(mnt_hot_fd(dir), -ENOENT);
	fd = mnt_guard_up(dir, &msg);
	if (fd < 0)
		TEST_FAIL("guard_up: %d %s", fd, msg ? msg : "");
	CHECK(sees_inner(fd));
	CHECK(guard_kind_ok());
	CHECK(access(inner, F_OK) < 0 && errno == ENOENT);
	CHECK(mkdir(inner, 0755) < 0 && errno == EROFS);
	CHECK_EQ(mnt_probe(dir, &state, &store), 0);
	CHECK_EQ(state, MNT_GUARDED);
	CHECK(!store);
	CHECK(!stat(run, &st) && (st.st_mode & 07777) == 0700);
	/* again: nothing new on top */
	again = mnt_guard_up(dir, &msg);
	CHECK(sees_inner(again));
	close(again);
	again = mnt_hot_fd(dir);
	CHECK(sees_inner(again));
	close(again);
	CHECK_EQ(mnt_run_put(dir, "store", "/srv/x"), 0);
	CHECK_EQ(run_get(run, "store", &store), 0);
	CHECK_STR(store, "/srv/x");
	CHECK_EQ(mnt_guard_down(dir), 0);
	close(fd);
	CHECK_EQ(mnt_probe(dir, &state, NULL), 0);
	CHECK_EQ(state, MNT_BARE);
	CHECK(!access(inner, F_OK));
	CHECK(access(run, F_OK) < 0);
	CHECK_EQ(mnt_guard_down(dir), 0);
	CHECK(loops_gone(run));
}

TEST(guard_private)
{
	RUN_IN_NS(guard_up_down, MS_PRIVATE);
}

TEST(guard_shared_parent)
{
	RUN_IN_NS(guard_up_down, MS_SHARED);
}

/* The hot bind went away: it is taken from below the guard without lifting the guard. */
static void guard_lost_bind(void)
{
	cleanup_free char *run = mnt_run_dir(dir), *msg = NULL;
	char hot[200];
	int fd = mnt_guard_up(dir, &msg);
	struct stat st;

	CHECK(sees_inner(fd));
	close(fd);
	snprintf(hot, sizeof(hot), "%s/hot", run);
	CHECK_EQ(umount2(hot, MNT_DETACH), 0);
	CHECK_EQ(mnt_hot_fd(dir), -ENOENT);
	fd = mnt_guard_up(dir, &msg);
	CHECK(sees_inner(fd));
	close(fd);
	snprintf(hot, sizeof(hot), "%s/inner", dir);
	CHECK(stat(hot, &st) < 0);
	CHECK_EQ(mnt_guard_down(dir), 0);
	CHECK(loops_gone(run));
}

TEST(guard_lost_bind_private)
{
	RUN_IN_NS(guard_lost_bind, MS_PRIVATE);
}

TEST(guard_lost_bind_shared)
{
	RUN_IN_NS(guard_lost_bind, MS_SHARED);
}

/* Put up once more, the hot directory is found; taken down, nothing is left. */
static void guard_again_and_gone(const char *run)
{
	cleanup_free char *msg = NULL;
	enum mnt_state state;
	int fd = mnt_guard_up(dir, &msg);

	CHECK(sees_inner(fd));
	close(fd);
	CHECK_EQ(mnt_guard_down(dir), 0);
	CHECK_EQ(mnt_probe(dir, &state, NULL), 0);
	CHECK_EQ(state, MNT_BARE);
	CHECK(loops_gone(run));
}

/* /run was tidied up: the guard is still known as ours. */
static void guard_lost_image(void)
{
	cleanup_free char *run = mnt_run_dir(dir), *msg = NULL, *image = path_join(run, RUN_IMAGE);
	enum mnt_state state;
	int fd = mnt_guard_up(dir, &msg);

	CHECK(sees_inner(fd));
	close(fd);
	CHECK_EQ(unlink(image), 0);
	CHECK_EQ(mnt_probe(dir, &state, NULL), 0);
	CHECK_EQ(state, MNT_GUARDED);
	guard_again_and_gone(run);
}

TEST(guard_without_its_image)
{
	if (access("/dev/loop-control", F_OK) < 0)
		SKIP("no loop devices");
	RUN_IN_NS(guard_lost_image, MS_PRIVATE);
}

/* The anchor goes over a tmpfs guard, and both go away together. */
static void anchor_later(void)
{
	cleanup_free char *msg = NULL, *dev = NULL, *why = NULL, *run = mnt_run_dir(dir);
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	char hot[200];
	int fd;

	CHECK_EQ(mnt_anchor(dir, &dev, &why), -ESTALE);
	free(steal_ptr(why));
	CHECK_EQ(mount("/dev/null", "/dev/loop-control", NULL, MS_BIND, NULL), 0);
	fd = mnt_guard_up(dir, &msg);
	CHECK(sees_inner(fd));
	close(fd);
	CHECK(mnt_anchor(dir, &dev, &why) < 0);
	CHECK(!dev && why && strstr(why, "no loop device: "));
	CHECK_EQ(umount2("/dev/loop-control", 0), 0);
	free(steal_ptr(why));
	CHECK_EQ(mnt_anchor(dir, &dev, &why), 0);
	CHECK(dev && !strncmp(dev, "/dev/loop", 9) && !why);
	free(steal_ptr(dev));
	CHECK_EQ(mnt_anchor(dir, &dev, &why), 0); /* nothing new */
	CHECK_EQ(loops_of(run), 1);
	CHECK_EQ(mnt_table_read(&t), 0);
	CHECK_STR(mnt_top(&t, dir)->source, dev);
	/* the hot directory is found below the two */
	snprintf(hot, sizeof(hot), "%s/hot", run);
	CHECK_EQ(umount2(hot, MNT_DETACH), 0);
	guard_again_and_gone(run);
}

TEST(anchor_over_tmpfs_guard)
{
	if (access("/dev/loop-control", F_OK) < 0)
		SKIP("no loop devices");
	RUN_IN_NS(anchor_later, MS_SHARED);
}

static void guard_no_loop(void)
{
	cleanup_free char *msg = NULL;
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	enum mnt_state state;
	char inner[160];
	int fd;

	CHECK_EQ(mount("/dev/null", "/dev/loop-control", NULL, MS_BIND, NULL), 0);
	snprintf(inner, sizeof(inner), "%s/inner", dir);
	fd = mnt_guard_up(dir, &msg);
	CHECK(sees_inner(fd));
	close(fd);
	CHECK_EQ(mnt_table_read(&t), 0);
	CHECK_STR(mnt_top(&t, dir)->fstype, "tmpfs");
	CHECK(mkdir(inner, 0755) < 0 && errno == EROFS);
	CHECK_EQ(mnt_probe(dir, &state, NULL), 0);
	CHECK_EQ(state, MNT_GUARDED);
	CHECK_EQ(mnt_guard_down(dir), 0);
}

TEST(guard_tmpfs_fallback)
{
	if (access("/dev/loop-control", F_OK) < 0)
		SKIP("no /dev/loop-control to hide");
	RUN_IN_NS(guard_no_loop, MS_PRIVATE);
}

static void guard_refusals(void)
{
	cleanup_free char *msg = NULL, *run = mnt_run_dir(dir);
	char path[160], inner[160];
	int fd;

	snprintf(inner, sizeof(inner), "%s/inner", dir);
	CHECK_EQ(mount("spilltest", inner, "tmpfs", 0, NULL), 0);
	CHECK_EQ(mnt_guard_up(dir, &msg), -EBUSY);
	CHECK(msg && strstr(msg, inner));
	free(steal_ptr(msg));
	CHECK_EQ(umount2(inner, 0), 0);
	snprintf(path, sizeof(path), "%s/link", base);
	CHECK_EQ(symlink(dir, path), 0);
	CHECK_EQ(mnt_guard_up(path, &msg), -ELOOP);
	free(steal_ptr(msg));
	snprintf(path, sizeof(path), "%s/file", base);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(mnt_guard_up(path, &msg), -ENOTDIR);
	free(steal_ptr(msg));
	snprintf(path, sizeof(path), "%s/none", base);
	CHECK_EQ(mnt_guard_up(path, &msg), -ENOENT);
	CHECK(access(run, F_OK) < 0 || !hot_bind_is(run));
}

TEST(guard_refuses)
{
	RUN_IN_NS(guard_refusals, MS_PRIVATE);
}

/* ---- FUSE mounts without a daemon
 * ------------------------------------------------------------------------ */
static void fuse_states(void)
{
	cleanup_free char *run = mnt_run_dir(dir), *msg = NULL;
	enum mnt_state state;
	char **list = NULL;
	size_t n = 0;
	int hot, dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	CHECK(dev >= 0);
	/* never without the guard */
	CHECK_EQ(mnt_fuse(dir, "spillfs", MS_NOSUID | MS_NODEV, 1u << 20, dev), -ESTALE);
	hot = mnt_guard_up(dir, &msg);
	CHECK(hot >= 0);
	CHECK_EQ(mnt_fuse(dir, "spillfs", MS_NOSUID | MS_NODEV, 1u << 20, dev), 0);
	CHECK_EQ(mnt_fuse(dir, "spillfs", MS_NOSUID | MS_NODEV, 1u << 20, dev), -EALREADY);
	CHECK_EQ(mnt_list(&list, &n), 0);
	bool listed = false; /* others may be mounted on this machine */

	for (size_t i = 0; i < n; i++) {
		listed = listed || !strcmp(list[i], dir);
		free(list[i]);
	}
	free(list);
	CHECK(listed);
	/* nobody answers, but the device is open: stuck, not dead */
	CHECK_EQ(mnt_probe(dir, &state, NULL), -ETIMEDOUT);
	CHECK_EQ(mnt_guard_up(dir, &msg), -ETIMEDOUT);
	free(steal_ptr(msg));
	close(dev);
	CHECK_EQ(mnt_probe(dir, &state, NULL), 0);
	CHECK_EQ(state, MNT_DEAD);
	CHECK_EQ(mnt_guard_down(dir), -EBUSY);
	/* the dead one is cleared, the guard below it is found again */
	close(hot);
	hot = mnt_guard_up(dir, &msg);
	CHECK(sees_inner(hot));
	close(hot);
	CHECK_EQ(mnt_probe(dir, &state, NULL), 0);
	CHECK_EQ(state, MNT_GUARDED);
	CHECK_EQ(mnt_guard_down(dir), 0);
	CHECK(loops_gone(run));
}

TEST(probe_stuck_and_dead)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		SKIP("no /dev/fuse");
	close(fd);
	RUN_IN_NS(fuse_states, MS_SHARED);
}

TEST_MAIN
