/* SPDX-License-Identifier: MIT
 * blockstress: threads that read, write, map, truncate, punch and replace the same few files, and
 * check every byte they see, while somebody else moves those files about (spillctl spill, recall).
 *
 *	blockstress [--files N] [--blocks N] [--threads N] [--time SEC] [--seed S] [--save FILE] DIR
 *	blockstress --check FILE DIR	the files are as --save left them
 *
 * Each 4 KiB block describes itself: file, block number, generation, and contents that follow from
 * these. What generation a block must have is kept in memory. Block operations hold the file's
 * lock shared and the block's lock; operations on whole files hold the file's lock alone: so what
 * a reader must see is always exactly known, and stale pages, lost writes, torn blocks and zeros
 * served as data all show.
 */
#include "fsdiff/util.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK      4096
#define MAX_FILES  64
#define MAX_BLOCKS 1024

struct head { /* at the start of each block; the rest is fill() of its seed */
	char magic[8];
	uint32_t file, block, gen, pad;
};

struct file {
	pthread_rwlock_t lock; /* shared: single blocks; exclusive: the whole file */
	pthread_mutex_t block_lock[MAX_BLOCKS];
	uint32_t
		gen[MAX_BLOCKS]; /* what each block must hold; 0: zeros. Lock: block or exclusive */
	atomic_uint incarnation; /* counts inodes behind the name */
	char path[64];
};

static struct file files[MAX_FILES];
static unsigned nfiles = 6, nblocks = 96, nthreads = 8, seconds = 60;
static uint64_t seed = 1;
static int dirfd_ = -1;
static atomic_uint next_gen = 1;
static atomic_bool stop, failed;
static atomic_ulong counts[16];

/* ---- contents ---------------------------------------------------------------------------- */

static void make_block(void *buf, uint32_t file, uint32_t block, uint32_t gen)
{
	struct head h = {"SPILLBLK", file, block, gen, 0};

	if (gen == 0) {
		memset(buf, 0, BLOCK);
		return;
	}
	fill(buf, BLOCK, ((uint64_t)gen << 32) ^ (uint64_t)file << 16 ^ block);
	memcpy(buf, &h, sizeof(h));
}

__attribute__((format(printf, 1, 2))) static void problem(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!atomic_exchange(&failed, true)) {
		fputs("blockstress: ", stderr);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
	}
	va_end(ap);
	atomic_store(&stop, true);
}

static void check_block(const unsigned char *got, const struct file *f, uint32_t block,
			const char *how)
{
	unsigned char want[BLOCK];
	struct head h;
	size_t i = 0;

	make_block(want, (uint32_t)(f - files), block, f->gen[block]);
	if (memcmp(got, want, BLOCK) == 0)
		return;
	while (got[i] == want[i])
		i++;
	memcpy(&h, got, sizeof(h));
	problem("%s of %s block %u: wrong at byte %zu (%02x, want %02x); want generation %u, found "
		"%.8s file %u block %u generation %u",
		how, f->path, block, i, got[i], want[i], f->gen[block],
		h.magic[0] ? h.magic : "zeros", h.file, h.block, h.gen);
}

/* ---- one thread -------------------------------------------------------------------------- */

struct worker {
	struct rng r;
	unsigned char *buf; /* page-aligned, nblocks blocks */
	int fd[MAX_FILES];  /* kept open for a while, or -1 */
	char *map[MAX_FILES];
	unsigned inc[MAX_FILES];
};

static void drop_fd(struct worker *w, unsigned i)
{
	if (w->map[i])
		munmap(w->map[i], (size_t)nblocks * BLOCK);
	w->map[i] = NULL;
	if (w->fd[i] >= 0)
		close(w->fd[i]);
	w->fd[i] = -1;
}

/* An fd of the file: a kept one, or a new one that is sometimes kept. Caller holds the file's
 * lock.
 */
