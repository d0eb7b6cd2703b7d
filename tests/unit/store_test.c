/* SPDX-License-Identifier: MIT
 * src/store: round trips, batches, torn and damaged packs, concurrent readers, faults. The model of
 * every test is a list of objects whose bytes can be made again from their id.
 */
#include "test.h"
#include "spill/durable.h"
#include "spill/store.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define OBJS_MAX 512

struct model {
	struct object o[OBJS_MAX];
	struct seg small[OBJS_MAX];
	size_t n;
	struct pack_len known[OBJS_MAX]; /* what the index would hold */
	size_t nknown;
};

static const struct store_opts small_opts = {
	.level = 3,
	.pack_bytes = 1 << 20,
	.threads = 2,
	.cache_bytes = 4 << 20,
};

/* Thousands of fsyncs: in memory, when there is a choice. What dies here is a process, not a disk.
 */
__attribute__((constructor)) static void prefer_shm(void)
{
	if (!access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 0);
}

static uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Bytes of object id: even ids compress, odd ones do not. */
static void content(uint64_t id, uint8_t *p, size_t len)
{
	uint64_t x = id * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < len; i++)
		p[i] = id % 2 ? (uint8_t)(rnd(&x) >> 32) : (uint8_t)("abcdefgh"[rnd(&x) % 8]);
}

static uint8_t *make_content(uint64_t id, size_t len)
{
	uint8_t *p = malloc(len + 1);

	content(id, p, len);
	return p;
}

static char *new_store(const char *name)
{
	static char path[256];
	static const uint8_t hot[16] = {1, 2, 3};
	struct store_id id;

	snprintf(path, sizeof(path), "%s/%s", test_tmpdir(), name);
	if (mkdir(path, 0700) || store_create(path, hot, &id))
		return NULL;
	return path;
}

static void pack_path(char *out, size_t cap, const char *store, uint32_t no)
{
	snprintf(out, cap, "%s/packs/%08u.pack", store, no);
}

/* ---- writing with the model ---------------------------------------------------------------------
 */
static int put(struct store_writer *w, struct model *m, size_t len)
{
	struct object *o = &m->o[m->n];
	cleanup_free uint8_t *p = NULL;
	int r = 0;

	*o = (struct object){.id = {m->n + 1}, .size = len, .stream_len = len, .refs = 1};
	p = make_content(o->id.v, len);
	sha256_once(p, len, o->sha);
	if (len <= FRAME_SIZE) {
		r = store_writer_small(w, o, p, len, &m->small[m->n]);
		o->segs = &m->small[m->n];
		o->nsegs = 1;
	} else {
		r = store_writer_large_begin(w, o->id);
		for (size_t at = 0; at < len && !r;) {
			size_t n = MIN(len - at, (size_t)100001);

			r = store_writer_large_data(w, p + at, n);
			at += n;
		}
		if (!r)
			r = store_writer_large_end(w, o);
	}
	if (!r)
		m->n++;
	return r;
}

static int commit(struct store_writer *w, struct model *m)
{
	cleanup_free struct pack_len *lens = NULL;
	size_t n;
	int r = store_writer_commit(w, &lens, &n, NULL);

	for (size_t i = 0; i < n && !r; i++) {
		size_t k = 0;

		while (k < m->nknown && m->known[k].pack != lens[i].pack)
			k++;
		if (k == m->nknown)
			m->nknown++;
		m->known[k] = lens[i];
	}
	return r;
}

static int put_all(struct store *s, struct model *m, const size_t *len, size_t n)
{
	struct store_writer *w;
	int r = store_writer_begin(s, &w);

	if (r)
		return r;
	for (size_t i = 0; i < n && !r; i++)
		r = put(w, m, len[i]);
	if (!r)
		r = commit(w, m);
	if (r)
		store_writer_abort(w);
	return r;
}

static void model_free(struct model *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->o[i].segs != &m->small[i])
			free(m->o[i].segs);
	free(m);
}

/* ---- reading
 * ---------------------------------------------------------------------------------------- */
/* 0 same bytes, 1 an error was reported, -1 wrong bytes. */
static int check_obj(struct store *s, const struct object *o)
{
	cleanup_free uint8_t *want = make_content(o->id.v, o->stream_len);
	cleanup_free uint8_t *got = malloc(o->stream_len + 10);
	ssize_t n = store_read(s, o->segs, o->nsegs, got, o->stream_len + 10, 0, NULL);

	if (n < 0)
		return 1;
	return (uint64_t)n == o->stream_len && !memcmp(want, got, o->stream_len) ? 0 : -1;
}

struct sum {
	struct sha256 *h;
	uint64_t len;
};

static int sum_sink(void *ctx, const void *data, size_t len, uint64_t off)
{
	struct sum *k = ctx;

	if (off != k->len)
		return -ERANGE;
	sha256_update(k->h, data, len);
	k->len += len;
	return 0;
}

static int check_stream(struct store *s, const struct object *o)
{
	struct sum k = {0};
	uint8_t sha[32];
	int r;

	sha256_new(&k.h);
	r = store_stream(s, o->segs, o->nsegs, sum_sink, &k, NULL);
	sha256_final(k.h, sha);
	sha256_free(k.h);
	if (r)
		return 1;
	return k.len == o->stream_len && !memcmp(sha, o->sha, 32) ? 0 : -1;
}

