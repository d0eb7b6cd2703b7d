/* SPDX-License-Identifier: MIT
 * What overlayfs asks of an upper layer (fs/overlayfs/super.c, ovl_make_workdir): names with their
 * types in directories, RENAME_WHITEOUT, trusted.overlay.* attributes, character devices 0/0,
 * O_TMPFILE. Tried in a directory of our own on the mount, which goes away again.
 */
#include "doctor_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#ifndef RENAME_WHITEOUT
#define RENAME_WHITEOUT (1 << 2)
#endif

#define PROBE_MS 10000

static bool try_types(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool ok = d;

	while (d && (e = readdir(d)))
		ok &= e->d_type != DT_UNKNOWN;
	if (d)
		closedir(d);
	return ok;
}

static bool try_whiteout(int dir)
{
	struct stat st;

	return !renameat2(dir, "f", dir, "g", RENAME_WHITEOUT) &&
	       !fstatat(dir, "f", &st, AT_SYMLINK_NOFOLLOW) && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(0, 0);
}

static void lacks(int out, bool *any, const char *what)
{
	cleanup_free char *s = NULL;

	if (asprintf(&s, "%s%s", *any ? ", " : "", what) >= 0)
		write_full(out, s, strlen(s));
	*any = true;
}

static void try_all(int dir, int out)
{
	int fd = openat(dir, "f", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char value[2] = "";
	bool any = false;

	if (fd < 0)
		lacks(out, &any, "files");
	if (fd >= 0 && (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) ||
			fgetxattr(fd, "trusted.overlay.opaque", value, 1) != 1 || *value != 'y'))
		lacks(out, &any, "trusted.* attributes");
	if (fd >= 0)
		close(fd);
	if (!try_types(dir))
		lacks(out, &any, "d_type");
	if (!try_whiteout(dir))
		lacks(out, &any, "RENAME_WHITEOUT");
	if (mknodat(dir, "w", S_IFCHR, makedev(0, 0)))
		lacks(out, &any, "devices 0/0 (whiteouts)");
	fd = openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		lacks(out, &any, "O_TMPFILE");
	else
		close(fd);
}

static int probe_child(const char *in, int out)
{
	cleanup_free char *path = NULL;
	cleanup_fd int dir = -1;

	if (asprintf(&path, "%s/.spillctl-probe.XXXXXX", in) < 0)
		return -ENOMEM;
	if (!mkdtemp(path))
		return -errno;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		try_all(dir, out);
	unlinkat(dir, "f", 0);
	unlinkat(dir, "g", 0);
	unlinkat(dir, "w", 0);
	return rmdir(path) ? -errno : dir < 0 ? -EIO : 0;
}

/* What the child wrote, then its return value; until the time is over. */
static int take(int fd, char *buf, size_t size, int *ret_r)
{
	uint64_t until = clock_mono_ns() + PROBE_MS * UINT64_C(1000000);
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_mono_ns();
		ssize_t n;

		if (now >= until || poll(&pfd, 1, (int)((until - now) / 1000000) + 1) == 0)
			return -ETIMEDOUT;
		n = read(fd, buf + len, size - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	if (len < sizeof(*ret_r) || len == size)
		return -EIO;
	len -= sizeof(*ret_r);
	memcpy(ret_r, buf + len, sizeof(*ret_r));
	buf[len] = 0;
	return 0;
}

int doctor_probe_overlay(const char *dir, char **ret)
{
	int p[2], r, of_child = 0;
	char buf[1024];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		r = -errno;
		close(p[0]);
		close(p[1]);
		return r;
	}
	if (!pid) {
		r = probe_child(dir, p[1]);
		_exit(write_full(p[1], &r, sizeof(r)) ? 1 : 0);
	}
	close(p[1]);
	r = take(p[0], buf, sizeof(buf), &of_child);
	close(p[0]);
	/* not killed: it may still tidy up */
	waitpid(pid, NULL, r == -ETIMEDOUT ? WNOHANG : 0);
	if (!r)
		r = of_child;
	if (r)
		return r;
	*ret = strdup(buf);
	return *ret ? 0 : -ENOMEM;
}