static int get_fd(struct worker *w, unsigned i, int flags)
{
	int fd;

	if (w->fd[i] >= 0 && w->inc[i] != atomic_load(&files[i].incarnation))
		drop_fd(w, i);
	if (w->fd[i] >= 0 && !(flags & O_DIRECT) && rng_one_in(&w->r, 2))
		return w->fd[i];
	fd = openat(dirfd_, files[i].path, flags | O_CLOEXEC);
	if (fd < 0)
		problem("open %s flags %#o: %s", files[i].path, flags, strerror(errno));
	if (fd >= 0 && (flags & O_ACCMODE) == O_RDWR && !(flags & O_DIRECT) && w->fd[i] < 0 &&
	    rng_one_in(&w->r, 6)) {
		w->fd[i] = fd;
		w->inc[i] = atomic_load(&files[i].incarnation);
	}
	return fd;
}

static void put_fd(struct worker *w, unsigned i, int fd)
{
	if (fd >= 0 && fd != w->fd[i])
		close(fd);
	else if (rng_one_in(&w->r, 8))
		drop_fd(w, i);
}

static void write_with(struct worker *w, unsigned i, uint32_t b, int how)
{
	int fd = get_fd(w, i, (rng_one_in(&w->r, 2) ? O_RDWR : O_WRONLY) | how);
	uint32_t gen = atomic_fetch_add(&next_gen, 1);

	if (fd < 0)
		return;
	make_block(w->buf, i, b, gen);
	if (pwrite(fd, w->buf, BLOCK, (off_t)b * BLOCK) != BLOCK)
		problem("pwrite %s block %u: %s", files[i].path, b, strerror(errno));
	files[i].gen[b] = gen;
	if (rng_one_in(&w->r, 40) && fsync(fd) < 0)
		problem("fsync %s: %s", files[i].path, strerror(errno));
	put_fd(w, i, fd);
}

static void write_block(struct worker *w, unsigned i, uint32_t b)
{
	write_with(w, i, b, rng_one_in(&w->r, 8) ? O_DSYNC : 0);
}

static void read_with(struct worker *w, unsigned i, uint32_t b, int direct)
{
	int fd = get_fd(w, i, (rng_one_in(&w->r, 3) ? O_RDWR : O_RDONLY) | direct);
	ssize_t n;

	if (fd < 0)
		return;
	n = pread(fd, w->buf, BLOCK, (off_t)b * BLOCK);
	if (n != BLOCK)
		problem("pread %s block %u: %zd %s", files[i].path, b, n,
			n < 0 ? strerror(errno) : "");
	else
		check_block(w->buf, &files[i], b, direct ? "direct read" : "read");
	put_fd(w, i, fd);
}

static void read_block(struct worker *w, unsigned i, uint32_t b)
{
	read_with(w, i, b, 0);
}

static char *get_map(struct worker *w, unsigned i, int *ret_fd, bool write)
{
	char *p;

	*ret_fd = get_fd(w, i, write ? O_RDWR : O_RDONLY);
	if (*ret_fd < 0)
		return NULL;
	if (w->map[i] && *ret_fd == w->fd[i])
		return w->map[i];
	p = mmap(NULL, (size_t)nblocks * BLOCK, write ? PROT_READ | PROT_WRITE : PROT_READ,
		 MAP_SHARED, *ret_fd, 0);
	if (p == MAP_FAILED) {
		problem("mmap %s: %s", files[i].path, strerror(errno));
		return NULL;
	}
	if (write && *ret_fd == w->fd[i])
		w->map[i] = p;
	return p;
}

static void put_map(struct worker *w, unsigned i, int fd, char *p)
{
	if (p && p != w->map[i])
		munmap(p, (size_t)nblocks * BLOCK);
	put_fd(w, i, fd);
}

static void map_read(struct worker *w, unsigned i, uint32_t b)
{
	int fd;
	char *p = get_map(w, i, &fd, false);

	if (p) {
		memcpy(w->buf, p + (size_t)b * BLOCK, BLOCK);
		check_block(w->buf, &files[i], b, "mapped read");
	}
	put_map(w, i, fd, p);
}

