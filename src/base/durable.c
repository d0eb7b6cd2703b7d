/* SPDX-License-Identifier: MIT
 * The waist for durable effects, and the fault injection in it (see the contract).
 *
 *	SPILLFS_FAULT="N:kill|eio|enospc|wait|stop"
 *		at the Nth call: SIGKILL before the effect, or that errno, or half a second's pause,
 *		or SIGSTOP
 *	SPILLFS_FAULT_TRACE=PATH
 *		append "N name" for each call counted
 *
 * Only the Nth call is hit; the calls after it work again, so that error paths can finish. The
 * trace line is written before the fault strikes: the last line of a killed run names the step it
 * died at.
 */
#include "spill/durable.h"
#include "spill/base.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { KILL = 1, WAIT, STOP };

static struct {
	bool armed; /* written by durable_arm only, before threads exist */
	uint64_t at;
	int error; /* -errno, KILL, WAIT or STOP */
	int trace_fd;
	atomic_uint_least64_t count;
} fault = {.trace_fd = -1};

static const struct {
	const char *name;
	int error;
} kinds[] = {{"kill", KILL}, {"eio", -EIO}, {"enospc", -ENOSPC}, {"wait", WAIT}, {"stop", STOP}};

static bool parse_fault(const char *s)
{
	char *end;

	fault.at = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || !fault.at || *end != ':')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(end + 1, kinds[i].name)) {
			fault.error = kinds[i].error;
			return true;
		}
	}
	return false;
}

void durable_arm(void)
{
	const char *spec = getenv("SPILLFS_FAULT"), *trace = getenv("SPILLFS_FAULT_TRACE");

	if (fault.trace_fd >= 0)
		close(fault.trace_fd);
	fault.trace_fd = -1;
	fault.at = 0;
	atomic_store(&fault.count, 0);
	if (spec && *spec && !parse_fault(spec)) {
		/* A sweep that tests nothing must not look like one that passes. */
		log_err("SPILLFS_FAULT=%s: must be N:kill, N:eio, N:enospc, N:wait or N:stop with "
			"N >= 1",
			spec);
		abort();
	}
	if (trace && *trace) {
		fault.trace_fd = open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (fault.trace_fd < 0)
			log_err("SPILLFS_FAULT_TRACE=%s: %s", trace, strerror(errno));
	}
	fault.armed = fault.at || fault.trace_fd >= 0;
}

uint64_t durable_count(void)
{
	return atomic_load(&fault.count);
}

static int count_call(const char *name, const char *what)
{
	uint64_t n = atomic_fetch_add(&fault.count, 1) + 1;

	if (fault.trace_fd >= 0) {
		char line[96];
		int len = snprintf(line, sizeof(line), "%llu %s%s%.48s\n", (unsigned long long)n,
				   name, *what ? " " : "", what);

		(void)write_full(fault.trace_fd, line, (size_t)len);
	}
	if (n != fault.at)
		return 0;
	if (fault.error == KILL) {
		kill(getpid(), SIGKILL);
		pause(); /* nothing below may happen any more */
	}
	if (fault.error == WAIT) {
		usleep(500000); /* for tests of what comes in between */
		return 0;
	}
	if (fault.error == STOP) {
		kill(getpid(), SIGSTOP);
		return 0;
	}
	return fault.error;
}

/* 0: go on. */
static inline int inject(const char *name)
{
	return likely(!fault.armed) ? 0 : count_call(name, "");
}

/* Do one system call as a counted step, again after EINTR. */
#define STEP(name, call)                                                                           \
	({                                                                                         \
		int step_r = inject(name);                                                         \
		if (!step_r) {                                                                     \
			do                                                                         \
				step_r = (call) < 0 ? -errno : 0;                                  \
			while (step_r == -EINTR);                                                  \
		}                                                                                  \
		step_r;                                                                            \
	})

int d_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	const char *p = buf;
	int r = inject("pwrite");

	if (r < 0)
		return r;
	while (len) {
		ssize_t n = pwrite(fd, p, len, off);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!n)
			return -EIO; /* no regular file does this: do not spin */
		p += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

int d_fsync(int fd)
{
	return STEP("fsync", fsync(fd));
}

int d_fdatasync(int fd)
{
	return STEP("fdatasync", fdatasync(fd));
}

int d_syncfs(int fd)
{
	return STEP("syncfs", syncfs(fd));
}

int d_rename(int olddir, const char *oldname, int newdir, const char *newname)
{
	return STEP("rename", renameat(olddir, oldname, newdir, newname));
}

int d_unlink(int dirfd, const char *name)
{
	return STEP("unlink", unlinkat(dirfd, name, 0));
}

int d_ftruncate(int fd, off_t len)
{
	return STEP("ftruncate", ftruncate(fd, len));
}

int d_punch(int fd, off_t off, off_t len)
{
	return STEP("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len));
}

int d_reserve(int fd, off_t off, off_t len)
{
	return STEP("reserve", fallocate(fd, FALLOC_FL_KEEP_SIZE, off, len));
}

int d_fsetxattr(int fd, const char *name, const void *val, size_t len)
{
	return STEP("fsetxattr", fsetxattr(fd, name, val, len, 0));
}

int d_fremovexattr(int fd, const char *name)
{
	int r = STEP("fremovexattr", fremovexattr(fd, name));

	return r == -ENODATA ? 0 : r;
}

int d_futimens(int fd, const struct timespec ts[2])
{
	return STEP("futimens", futimens(fd, ts));
}

int d_step(const char *what)
{
	return likely(!fault.armed) ? 0 : count_call("step", what);
}
