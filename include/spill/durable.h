/* SPDX-License-Identifier: MIT
 * Contract of src/base/durable.c: the one narrow waist through which every durable file-system
 * effect of the tiering and store code goes (SQLite does its own; durable_step marks its commits).
 *
 * Why: faults and crash points are injected here and nowhere else. With SPILLFS_FAULT in the
 * environment ("N:kill", "N:eio", "N:enospc", "N:wait"), the Nth call after durable_arm() kills the
 * process with SIGKILL *before* the effect, fails with that errno, or comes half a second later. A
 * sweep over N = 1, 2, ... visits every durable step. Without it each call costs one predicted
 * branch.
 *
 * User operations passed through by src/fs (a write(2) of an application) do not come this way:
 * they are the user's effects, not ours.
 *
 * Every call: 0 (or a count) or -errno; EINTR is retried; thread-safe; may block on disk.
 */
#ifndef SPILL_DURABLE_H
#define SPILL_DURABLE_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

int d_pwrite(int fd, const void *buf, size_t len, off_t off); /* all of it, or -errno */
int d_fsync(int fd);
int d_fdatasync(int fd);
int d_syncfs(int fd);
int d_rename(int olddir, const char *oldname, int newdir, const char *newname);
int d_unlink(int dirfd, const char *name);
int d_ftruncate(int fd, off_t len);
/* Punch [off, off+len) keeping the size. */
int d_punch(int fd, off_t off, off_t len);
/* Reserve space without changing the size. */
int d_reserve(int fd, off_t off, off_t len);
int d_fsetxattr(int fd, const char *name, const void *val, size_t len);
int d_fremovexattr(int fd, const char *name); /* absent is success */
int d_futimens(int fd, const struct timespec ts[2]);
/* Not an effect of its own: a named place in the order (an index commit, say). */
int d_step(const char *what);

/* Parse SPILLFS_FAULT and start counting; the count starts at 0 here. Called once, early. */
void durable_arm(void);
/* Calls counted since durable_arm (0 when nothing is armed). */
uint64_t durable_count(void);

#endif
