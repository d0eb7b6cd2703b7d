/* SPDX-License-Identifier: MIT
 * Speed and size of src/store on real bytes.
 *
 *	storebench [-t THREADS] [-l LEVEL] [-b BATCH_MIB] SOURCE STORE
 *
 * SOURCE is a file (one object) or a directory (each regular file is one), STORE an empty
 * directory. Writes everything in batches, then reads it back: store_stream with one thread, with
 * THREADS, and store_read in requests of 128 KiB. One line of figures for each. Hashing is not
 * part of it: compare the first line with `zstd -LEVEL -T THREADS`.
 */
#include "spill/store.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static struct {
	struct store *s;
	struct store_writer *w;
	struct object *o;
	size_t n, cap;
	uint64_t in, batch;
	uint64_t batch_bytes;
	uint8_t buf[1 << 20];
} b;

static void die(const char *what, int r)
{
	fprintf(stderr, "storebench: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void end_batch(void)
{
	cleanup_free struct pack_len *lens = NULL;
	size_t n;
	int r = b.w ? store_writer_commit(b.w, &lens, &n, NULL) : 0;

	if (r)
		die("commit", r);
	b.w = NULL;
	b.batch = 0;
}

static int put_small(int fd, struct object *o)
{
	ssize_t n = pread_full(fd, b.buf, o->stream_len, 0);

	if (n < 0)
		return (int)n;
	o->size = o->stream_len = (uint64_t)n;
	o->segs = calloc(1, sizeof(*o->segs));
	o->nsegs = 1;
	return store_writer_small(b.w, o, b.buf, (size_t)n, o->segs);
}

static int put_large(int fd, struct object *o)
{
	int r = store_writer_large_begin(b.w, o->id);
	uint64_t at = 0;

	while (!r) {
		ssize_t n = pread_full(fd, b.buf, sizeof(b.buf), (off_t)at);

		if (n <= 0) {
			r = (int)n;
			break;
		}
		r = store_writer_large_data(b.w, b.buf, (size_t)n);
		at += (uint64_t)n;
	}
	o->size = o->stream_len = at;
	return r ?: store_writer_large_end(b.w, o);
}

static int put_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct object *o;
	int fd, r;

	(void)ftw;
	if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size == 0)
		return 0;
	fd = open(path, O_RDONLY | O_NOATIME);
	if (fd < 0)
		return 0;
	if (b.n == b.cap) {
		b.cap = b.cap ? b.cap * 2 : 1024;
		b.o = realloc(b.o, b.cap * sizeof(*b.o));
	}
	o = &b.o[b.n++];
	*o = (struct object){.id = {b.n}, .stream_len = (uint64_t)st->st_size};
	/* Not the real hash, but as incompressible as one. */
	for (int i = 0; i < 4; i++)
		put_le64(o->sha + 8 * i, (b.n * 4 + i) * UINT64_C(0x9e3779b97f4a7c15));
	r = b.w ? 0 : store_writer_begin(b.s, &b.w);
	if (!r)
		r = st->st_size <= FRAME_SIZE ? put_small(fd, o) : put_large(fd, o);
	close(fd);
	if (r)
		die(path, r);
	b.in += o->stream_len;
	b.batch += o->stream_len;
	if (b.batch >= b.batch_bytes)
		end_batch();
	return 0;
}

static int no_sink(void *ctx, const void *data, size_t len, uint64_t off)
{
	(void)data, (void)off;
	*(uint64_t *)ctx += len;
	return 0;
}

static void report(const char *what, uint64_t bytes, uint64_t t0)
{
	double sec = (double)(clock_mono_ns() - t0) / 1e9;

	printf("%-24s %8.2f s %8.1f MB/s\n", what, sec, (double)bytes / 1e6 / sec);
}

static void read_back(const char *what, const char *path, const struct store_opts *opts,
		      bool stream)
{
	uint64_t t0, got = 0;
	int r = store_open(&b.s, path, opts, true);

	if (r)
		die(path, r);
	t0 = clock_mono_ns();
	for (size_t i = 0; i < b.n; i++) {
		const struct object *o = &b.o[i];
		ssize_t n = 1;

		if (stream) {
			n = store_stream(b.s, o->segs, o->nsegs, no_sink, &got, NULL);
		} else {
			for (uint64_t at = 0; n > 0 && at < o->stream_len; at += FRAME_SIZE) {
				n = store_read(b.s, o->segs, o->nsegs, b.buf, FRAME_SIZE, at, NULL);
				got += n > 0 ? (uint64_t)n : 0;
			}
		}
		if (n < 0)
			die("read back", (int)n);
	}
	if (got != b.in)
		die("read back is short", -EIO);
	report(what, got, t0);
	store_close(b.s);
}

int main(int argc, char **argv)
{
	struct store_opts opts = {.level = 3, .cache_bytes = 32 << 20, .pack_bytes = 128 << 20};
	struct store_space sp;
	struct store_id id;
	uint64_t t0;
	int c, r;

	b.batch_bytes = 512 << 20;
	while ((c = getopt(argc, argv, "t:l:b:")) != -1) {
		if (c == 't')
			opts.threads = (unsigned)atoi(optarg);
		else if (c == 'l')
			opts.level = atoi(optarg);
		else if (c == 'b')
			b.batch_bytes = (uint64_t)atoi(optarg) << 20;
		else
			return 1;
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: storebench [-t N] [-l LEVEL] [-b MIB] SOURCE STORE\n");
		return 1;
	}
	r = store_create(argv[optind + 1], (const uint8_t[16]){0}, &id);
	if (!r)
		r = store_open(&b.s, argv[optind + 1], &opts, false);
	if (r)
		die(argv[optind + 1], r);
	t0 = clock_mono_ns();
	if (nftw(argv[optind], put_file, 64, FTW_PHYS | FTW_MOUNT))
		die(argv[optind], -errno);
	end_batch();
	report("write", b.in, t0);
	store_space(b.s, &sp);
	printf("%zu objects, %llu bytes, stored %llu, ratio %.4f\n", b.n, (unsigned long long)b.in,
	       (unsigned long long)sp.stored_bytes, (double)sp.stored_bytes / (double)b.in);
	store_close(b.s);
	read_back("store_read 128 KiB", argv[optind + 1], &opts, false);
	read_back("store_stream", argv[optind + 1], &opts, true);
	opts.threads = 1;
	read_back("store_stream 1 thread", argv[optind + 1], &opts, true);
	return 0;
}
