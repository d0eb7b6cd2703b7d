/* SPDX-License-Identifier: MIT
 * treeread [-d] [-u] [-b KIB] [-m MIN] [-M MAX] DIR: read every regular file of a tree, as one
 * reader that knows nothing of what lies below would (tar, cp, a scanner), and say how fast. -d
 * also print the SHA-256 over "path, size, content" of all files read -u      directory order as
 * readdir gives it; default: sorted by name, the same on every file system -b KIB  buffer of one
 * read (1024)
 *	-m MIN -M MAX  only files of MIN to MAX bytes
 * Output, one line: "bytes N files N seconds S.SSSSSS mib_per_s N.N [sha256 HEX]". The time covers
 * all of it: readdir, open, fstat, read, close. Exit 1 and a line on stderr at the first error: a
 * benchmark must not time failures.
 */
#include "spill/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct reader {
	struct sha256 *sum; /* NULL: no digest */
	bool unsorted;
	uint64_t min_bytes, max_bytes;
	char *buf;
	size_t buf_bytes;
	uint64_t bytes, files;
	char path[4096];
};

static int fail(const struct reader *r, const char *what)
{
	int e = errno ? errno : EIO;

	fprintf(stderr, "treeread: %s: %s: %s\n", r->path, what, strerror(e));
	return -e;
}

static int read_file_at(struct reader *r, int dirfd, const char *name)
{
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uint64_t left;
	struct stat st;

	if (fd < 0)
		return fail(r, "open");
	if (fstat(fd, &st) < 0)
		return fail(r, "fstat");
	left = (uint64_t)st.st_size;
	if (left < r->min_bytes || left > r->max_bytes)
		return 0;
	if (r->sum) {
		sha256_update(r->sum, r->path, strlen(r->path) + 1);
		sha256_update(r->sum, &left, sizeof(left));
	}
	for (;;) {
		ssize_t n = read(fd, r->buf, r->buf_bytes);

		if (n < 0)
			return fail(r, "read");
		if (n == 0)
			break;
		if (r->sum)
			sha256_update(r->sum, r->buf, (size_t)n);
		left -= (uint64_t)n;
		r->bytes += (uint64_t)n;
	}
	errno = EIO;
	if (left != 0)
		return fail(r, "its size is not what could be read");
	r->files++;
	return 0;
}

static int skip_dots(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk(struct reader *r, int dirfd);

static int visit(struct reader *r, int dirfd, const struct dirent *d)
{
	size_t len = strlen(r->path);
	int type = d->d_type, ret = 0;
	struct stat st;

	if ((size_t)snprintf(r->path + len, sizeof(r->path) - len, "/%s", d->d_name) >=
	    sizeof(r->path) - len) {
		errno = ENAMETOOLONG;
		return fail(r, "path");
	}
	if (type == DT_UNKNOWN) {
		if (fstatat(dirfd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return fail(r, "stat");
		type = IFTODT(st.st_mode);
	}
	if (type == DT_REG) {
		ret = read_file_at(r, dirfd, d->d_name);
	} else if (type == DT_DIR) {
		cleanup_fd int fd =
			openat(dirfd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		ret = fd < 0 ? fail(r, "open") : walk(r, fd);
	}
	if (ret == 0)
		r->path[len] = '\0';
	return ret;
}

static int walk(struct reader *r, int dirfd)
{
	struct dirent **list;
	int n, i, ret = 0;

	n = scandirat(dirfd, ".", &list, skip_dots, r->unsorted ? NULL : by_bytes);
	if (n < 0)
		return fail(r, "readdir");
	for (i = 0; i < n; i++) {
		if (ret == 0)
			ret = visit(r, dirfd, list[i]);
		free(list[i]);
	}
	free(list);
	return ret;
}

static int report(struct reader *r, double sec)
{
	uint8_t sum[SHA256_LEN];
	int i;

	printf("bytes %llu files %llu seconds %.6f mib_per_s %.1f", (unsigned long long)r->bytes,
	       (unsigned long long)r->files, sec, (double)r->bytes / 1048576 / sec);
	if (r->sum) {
		sha256_final(r->sum, sum);
		printf(" sha256 ");
		for (i = 0; i < SHA256_LEN; i++)
			printf("%02x", sum[i]);
	}
	putchar('\n');
	return fflush(stdout) ? 1 : 0;
}

static int parse(struct reader *r, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "dub:m:M:")) != -1) {
		switch (c) {
		case 'd':
			if (sha256_new(&r->sum) < 0)
				return -ENOMEM;
			break;
		case 'u':
			r->unsorted = true;
			break;
		case 'b':
			r->buf_bytes = strtoul(optarg, NULL, 10) * 1024;
			break;
		case 'm':
			r->min_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'M':
			r->max_bytes = strtoull(optarg, NULL, 10);
			break;
		default:
			return -EINVAL;
		}
	}
	return optind == argc - 1 && r->buf_bytes ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct reader r = {.buf_bytes = 1 << 20, .max_bytes = UINT64_MAX, .path = "."};
	cleanup_fd int fd = -1;
	uint64_t t0;
	int ret;

	if (parse(&r, argc, argv) < 0) {
		fprintf(stderr, "usage: treeread [-d] [-u] [-b KIB] [-m MIN] [-M MAX] DIR\n");
		return 2;
	}
	r.buf = malloc(r.buf_bytes);
	if (!r.buf)
		return 1;
	t0 = clock_mono_ns();
	fd = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret = fd < 0 ? fail(&r, "open") : walk(&r, fd);
	if (ret == 0)
		ret = report(&r, (double)(clock_mono_ns() - t0) / 1e9);
	free(r.buf);
	sha256_free(r.sum);
	return ret ? 1 : 0;
}