static size_t bad_objs(struct store *s, const struct model *m)
{
	size_t bad = 0;

	for (size_t i = 0; i < m->n; i++)
		bad += check_obj(s, &m->o[i]) != 0 || check_stream(s, &m->o[i]) != 0;
	return bad;
}

/* ---- walking
 * ------------------------------------------------------------------------------------------ */
struct seen {
	const struct model *m;
	size_t objs, same, frames, bad, lost_dirs;
};

static int walk_frame(void *ctx, uint32_t pack, uint32_t frame, uint32_t clen, uint32_t ulen,
		      int err)
{
	struct seen *k = ctx;

	(void)pack, (void)clen, (void)ulen;
	if (frame == STORE_WALK_DIR)
		k->lost_dirs++;
	else if (err)
		k->bad++;
	else
		k->frames++;
	return 0;
}

static bool same_segs(const struct object *a, const struct object *b)
{
	for (uint32_t i = 0; i < a->nsegs; i++) {
		const struct seg *x = &a->segs[i], *y = &b->segs[i];

		if (x->stream_off != y->stream_off || x->len != y->len || x->pack != y->pack ||
		    x->frame != y->frame || x->off != y->off)
			return false;
	}
	return a->nsegs == b->nsegs;
}

static int walk_object(void *ctx, const struct object *o)
{
	struct seen *k = ctx;
	const struct object *w;

	k->objs++;
	if (o->id.v == 0 || o->id.v > k->m->n)
		return 0;
	w = &k->m->o[o->id.v - 1];
	if (memcmp(w->sha, o->sha, 32) || w->size != o->size || w->stream_len != o->stream_len ||
	    w->nranges != o->nranges ||
	    (w->nranges && memcmp(w->ranges, o->ranges, w->nranges * sizeof(struct range))))
		return 0;
	if (o->stream_len && !same_segs(o, w))
		return 0;
	k->same++;
	return 0;
}

static struct seen walk_all(struct store *s, const struct model *m)
{
	struct seen k = {.m = m};
	struct pack_walk w = {.ctx = &k, .frame = walk_frame, .object = walk_object};
	cleanup_free uint32_t *p = NULL;
	size_t n;

	if (store_list_packs(s, &p, &n))
		return k;
	for (size_t i = 0; i < n; i++)
		store_walk_pack(s, p[i], &w);
	return k;
}

static void count_problem(void *ctx, uint32_t pack, int err, const char *what)
{
	(void)pack, (void)err, (void)what;
	++*(size_t *)ctx;
}

static struct model *new_model(void)
{
	return calloc(1, sizeof(struct model));
}

/* ---- identity
 * -------------------------------------------------------------------------------------------- */
TEST(identify)
{
	char path[300], file[400];
	struct store_id id, id2;
	struct store *s, *t;
	const uint8_t hot[16] = {9};
	int fd;

	snprintf(path, sizeof(path), "%s/ident", test_tmpdir());
	CHECK_EQ(store_identify(path, &id), -ENOENT);
	CHECK_EQ(mkdir(path, 0700), 0);
	CHECK_EQ(store_identify(path, &id), -ENODATA);
	snprintf(file, sizeof(file), "%s/lost+found", path);
	CHECK_EQ(mkdir(file, 0700), 0);
	CHECK_EQ(store_identify(path, &id), -ENODATA);
	snprintf(file, sizeof(file), "%s/x", path);
	fd = open(file, O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(store_identify(path, &id), -EMEDIUMTYPE);
	CHECK_EQ(store_create(path, hot, &id), -ENOTEMPTY);
	CHECK_EQ(store_identify(file, &id), -ENOTDIR);
	unlink(file);
	CHECK_EQ(store_create(path, hot, &id), 0);
	CHECK_EQ(store_create(path, hot, &id2), -ENOTEMPTY);
	CHECK_EQ(store_identify(path, &id2), 0);
	CHECK_MEM(&id, &id2, sizeof(id));
	CHECK_EQ(id.hot_uuid[0], 9);
	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	CHECK_EQ(store_open(&t, path, &small_opts, false), -EBUSY);
	CHECK_EQ(store_open(&t, path, &small_opts, true), 0);
	store_close(t);
	store_close(s);

	/* Every flipped bit of STORE is noticed. */
	snprintf(file, sizeof(file), "%s/STORE", path);
	fd = open(file, O_RDWR);
	CHECK(fd >= 0);
	for (off_t i = 0; i < lseek(fd, 0, SEEK_END) * 8; i++) {
		uint8_t c, d;

		CHECK_EQ(pread(fd, &c, 1, i / 8), 1);
		d = c ^ (uint8_t)(1 << i % 8);
		CHECK_EQ(pwrite(fd, &d, 1, i / 8), 1);
		CHECK(store_identify(path, &id2) < 0);
		CHECK_EQ(pwrite(fd, &c, 1, i / 8), 1);
	}
	CHECK_EQ(pwrite(fd, "spillfs store\nformat 2\n", 23, 0), 23);
	close(fd);
	CHECK_EQ(store_identify(path, &id2), -EPROTONOSUPPORT);
}

/* ---- round trips
 * ------------------------------------------------------------------------------------------ */
TEST(round_trip)
{
	static const size_t len[] = {
		0,
		1,
		5,
		4096,
		100,
		FRAME_SIZE - 1,
		FRAME_SIZE,
		FRAME_SIZE + 1,
		70000,
		70001,
		3,
		2 * FRAME_SIZE,
		2 * FRAME_SIZE + 77,
		3000000,
		3000001,
		17,
		0,
		60000,
		130000,
		131072,
	};
	struct model *m = new_model();
	char *path = new_store("round");
	struct store *s;
	struct seen k;
	size_t problems = 0, total = 0;

	CHECK(path);
	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(put_all(s, m, len, ARRAY_SIZE(len)), 0);
		total += ARRAY_SIZE(len);
		CHECK_EQ(bad_objs(s, m), 0);
	}
	k = walk_all(s, m);
	CHECK_EQ(k.objs, total);
	CHECK_EQ(k.same, total);
	CHECK_EQ(k.bad + k.lost_dirs, 0);
	store_close(s);

	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	CHECK_EQ(store_recover(s, m->known, m->nknown, count_problem, &problems), 0);
	CHECK_EQ(problems, 0);
	CHECK_EQ(bad_objs(s, m), 0);
	for (size_t i = 0; i < m->nknown; i++) {
		struct pack_len pl;

		CHECK_EQ(store_pack_length(s, m->known[i].pack, &pl), 0);
		CHECK_EQ(pl.bytes, m->known[i].bytes);
		CHECK_EQ(pl.frames, m->known[i].frames);
		CHECK(pl.bytes < small_opts.pack_bytes + (1 << 19));
	}
	store_close(s);
	model_free(m);
}

