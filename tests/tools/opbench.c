/* SPDX-License-Identifier: MIT
 * opbench [-n FILES] DIR: time the small operations of one process on many small files. A loop in a
 * shell would measure the shell.
 *
 * DIR must be empty and is empty again at the end. FILES (5000) files of 1 KiB, 500 to a directory.
 * Each phase goes over all files in the same order:
 *
 *	create_write      open(O_CREAT|O_EXCL), write 1 KiB, close
 *	stat_after_write  rewrite the 1 KiB through an open descriptor, stat the path; open and
 *close are not in it stat_cached       lstat the path, the third time in a row open_read_close
 *open, read all, close rename            to another name in the same directory unlink
 *
 * Output, a line for each phase: "NAME N ops S.SSSSSS s U.UUU us_per_op". What a phase did is
 *proved before the next one starts, outside of the time: the content of every file names the file
 *and the generation written last, sizes and names are as they must be and the old ones are gone.
 *The lines come at the end only: exit 1, a line on stderr and no figures when anything is not as it
 * must be.
 */
#include "spill/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define FILE_BYTES 1024
#define PER_DIR    500

struct bench {
	int dirfd;
	unsigned int files;
	uint64_t generation; /* of the content that all files must have */
};

/* One operation on file i. Returns 0 or -errno; adds what it took to *ns where only a part of it is
 * to be counted. */
typedef int (*op_fn)(struct bench *b, unsigned int i, uint64_t *ns);

static void name_of(char *buf, size_t len, unsigned int i, bool renamed)
{
	snprintf(buf, len, "%03u/%s-%05u", i / PER_DIR, renamed ? "renamed" : "file", i);
}

static void content_of(uint8_t *buf, unsigned int i, uint64_t generation)
{
	uint64_t x = ((uint64_t)i << 32 | generation) * 0x9e3779b97f4a7c15u + 1;

	for (size_t at = 0; at < FILE_BYTES; at += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(buf + at, &x, sizeof(x));
	}
}

