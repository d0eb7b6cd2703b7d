/* SPDX-License-Identifier: MIT
 * fill write [-w WRITERS] [-s MIN:MAX] [-b TOTAL] [-z PERCENT] [-f] DIR SEED: write files until the
 * disk is full or all writers together have written TOTAL bytes.
 * fill verify [-z PERCENT] DIR SEED: are they as written, to the last byte that write(2) took?
 *
 * Each writer has a directory of its own, DIR/wN, with files of MIN to MAX bytes, in blocks of 4
 * KiB, which no compressor makes smaller; -z: that share of each block is zeros. -f: each file is
 * fsynced. A file that met ENOSPC stays as long as it got.
 *
 * write says, on one line: bytes, files, seconds, the longest create and write in ms, and how long
 * the write took that met ENOSPC (the longest; "-" when none did). Any other error ends it with 1.
 */
#include "spill/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#define BLOCK 4096u
#define CHUNK (64 * BLOCK)

struct job {
	const char *dir;
	uint64_t seed, min, max;
	unsigned zero; /* percent */
	bool sync;
	_Atomic uint64_t left;
};

struct writer {
	struct job *job;
	unsigned no;
	pthread_t thread;
	uint64_t bytes, files, create_ns, write_ns, full_ns;
	int err;
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdu;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53u;
	return x ^ x >> 33;
}

static void content(const struct job *j, unsigned writer, uint64_t file, uint64_t block,
		    uint8_t *buf)
{
	uint64_t x = mix(j->seed ^ mix((uint64_t)writer << 48 ^ file << 24 ^ block)) | 1;
	size_t full = BLOCK - BLOCK * j->zero / 100;

	for (size_t at = 0; at < BLOCK; at += sizeof(x)) {
		uint64_t v = x * 0x2545f4914f6cdd1du;

		if (at >= full)
			v = 0;
		memcpy(buf + at, &v, sizeof(v));
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
	}
}

static void chunk_of(const struct job *j, unsigned writer, uint64_t file, uint64_t off,
		     uint8_t *buf, size_t len)
{
	for (size_t at = 0; at < len; at += BLOCK)
		content(j, writer, file, (off + at) / BLOCK, buf + at);
}

static uint64_t size_of(const struct job *j, unsigned writer, uint64_t file)
{
	uint64_t r = mix(j->seed + 7 * mix((uint64_t)writer << 32 | file));

	return (j->min + r % (j->max - j->min + 1) + BLOCK - 1) / BLOCK * BLOCK;
}

static bool take(struct job *j, uint64_t n)
{
	uint64_t have = atomic_load(&j->left);

	do {
		if (!have)
			return false;
	} while (!atomic_compare_exchange_weak(&j->left, &have, have > n ? have - n : 0));
	return true;
}

/* Returns 0, -ENOSPC or another error. */
static int write_file(struct writer *w, uint64_t no, uint8_t *buf)
{
	struct job *j = w->job;
	uint64_t size = size_of(j, w->no, no), off = 0;
	char path[4096];

	snprintf(path, sizeof(path), "%s/w%u/f%06llu", j->dir, w->no, (unsigned long long)no);
	uint64_t t0 = clock_mono_ns();
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	w->create_ns = MAX(w->create_ns, clock_mono_ns() - t0);
	if (fd < 0)
		return -errno;
	w->files++;
	while (off < size) {
		size_t len = MIN((uint64_t)CHUNK, size - off);

		if (!take(j, len))
			return 0;
		chunk_of(j, w->no, no, off, buf, len);
		t0 = clock_mono_ns();
		ssize_t n = write(fd, buf, len);
		uint64_t took = clock_mono_ns() - t0;

		if (n < 0 && errno == ENOSPC) {
			w->full_ns = MAX(w->full_ns, took);
			return -ENOSPC;
		}
		if (n < 0)
			return -errno;
		w->write_ns = MAX(w->write_ns, took);
		w->bytes += (uint64_t)n;
		off += (uint64_t)n;
		if (off % BLOCK) { /* full: the next one says so */
			t0 = clock_mono_ns();
			n = write(fd, buf, 1);
			w->full_ns = MAX(w->full_ns, clock_mono_ns() - t0);
			if (n < 0)
				return -errno;
			fprintf(stderr,
				"fill: %s: a write ended early, the next one did not fail\n", path);
			return -EIO;
		}
	}
	if (j->sync && fsync(fd))
		return -errno;
	return close(steal_fd(&fd)) ? -errno : 0;
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	cleanup_free uint8_t *buf = malloc(CHUNK);

	for (uint64_t no = 0; !w->err && atomic_load(&w->job->left); no++)
		w->err = buf ? write_file(w, no, buf) : -ENOMEM;
	return NULL;
}

