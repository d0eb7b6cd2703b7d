/* SPDX-License-Identifier: MIT
 * fileop: single calls that shell commands cannot make.
 *
 *	fileop map FILE...		data ranges by SEEK_DATA/SEEK_HOLE
 *	fileop ways FILE...		read(2), O_DIRECT, a mapping and pread in odd pieces agree
 *	fileop copy IN OUT INOFF OUTOFF LEN	copy_file_range(2), until all is copied
 *	fileop mwrite FILE OFF TEXT	store through a shared mapping, msync
 *	fileop keep FILE		map it shared and close it; see do_keep
 *	fileop appends FILE		open it to append, turn O_APPEND off, write at 0
 *	fileop ahead FILE TEXT		readahead(2) of all of it, then write TEXT at 0
 *	fileop fill DIR FIRST COUNT	COUNT files of a few bytes, named by number
 *	fileop list DIR			number of entries, each name seen once
 *	fileop rename-listed DIR	rename each entry while listing: this ends
 *
 * Exit: 0, or 1 with a message.
 */
#include "fsdiff/util.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static int bad(const char *what, const char *name)
{
	fprintf(stderr, "fileop: %s: %s: %s\n", what, name, strerror(errno));
	return 1;
}

static int do_map(char **v)
{
	for (; *v; v++) {
		int fd = open(*v, O_RDONLY | O_CLOEXEC);
		off_t pos = 0, end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

		if (end < 0)
			return bad("open", *v);
		while (pos < end) {
			off_t data = lseek(fd, pos, SEEK_DATA);

			if (data < 0 && errno == ENXIO)
				break;
			pos = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
			if (pos <= data)
				return bad("SEEK_HOLE", *v);
			printf("%lld-%lld ", (long long)data, (long long)pos);
		}
		printf("of %lld\n", (long long)end);
		close(fd);
	}
	return 0;
}

static int hash_by_read(int fd, size_t step, uint64_t *ret)
{
	static char buf[1 << 20] __attribute__((aligned(4096)));
	XXH3_state_t *h = XXH3_createState();
	ssize_t n;

	XXH3_64bits_reset(h);
	while ((n = read(fd, buf, step)) > 0)
		XXH3_64bits_update(h, buf, (size_t)n);
	*ret = XXH3_64bits_digest(h);
	XXH3_freeState(h);
	return n < 0 ? -1 : 0;
}

static int do_ways(char **v)
{
	static const size_t steps[] = {1 << 20, 4096, 131072, 9973};

	for (; *v; v++) {
		uint64_t first = 0, h;
		struct stat st;

		for (unsigned i = 0; i < 8; i++) {
			int fd = open(*v, O_RDONLY | O_CLOEXEC | (i >= 4 ? O_DIRECT : 0));

			if (i == 7) /* O_DIRECT wants alignment */
				close(fd), fd = open(*v, O_RDONLY | O_CLOEXEC);
			if (fd < 0 || hash_by_read(fd, steps[i % 4], &h) < 0 || fstat(fd, &st) < 0)
				return bad(i >= 4 ? "direct read" : "read", *v);
			if (i == 0)
				first = h;
			if (h != first) {
				errno = EBADMSG;
				return bad(i >= 4 ? "direct read differs" : "read differs", *v);
			}
			if (i == 0 && st.st_size > 0) {
				void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd,
					       0);

				if (p == MAP_FAILED)
					return bad("mmap", *v);
				if (XXH3_64bits(p, (size_t)st.st_size) != first) {
					errno = EBADMSG;
					return bad("the mapping differs", *v);
				}
				munmap(p, (size_t)st.st_size);
			}
			close(fd);
		}
	}
	return 0;
}

