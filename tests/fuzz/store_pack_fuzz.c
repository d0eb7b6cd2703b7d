/* SPDX-License-Identifier: MIT
 * Fuzz harness for every parser of store bytes. The first byte of an input says what the rest is:
 *
 *	0 a directory payload   1 a whole pack   2 the file STORE
 *
 * A pack is walked, measured, and its frame table loaded and used. Build with libFuzzer
 * (-fsanitize=fuzzer) or, with -DFUZZ_STANDALONE, as a program which runs the files it is given,
 *then mutations of them: `store_pack_fuzz SECONDS FILE...`. Either with -DSPILL_FUZZ_NO_CHECKSUM,
 *or hardly any input gets past the checksums. `store_pack_fuzz --seed DIR` writes a corpus.
 */
#include "../../src/store/ident.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void insist(bool ok)
{
	if (!ok)
		abort();
}

static int on_frame(void *ctx, const struct fpos *f)
{
	insist(f->e.ulen && f->e.ulen <= FRAME_SIZE && f->e.clen <= f->e.ulen);
	insist(f->e.off >= PACK_HDR_LEN &&
	       f->e.off + FRAME_HDR_LEN + f->e.clen <= *(uint64_t *)ctx);
	return 0;
}

/* What dir_parse promises of an object. */
static int on_object(void *ctx, const struct object *o)
{
	uint64_t pos = 0, sum = 0, end = 0;

	(void)ctx;
	for (uint32_t i = 0; i < o->nsegs; i++) {
		insist(o->segs[i].stream_off == pos && o->segs[i].len &&
		       o->segs[i].off < FRAME_SIZE);
		pos += o->segs[i].len;
	}
	insist(pos == o->stream_len);
	for (uint32_t i = 0; i < o->nranges; i++) {
		insist(o->ranges[i].off >= end && o->ranges[i].len);
		end = o->ranges[i].off + o->ranges[i].len;
		sum += o->ranges[i].len;
	}
	insist(end <= o->size && (o->nranges == 0 || sum == o->stream_len));
	return 0;
}

static void fuzz_dir(const uint8_t *data, size_t len)
{
	uint64_t self = 1 << 20;
	struct dir_cb cb = {&self, on_frame, on_object};
	struct dir_info di;

	dir_parse(data, len, 1, self, &cb, &di);
}

static int on_walk_frame(void *ctx, uint32_t pack, uint32_t frame, uint32_t clen, uint32_t ulen,
			 int err)
{
	(void)ctx, (void)pack, (void)frame, (void)clen, (void)ulen, (void)err;
	return 0;
}

/* A store without a directory: what walking and reading need of it. */
static void fuzz_pack(const uint8_t *data, size_t len)
{
	struct pack_walk w = {.frame = on_walk_frame, .object = on_object};
	struct store s = {.dirfd = -1, .lockfd = -1, .read_only = true, .next_pack = 1};
	cleanup_free uint8_t *buf = malloc(FRAME_SIZE);
	struct pack_len pl;
	struct pack *p;
	char dir[] = "/dev/shm/spill-fuzz-XXXXXX", path[64];
	int fd;

	s.packsfd = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY) : -1;
	snprintf(path, sizeof(path), "%s/00000001.pack", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || write_full(fd, data, len) || cache_new(&s.cache, 1 << 20))
		abort();
	close(fd);
	pthread_mutex_init(&s.lock, NULL);
	pthread_mutex_init(&s.pool_lock, NULL);
	memcpy(s.id.uuid, data + MIN(len, (size_t)24), len >= 40 ? 16 : 0);
	s.seed = format_seed(s.id.uuid);
	insist(!pack_add_locked(&s, 1, &p));
	p->len = len;
	store_walk_pack(&s, 1, &w);
	store_pack_length(&s, 1, &pl);
	insist(pl.bytes <= len);
	for (uint32_t i = 0; i < 4; i++) {
		struct seg g = {.len = FRAME_SIZE, .pack = 1, .frame = i};

		store_read(&s, &g, 1, buf, 100, i, NULL);
		store_read(&s, &g, 1, buf, FRAME_SIZE, 0, NULL);
	}
	pack_registry_done(&s);
	scratch_pool_done(&s);
	cache_free(s.cache);
	close(s.packsfd);
	unlink(path);
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct store_id id;
	char *text;

	if (len == 0)
		return 0;
	if (data[0] == 0)
		fuzz_dir(data + 1, len - 1);
	if (data[0] == 1)
		fuzz_pack(data + 1, len - 1);
	if (data[0] == 2) {
		text = strndup((const char *)data + 1, len - 1);
		ident_parse(text, strlen(text), &id);
		free(text);
	}
	return 0;
}

/* ---- seed corpus
 * ---------------------------------------------------------------------------------- */
static void save(const char *dir, const char *name, uint8_t kind, const void *p, size_t len)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	insist(fd >= 0 && !write_full(fd, &kind, 1) && !write_full(fd, p, len));
	close(fd);
}

