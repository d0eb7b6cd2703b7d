/* SPDX-License-Identifier: MIT
 * Acting for a caller. The kernel has checked permissions (default_permissions); what is left is
 * that new inodes belong to the caller: fsuid, fsgid and umask of the worker thread are set around
 * creating calls.
 *
 * Raw system calls, because glibc's wrappers are meant for the whole process; the umask is made the
 * thread's own with unshare(CLONE_FS); the securebit keeps capabilities when the fsuid is not
 * root's.
 */
#include "fs_int.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static _Thread_local bool own_fs;
static _Thread_local struct {
	uid_t uid;
	gid_t gid;
} acting; /* for whom this thread makes inodes; 0: for root, as always */

void creds_init(void)
{
	/* Group membership decides over setgid bits: root's groups are not the callers'. */
	if (setgroups(0, NULL))
		log_warn("setgroups: %s", strerror(errno));
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
		log_warn("PR_SET_SECUREBITS: %s; files of other users may be created with the "
			 "wrong rights",
			 strerror(errno));
}

void creds_enter(uid_t uid, gid_t gid, mode_t umask_bits)
{
	if (!own_fs)
		own_fs = !unshare(CLONE_FS);
	umask(umask_bits);
	if (gid)
		syscall(SYS_setfsgid, gid);
	if (uid)
		syscall(SYS_setfsuid, uid);
	acting.uid = uid;
	acting.gid = gid;
}

void creds_leave(void)
{
	if (acting.uid)
		syscall(SYS_setfsuid, 0);
	if (acting.gid)
		syscall(SYS_setfsgid, 0);
	umask(0);
}

static void fsetid(bool on)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		return;
	if (on)
		d[CAP_TO_INDEX(CAP_FSETID)].effective |= CAP_TO_MASK(CAP_FSETID);
	else
		d[CAP_TO_INDEX(CAP_FSETID)].effective &= ~CAP_TO_MASK(CAP_FSETID);
	syscall(SYS_capset, &h, d);
}

bool caller_in_group(fuse_req_t req, gid_t gid)
{
	gid_t groups[256];

	if (fuse_req_ctx(req)->gid == gid)
		return true;
	int n = fuse_req_getgroups(req, (int)ARRAY_SIZE(groups), groups);

	for (int i = 0; i < MIN(n, (int)ARRAY_SIZE(groups)); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/* Namespace links: the same text is the same namespace. */
static bool same_user_ns(pid_t pid)
{
	char path[48], a[64], b[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	ssize_t n = readlink(path, a, sizeof(a)), m = readlink("/proc/self/ns/user", b, sizeof(b));

	return n > 0 && n == m && !memcmp(a, b, (size_t)n);
}

bool caller_has_cap(fuse_req_t req, int cap)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);
	unsigned long long caps;
	char path[32], line[128];
	bool found = false, has = c->uid == 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)c->pid);
	FILE *f = c->pid ? fopen(path, "re") : NULL;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "CapEff: %llx", &caps) == 1;
	if (f)
		fclose(f);
	if (found)
		has = caps >> cap & 1 && same_user_ns(c->pid);
	return has;
}

static uint64_t effect_key(fuse_req_t req, fuse_ino_t ino, enum side_effect what)
{
	uint64_t v[3] = {ino, (uint64_t)fuse_req_ctx(req)->pid, what};

	return hash64(v, sizeof(v)) | 1;
}

void side_effect_note(fuse_req_t req, fuse_ino_t ino, enum side_effect what)
{
	atomic_store(&fs_of(req)->side_effect, effect_key(req, ino, what));
}

bool side_effect_take(fuse_req_t req, fuse_ino_t ino, enum side_effect what)
{
	uint64_t v = effect_key(req, ino, what);

	return atomic_compare_exchange_strong(&fs_of(req)->side_effect, &v, 0);
}

static _Thread_local bool dropped;

bool fsetid_pause(void)
{
	if (dropped)
		fsetid(true);
	return dropped;
}

void fsetid_resume(bool paused)
{
	if (paused)
		fsetid(false);
}

bool fsetid_drop(fuse_req_t req, const struct stat *st)
{
	gid_t gid = fuse_req_ctx(req)->gid;

	if (!(st->st_mode & (S_ISUID | S_ISGID)))
		return false;
	if (caller_in_group(req, st->st_gid))
		gid = st->st_gid;
	syscall(SYS_setfsgid, gid);
	fsetid(false);
	dropped = true;
	return true;
}

void fsetid_restore(void)
{
	dropped = false;
	fsetid(true);
	syscall(SYS_setfsgid, 0);
}