static void map_write(struct worker *w, unsigned i, uint32_t b)
{
	uint32_t gen = atomic_fetch_add(&next_gen, 1);
	int fd;
	char *p = get_map(w, i, &fd, true);

	if (p) {
		make_block(w->buf, i, b, gen);
		memcpy(p + (size_t)b * BLOCK, w->buf, BLOCK);
		files[i].gen[b] = gen;
		if (rng_one_in(&w->r, 3) && msync(p + (size_t)b * BLOCK, BLOCK, MS_SYNC) < 0)
			problem("msync %s: %s", files[i].path, strerror(errno));
	}
	put_map(w, i, fd, p);
}

static void punch_block(struct worker *w, unsigned i, uint32_t b)
{
	int fd = get_fd(w, i, O_RDWR);

	if (fd < 0)
		return;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)b * BLOCK, BLOCK) < 0)
		problem("punch %s: %s", files[i].path, strerror(errno));
	files[i].gen[b] = 0;
	put_fd(w, i, fd);
}

/* ---- whole files: the caller holds the lock exclusively ---------------------------------- */

static void write_all(struct worker *w, unsigned i, const char *path, int flags)
{
	size_t len = (size_t)nblocks * BLOCK;
	int fd = openat(dirfd_, path, flags | O_CLOEXEC, 0644);

	if (fd < 0) {
		problem("open %s flags %#o: %s", path, flags, strerror(errno));
		return;
	}
	for (uint32_t b = 0; b < nblocks; b++) {
		files[i].gen[b] = atomic_fetch_add(&next_gen, 1);
		make_block(w->buf + (size_t)b * BLOCK, i, b, files[i].gen[b]);
	}
	if (pwrite(fd, w->buf, len, 0) != (ssize_t)len)
		problem("write %s: %s", path, strerror(errno));
	if (close(fd) < 0)
		problem("close %s: %s", path, strerror(errno));
}

static void read_all(struct worker *w, unsigned i, const char *how)
{
	ssize_t len = (ssize_t)nblocks * BLOCK, n;
	int fd = openat(dirfd_, files[i].path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		problem("open %s: %s", files[i].path, strerror(errno));
		return;
	}
	n = pread(fd, w->buf, (size_t)len, 0);
	if (n != len)
		problem("%s %s: %zd of %zd %s", how, files[i].path, n, len,
			n < 0 ? strerror(errno) : "");
	else
		for (uint32_t b = 0; b < nblocks; b++)
			check_block(w->buf + (size_t)b * BLOCK, &files[i], b, how);
	close(fd);
}

/* A new inode takes the name: by rename, or after unlink. */
static void replace(struct worker *w, unsigned i)
{
	char tmp[80];

	if (rng_one_in(&w->r, 2)) {
		if (unlinkat(dirfd_, files[i].path, 0) < 0)
			problem("unlink %s: %s", files[i].path, strerror(errno));
		write_all(w, i, files[i].path, O_RDWR | O_CREAT | O_EXCL);
	} else {
		snprintf(tmp, sizeof(tmp), "%s.new", files[i].path);
		write_all(w, i, tmp, O_RDWR | O_CREAT | O_EXCL);
		if (renameat(dirfd_, tmp, dirfd_, files[i].path) < 0)
			problem("rename %s: %s", tmp, strerror(errno));
	}
	atomic_fetch_add(&files[i].incarnation, 1);
}

static void shorten(struct worker *w, unsigned i)
{
	uint32_t keep = rng_below(&w->r, nblocks);
	int fd = openat(dirfd_, files[i].path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)keep * BLOCK) < 0 ||
	    ftruncate(fd, (off_t)nblocks * BLOCK) < 0)
		problem("truncate %s: %s", files[i].path, strerror(errno));
	for (uint32_t b = keep; b < nblocks; b++)
		files[i].gen[b] = 0;
	if (fd >= 0)
		close(fd);
}

