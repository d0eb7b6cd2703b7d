/* SPDX-License-Identifier: MIT
 * The two command lines of this program: spillfs's own, and the one mount(8) calls its helpers
 * with.
 */
#ifndef SPILLFS_ARGS_H
#define SPILLFS_ARGS_H

#include "spill/config.h"

struct args {
	const char *program; /* last component of argv[0] */
	bool helper;         /* called as mount.spillfs */
	bool fake;           /* helper -f: all checks, no mount */
	bool foreground;     /* -f, -d */
	bool help, version;
	const char *store, *dir; /* as given; borrowed from argv */
	/* main's: all of the command line, and the absolute name of this program; borrowed */
	char *const *argv;
	const char *exe;
};

/* Fill ret and cfg. *ret_msg (caller frees): what is wrong, one line. -EINVAL, -ENOMEM. */
int args_parse(int argc, char **argv, struct args *ret, struct config *cfg, char **ret_msg);
void args_usage(const struct args *a);

#endif
