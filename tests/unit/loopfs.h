/* SPDX-License-Identifier: MIT
 * Tests on real file systems: a fresh image on a loop device, in a mount namespace of its own.
 *
 *	static void body(const char *dir) { ... CHECK ... }
 *	TEST(ext4_it) { loopfs_run(&loopfs_ext4, body); }
 *
 * The body runs in a child process, mounted file system at dir; everything is gone when it returns
 * or crashes. Without root, loop devices, or the mkfs program the test is skipped.
 */
#ifndef SPILL_LOOPFS_H
#define SPILL_LOOPFS_H

#include "test.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct loopfs {
	const char *type, *mkfs, *opts;
	unsigned size_mb;
	const char *setup; /* shell, in an empty directory, before mkfs; or NULL */
};

static const struct loopfs loopfs_ext4 = {"ext4", "mkfs.ext4 -q -F -I 256", "loop", 48, NULL};
static const struct loopfs loopfs_xfs = {"xfs", "mkfs.xfs -q -f", "loop", 320, NULL};
static const struct loopfs loopfs_xfs32 = {"xfs", "mkfs.xfs -q -f", "loop,inode32", 320, NULL};
static const struct loopfs loopfs_btrfs = {"btrfs", "mkfs.btrfs -q -f", "loop", 160, NULL};

enum { LOOPFS_FAIL = 1, LOOPFS_NO_NS = 10, LOOPFS_NO_MKFS, LOOPFS_NO_MOUNT };

__attribute__((format(printf, 1, 2))) static int loopfs_sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	fflush(stdout);
	return system(cmd);
}

/* In the child; returns its exit code. */
static int loopfs_child(const struct loopfs *fs, const char *base, void (*body)(const char *dir))
{
	char dir[128];

	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return LOOPFS_NO_NS;
	snprintf(dir, sizeof(dir), "%s/mnt", base);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (loopfs_sh("set -- %s && command -v $1 >/dev/null", fs->mkfs))
		return LOOPFS_NO_MKFS;
	if (loopfs_sh("cd %s && rm -rf img && truncate -s %uM img && mkdir -p mnt && %s && "
		      "%s img >/dev/null",
		      base, fs->size_mb, fs->setup ? fs->setup : ":", fs->mkfs))
		return LOOPFS_FAIL;
	if (loopfs_sh("mount -t %s -o %s %s/img %s 2>/dev/null", fs->type, fs->opts, base, dir))
		return LOOPFS_NO_MOUNT;
	body(dir);
	umount2(dir, MNT_DETACH);
	return test_failed ? LOOPFS_FAIL : 0;
}

/* The body's umount and mount again, with what the kernel knew of the files forgotten. */
__attribute__((unused)) static int loopfs_remount(const struct loopfs *fs, const char *dir)
{
	return loopfs_sh("umount %s && mount -t %s -o %s %s/../img %s", dir, fs->type, fs->opts,
			 dir, dir);
}

static void loopfs_run(const struct loopfs *fs, void (*body)(const char *dir))
{
	const char *base = test_tmpdir();
	int status = 0;
	pid_t pid;

	CHECK(base);
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		int r = loopfs_child(fs, base, body);

		fflush(stdout);
		_exit(r);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == LOOPFS_NO_NS)
		SKIP("may not make a mount namespace (needs root)");
	if (WIFEXITED(status) && WEXITSTATUS(status) == LOOPFS_NO_MKFS)
		SKIP("the mkfs program of this file system is not installed");
	if (WIFEXITED(status) && WEXITSTATUS(status) == LOOPFS_NO_MOUNT)
		SKIP("cannot mount this file system here (loop device or kernel driver missing)");
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status))
		TEST_FAIL("on %s (%s): see above", fs->type, fs->opts);
}

#endif