static int do_copy(char **v)
{
	int in = open(v[0], O_RDONLY | O_CLOEXEC),
	    out = open(v[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	off_t a = strtoll(v[2], NULL, 0), b = strtoll(v[3], NULL, 0);
	size_t left = strtoull(v[4], NULL, 0);

	if (in < 0 || out < 0)
		return bad("open", in < 0 ? v[0] : v[1]);
	while (left > 0) {
		ssize_t n = copy_file_range(in, &a, out, &b, left, 0);

		if (n <= 0)
			return bad("copy_file_range", v[0]);
		left -= (size_t)n;
	}
	return close(out) < 0 ? bad("close", v[1]) : 0;
}

static int do_mwrite(char **v)
{
	int fd = open(v[0], O_RDWR | O_CLOEXEC);
	size_t off = strtoull(v[1], NULL, 0);
	struct stat st;
	char *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		return bad("open", v[0]);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return bad("mmap", v[0]);
	close(fd);
	memcpy(p + off, v[2], strlen(v[2]));
	return msync(p, (size_t)st.st_size, MS_SYNC) < 0 ? bad("msync", v[0]) : 0;
}

static int do_fill(char **v)
{
	long first = strtol(v[1], NULL, 0), count = strtol(v[2], NULL, 0);
	char name[32];

	if (chdir(v[0]) < 0)
		return bad("chdir", v[0]);
	for (long i = first; i < first + count; i++) {
		int fd, n = snprintf(name, sizeof(name), "%ld", i);

		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || write(fd, name, (size_t)n) != n || close(fd) < 0)
			return bad("create", name);
	}
	return 0;
}

static int cmp_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int do_rename_listed(char **v)
{
	DIR *d = opendir(v[0]);
	unsigned n = 0, files = 0;
	struct dirent *e;

	if (!d)
		return bad("opendir", v[0]);
	while ((e = readdir(d)))
		files += e->d_name[0] != '.';
	rewinddir(d);
	while (n <= 4 * files && (e = readdir(d))) {
		char to[64];

		if (e->d_name[0] == '.')
			continue;
		snprintf(to, sizeof(to), "renamed-%u", n++);
		if (renameat(dirfd(d), e->d_name, dirfd(d), to))
			return bad("rename", e->d_name);
	}
	closedir(d);
	if (n > 4 * files)
		fprintf(stderr, "fileop: %u files, renamed %u times and no end\n", files, n);
	return n > 4 * files;
}

static int do_list(char **v)
{
	DIR *d = opendir(v[0]);
	struct dirent *e;
	char **names = NULL;
	size_t n = 0, cap = 0;

	if (!d)
		return bad("opendir", v[0]);
	errno = 0;
	while ((e = readdir(d))) {
		if (n == cap) {
			cap = cap ? cap * 2 : 1024;
			names = realloc(names, cap * sizeof(*names));
			if (!names)
				abort();
		}
		names[n++] = strdup(e->d_name);
	}
	if (errno)
		return bad("readdir", v[0]);
	closedir(d);
	qsort(names, n, sizeof(*names), cmp_names);
	for (size_t i = 1; i < n; i++)
		if (strcmp(names[i - 1], names[i]) == 0) {
			errno = EEXIST;
			return bad("listed twice", names[i]);
		}
	printf("%zu\n", n);
	return 0;
}

/* Says "mapped"; then for each byte of stdin stores it at offset 0 and says "stored". */
static int do_keep(char **v)
{
	int fd = open(v[0], O_RDWR | O_CLOEXEC), c;
	char *p = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return bad("mmap", v[0]);
	close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("mapped");
	while ((c = getchar()) != EOF) {
		*(volatile char *)p = (char)c;
		puts("stored");
	}
	return 0;
}

static int do_ahead(char **v)
{
	int fd = open(v[0], O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return bad("open", v[0]);
	posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
	if (readahead(fd, 0, (size_t)st.st_size) < 0)
		return bad("readahead", v[0]);
	usleep(200000); /* it is read in the background */
	if (pwrite(fd, v[1], strlen(v[1]), 0) != (ssize_t)strlen(v[1]))
		return bad("pwrite", v[0]);
	close(fd);
	return 0;
}

static int do_appends(char **v)
{
	int fd = open(v[0], O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0 || fcntl(fd, F_SETFL, 0) < 0 || pwrite(fd, "begin", 5, 0) != 5)
		return bad("append", v[0]);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args; /* negative: at least */
		int (*fn)(char **);
	} verbs[] = {
		{"map", -1, do_map},    {"ways", -1, do_ways},
		{"copy", 5, do_copy},   {"mwrite", 3, do_mwrite},
		{"keep", 1, do_keep},   {"appends", 1, do_appends},
		{"ahead", 2, do_ahead}, {"fill", 3, do_fill},
		{"list", 1, do_list},   {"rename-listed", 1, do_rename_listed},
	};

	for (size_t i = 0; argc > 2 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0 &&
		    (verbs[i].args < 0 || argc == verbs[i].args + 2))
			return verbs[i].fn(argv + 2);
	fprintf(stderr, "fileop: see the top of fileop.c for its usage\n");
	return 2;
}