static int op_create_write(struct bench *b, unsigned int i, uint64_t *ns)
{
	uint8_t buf[FILE_BYTES];
	char name[32];
	uint64_t t0;
	int fd, r;

	name_of(name, sizeof(name), i, false);
	content_of(buf, i, b->generation);
	t0 = clock_mono_ns();
	fd = openat(b->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = write_full(fd, buf, sizeof(buf));
	if (close(fd) < 0 && r == 0)
		r = -errno;
	*ns += clock_mono_ns() - t0;
	return r;
}

static int op_rewrite_stat(struct bench *b, unsigned int i, uint64_t *ns)
{
	cleanup_fd int fd = -1;
	uint8_t buf[FILE_BYTES];
	char name[32];
	struct stat st;
	uint64_t t0;
	int r;

	name_of(name, sizeof(name), i, false);
	content_of(buf, i, b->generation);
	fd = openat(b->dirfd, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	t0 = clock_mono_ns();
	r = write_full(fd, buf, sizeof(buf));
	if (r == 0 && fstatat(b->dirfd, name, &st, 0) < 0)
		r = -errno;
	*ns += clock_mono_ns() - t0;
	return r ? r : st.st_size == FILE_BYTES ? 0 : -EILSEQ;
}

static int op_lstat(struct bench *b, unsigned int i, uint64_t *ns)
{
	char name[32];
	struct stat st;
	uint64_t t0;

	name_of(name, sizeof(name), i, false);
	t0 = clock_mono_ns();
	if (fstatat(b->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ns += clock_mono_ns() - t0;
	return S_ISREG(st.st_mode) && st.st_size == FILE_BYTES ? 0 : -EILSEQ;
}

/* Reads one byte more than there must be: a file that is too long is found as well. */
static int read_check(struct bench *b, unsigned int i, bool renamed, uint64_t *ns)
{
	uint8_t got[FILE_BYTES + 1], want[FILE_BYTES];
	char name[32];
	uint64_t t0;
	ssize_t n;
	int fd;

	name_of(name, sizeof(name), i, renamed);
	content_of(want, i, b->generation);
	t0 = clock_mono_ns();
	fd = openat(b->dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, got, sizeof(got));
	if (n < 0)
		n = -errno;
	close(fd);
	*ns += clock_mono_ns() - t0;
	if (n < 0)
		return (int)n;
	return n == FILE_BYTES && !memcmp(got, want, FILE_BYTES) ? 0 : -EILSEQ;
}

static int op_read(struct bench *b, unsigned int i, uint64_t *ns)
{
	return read_check(b, i, false, ns);
}

static int op_read_renamed(struct bench *b, unsigned int i, uint64_t *ns)
{
	return read_check(b, i, true, ns);
}

static int op_rename(struct bench *b, unsigned int i, uint64_t *ns)
{
	char from[32], to[32];
	uint64_t t0;

	name_of(from, sizeof(from), i, false);
	name_of(to, sizeof(to), i, true);
	t0 = clock_mono_ns();
	if (renameat(b->dirfd, from, b->dirfd, to) < 0)
		return -errno;
	*ns += clock_mono_ns() - t0;
	return 0;
}

static int op_unlink(struct bench *b, unsigned int i, uint64_t *ns)
{
	char name[32];
	uint64_t t0;

	name_of(name, sizeof(name), i, true);
	t0 = clock_mono_ns();
	if (unlinkat(b->dirfd, name, 0) < 0)
		return -errno;
	*ns += clock_mono_ns() - t0;
	return 0;
}

static int op_is_gone(struct bench *b, unsigned int i, uint64_t *ns)
{
	char name[32];
	struct stat st;

	(void)ns;
	name_of(name, sizeof(name), i, false);
	if (fstatat(b->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EILSEQ;
	return errno == ENOENT ? 0 : -errno;
}

static int each(struct bench *b, const char *what, op_fn op, uint64_t *ns)
{
	for (unsigned int i = 0; i < b->files; i++) {
		int r = op(b, i, ns);

		if (r == 0)
			continue;
		fprintf(stderr, "opbench: %s: file %u: %s\n", what, i,
			r == -EILSEQ ? "not what it must be" : strerror(-r));
		return r;
	}
	return 0;
}

struct phase {
	const char *name;
	op_fn op;
	op_fn proof[2];    /* over all files, not timed */
	unsigned int warm; /* rounds of op before the timed one */
	bool rewrites;     /* op writes other content than is there */
	uint64_t ns;
};

static struct phase phases[] = {
	{.name = "create_write", .op = op_create_write, .proof = {op_read}, .rewrites = true},
	{.name = "stat_after_write", .op = op_rewrite_stat, .proof = {op_read}, .rewrites = true},
	{.name = "stat_cached", .op = op_lstat, .warm = 2},
	{.name = "open_read_close", .op = op_read},
	{.name = "rename", .op = op_rename, .proof = {op_read_renamed, op_is_gone}},
	{.name = "unlink", .op = op_unlink},
};

static int run_phase(struct bench *b, struct phase *p)
{
	uint64_t untimed = 0;
	int r = 0;

	if (p->rewrites)
		b->generation++;
	for (unsigned int i = 0; i < p->warm && !r; i++)
		r = each(b, p->name, p->op, &untimed);
	if (!r)
		r = each(b, p->name, p->op, &p->ns);
	for (size_t i = 0; i < ARRAY_SIZE(p->proof) && p->proof[i] && !r; i++)
		r = each(b, p->name, p->proof[i], &untimed);
	return r;
}

/* The directories of the files, made or removed; rmdir proves that unlink left nothing. */
static int dirs(struct bench *b, bool make)
{
	char name[32];

	for (unsigned int i = 0; i < b->files; i += PER_DIR) {
		snprintf(name, sizeof(name), "%03u", i / PER_DIR);
		if (make ? mkdirat(b->dirfd, name, 0755) : unlinkat(b->dirfd, name, AT_REMOVEDIR)) {
			fprintf(stderr, "opbench: directory %s: %s\n", name, strerror(errno));
			return -errno;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct bench b = {.dirfd = -1, .files = 5000};
	int c, r;

	while ((c = getopt(argc, argv, "n:")) == 'n')
		b.files = (unsigned int)strtoul(optarg, NULL, 10);
	if (c != -1 || optind != argc - 1 || b.files == 0 || b.files > 99999) {
		fprintf(stderr, "usage: opbench [-n FILES] DIR\n");
		return 2;
	}
	b.dirfd = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b.dirfd < 0) {
		fprintf(stderr, "opbench: %s: %s\n", argv[optind], strerror(errno));
		return 1;
	}
	r = dirs(&b, true);
	for (size_t i = 0; i < ARRAY_SIZE(phases) && !r; i++)
		r = run_phase(&b, &phases[i]);
	if (!r)
		r = dirs(&b, false);
	close(b.dirfd);
	for (size_t i = 0; i < ARRAY_SIZE(phases) && !r; i++)
		printf("%s %u ops %.6f s %.3f us_per_op\n", phases[i].name, b.files,
		       (double)phases[i].ns / 1e9, (double)phases[i].ns / 1e3 / b.files);
	return r || fflush(stdout) ? 1 : 0;
}
