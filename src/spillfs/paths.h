/* SPDX-License-Identifier: MIT
 * STORE and DIR: their canonical names, and whether one lies inside the other.
 */
#ifndef SPILLFS_PATHS_H
#define SPILLFS_PATHS_H

#include "spill/base.h"

/* Absolute name of a directory to mount on: symbolic links resolved in all but the last component.
 * Never asks the file system mounted there (it may be dead). Caller frees. -errno. */
int path_mountpoint(const char *arg, char **ret);
/* Absolute, without "." and ".." and doubled slashes; touches nothing (but asks the working
 * directory). */
int path_absolute(const char *arg, char **ret);
/* a is b or lies below it, by name. */
bool path_within(const char *a, const char *b);
/* Does path (as far as it exists) lie inside the directory with this identity, or is it it? 1, 0,
 * -errno. */
int path_inside_dir(const char *path, dev_t dev, ino_t ino);

#endif