TEST(random_reads)
{
	size_t len[] = {5 * FRAME_SIZE + 1234, 5 * FRAME_SIZE + 1235, 2500000};
	struct model *m = new_model();
	struct store *s;
	char *path = new_store("rand");
	uint64_t x = 7;

	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	CHECK_EQ(put_all(s, m, len, 3), 0);
	for (size_t i = 0; i < 3; i++) {
		cleanup_free uint8_t *want = make_content(i + 1, len[i]), *got = malloc(1 << 20);

		for (int n = 0; n < 300; n++) {
			uint64_t off = rnd(&x) % (len[i] + 100);
			size_t want_len, l = rnd(&x) % (n % 3 ? 5000 : 1 << 20);

			want_len = off < len[i] ? MIN(l, len[i] - off) : 0;
			CHECK_EQ(store_read(s, m->o[i].segs, m->o[i].nsegs, got, l, off, NULL),
				 want_len);
			CHECK_MEM(got, want + off, want_len);
		}
	}
	store_close(s);
	model_free(m);
}

TEST(many_small)
{
	struct model *m = new_model();
	struct store *s;
	struct store_writer *w;
	struct store_counters c;
	uint64_t x = 99;
	char *path = new_store("many");

	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	CHECK_EQ(store_writer_begin(s, &w), 0);
	for (int i = 0; i < 400; i++)
		CHECK_EQ(put(w, m, i % 50 == 49 ? 200000 : rnd(&x) % 9000), 0);
	CHECK_EQ(commit(w, m), 0);
	CHECK_EQ(bad_objs(s, m), 0);
	store_counters(s, &c);
	/* 392 objects of 4.5 KB fill 14 frames, not one per large neighbour; 8 large ones take 16.
	 */
	CHECK(c.frames_written <= 32);
	store_close(s);
	model_free(m);
}

/* Who reads in order finds the third frame and the following ones decoded; nobody else has any
 * decoded in vain. */
TEST(read_ahead)
{
	struct model *m = new_model();
	struct store_counters c;
	struct store *s;
	size_t len[250];
	char *path = new_store("ahead");
	uint64_t before, frames;

	for (size_t i = 0; i < ARRAY_SIZE(len); i++)
		len[i] = 3000;
	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	CHECK_EQ(put_all(s, m, len, ARRAY_SIZE(len)), 0);
	store_close(s);
	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	for (size_t i = 0; i < m->n; i++) {
		bool first = i && m->o[i].segs[0].frame != m->o[i - 1].segs[0].frame;

		store_counters(s, &c);
		before = c.frames_read;
		CHECK_EQ(check_obj(s, &m->o[i]), 0);
		store_counters(s, &c);
		if (first && m->o[i].segs[0].frame >= m->o[0].segs[0].frame + 2)
			CHECK_EQ(c.frames_read, before);
		store_read_ahead(s);
	}
	frames = m->o[m->n - 1].segs[0].frame - m->o[0].segs[0].frame + 1;
	CHECK(frames >= 4);
	store_counters(s, &c);
	CHECK(c.frames_read <= frames + 1); /* something else may lie behind the last */
	CHECK_EQ(c.frames_bad, 0);
	store_close(s);

	CHECK_EQ(store_open(&s, path, &small_opts, false), 0);
	for (size_t i = m->n; i-- > 0;) {
		CHECK_EQ(check_obj(s, &m->o[i]), 0);
		store_read_ahead(s);
	}
	store_counters(s, &c);
	CHECK_EQ(c.frames_read, frames);
	store_close(s);
	model_free(m);
}