static void metadata(struct worker *w, unsigned i)
{
	struct stat st;
	char tmp[80];

	snprintf(tmp, sizeof(tmp), "%s.moved", files[i].path);
	if (fchmodat(dirfd_, files[i].path, rng_one_in(&w->r, 2) ? 0644 : 0600, 0) < 0 ||
	    linkat(dirfd_, files[i].path, dirfd_, tmp, 0) < 0 ||
	    unlinkat(dirfd_, files[i].path, 0) < 0 ||
	    renameat(dirfd_, tmp, dirfd_, files[i].path) < 0 ||
	    fstatat(dirfd_, files[i].path, &st, 0) < 0)
		problem("metadata of %s: %s", files[i].path, strerror(errno));
	else if (st.st_size != (off_t)nblocks * BLOCK || st.st_nlink != 1)
		problem("%s: size %lld, %lu links", files[i].path, (long long)st.st_size,
			(unsigned long)st.st_nlink);
}

/* ---- the mix ----------------------------------------------------------------------------- */

/* O_DIRECT shares folios with neighbours that others map and dirty, which the kernel answers with
 * EIO on every file system (dio_warn_stale_pagecache): so it has the file for itself. */
static void direct(struct worker *w, unsigned i)
{
	uint32_t b = rng_below(&w->r, nblocks);

	if (rng_one_in(&w->r, 2))
		write_with(w, i, b, O_DIRECT);
	else
		read_with(w, i, b, O_DIRECT);
}

static const struct {
	const char *name;
	unsigned weight;
	void (*one)(struct worker *, unsigned, uint32_t);
	void (*all)(struct worker *, unsigned);
} ops[] = {
	{"read", 30, read_block, NULL},   {"mapped read", 20, map_read, NULL},
	{"write", 20, write_block, NULL}, {"mapped write", 12, map_write, NULL},
	{"punch", 3, punch_block, NULL},  {"replace", 2, NULL, replace},
	{"shorten", 2, NULL, shorten},    {"metadata", 3, NULL, metadata},
	{"direct", 8, NULL, direct},
};
#define NOPS (sizeof(ops) / sizeof(ops[0]))

static void one_op(struct worker *w)
{
	unsigned i = rng_below(&w->r, nfiles), total = 0, k = 0, pick;
	uint32_t b = rng_below(&w->r, nblocks);
	struct file *f = &files[i];

	for (size_t j = 0; j < NOPS; j++)
		total += ops[j].weight;
	for (pick = rng_below(&w->r, total + 4); k < NOPS && pick >= ops[k].weight; k++)
		pick -= ops[k].weight;
	if (k < NOPS && ops[k].one) {
		pthread_rwlock_rdlock(&f->lock);
		pthread_mutex_lock(&f->block_lock[b]);
		ops[k].one(w, i, b);
		pthread_mutex_unlock(&f->block_lock[b]);
	} else {
		pthread_rwlock_wrlock(&f->lock);
		if (k < NOPS)
			ops[k].all(w, i);
		else if (pick < 2)
			write_all(w, i, f->path, O_WRONLY | O_TRUNC);
		else
			read_all(w, i, "whole read");
	}
	pthread_rwlock_unlock(&f->lock);
	atomic_fetch_add(&counts[k], 1);
}

static void worker_init(struct worker *w, uint64_t s)
{
	w->r.x = s;
	for (unsigned i = 0; i < MAX_FILES; i++)
		w->fd[i] = -1;
	w->buf = aligned_alloc(BLOCK, (size_t)nblocks * BLOCK);
	if (!w->buf)
		abort();
}

static void *worker_main(void *arg)
{
	struct worker w = {0};

	worker_init(&w, seed * 1000 + (uintptr_t)arg);
	while (!atomic_load(&stop)) {
		one_op(&w);
		/* Now and then nothing is open, or no spill would ever succeed. */
		if (rng_one_in(&w.r, 50)) {
			for (unsigned i = 0; i < nfiles; i++)
				drop_fd(&w, i);
			usleep(rng_below(&w.r, 40000));
		}
	}
	for (unsigned i = 0; i < nfiles; i++)
		drop_fd(&w, i);
	free(w.buf);
	return NULL;
}

