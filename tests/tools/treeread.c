/* SPDX-License-Identifier: MIT
 * treeread [-d] [-u] [-b KIB] [-f LIST] DIR: read every regular file of a tree, as one reader that
 * knows nothing of what lies below would (tar, cp, a scanner), and say how fast.
 *
 *	-d       also print the SHA-256 over "path, size, content" of all files read
 *	-u       directory order as readdir gives it; default: sorted by name, everywhere the same
 *	-b KIB   buffer of one read (1024)
 *	-f LIST  only the files named in LIST, a path below DIR in each line, in this order
 *
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
	const char *list;
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

static void closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
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

struct name {
	char *name;
	unsigned char type;
};

struct names {
	struct name *v;
	size_t n, cap;
};

static int by_bytes(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->name, ((const struct name *)b)->name);
}

static int walk(struct reader *r, int dirfd);

static int visit(struct reader *r, int dirfd, const struct name *d)
{
	size_t len = strlen(r->path);
	int type = d->type, ret = 0;
	struct stat st;

	if ((size_t)snprintf(r->path + len, sizeof(r->path) - len, "/%s", d->name) >=
	    sizeof(r->path) - len) {
		errno = ENAMETOOLONG;
		return fail(r, "path");
	}
	if (type == DT_UNKNOWN) {
		if (fstatat(dirfd, d->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return fail(r, "stat");
		type = IFTODT(st.st_mode);
	}
	if (type == DT_REG) {
		ret = read_file_at(r, dirfd, d->name);
	} else if (type == DT_DIR) {
		int fd = openat(dirfd, d->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		ret = fd < 0 ? fail(r, "open") : walk(r, fd);
	}
	if (ret == 0)
		r->path[len] = '\0';
	return ret;
}

/* As fts(3) and tar do it: one descriptor for each directory. Takes dirfd. */
static int walk(struct reader *r, int dirfd)
{
	cleanup_(closedir_p) DIR *d = fdopendir(dirfd);
	struct names l = {NULL, 0, 0};
	struct dirent *e;
	int ret = 0;

	if (!d) {
		close(dirfd);
		return fail(r, "readdir");
	}
	for (errno = 0; (e = readdir(d)); errno = 0) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (l.n == l.cap) {
			l.cap = l.cap ? l.cap * 2 : 64;
			l.v = realloc(l.v, l.cap * sizeof(*l.v));
			if (!l.v)
				abort();
		}
		l.v[l.n++] = (struct name){strdup(e->d_name), e->d_type};
	}
	if (errno)
		ret = fail(r, "readdir");
	if (!r->unsorted && l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_bytes);
	for (size_t i = 0; i < l.n; i++) {
		if (ret == 0)
			ret = visit(r, dirfd, &l.v[i]);
		free(l.v[i].name);
	}
	free(l.v);
	return ret;
}

/* The files of a list, nothing else looked at. */
static int read_list(struct reader *r, int dirfd, const char *list)
{
	FILE *f = fopen(list, "re");
	size_t cap = 0;
	char *line = NULL;
	ssize_t len;
	int ret = 0;

	if (!f)
		return fail(r, list);
	while (!ret && (len = getline(&line, &cap, f)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		snprintf(r->path, sizeof(r->path), "./%s", line);
		ret = read_file_at(r, dirfd, line);
	}
	free(line);
	fclose(f);
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

	while ((c = getopt(argc, argv, "dub:f:")) != -1) {
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
		case 'f':
			r->list = optarg;
			break;
		default:
			return -EINVAL;
		}
	}
	return optind == argc - 1 && r->buf_bytes ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct reader r = {.buf_bytes = 1 << 20, .path = "."};
	cleanup_fd int fd = -1;
	uint64_t t0;
	int ret;

	if (parse(&r, argc, argv) < 0) {
		fprintf(stderr, "usage: treeread [-d] [-u] [-b KIB] [-f LIST] DIR\n");
		return 2;
	}
	r.buf = malloc(r.buf_bytes);
	if (!r.buf)
		return 1;
	t0 = clock_mono_ns();
	fd = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		ret = fail(&r, "open");
	else
		ret = r.list ? read_list(&r, fd, r.list) : walk(&r, steal_fd(&fd));
	if (ret == 0)
		ret = report(&r, (double)(clock_mono_ns() - t0) / 1e9);
	free(r.buf);
	sha256_free(r.sum);
	return ret ? 1 : 0;
}