TEST(sparse_records)
{
	struct range ra[] = {{0, 10}, {4096, 100}, {INT64_MAX - 50, 40}};
	struct model *m = new_model();
	struct store *s;
	struct store_writer *w;
	struct object *o = &m->o[0];
	uint8_t data[150] = {1};
	struct seen k;

	CHECK_EQ(store_open(&s, new_store("sparse"), &small_opts, false), 0);
	CHECK_EQ(store_writer_begin(s, &w), 0);
	*o = (struct object){.id = {1},
			     .size = INT64_MAX,
			     .stream_len = 150,
			     .nranges = 3,
			     .ranges = ra,
			     .segs = &m->small[0],
			     .nsegs = 1};
	CHECK_EQ(store_writer_small(w, o, data, 150, &m->small[0]), 0);
	m->o[1] = (struct object){.id = {2}, .size = 1 << 20}; /* all hole */
	CHECK_EQ(store_writer_small(w, &m->o[1], data, 0, &m->small[1]), 0);
	m->n = 2;
	CHECK_EQ(store_writer_small(w, o, data, 149, &m->small[0]), -EINVAL);
	CHECK_EQ(commit(w, m), 0);
	k = walk_all(s, m);
	CHECK_EQ(k.objs, 2);
	CHECK_EQ(k.same, 2);
	store_close(s);
	m->n = 0;
	model_free(m);
}

/* The directory chain stays short, whatever the number of batches. */
TEST(many_batches)
{
	struct model *m = new_model();
	struct store_opts opts = small_opts;
	struct store *s;
	struct seen k;
	size_t len[2] = {100, 140000};
	char *path = new_store("batches");

	opts.pack_bytes = 64 << 20;
	CHECK_EQ(store_open(&s, path, &opts, false), 0);
	for (int i = 0; i < 70; i++) {
		CHECK_EQ(put_all(s, m, len, 1 + i % 2), 0);
		if (i % 9 == 0) {
			store_close(s);
			CHECK_EQ(store_open(&s, path, &opts, false), 0);
		}
	}
	CHECK_EQ(m->nknown, 1);
	CHECK_EQ(bad_objs(s, m), 0);
	k = walk_all(s, m);
	CHECK_EQ(k.same, m->n);
	CHECK_EQ(k.objs, m->n);
	store_close(s);
	model_free(m);
}

/* More packs than descriptors are kept open; and a batch over all of them. */
TEST(many_packs)
{
	struct store_opts opts = small_opts;
	struct model *m = new_model();
	char *path = new_store("packs");
	struct store_writer *w;
	struct store *s;

	opts.pack_bytes = 1; /* one frame each */
	CHECK_EQ(store_open(&s, path, &opts, false), 0);
	CHECK_EQ(store_writer_begin(s, &w), 0);
	for (int i = 0; i < 300; i++)
		CHECK_EQ(put(w, m, i == 7 ? 3 * FRAME_SIZE + 5 : FRAME_SIZE / 2 + 1), 0);
	CHECK_EQ(commit(w, m), 0);
	/* "About": a frame that is still being compressed does not count for its pack yet. */
	CHECK(m->nknown > 290 && m->nknown <= 303);
	CHECK(m->o[7].nsegs > 1 && m->o[7].nsegs <= 4);
	store_close(s);
	CHECK_EQ(store_open(&s, path, &opts, false), 0);
	CHECK_EQ(store_recover(s, m->known, m->nknown, NULL, NULL), 0);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(bad_objs(s, m), 0);
	CHECK_EQ(walk_all(s, m).same, m->n);
	store_close(s);
	model_free(m);
}

/* ---- batches that do not commit
 * ------------------------------------------------------------------------------ */
TEST(abort_and_drop)
{
	size_t len[] = {1000, 300000};
	struct model *m = new_model();
	struct store *s;
	struct store_writer *w, *w2;
	struct store_space before, sp;
	struct stat st;
	char path[300], *store = new_store("abort");
	size_t n0, n1, keep;
	uint32_t *packs;

	CHECK_EQ(store_open(&s, store, &small_opts, false), 0);
	CHECK_EQ(put_all(s, m, len, 2), 0);
	pack_path(path, sizeof(path), store, 1);
	CHECK_EQ(store_list_packs(s, &packs, &n0), 0);
	free(packs);
	keep = m->n;
	store_moved(s, UINT64_MAX); /* that batch is over */
	CHECK_EQ(store_space(s, &before), 0);
	CHECK_EQ(store_writer_begin(s, &w), 0);
	CHECK_EQ(store_writer_begin(s, &w2), -EBUSY);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(put(w, m, 700001), 0);
	CHECK_EQ(store_remove_pack(s, 1), -EBUSY);
	store_space_now(s, &sp);
	CHECK(sp.moving_bytes > 1000000);
	store_writer_abort(w);
	/* Not free and twice there, until the caller says that the batch is over. */
	store_space_now(s, &sp);
	CHECK_EQ(sp.moving_bytes, 0);
	CHECK_EQ(sp.free_bytes, before.free_bytes);
	CHECK_EQ(sp.stored_bytes, before.stored_bytes);
	CHECK_EQ(store_list_packs(s, &packs, &n1), 0);
	free(packs);
	CHECK_EQ(n0, n1);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_size, m->known[0].bytes);
	for (size_t i = keep; i < m->n; i++)
		free(m->o[i].segs);
	m->n = keep;
	CHECK_EQ(bad_objs(s, m), 0);

	/* A dropped large object leaves the others alone. */
	CHECK_EQ(store_writer_begin(s, &w), 0);
	CHECK_EQ(put(w, m, 10), 0);
	CHECK_EQ(store_writer_large_begin(w, (struct obj_id){77}), 0);
	cleanup_free uint8_t *big = make_content(77, 500000);
	CHECK_EQ(store_writer_large_data(w, big, 500000), 0);
	CHECK_EQ(store_writer_large_drop(w), 0);
	CHECK_EQ(put(w, m, 400000), 0);
	CHECK_EQ(put(w, m, 20), 0);
	CHECK_EQ(commit(w, m), 0);
	CHECK_EQ(bad_objs(s, m), 0);
	CHECK_EQ(walk_all(s, m).same, m->n);
	store_close(s);
	model_free(m);
}

