/* SPDX-License-Identifier: MIT
 * STORE/overflow: plain bytes of files that outgrew the hot tier while they were written, one
 * sparse file per hot inode, named by it.
 *
 * Which of them count is the hot tier's business (the marker "partial" on the inode); a file here
 * that no marker names is left over.
 */
#include "store_int.h"

#include "spill/durable.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define OVERFLOW_DIR "overflow"
#define NAME_LEN     (16 + 1 + 8)

static void name_of(struct hot_id id, char out[NAME_LEN + 1])
{
	snprintf(out, NAME_LEN + 1, "%016llx-%08x", (unsigned long long)id.ino, id.gen);
}

static bool parse(const char *name, struct hot_id *ret)
{
	unsigned long long ino;
	char again[NAME_LEN + 1];
	unsigned gen;

	if (sscanf(name, "%16llx-%8x", &ino, &gen) != 2)
		return false;
	*ret = (struct hot_id){.ino = ino, .gen = gen};
	name_of(*ret, again);
	return !strcmp(name, again);
}

static int dir_open(const struct store *s)
{
	int fd = openat(s->dirfd, OVERFLOW_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

/* The directory is made when it is needed first, durably. */
static int dir_make(struct store *s)
{
	int fd = dir_open(s);

	if (fd != -ENOENT)
		return fd;
	if (mkdirat(s->dirfd, OVERFLOW_DIR, 0700) && errno != EEXIST)
		return -errno;
	int r = d_fsync(s->dirfd);

	return r ? r : dir_open(s);
}

int store_overflow_open(struct store *s, struct hot_id id, bool fresh)
{
	char name[NAME_LEN + 1];
	struct stat st;

	if (fresh && s->read_only)
		return -EROFS;
	cleanup_fd int dir = fresh ? dir_make(s) : dir_open(s);

	if (dir < 0)
		return dir;
	name_of(id, name);
	if (fresh && !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
		int r = store_overflow_remove(s, id); /* of an earlier life of the inode */

		if (r)
			return r;
	}
	int fd = openat(dir, name,
			(s->read_only ? O_RDONLY : O_RDWR) | (fresh ? O_CREAT | O_EXCL : 0) |
				O_NOFOLLOW | O_CLOEXEC,
			0600);

	if (fd < 0)
		return -errno;
	int r = fresh ? d_fsync(dir) : 0;

	if (r) {
		close(fd);
		unlinkat(dir, name, 0); /* not durable, and need not be */
		return r;
	}
	if (fresh)
		atomic_fetch_add(&s->overflow_files, 1);
	return fd;
}

int store_overflow_remove(struct store *s, struct hot_id id)
{
	cleanup_fd int dir = dir_open(s);
	char name[NAME_LEN + 1];

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	name_of(id, name);
	struct stat st;
	bool known = !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW);
	int r = d_unlink(dir, name);

	if (!r) {
		atomic_fetch_sub(&s->overflow_files, 1);
		if (known)
			store_grew(s, -(int64_t)st.st_blocks * 512);
	}
	return r == -ENOENT ? 0 : r;
}

int store_overflow_list(struct store *s, store_overflow_fn fn, void *ctx)
{
	int fd = dir_open(s), r = 0;
	struct dirent *de;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	DIR *d = fdopendir(fd);

	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (!r && (errno = 0, de = readdir(d))) {
		struct hot_id id;
		struct stat st;

		if (parse(de->d_name, &id) && !fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode))
			r = fn(ctx, id, (uint64_t)st.st_blocks * 512);
	}
	if (!r && !de && errno)
		r = -errno;
	closedir(d);
	return r;
}

struct sum {
	uint64_t bytes, files;
};

static int add(void *ctx, struct hot_id id, uint64_t bytes)
{
	struct sum *s = ctx;

	(void)id;
	s->bytes += bytes;
	s->files++;
	return 0;
}

uint64_t overflow_bytes(struct store *s)
{
	struct sum sum = {0};

	if (atomic_load(&s->overflow_files))
		store_overflow_list(s, add, &sum);
	return sum.bytes;
}

int overflow_count(struct store *s)
{
	struct sum sum = {0};
	int r = store_overflow_list(s, add, &sum);

	if (!r)
		atomic_store(&s->overflow_files, sum.files);
	return r;
}

uint64_t store_overflow_files(const struct store *s)
{
	return atomic_load(&s->overflow_files);
}