/* ---- saved state: which generation each block has ---------------------------------------- */

static int save(const char *path)
{
	FILE *fp = fopen(path, "w");

	if (!fp)
		return -errno;
	fprintf(fp, "%u %u\n", nfiles, nblocks);
	for (unsigned i = 0; i < nfiles; i++)
		for (unsigned b = 0; b < nblocks; b++)
			fprintf(fp, "%u\n", files[i].gen[b]);
	return fclose(fp) ? -errno : 0;
}

static int load(const char *path)
{
	FILE *fp = fopen(path, "r");
	bool good = fp && fscanf(fp, "%u %u", &nfiles, &nblocks) == 2 && nfiles <= MAX_FILES &&
		    nblocks <= MAX_BLOCKS;

	for (unsigned i = 0; good && i < nfiles; i++)
		for (unsigned b = 0; good && b < nblocks; b++)
			good = fscanf(fp, "%u", &files[i].gen[b]) == 1;
	if (fp)
		fclose(fp);
	return good ? 0 : -EINVAL;
}

static void check_all(void)
{
	struct worker w = {0};

	worker_init(&w, 0);
	for (unsigned i = 0; i < nfiles; i++)
		read_all(&w, i, "final read");
	free(w.buf);
}

static void stress(void)
{
	struct worker w = {0};
	pthread_t t[256];
	time_t end = time(NULL) + seconds;

	worker_init(&w, seed);
	for (unsigned i = 0; i < nfiles; i++)
		write_all(&w, i, files[i].path, O_RDWR | O_CREAT | O_TRUNC);
	for (uintptr_t i = 0; i < nthreads; i++)
		if (pthread_create(&t[i], NULL, worker_main, (void *)i))
			abort();
	while (!atomic_load(&stop) && time(NULL) < end)
		usleep(100000);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < nthreads; i++)
		pthread_join(t[i], NULL);
	check_all();
	free(w.buf);
	printf("blockstress:");
	for (size_t k = 0; k < NOPS; k++)
		printf(" %s %lu,", ops[k].name, atomic_load(&counts[k]));
	printf(" whole %lu\n", atomic_load(&counts[NOPS]));
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {{"files", 1, 0, 'f'},   {"blocks", 1, 0, 'b'},
					     {"threads", 1, 0, 't'}, {"time", 1, 0, 's'},
					     {"seed", 1, 0, 'r'},    {"save", 1, 0, 'S'},
					     {"check", 1, 0, 'C'},   {0, 0, 0, 0}};
	const char *save_to = NULL, *check = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		unsigned long v = optarg ? strtoul(optarg, NULL, 0) : 0;

		if (c == 'f')
			nfiles = (unsigned)v;
		else if (c == 'b')
			nblocks = (unsigned)v;
		else if (c == 't')
			nthreads = (unsigned)v;
		else if (c == 's')
			seconds = (unsigned)v;
		else if (c == 'r')
			seed = v;
		else if (c == 'S')
			save_to = optarg;
		else if (c == 'C')
			check = optarg;
		else
			return 2;
	}
	if (optind + 1 != argc || !nfiles || nfiles > MAX_FILES || !nblocks ||
	    nblocks > MAX_BLOCKS || nthreads > 256 || (check && load(check) < 0)) {
		fprintf(stderr, "blockstress: see the top of blockstress.c for its usage\n");
		return 2;
	}
	dirfd_ = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd_ < 0) {
		perror(argv[optind]);
		return 2;
	}
	for (unsigned i = 0; i < nfiles; i++) {
		pthread_rwlock_init(&files[i].lock, NULL);
		for (unsigned b = 0; b < nblocks; b++)
			pthread_mutex_init(&files[i].block_lock[b], NULL);
		snprintf(files[i].path, sizeof(files[i].path), "f%u", i);
	}
	if (check)
		check_all();
	else
		stress();
	if (save_to && save(save_to) < 0)
		problem("cannot write %s", save_to);
	return atomic_load(&failed) ? 1 : 0;
}