TEST(enospc)
{
	struct store_opts opts = small_opts;
	struct model *m = new_model();
	struct store_space sp;
	struct store *s;
	struct store_writer *w;
	size_t len = 100000, keep;
	int r = 0;

	opts.max_bytes = 3 << 20;
	CHECK_EQ(store_open(&s, new_store("full"), &opts, false), 0);
	CHECK_EQ(put_all(s, m, &len, 1), 0);
	keep = m->n;
	CHECK_EQ(store_writer_begin(s, &w), 0);
	for (int i = 0; i < 40 && !r; i++) {
		r = put(w, m, 300001);
		if (!r)
			r = put(w, m, 300001);
	}
	CHECK_EQ(r, -ENOSPC);
	CHECK_EQ(put(w, m, 1), -ENOSPC);
	store_writer_abort(w);
	for (size_t i = keep; i < m->n; i++)
		free(m->o[i].segs);
	m->n = keep;
	CHECK_EQ(bad_objs(s, m), 0);
	CHECK_EQ(put_all(s, m, &len, 1), 0);
	CHECK_EQ(bad_objs(s, m), 0);
	CHECK_EQ(store_space(s, &sp), 0);
	CHECK(sp.free_bytes < 3 << 20);
	CHECK(sp.stored_bytes > 0 && sp.stored_bytes < 1 << 20);
	store_close(s);
	model_free(m);
}

/* ---- torn and damaged packs
 * ------------------------------------------------------------------------------------ */
/* One small pack: two batches, compressed and raw frames. */
static struct model *small_pack(const char *name, char *store, size_t cap)
{
	size_t a[] = {90, 61, 20}, b[] = {40, 33, 50, 71};
	struct model *m = new_model();
	struct store *s;
	char *p = new_store(name);

	snprintf(store, cap, "%s", p);
	if (store_open(&s, store, &small_opts, false))
		return NULL;
	if (put_all(s, m, a, 3) || put_all(s, m, b, 4))
		return NULL;
	store_close(s);
	return m;
}

static uint8_t *slurp(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY);
	uint8_t *p;

	*len = (size_t)lseek(fd, 0, SEEK_END);
	p = malloc(*len);
	if (pread_full(fd, p, *len, 0) != (ssize_t)*len)
		*len = 0;
	close(fd);
	return p;
}

static int spew(const char *path, const uint8_t *p, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int r = write_full(fd, p, len);

	close(fd);
	return r;
}

TEST(torn_tail)
{
	char store[256], path[300];
	struct model *m = small_pack("torn", store, sizeof(store));
	size_t len, first;
	cleanup_free uint8_t *whole = NULL;

	CHECK(m);
	pack_path(path, sizeof(path), store, 1);
	whole = slurp(path, &len);
	CHECK_EQ(len, m->known[0].bytes);
	first = 0;
	for (size_t cut = 0; cut <= len; cut++) {
		struct pack_len own, known;
		size_t problems = 0, bad = 0;
		struct store *s;
		struct seen k;

		CHECK_EQ(spew(path, whole, cut), 0);
		CHECK_EQ(store_open(&s, store, &small_opts, false), 0);
		k = walk_all(s, m);
		CHECK_EQ(k.objs, k.same);
		CHECK_EQ(k.bad, 0);
		CHECK_EQ(store_pack_length(s, 1, &own), 0);
		if (own.bytes && !first)
			first = own.bytes;
		CHECK_EQ(own.bytes, cut == len ? len : cut < first || !first ? 0 : first);
		CHECK(k.objs >= (cut == len ? 7u : own.bytes ? 3u : 0u));
		/* Nothing wrong is read, and what lies in front of the cut is still read. */
		for (size_t i = 0; i < m->n; i++) {
			CHECK(check_obj(s, &m->o[i]) >= 0);
			bad += own.bytes && i < 3 && check_obj(s, &m->o[i]);
		}
		CHECK_EQ(bad, 0);
		/* Recovery with the length of the first batch. */
		known = (struct pack_len){1, own.bytes ? own.bytes : len, 0};
		CHECK_EQ(store_recover(s, &known, 1, count_problem, &problems), 0);
		CHECK_EQ(problems, own.bytes ? 0 : 1);
		if (own.bytes) {
			size_t more = 5000;

			CHECK_EQ(check_obj(s, &m->o[0]), 0);
			CHECK_EQ(put_all(s, m, &more, 1), 0);
			CHECK_EQ(check_obj(s, &m->o[7]), 0);
			m->n = 7;
			m->nknown = 1;
		}
		store_close(s);
	}
	model_free(m);
}

