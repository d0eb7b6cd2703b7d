/* SPDX-License-Identifier: MIT
 * gatedisk FILE DIR: DIR/disk has the bytes of FILE, through FUSE, for a loop device. Stays in the
 * foreground.
 *
 * A disk with a gate: SIGSTOP to this process is a network disk that stops answering, reads, writes
 * and flushes alike; SIGCONT brings it back. Unlike a frozen file system or a suspended device it
 * cannot outlive the test: when the process dies, so does the connection, and whoever waits gets
 * EIO.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int disk = -1;

static int g_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	if (!strcmp(path, "/")) {
		*st = (struct stat){.st_mode = S_IFDIR | 0700, .st_nlink = 2};
		return 0;
	}
	if (strcmp(path, "/disk") != 0)
		return -ENOENT;
	return fstat(disk, st) ? -errno : 0;
}

static int g_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		     struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	(void)path, (void)off, (void)fi, (void)flags;
	fill(buf, "disk", NULL, 0, 0);
	return 0;
}

static int g_open(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	fi->keep_cache = 1; /* nobody else writes to it */
	return 0;
}

static int g_read(const char *path, char *buf, size_t len, off_t off, struct fuse_file_info *fi)
{
	(void)path, (void)fi;
	ssize_t n = pread(disk, buf, len, off);

	return n < 0 ? -errno : (int)n;
}

static int g_write(const char *path, const char *buf, size_t len, off_t off,
		   struct fuse_file_info *fi)
{
	(void)path, (void)fi;
	ssize_t n = pwrite(disk, buf, len, off);

	return n < 0 ? -errno : (int)n;
}

static int g_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	(void)path, (void)data, (void)fi;
	return fdatasync(disk) ? -errno : 0;
}

static int g_fallocate(const char *path, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	(void)path, (void)fi;
	return fallocate(disk, mode, off, len) ? -errno : 0;
}

static const struct fuse_operations ops = {
	.getattr = g_getattr,
	.readdir = g_readdir,
	.open = g_open,
	.read = g_read,
	.write = g_write,
	.fsync = g_fsync,
	.fallocate = g_fallocate,
};

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: gatedisk FILE DIR\n");
		return 1;
	}
	disk = open(argv[1], O_RDWR | O_CLOEXEC);
	if (disk < 0) {
		perror(argv[1]);
		return 1;
	}
	char *args[] = {argv[0], argv[2], "-f", "-o", "fsname=gatedisk", NULL};

	return fuse_main(5, args, &ops, NULL);
}