static void seed_file(const char *dir, const char *name, uint8_t kind, const char *from)
{
	cleanup_free char *p = NULL;
	size_t len;

	insist(!read_file(AT_FDCWD, from, 1 << 20, &p, &len));
	save(dir, name, kind, p, len);
}

static void seed_batch(struct store *s, unsigned n)
{
	static uint8_t data[200000];
	struct store_writer *w;
	struct pack_len *lens;
	size_t k;

	insist(!store_writer_begin(s, &w));
	for (unsigned i = 1; i <= n; i++) {
		struct range ra[] = {{0, i}, {1000 * i, i}};
		struct object o = {
			.id = {i}, .size = 100000, .stream_len = 2 * i, .nranges = 2, .ranges = ra};
		struct seg g;

		insist(!store_writer_small(w, &o, data + i, 2 * i, &g));
	}
	struct object o = {.id = {99}, .size = sizeof(data), .stream_len = sizeof(data)};
	insist(!store_writer_large_begin(w, o.id) &&
	       !store_writer_large_data(w, data, sizeof(data)) && !store_writer_large_end(w, &o));
	free(o.segs);
	insist(!store_writer_commit(w, &lens, &k, NULL));
	free(lens);
}

/* Payloads of the pack's directories as inputs of their own. */
static int seed_dir(void *ctx, const struct frame_hdr *h, const uint8_t *raw, uint64_t off)
{
	char name[32];
	uint8_t *p;

	(void)off;
	insist(!dir_unpack(raw, h, &p));
	snprintf(name, sizeof(name), "dir-%u", h->frame);
	save(ctx, name, 0, p, h->ulen);
	free(p);
	return 0;
}

static int make_seeds(char *dir)
{
	struct store_opts opts = {.level = 3, .threads = 1, .cache_bytes = 1 << 20};
	struct scan_cb cb = {.ctx = dir, .dir = seed_dir};
	char store[256], path[300];
	struct store_id id;
	struct store *s;
	int fd;

	snprintf(store, sizeof(store), "%s/store.tmp", dir);
	insist(!mkdir(store, 0700) && !store_create(store, (const uint8_t[16]){1}, &id));
	insist(!store_open(&s, store, &opts, false));
	snprintf(path, sizeof(path), "%s/packs/00000001.pack", store);
	for (unsigned i = 0; i < 18; i++) {
		char name[32];

		seed_batch(s, i + 1);
		snprintf(name, sizeof(name), "pack-%u", i);
		if (i == 0 || i == 2 || i == 17)
			seed_file(dir, name, 1, path);
	}
	fd = open(path, O_RDONLY);
	pack_scan(fd, 1, format_seed(id.uuid), (uint64_t)lseek(fd, 0, SEEK_END), &cb);
	close(fd);
	unlink(path);
	store_close(s);
	snprintf(path, sizeof(path), "%s/STORE", store);
	seed_file(dir, "ident", 2, path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/LOCK", store);
	unlink(path);
	snprintf(path, sizeof(path), "%s/packs", store);
	rmdir(path);
	rmdir(store);
	return 0;
}

#ifdef FUZZ_STANDALONE
static uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void mutate(uint8_t *p, size_t *len, uint64_t *x)
{
	static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe};

	for (uint64_t n = 1 + rnd(x) % 6; n && *len > 1; n--) {
		size_t at = 1 + rnd(x) % (*len - 1), k = rnd(x) % 64;

		k = MIN(*len - at, k);

		switch (rnd(x) % 5) {
		case 0:
			p[at] ^= (uint8_t)(1u << rnd(x) % 8);
			break;
		case 1:
			p[at] = odd[rnd(x) % sizeof(odd)];
			break;
		case 2:
			memset(p + at, odd[rnd(x) % sizeof(odd)], k);
			break;
		case 3:
			memmove(p + at, p + rnd(x) % (*len - k + 1), k);
			break;
		default:
			*len -= rnd(x) % 4 ? 0 : *len - at;
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t x = 88172645463325252ull, runs = 0, end;

	if (argc == 3 && !strcmp(argv[1], "--seed"))
		return make_seeds(argv[2]);
	if (argc < 3)
		return 2;
	end = clock_mono_ns() + strtoull(argv[1], NULL, 10) * 1000000000ull;
	for (int i = 0;; i = (i + 1) % (argc - 2)) {
		cleanup_free char *text = NULL;
		uint8_t *p;
		size_t len;

		if (read_file(AT_FDCWD, argv[2 + i], 1 << 24, &text, &len))
			return 2;
		LLVMFuzzerTestOneInput((uint8_t *)text, len);
		p = malloc(len);
		for (int k = 0; k < 50 && clock_mono_ns() < end; k++, runs++) {
			size_t n = len;

			memcpy(p, text, len);
			mutate(p, &n, &x);
			LLVMFuzzerTestOneInput(p, n);
		}
		free(p);
		if (clock_mono_ns() >= end && i == argc - 3)
			break;
	}
	printf("%llu mutated inputs\n", (unsigned long long)runs);
	return 0;
}
#else
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (*argc == 3 && !strcmp((*argv)[1], "--seed"))
		exit(make_seeds((*argv)[2]));
	return 0;
}
#endif