TEST(bit_flips)
{
	char store[256], path[300];
	struct model *m = small_pack("flip", store, sizeof(store));
	cleanup_free uint8_t *whole = NULL;
	size_t len, reads_bad = 0;

	CHECK(m);
	pack_path(path, sizeof(path), store, 1);
	whole = slurp(path, &len);
	for (size_t bit = 0; bit < len * 8; bit++) {
		struct store *s;
		struct seen k;
		size_t bad = 0;

		whole[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_EQ(spew(path, whole, len), 0);
		whole[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_EQ(store_open(&s, store, &small_opts, true), 0);
		for (size_t i = 0; i < m->n; i++) {
			int r = check_obj(s, &m->o[i]), t = check_stream(s, &m->o[i]);

			CHECK(r >= 0 && t >= 0);
			bad += r;
		}
		k = walk_all(s, m);
		CHECK_EQ(k.objs, k.same);
		CHECK(bit / 8 < 64 || !bad || k.bad || k.lost_dirs);
		/* A damaged directory or trailer takes no data along: only the header does. */
		if (bit / 8 >= 64)
			CHECK(bad <= 4);
		reads_bad += bad != 0;
		store_close(s);
	}
	CHECK(reads_bad > 0 && reads_bad < len * 8);
	model_free(m);
}

/* Frames that changed places, and a pack of another store. */
TEST(wrong_place)
{
	char store[256], other[256], path[300], path2[300];
	struct model *m = small_pack("swap1", store, sizeof(store));
	struct model *m2 = small_pack("swap2", other, sizeof(other));
	cleanup_free uint8_t *a = NULL, *b = NULL;
	size_t la, lb;
	struct store *s;

	pack_path(path, sizeof(path), store, 1);
	pack_path(path2, sizeof(path2), other, 1);
	a = slurp(path, &la);
	b = slurp(path2, &lb);
	CHECK_EQ(spew(path, b, lb), 0); /* whole pack of another store */
	CHECK_EQ(store_open(&s, store, &small_opts, true), 0);
	CHECK_EQ(check_obj(s, &m->o[0]), 1);
	store_close(s);
	memcpy(b, a, 64); /* with our header: the frames still do not pass */
	CHECK_EQ(spew(path, b, lb), 0);
	CHECK_EQ(store_open(&s, store, &small_opts, true), 0);
	CHECK_EQ(check_obj(s, &m->o[0]), 1);
	CHECK_EQ(walk_all(s, m).objs, 0);
	store_close(s);
	CHECK_EQ(spew(path, a, la), 0); /* our pack under another number */
	pack_path(path2, sizeof(path2), store, 2);
	CHECK_EQ(spew(path2, a, la), 0);
	CHECK_EQ(store_open(&s, store, &small_opts, true), 0);
	m->o[0].segs[0].pack = 2;
	CHECK_EQ(check_obj(s, &m->o[0]), 1);
	m->o[0].segs[0].pack = 1;
	CHECK_EQ(check_obj(s, &m->o[0]), 0);
	/* Segments that make no sense. */
	m->o[0].segs[0].frame = 1000;
	CHECK_EQ(check_obj(s, &m->o[0]), 1);
	m->o[0].segs[0].frame = 0;
	m->o[0].segs[0].off = FRAME_SIZE - 1;
	CHECK_EQ(check_obj(s, &m->o[0]), 1);
	store_close(s);
	model_free(m);
	model_free(m2);
}

TEST(recover_unknown)
{
	char store[256], path[300], path2[300];
	struct model *m = small_pack("unknown", store, sizeof(store));
	cleanup_free uint8_t *a = NULL;
	size_t len, problems = 0;
	struct pack_len k[2] = {m->known[0], {9, 100, 1}};
	struct store *s;

	pack_path(path, sizeof(path), store, 1);
	a = slurp(path, &len);
	CHECK_EQ(store_open(&s, store, &small_opts, false), 0);
	CHECK_EQ(store_recover(s, NULL, 0, count_problem, &problems), 0);
	CHECK_EQ(problems, 1); /* an empty index removes no data */
	CHECK_EQ(access(path, F_OK), 0);
	store_close(s);
	pack_path(path2, sizeof(path2), store, 5);
	CHECK_EQ(spew(path2, a, len), 0);
	CHECK_EQ(store_open(&s, store, &small_opts, false), 0);
	CHECK_EQ(store_recover(s, k, 2, count_problem, &problems), 0);
	CHECK_EQ(problems, 3); /* 5 unknown, 9 missing */
	CHECK_EQ(access(path2, F_OK), 0);
	CHECK_EQ(store_recover(s, k, 1, count_problem, &problems), 0);
	CHECK_EQ(problems, 3); /* 5 is behind all known ones: gone */
	CHECK(access(path2, F_OK) != 0);
	CHECK_EQ(bad_objs(s, m), 0);
	store_close(s);
	model_free(m);
}

/* ---- freeing
 * ------------------------------------------------------------------------------------------------------
 */
TEST(punch_and_remove)
{
	size_t len[] = {600001, 500, 600001, 300000, 501, 600003};
	struct store_opts opts = small_opts;
	struct model *m = new_model();
	struct store_space before, after;
	struct seen k0, k1;
	struct store *s;
	char *path = new_store("punch");

	opts.pack_bytes = 16 << 20;
	CHECK_EQ(store_open(&s, path, &opts, false), 0);
	CHECK_EQ(put_all(s, m, len, 6), 0);
	CHECK_EQ(m->nknown, 1);
	k0 = walk_all(s, m);
	CHECK_EQ(store_space(s, &before), 0);
	/* Object 3 (index 2) dies: 5 frames. */
	CHECK_EQ(store_punch_frames(s, 1, m->o[2].segs[0].frame, 5), 0);
	CHECK_EQ(store_space(s, &after), 0);
	CHECK(after.stored_bytes + 500000 < before.stored_bytes);
	k1 = walk_all(s, m);
	CHECK_EQ(k1.objs, 6);
	CHECK_EQ(k1.same, 6);
	CHECK_EQ(k1.bad + k1.lost_dirs, 0);
	CHECK_EQ(k1.frames, k0.frames - 5);
	for (size_t i = 0; i < m->n; i++)
		CHECK_EQ(check_stream(s, &m->o[i]), i == 2);
	store_close(s);
	CHECK_EQ(store_open(&s, path, &opts, false), 0);
	CHECK_EQ(store_recover(s, m->known, m->nknown, NULL, NULL), 0);
	for (size_t i = 0; i < m->n; i++)
		CHECK_EQ(check_obj(s, &m->o[i]), i == 2);
	CHECK_EQ(store_punch_frames(s, 1, 0, 100000), -EINVAL);
	CHECK_EQ(store_remove_pack(s, 1), 0);
	CHECK_EQ(store_remove_pack(s, 1), -ENOENT);
	CHECK_EQ(check_obj(s, &m->o[0]), 1);
	CHECK_EQ(store_space(s, &after), 0);
	CHECK_EQ(after.stored_bytes, 0);
	/* The number is not used again. */
	CHECK_EQ(put_all(s, m, len, 1), 0);
	CHECK_EQ(m->o[6].segs[0].pack, 2);
	store_close(s);
	model_free(m);
}

/* ---- concurrency
 * ---------------------------------------------------------------------------------------------------
 */
struct reader_arg {
	struct store *s;
	struct model *m;
	size_t n;
	uint64_t seed;
	size_t bad;
};

static void *reader_main(void *p)
{
	struct reader_arg *a = p;
	uint64_t x = a->seed;

	for (int i = 0; i < 150; i++)
		a->bad += check_obj(a->s, &a->m->o[rnd(&x) % a->n]) != 0;
	return NULL;
}

TEST(concurrent_readers)
{
	struct store_opts opts = small_opts;
	struct model *m = new_model();
	struct reader_arg a[4];
	pthread_t t[4];
	struct store *s;
	struct store_writer *w;
	uint64_t x = 5;

	opts.cache_bytes = 1 << 20; /* evictions */
	CHECK_EQ(store_open(&s, new_store("conc"), &opts, false), 0);
	CHECK_EQ(store_writer_begin(s, &w), 0);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(put(w, m, i % 10 == 0 ? 150000 : rnd(&x) % 30000), 0);
	CHECK_EQ(commit(w, m), 0);
	for (int i = 0; i < 4; i++) {
		a[i] = (struct reader_arg){s, m, m->n, (uint64_t)i + 1, 0};
		CHECK_EQ(thread_start(&t[i], "reader", reader_main, &a[i]), 0);
	}
	/* Writing goes on meanwhile, in the same pack and new ones. */
	for (int i = 0; i < 8; i++) {
		size_t len[] = {2000, 170001};

		CHECK_EQ(put_all(s, m, len, 2), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		CHECK_EQ(a[i].bad, 0);
	}
	CHECK_EQ(bad_objs(s, m), 0);
	store_close(s);
	model_free(m);
}

static int stop_sink(void *ctx, const void *data, size_t len, uint64_t off)
{
	(void)ctx, (void)data, (void)len;
	return off > 1000000 ? -ECANCELED : 0;
}

TEST(long_streams)
{
	size_t len[] = {5000000, 5000001};
	struct model *m = new_model();
	struct store_pos pos = {0};
	struct store *s;
	char path[300], *store = new_store("long");
	int fd;

	CHECK_EQ(store_open(&s, store, &small_opts, false), 0);
	CHECK_EQ(put_all(s, m, len, 2), 0);
	CHECK(m->o[0].nsegs > 1);
	CHECK_EQ(bad_objs(s, m), 0);
	CHECK_EQ(store_stream(s, m->o[0].segs, m->o[0].nsegs, stop_sink, NULL, NULL), -ECANCELED);
	/* Damage in the last pack of the second stream. */
	struct seg *g = &m->o[1].segs[m->o[1].nsegs - 1];
	pack_path(path, sizeof(path), store, g->pack);
	fd = open(path, O_RDWR);
	CHECK_EQ(pwrite(fd, "!!!!", 4, 5000), 4);
	close(fd);
	CHECK_EQ(check_stream(s, &m->o[1]), 1);
	struct sum k = {0};
	sha256_new(&k.h);
	CHECK_EQ(store_stream(s, m->o[1].segs, m->o[1].nsegs, sum_sink, &k, &pos), -EBADMSG);
	sha256_free(k.h);
	CHECK_EQ(pos.pack, g->pack);
	CHECK(pos.offset > 0);
	store_close(s);
	model_free(m);
}

/* ---- faults
 * -----------------------------------------------------------------------------------------------------------
 */
/* In a child: open, recover, write two batches; what was committed goes to the parent in a file, as
 * the index would have it. Exit 0: done, 1: a batch failed, 2: a check failed. */
static int fault_child(const char *store, const char *index)
{
	static const size_t len[] = {1000, 200001, 70001, 900001, 30};
	struct model *m = new_model();
	struct store *s;
	int fd = open(index, O_WRONLY | O_CREAT | O_TRUNC, 0600), failed = 0;

	durable_arm();
	if (fd < 0 || store_open(&s, store, &small_opts, false))
		return 2;
	for (int i = 0; i < 3; i++) {
		size_t keep = m->n;

		if (!put_all(s, m, len, ARRAY_SIZE(len))) {
			if (pwrite(fd, m, sizeof(*m), 0) != sizeof(*m))
				return 2;
			continue;
		}
		for (size_t k = keep; k < m->n; k++)
			if (m->o[k].segs != &m->small[k])
				free(m->o[k].segs);
		m->n = keep;
		failed = 1;
		if (bad_objs(s, m))
			return 2;
	}
	if (bad_objs(s, m))
		return 2;
	store_close(s);
	return failed;
}

/* Segments of the large ones are not in the file: find them by a walk, as rebuild-index does. */
static int take_segs(void *ctx, const struct object *o)
{
	struct model *m = ctx;
	struct object *w = o->id.v <= m->n ? &m->o[o->id.v - 1] : NULL;

	if (!w || memcmp(w->sha, o->sha, 32))
		return 0;
	w->nsegs = o->nsegs;
	w->segs = &m->small[o->id.v - 1];
	if (o->nsegs > 1) {
		w->segs = malloc(o->nsegs * sizeof(struct seg));
	}
	memcpy(w->segs, o->segs, o->nsegs * sizeof(struct seg));
	return 0;
}

static void sweep(const char *kind)
{
	for (int n = 1; n < 200; n++) {
		char name[64], index[300], fault[32], *store;
		struct model *m = new_model();
		struct pack_walk w = {.ctx = m, .object = take_segs};
		size_t problems = 0, more = 250001, np;
		cleanup_free uint32_t *packs = NULL;
		struct store *s;
		int st, fd;
		pid_t pid;

		snprintf(name, sizeof(name), "fault-%s-%d", kind, n);
		store = new_store(name);
		CHECK(store);
		snprintf(index, sizeof(index), "%s.index", store);
		snprintf(fault, sizeof(fault), "%d:%s", n, kind);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			setenv("SPILLFS_FAULT", fault, 1);
			_exit(fault_child(store, index));
		}
		CHECK_EQ(waitpid(pid, &st, 0), pid);
		CHECK(WIFSIGNALED(st) ? WTERMSIG(st) == SIGKILL : WEXITSTATUS(st) < 2);
		fd = open(index, O_RDONLY);
		if (pread_full(fd, m, sizeof(*m), 0) != sizeof(*m))
			memset(m, 0, sizeof(*m));
		close(fd);
		CHECK_EQ(store_open(&s, store, &small_opts, false), 0);
		CHECK_EQ(store_recover(s, m->known, m->nknown, count_problem, &problems), 0);
		CHECK(problems == 0 || m->nknown == 0);
		CHECK_EQ(store_list_packs(s, &packs, &np), 0);
		for (size_t i = 0; i < np; i++)
			CHECK_EQ(store_walk_pack(s, packs[i], &w), 0);
		CHECK_EQ(bad_objs(s, m), 0);
		CHECK_EQ(put_all(s, m, &more, 1), 0);
		CHECK_EQ(bad_objs(s, m), 0);
		store_close(s);
		model_free(m);
		if (WIFEXITED(st) && WEXITSTATUS(st) == 0) {
			CHECK(n > 10);
			return; /* nothing left to fail */
		}
	}
	CHECK(!"the sweep came to an end");
}

TEST(fault_kill)
{
	sweep("kill");
}

TEST(fault_eio)
{
	sweep("eio");
}

TEST(fault_enospc)
{
	sweep("enospc");
}

/* An interrupted create leaves a directory in which create works. */
TEST(fault_create)
{
	static const uint8_t hot[16] = {4};
	static const char *const kinds[] = {"kill", "eio"};

	for (int n = 1; n < 12; n++) {
		char path[300], fault[32];
		struct store_id id;
		int st, r;
		pid_t pid;

		snprintf(path, sizeof(path), "%s/create-%d", test_tmpdir(), n);
		CHECK_EQ(mkdir(path, 0700), 0);
		snprintf(fault, sizeof(fault), "%d:%s", 1 + n / 2, kinds[n % 2]);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			setenv("SPILLFS_FAULT", fault, 1);
			durable_arm();
			_exit(store_create(path, hot, &id) ? 1 : 0);
		}
		CHECK_EQ(waitpid(pid, &st, 0), pid);
		r = store_identify(path, &id);
		if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
			CHECK_EQ(r, 0);
		CHECK(r == 0 || r == -ENODATA);
		if (r)
			CHECK_EQ(store_create(path, hot, &id), 0);
		CHECK_EQ(id.hot_uuid[0], 4);
	}
}

TEST_MAIN