static int do_write(struct job *j, unsigned writers)
{
	struct writer *w = calloc(writers, sizeof(*w)), sum = {0};
	uint64_t t0 = clock_mono_ns();
	int rc = 0;
	bool full = false;

	for (unsigned i = 0; i < writers; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/w%u", j->dir, i);
		if (mkdir(path, 0755) && errno != EEXIST) {
			perror(path);
			free(w);
			return 1;
		}
		w[i].job = j;
		w[i].no = i;
		if (pthread_create(&w[i].thread, NULL, writer_main, &w[i]))
			abort();
	}
	for (unsigned i = 0; i < writers; i++) {
		pthread_join(w[i].thread, NULL);
		sum.bytes += w[i].bytes;
		sum.files += w[i].files;
		sum.create_ns = MAX(sum.create_ns, w[i].create_ns);
		sum.write_ns = MAX(sum.write_ns, w[i].write_ns);
		sum.full_ns = MAX(sum.full_ns, w[i].full_ns);
		full |= w[i].err == -ENOSPC;
		if (w[i].err && w[i].err != -ENOSPC) {
			fprintf(stderr, "fill: writer %u: %s\n", i, strerror(-w[i].err));
			rc = 1;
		}
	}
	free(w);
	printf("bytes=%llu files=%llu seconds=%.3f create_max_ms=%.1f write_max_ms=%.1f ",
	       (unsigned long long)sum.bytes, (unsigned long long)sum.files,
	       (double)(clock_mono_ns() - t0) / 1e9, (double)sum.create_ns / 1e6,
	       (double)sum.write_ns / 1e6);
	if (full)
		printf("enospc_ms=%.1f\n", (double)sum.full_ns / 1e6);
	else
		printf("enospc_ms=-\n");
	return rc;
}

static int verify_file(const struct job *j, int dirfd, const char *name, unsigned writer,
		       uint64_t *bytes)
{
	static uint8_t want[CHUNK], got[CHUNK];
	unsigned long long no;
	uint64_t off = 0;

	if (sscanf(name, "f%6llu", &no) != 1)
		return 1;
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

	for (;;) {
		ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got));

		if (n < 0) {
			fprintf(stderr, "fill: w%u/%s: %s\n", writer, name, strerror(errno));
			return 1;
		}
		if (!n)
			break;
		size_t len = ((size_t)n + BLOCK - 1) / BLOCK * BLOCK;

		chunk_of(j, writer, no, off, want, len);
		if (memcmp(want, got, (size_t)n)) {
			fprintf(stderr, "fill: w%u/%s: differs at or behind %llu\n", writer, name,
				(unsigned long long)off);
			return 1;
		}
		off += (uint64_t)n;
		if (off % BLOCK) /* a short read in the middle would shift what follows */
			break;
	}
	struct stat st;

	if (fstat(fd, &st) || (uint64_t)st.st_size != off) {
		fprintf(stderr, "fill: w%u/%s: %llu bytes could be read\n", writer, name,
			(unsigned long long)off);
		return 1;
	}
	*bytes += off;
	return 0;
}

static int do_verify(const struct job *j)
{
	uint64_t bytes = 0, files = 0;
	int bad = 0;

	for (unsigned i = 0;; i++) {
		char path[4096];
		const struct dirent *e;

		snprintf(path, sizeof(path), "%s/w%u", j->dir, i);
		DIR *d = opendir(path);

		if (!d)
			break;
		while ((e = readdir(d)))
			if (e->d_name[0] == 'f') {
				bad += verify_file(j, dirfd(d), e->d_name, i, &bytes);
				files++;
			}
		closedir(d);
	}
	printf("bytes=%llu files=%llu bad=%d\n", (unsigned long long)bytes,
	       (unsigned long long)files, bad);
	return bad || !files;
}

static int usage(void)
{
	fprintf(stderr, "fill: usage: fill write|verify [-w WRITERS] [-s MIN:MAX] [-b TOTAL] "
			"[-z PERCENT] [-f] DIR SEED\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct job j = {.min = 65536, .max = 4 << 20, .left = UINT64_MAX};
	unsigned writers = 1;
	char *end;
	int c;

	if (argc < 2)
		return usage();
	argv++;
	argc--;
	while ((c = getopt(argc, argv, "w:s:b:z:f")) != -1) {
		switch (c) {
		case 'w':
			writers = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 's':
			j.min = strtoull(optarg, &end, 0);
			j.max = *end == ':' ? strtoull(end + 1, NULL, 0) : j.min;
			break;
		case 'b':
			atomic_store(&j.left, strtoull(optarg, NULL, 0));
			break;
		case 'z':
			j.zero = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'f':
			j.sync = true;
			break;
		default:
			return usage();
		}
	}
	if (optind + 2 != argc || !writers || j.min > j.max || j.zero > 100)
		return usage();
	j.dir = argv[optind];
	j.seed = strtoull(argv[optind + 1], NULL, 0);
	if (!strcmp(argv[0], "write"))
		return do_write(&j, writers);
	return strcmp(argv[0], "verify") ? usage() : do_verify(&j);
}
