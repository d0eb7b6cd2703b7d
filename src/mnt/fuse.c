/* SPDX-License-Identifier: MIT
 * mount(2) of a FUSE file system on a /dev/fuse descriptor of our own, without fusermount: the
 * descriptor is lent to libfuse later (FUSE.md). The source is what cAdvisor looks up, hence the
 * caller's choice.
 */
#include "mnt_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>

/* Under the lock: between mnt_guard_up and this, which takes as long as recovery, somebody may have
 * taken the guard away, or another start with another store may have mounted. */
static int check_guard(const char *dir)
{
	enum mnt_state state;
	int r = mnt_probe(dir, &state, NULL);

	if (r == -ETIMEDOUT)
		return -EALREADY;
	if (r < 0 || state == MNT_GUARDED)
		return r;
	return state == MNT_BARE ? -ESTALE : -EALREADY;
}

int mnt_fuse(const char *dir, const char *source, unsigned long flags, unsigned max_read, int fd)
{
	int err;
	cleanup_free char *run = mnt_run_dir(dir);
	char opts[160];

	if (!run)
		return -ENOMEM;
	cleanup_fd int lock = run_lock(run);

	err = lock < 0 ? lock : check_guard(dir);
	if (err)
		return err;
	/* rootmode is the type only: the mode comes with the first GETATTR. */
	snprintf(opts, sizeof(opts),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", fd);
	if (max_read)
		snprintf(opts + strlen(opts), sizeof(opts) - strlen(opts), ",max_read=%u",
			 max_read);
	if (mount(source, dir, SPILLFS_FSTYPE, flags, opts) < 0)
		return -errno;
	return 0;
}

int mnt_readahead(unsigned dev_major, unsigned dev_minor, unsigned kib)
{
	char path[80], text[16];

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", dev_major, dev_minor);
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int n = snprintf(text, sizeof(text), "%u\n", kib);

	return write(fd, text, (size_t)n) == n ? 0 : -errno;
}
