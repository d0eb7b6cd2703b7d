/* SPDX-License-Identifier: MIT
 * What one binary tells another that goes on in its place (a live upgrade): descriptors that stay
 * open over execve(2), and a record in a memfd that says which is which.
 *
 *	spillfs --take-over=FD ...	the other arguments are those of the first start
 *
 * The two binaries may be of different versions: the record begins with its own version, unknown
 * fields are ignored, and whoever does not understand it exits before it touches anything. A binary
 * from before this has no such option and exits with a usage error.
 */
#ifndef SPILLFS_HANDOVER_H
#define SPILLFS_HANDOVER_H

#include "spill/fs.h"

#define HANDOVER_VERSION 1
/* On the report pipe, before anything else: the record is understood, the start begins. */
#define HANDOVER_HELLO 0xfe
/* Exit code of a daemon that is to be started anew: part of the protocol. */
#define EXIT_AGAIN 99

enum handover_role { HANDOVER_DAEMON, HANDOVER_SUPERVISOR };

struct handover {
	enum handover_role role;
	int dev_fd, state_fd, keeper_fd; /* as in struct life */
	int report_fd;                   /* daemon: where it says that it is ready */
	int keeper;                      /* supervisor: its end of keeper_fd */
	pid_t main_pid;                  /* the supervisor's, which an execve keeps */
	pid_t child;                     /* supervisor: the daemon at work */
	unsigned hangs;
	struct fs_orphan *orphans;
	size_t n_orphans;
	char *exe, *dir, *store; /* absolute */
};

/* In the process that is about to call execve: let the descriptors of h stay open and write the
 * record. Returns its fd, which stays open too, or -errno. */
int handover_write(const struct handover *h);
/* Close them at an execve again: it failed, or is over. */
void handover_close_on_exec(const struct handover *h, int fd);
/* argv without "--take-over=FD": the fd, or -1: there is none. */
int handover_wanted(int *argc, char **argv);
/* Read the record and close fd. -EPROTONOSUPPORT: of a version we do not know; -EUCLEAN: damaged;
 * -ENOMEM. */
int handover_read(int fd, struct handover *ret);
void handover_done(struct handover *h); /* not the descriptors */
/* Become the program at path, with argv of this process and the record's fd. -errno on failure. */
int handover_exec(const char *path, char *const *argv, int fd);

#endif
