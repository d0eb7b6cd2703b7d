/* SPDX-License-Identifier: MIT
 * Private declarations of src/mnt.
 */
#ifndef SPILL_MNT_INT_H
#define SPILL_MNT_INT_H

#include "spill/mnt.h"

#define GUARD_IMAGE_BYTES (64u * 1024)

/* Names in the run directory; RUN_HOT and RUN_IMAGE: mnt.h. */
#define RUN_NOATIME "noatime" /* set on it by mnt_hot_noatime */

/* image.c, pure: the guard's ext2, byte for byte. */
void guard_image_build(uint8_t img[GUARD_IMAGE_BYTES], const uint8_t uuid[16]);

/* loop.c: attach the file behind fd, read-only, to a free loop device which lets go of it after its
 * last user. Returns an fd that keeps the device until it is mounted; dev gets "/dev/loopN". */
int loop_attach(int backing_fd, char dev[32]);
/* The file behind block device major:minor, if that is a loop device. Caller frees. -ENOENT. */
int loop_backing(unsigned major, unsigned minor, char **ret);

/* guard.c: mount the ext2 over dir. *ret_step: what an -errno is about. */
int guard_mount_ext2(const char *dir, const char *run, const char **ret_step);

/* probe.c */
/* The id of the mount that a walk to path ends on (last component not followed). Never asks the
 * file system there, so it cannot hang on a FUSE mount. */
int mnt_id_at(const char *path);
bool guard_is(const struct mnt_entry *e, const char *dir);

/* hotbind.c */
/* Make run/hot show the directory that is DIR without anything mounted on it. covered: our guard
 * lies on DIR. 1: made now, 0: it was there. */
int hot_bind_up(const char *dir, const char *run, bool covered);
int hot_bind_down(const char *run);
bool hot_bind_is(const char *run);

/* rundir.c */
char *path_join(const char *a, const char *b);
/* Exclusive over all run directories of this machine, until the returned fd is closed. -errno. */
int run_lock(const char *run);
int run_dir_make(const char *run);
/* Removes what we made in it, then the directory itself when it is empty. */
void run_dir_remove(const char *run);
/* The text of a file in the run directory, without a final newline. Caller frees. */
int run_get(const char *run, const char *name, char **ret);
/* path lies strictly below dir (both absolute, no trailing slash except "/"). */
bool path_below(const char *path, const char *dir);

#endif
