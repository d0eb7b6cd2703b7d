/* SPDX-License-Identifier: MIT
 * policysim [SEED [DAYS [HALF-LIFE-HOURS]]]: a week of a CI node, replayed against the policy.
 *
 * The trace comes first and knows nothing of policies: shared bases, a layer of dependencies that
 * is rebuilt now and then, builds by the working hours, deployments, scale to zero at night,
 * redeployment in the morning, a few roll-backs, and a scan of everything each night. Its numbers
 * were written down before the policy was tuned, and only the policy may change. (Which containers
 * run, as the mount table shows it, was added later; nothing is read or written otherwise.) At 7
 * GiB the working set fits and the optimum fetches nothing, which no ratio can be made of: hence
 * the smaller tiers, with the same trace.
 *
 * The competitors share one rule: what an application reads and the hot tier does not have is
 * fetched from the store, whether it is kept or not. "fetched" is the sum of that; a scan's reads
 * are counted apart. All begin to free at the high mark and stop at the low one. So
 *   policy    src/policy, as the daemon runs it
 *   no-recall the same, but reads never bring anything back (what reads of stubs did before)
 *   lru-file  the file used longest ago first; whatever is fetched is kept
 *   lru-layer the layer used longest ago first, as a whole
 *   optimum   knows the future: the file whose next use is farthest first, with the same marks
 *   bound     the same by single bytes, always filled to the high mark: no policy can fetch less
 * "first" is the part of it that nobody had read before; "chance", of files that no image needs,
 * each of which a process reads in one of 200 cases: no policy without the future can know either.
 */
#include "spill/policy.h"

#include <stdio.h>

#define GIB (1ull << 30)
#define MIB (1ull << 20)
static uint64_t hot_bytes;
#define FIXED        (hot_bytes / 10) /* what is no layer: logs, metadata */
#define DAY          86400u
#define START        1700000000u
#define NEVER        UINT32_MAX
#define COPY_RATE    (200 * MIB) /* bytes a second: compressing under pressure */
#define FREE_RATE    (2 * GIB)   /* releasing what has its copy */
#define PREMIG_RATE  (50 * MIB)  /* in the background */
#define PREMIG_EVERY 60u
#define DRAIN_EVERY  60u /* as src/tier/heat.c */
#define RING         49152

static uint64_t rng_state;
static uint32_t rnd(void)
{
	rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
	uint64_t x = rng_state;

	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	return (uint32_t)(x >> 32);
}
static uint32_t rnd_below(uint32_t n)
{
	return (uint32_t)((uint64_t)rnd() * n >> 32);
}
static bool chance(unsigned per_mille)
{
	return rnd_below(1000) < per_mille;
}
/* Sizes of files in images: most small, a few hold most of the bytes. mean is roughly kept. */
static uint64_t rnd_size(uint64_t mean)
{
	static const unsigned factor[] = {5, 10, 20, 40, 80, 150, 400, 2500}; /* percent */
	uint64_t x = mean * factor[rnd_below(8)] / 400 * 100 / 100;

	return x * (50 + rnd_below(100)) / 100 + 512;
}

/* ---- the trace ------------------------------------------------------------------------------- */

struct sfile {
	uint64_t bytes;
	uint32_t layer, born;
	bool blob, runtime, tool; /* read by deployments; read by builds */
};
struct slayer {
	uint32_t first, n; /* files */
};
enum kind { WRITE, READ, SCAN, MOUNT, UMOUNT };
struct event {
	uint32_t t, file, pid, next; /* next: when an application reads it next */
	uint8_t kind;
};

static struct sfile *files;
static size_t nfiles, files_cap;
static struct slayer *layers;
static size_t nlayers, layers_cap;
static struct event *events;
static size_t nevents, events_cap;
static uint32_t next_pid = 100;

#define GROW(v, n, cap)                                                                            \
	do {                                                                                       \
		if ((n) == (cap)) {                                                                \
			(cap) = (cap) ? 2 * (cap) : 1024;                                          \
			(v) = realloc((v), (cap) * sizeof(*(v)));                                  \
			if (!(v))                                                                  \
				abort();                                                           \
		}                                                                                  \
	} while (0)

static void emit(uint32_t t, uint32_t file, uint32_t pid, enum kind k)
{
	GROW(events, nevents, events_cap);
	events[nevents++] = (struct event){t, file, pid, NEVER, (uint8_t)k};
}

static uint32_t new_layer(uint32_t t, unsigned n, uint64_t bytes, unsigned runtime, unsigned tool)
{
	GROW(layers, nlayers, layers_cap);
	layers[nlayers] = (struct slayer){(uint32_t)nfiles, n};
	for (unsigned i = 0; i < n; i++) {
		GROW(files, nfiles, files_cap);
		files[nfiles] = (struct sfile){
			.bytes = rnd_size(bytes / n),
			.layer = (uint32_t)nlayers,
			.born = t,
			.runtime = chance(runtime),
			.tool = chance(tool),
		};
		emit(t + i / 50, (uint32_t)nfiles++, next_pid, WRITE);
	}
	return (uint32_t)nlayers++;
}

static void new_blob(uint32_t t, uint64_t bytes)
{
	uint32_t l = new_layer(t, 1, bytes, 0, 0);

	files[layers[l].first].blob = true;
	files[layers[l].first].bytes = bytes;
}

/* One process tree reads a layer: what it needs nearly always, anything else hardly ever. */
static void read_layer(uint32_t t, uint32_t l, bool build)
{
	for (uint32_t i = 0; i < layers[l].n; i++) {
		const struct sfile *f = &files[layers[l].first + i];

		if (f->blob)
			continue;
		if ((build ? f->tool : f->runtime) ? chance(950) : chance(5))
			emit(t + i / 100, layers[l].first + i, next_pid, READ);
	}
}

#define BASES    4
#define SERVICES 12
#define IMAGES   6 /* of a service that may be rolled back to */
#define EVENING  (20 * 3600 + 1800)
struct image {
	uint32_t base, deps, app;
};
/* From its start until the service is rolled out anew, or the evening; of its own, when it only
 * tests or builds. */
struct container {
	uint32_t start, end, service;
	struct image image;
	bool rollout;
};
static struct container *conts;
static size_t nconts, conts_cap;
struct service {
	uint32_t base, deps;
	unsigned builds, nimages;
	struct image image[IMAGES]; /* the newest last */
};

/* length: 0 until it is replaced. */
static void contain(uint32_t t, uint32_t length, uint32_t service, const struct image *im,
		    bool rollout)
{
	GROW(conts, nconts, conts_cap);
	conts[nconts++] = (struct container){t, length ? t + length : NEVER, service, *im, rollout};
}

static void deploy(uint32_t t, const struct image *im)
{
	next_pid++;
	read_layer(t, im->base, false);
	read_layer(t + 2, im->deps, false);
	read_layer(t + 4, im->app, false);
}

static void build(uint32_t t, struct service *s, uint32_t no)
{
	next_pid++;
	read_layer(t, s->base, true);
	if (s->builds++ % 8 == 0) {
		s->deps = new_layer(t + 60, 400, 120 * MIB, 150, 300);
		new_blob(t + 90, 45 * MIB);
	}
	read_layer(t + 100, s->deps, true);
	uint32_t app = new_layer(t + 120, 150, 60 * MIB, 400, 0);

	new_blob(t + 130, 25 * MIB);
	if (s->nimages == IMAGES)
		memmove(s->image, s->image + 1, --s->nimages * sizeof(s->image[0]));
	s->image[s->nimages++] = (struct image){s->base, s->deps, app};
	const struct image *im = &s->image[s->nimages - 1];

	deploy(t + 150, im); /* its test */

	uint32_t rollout = t + 270 + rnd_below(1000);

	deploy(rollout, im);
	contain(t, 140, no, &(struct image){s->base, s->deps, s->deps}, false);
	contain(t + 150, 100, no, im, false);
	contain(rollout, 0, no, im, true);
}

static unsigned pick_service(void)
{
	unsigned sum = 0, x;

	for (unsigned i = 0; i < SERVICES; i++)
		sum += 1000 / (i + 1);
	x = rnd_below(sum);
	for (unsigned i = 0; i < SERVICES; i++) {
		if (x < 1000 / (i + 1))
			return i;
		x -= 1000 / (i + 1);
	}
	return 0;
}

static void scan(uint32_t t)
{
	next_pid++;
	for (uint32_t i = 0; i < nfiles; i++)
		emit(t + i / 300, i, next_pid, SCAN);
}

static int event_cmp(const void *pa, const void *pb)
{
	const struct event *a = pa, *b = pb;

	if (a->t != b->t)
		return a->t < b->t ? -1 : 1;
	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	return (int)a->kind - (int)b->kind;
}

static uint32_t end_of(const struct container *c)
{
	uint32_t midnight = START + 4 * 3600;
	uint32_t evening = c->start < midnight
				   ? midnight
				   : midnight + (c->start - midnight) / DAY * DAY + EVENING;
	uint32_t end = MIN(c->end, evening);

	for (size_t i = 0; i < nconts && c->end == NEVER; i++)
		if (conts[i].rollout && conts[i].service == c->service && conts[i].start > c->start)
			end = MIN(end, conts[i].start + 60);
	return end;
}

/* What the mount table shows: the layers of the containers that run. */
static void emit_mounts(void)
{
	for (size_t i = 0; i < nconts; i++) {
		const struct container *c = &conts[i];
		uint32_t layer[] = {c->image.base, c->image.deps, c->image.app}, end = end_of(c);

		for (size_t k = 0; k < ARRAY_SIZE(layer); k++) {
			emit(c->start, layer[k], 0, MOUNT);
			emit(end, layer[k], 0, UMOUNT);
		}
	}
}

static void make_trace(unsigned days)
{
	static const unsigned base_mib[BASES] = {700, 350, 180, 120};
	struct service s[SERVICES] = {0};
	uint32_t base[BASES];

	for (unsigned i = 0; i < BASES; i++) {
		base[i] = new_layer(START + i * 300, 1500, base_mib[i] * MIB, 60, 150);
		new_blob(START + i * 300 + 100, base_mib[i] * MIB * 38 / 100);
	}
	for (unsigned i = 0; i < SERVICES; i++) {
		s[i].base = base[i % BASES];
		build(START + 3600 + i * 600, &s[i], i);
	}
	for (unsigned d = 0; d < days; d++) {
		uint32_t day = START + 4 * 3600 + d * DAY; /* midnight */
		bool weekend = d % 7 >= 5;
		unsigned n = weekend ? 4 : 25 + rnd_below(11);

		scan(day + 2 * 3600);
		for (unsigned i = 0; i < SERVICES; i++) { /* after a night at zero */
			deploy(day + 7 * 3600 + 1800 + i * 30, &s[i].image[s[i].nimages - 1]);
			contain(day + 7 * 3600 + 1800 + i * 30, 0, i, &s[i].image[s[i].nimages - 1],
				true);
		}
		/* Builds by the clock; between them services are scaled up, some rolled back, to
		 * images that are there by then. */
		for (unsigned i = 0; i < n; i++) {
			uint32_t slot = 11 * 3600 / n, t = day + 8 * 3600 + i * slot;

			unsigned no = pick_service();

			build(t + rnd_below(slot / 2), &s[no], no);
			for (unsigned k = 20 * (i + 1) / n - 20 * i / n; k; k--) {
				struct service *v = &s[rnd_below(SERVICES)];
				unsigned back = chance(100) ? rnd_below(v->nimages) : 0;
				const struct image *im = &v->image[v->nimages - 1 - back];
				uint32_t up = t + slot / 2 + 200 + rnd_below(slot / 2);

				deploy(up, im);
				contain(up, 0, (uint32_t)(v - s), im, false);
			}
		}
	}
	emit_mounts();
	qsort(events, nevents, sizeof(*events), event_cmp);
	uint32_t *next = malloc(nfiles * sizeof(*next));

	if (!next)
		abort();
	for (size_t i = 0; i < nfiles; i++)
		next[i] = NEVER;
	for (size_t i = nevents; i-- > 0;) {
		if (events[i].kind >= MOUNT)
			continue;
		if (events[i].t < files[events[i].file].born) /* the trace would be wrong */
			abort();
		events[i].next = next[events[i].file];
		if (events[i].kind == READ)
			next[events[i].file] = events[i].t;
	}
	free(next);
}

/* ---- the competitors ---------------------------------------------------------------------------
 */

enum who { POLICY, NO_RECALL, LRU_FILE, LRU_LAYER, OPTIMUM, BOUND, WHO_N };
static const char *const names[] = {"policy",    "no-recall", "lru-file",
				    "lru-layer", "optimum",   "bound"};

struct state {
	uint64_t here; /* bytes in the hot tier (all or nothing, but for BOUND) */
	uint32_t used, next, written, recalled;
	struct heat heat;
	bool copied, there, was_read; /* has a copy; was written; an application read it before */
};
struct result {
	uint64_t reads, hits, fetched, first, chance, scanned, spilled, recalled;
	double above_high_sec;
};
struct sim {
	enum who who;
	const struct policy_rules *r;
	struct state *f;
	uint32_t *layer_used, *mounts;
	uint64_t used; /* bytes */
	struct result res;
	struct heat_use_rec *ring;
	size_t nring, ring_cap;
	uint32_t drained, premigrated;
	struct policy_file *pf;
	uint32_t *pf_file;
};

static uint64_t mark(unsigned percent)
{
	return hot_bytes / 100 * percent;
}

static void drop(struct sim *s, uint32_t i, uint64_t bytes)
{
	s->f[i].here -= bytes;
	s->used -= bytes;
	if (!s->f[i].copied)
		s->res.spilled += bytes;
	if (s->who != BOUND)
		s->f[i].copied = true; /* contents do not change: the object stays */
}

/* On every node something runs that is not in the trace: the night is no exception. */
static bool asleep(const struct sim *s, const struct sfile *f, uint32_t now)
{
	return !f->blob && !s->mounts[f->layer] &&
	       now - MAX(s->layer_used[f->layer], f->born) >= s->r->retain_sec;
}

static size_t candidates(struct sim *s, uint32_t now)
{
	size_t n = 0;

	for (uint32_t i = 0; i < nfiles; i++) {
		const struct state *f = &s->f[i];
		uint32_t last = MAX(f->used, s->layer_used[files[i].layer]);

		if (!f->here)
			continue;
		s->pf_file[n] = i;
		s->pf[n++] = (struct policy_file){
			.bytes = f->here,
			.size = files[i].bytes,
			.heat = heat_at(&f->heat, now, s->r->half_life_sec),
			.idle_sec = now - MAX(last, f->written),
			.age_sec = now - f->written,
			.recalled_sec = f->recalled ? now - f->recalled : UINT32_MAX,
			.cls = files[i].blob ? POLICY_BLOB : POLICY_LAYER,
			.flags = (uint8_t)((f->copied ? POLICY_COPIED : 0) |
					   (asleep(s, &files[i], now) ? POLICY_ASLEEP : 0)),
		};
	}
	return n;
}

static void act(struct sim *s, uint32_t now, enum policy_act a)
{
	struct policy_plan p;
	size_t n = candidates(s, now);
	uint64_t budget = (uint64_t)PREMIG_RATE * PREMIG_EVERY;

	if (policy_plan(s->r, a, false, s->used, hot_bytes, s->pf, n, &p))
		abort();
	if (a == POLICY_SPILL && p.got_bytes < p.want_bytes) {
		policy_plan_done(&p);
		if (policy_plan(s->r, a, true, s->used, hot_bytes, s->pf, n, &p))
			abort();
	}
	for (size_t i = 0; i < p.n; i++) {
		uint32_t file = s->pf_file[p.v[i]];
		struct state *f = &s->f[file];

		if (a == POLICY_SPILL) {
			if (s->used >= mark(s->r->high))
				s->res.above_high_sec +=
					(double)f->here /
					(double)(f->copied ? FREE_RATE : COPY_RATE);
			drop(s, file, f->here);
		} else {
			if (f->here > budget)
				break;
			budget -= f->here;
			f->copied = true;
			s->res.spilled += f->here;
		}
	}
	policy_plan_done(&p);
}

/* The other competitors: free down to the low mark (BOUND: to the high one) in their order. */
static void evict(struct sim *s)
{
	uint64_t to = mark(s->who == BOUND ? s->r->high : s->r->low);

	while (s->used > to) {
		uint32_t best = NEVER;
		uint64_t best_key = 0;

		/* Layers: the oldest one as a whole, so look for a layer's files by its time. */
		for (uint32_t i = 0; i < nfiles; i++) {
			const struct state *f = &s->f[i];
			uint64_t key;

			if (!f->here)
				continue;
			if (s->who == LRU_LAYER)
				key = (uint64_t)(NEVER - s->layer_used[files[i].layer]) << 20;
			else if (s->who == LRU_FILE)
				key = NEVER - f->used;
			else
				key = f->next;
			if (best == NEVER || key > best_key) {
				best = i;
				best_key = key;
			}
		}
		if (best == NEVER)
			return;
		/* All of the same key go together: a scan of the files for each would be slow. */
		for (uint32_t i = best; i < nfiles && s->used > to; i++) {
			const struct state *f = &s->f[i];
			bool same = s->who == LRU_LAYER
					    ? files[i].layer == files[best].layer
					    : (s->who == LRU_FILE ? NEVER - f->used : f->next) ==
						      best_key;

			if (f->here && same)
				drop(s, i, s->who == BOUND ? MIN(f->here, s->used - to) : f->here);
		}
	}
}

static void make_room(struct sim *s, uint32_t now)
{
	if (s->used <= mark(s->r->high))
		return;
	if (s->who == POLICY || s->who == NO_RECALL) {
		act(s, now, POLICY_SPILL);
		return;
	}
	uint64_t before = s->res.spilled;
	double over = (double)(s->used - mark(s->r->high));

	evict(s);
	if (s->res.spilled > before)
		s->res.above_high_sec += over / COPY_RATE;
}

/* The daemon drains its ring of opens every few seconds; scanners are judged there. */
static void drain(struct sim *s, uint32_t now)
{
	size_t n = heat_judge(s->ring, s->nring, heat_scan_limit(nfiles));

	for (size_t i = 0; i < n; i++) {
		uint32_t file = (uint32_t)s->ring[i].node;
		struct state *f = &s->f[file];

		heat_use(&f->heat, now, s->r->half_life_sec);
		f->used = now;
		s->layer_used[files[file].layer] = now;
		float heat = heat_at(&f->heat, now, s->r->half_life_sec);

		if (s->who == POLICY && !f->here && f->there &&
		    policy_recall(s->r, heat, files[file].bytes, s->used, hot_bytes)) {
			f->here = files[file].bytes;
			f->recalled = now;
			s->used += f->here;
			s->res.recalled += f->here;
		}
	}
	s->nring = 0;
	s->drained = now;
}

static void note_use(struct sim *s, const struct event *e)
{
	if (s->nring == s->ring_cap) {
		s->ring_cap = s->ring_cap ? 2 * s->ring_cap : 4096;
		s->ring = realloc(s->ring, s->ring_cap * sizeof(*s->ring));
		if (!s->ring)
			abort();
	}
	s->ring[s->nring++] = (struct heat_use_rec){e->file, e->pid, files[e->file].layer};
}

static void run(struct sim *s)
{
	bool ours = s->who == POLICY || s->who == NO_RECALL;

	for (size_t k = 0; k < nevents; k++) {
		const struct event *e = &events[k];

		if (e->kind >= MOUNT) {
			uint32_t *m = &s->mounts[e->file];

			*m += e->kind == MOUNT ? 1 : -1u;
			continue;
		}
		struct state *f = &s->f[e->file];
		bool miss = e->kind != WRITE && f->here < files[e->file].bytes;

		if (ours && s->nring && (e->t >= s->drained + DRAIN_EVERY || s->nring >= RING))
			drain(s, e->t);
		if (ours && s->r->premigrate && e->t >= s->premigrated + PREMIG_EVERY) {
			s->premigrated = e->t;
			if (policy_decide(s->r, (unsigned)(s->used * 100 / hot_bytes), false) ==
			    POLICY_PREMIGRATE)
				act(s, e->t, POLICY_PREMIGRATE);
		}
		f->next = e->next;
		if (e->kind == WRITE) {
			f->here = files[e->file].bytes;
			s->used += f->here;
			f->written = e->t;
			f->there = true;
		}
		if (e->kind == READ) {
			s->res.reads++;
			s->res.hits += !miss;
			if (miss)
				s->res.fetched += files[e->file].bytes - f->here;
			if (miss && !f->was_read)
				s->res.first += files[e->file].bytes - f->here;
			if (miss && !files[e->file].runtime && !files[e->file].tool)
				s->res.chance += files[e->file].bytes - f->here;
			f->was_read = true;
		} else if (e->kind == SCAN && miss) {
			s->res.scanned += files[e->file].bytes - f->here;
		}
		if (ours) {
			if (e->kind != WRITE)
				note_use(s, e);
			make_room(s, e->t);
			continue;
		}
		/* LRU keeps whatever it fetched, a scan's too; the others know better. */
		bool clairvoyant = s->who == OPTIMUM || s->who == BOUND;

		if (miss && (!clairvoyant || (e->kind == READ && e->next != NEVER))) {
			s->used += files[e->file].bytes - f->here;
			s->res.recalled += files[e->file].bytes - f->here;
			f->here = files[e->file].bytes;
		}
		f->used = e->t;
		s->layer_used[files[e->file].layer] = e->t;
		make_room(s, e->t);
	}
}

static struct result compete(enum who who, const struct policy_rules *r)
{
	struct sim s = {.who = who, .r = r, .used = FIXED};

	s.f = calloc(nfiles, sizeof(*s.f));
	s.layer_used = calloc(nlayers, sizeof(*s.layer_used));
	s.mounts = calloc(nlayers, sizeof(*s.mounts));
	s.pf = calloc(nfiles, sizeof(*s.pf));
	s.pf_file = calloc(nfiles, sizeof(*s.pf_file));
	if (!s.f || !s.layer_used || !s.mounts || !s.pf || !s.pf_file)
		abort();
	run(&s);
	free(s.f);
	free(s.layer_used);
	free(s.mounts);
	free(s.pf);
	free(s.pf_file);
	free(s.ring);
	return s.res;
}

/* How long a plan over a million files takes. */
static void time_plan(const struct policy_rules *r)
{
	enum { N = 1000000 };
	struct policy_file *v = calloc(N, sizeof(*v));
	struct policy_plan p;

	if (!v)
		abort();
	for (size_t i = 0; i < N; i++)
		v[i] = (struct policy_file){
			.bytes = 4096,
			.size = 4096,
			.heat = chance(100) ? (float)rnd_below(1000) / 100 : 0,
			.idle_sec = rnd_below(7 * DAY),
			.age_sec = DAY,
			.recalled_sec = UINT32_MAX,
			.cls = POLICY_LAYER,
			.flags = chance(300) ? POLICY_COPIED : 0,
		};
	uint64_t start = clock_mono_ns();

	if (policy_plan(r, POLICY_SPILL, false, N * 4096ull, N * 4096ull, v, N, &p))
		abort();
	printf("a plan over %d files (%zu of them moved): %.3f s\n", (int)N, p.n,
	       (double)(clock_mono_ns() - start) / 1e9);
	policy_plan_done(&p);
	free(v);
}

static double mib(uint64_t v)
{
	return (double)v / (double)MIB;
}

static double gib(uint64_t v)
{
	return (double)v / (double)GIB;
}

static void table(const struct policy_rules *r)
{
	struct result res[WHO_N];

	for (int w = 0; w < WHO_N; w++)
		res[w] = compete((enum who)w, r);
	printf("\nhot tier %.1f GiB\n%-10s %7s %9s %9s %9s %9s %9s %9s %9s %9s\n", gib(hot_bytes),
	       "", "hits", "fetched", "/optimum", "first", "chance", "recalled", "spilled",
	       "by scans", "above");
	printf("%-10s %7s %9s %9s %9s %9s %9s %9s %9s %9s\n", "", "%", "MiB", "", "MiB", "MiB",
	       "MiB", "MiB", "MiB", "high, s");
	for (int w = 0; w < WHO_N; w++) {
		char ratio[32] = "-"; /* of nothing */

		if (res[OPTIMUM].fetched)
			snprintf(ratio, sizeof(ratio), "%.2f",
				 (double)res[w].fetched / (double)res[OPTIMUM].fetched);
		printf("%-10s %7.2f %9.0f %9s %9.0f %9.0f %9.0f %9.0f %9.0f %9.1f\n", names[w],
		       100.0 * (double)res[w].hits / (double)MAX(res[w].reads, 1),
		       mib(res[w].fetched), ratio, mib(res[w].first), mib(res[w].chance),
		       mib(res[w].recalled), mib(res[w].spilled), mib(res[w].scanned),
		       res[w].above_high_sec);
	}
}

/* Of the files that the trace reads, how much was never read before: nobody can foresee it. */
static uint64_t first_reads(void)
{
	bool *seen = calloc(nfiles, sizeof(*seen));
	uint64_t bytes = 0;

	if (!seen)
		abort();
	for (size_t i = 0; i < nevents; i++)
		if (events[i].kind == READ && !seen[events[i].file]) {
			seen[events[i].file] = true;
			bytes += files[events[i].file].bytes;
		}
	free(seen);
	return bytes;
}

int main(int argc, char **argv)
{
	static const unsigned sizes_mib[] = {7168, 3072, 2048, 1536, 1024};
	unsigned days = argc > 2 ? (unsigned)atoi(argv[2]) : 7;
	struct policy_rules r = {
		.premigrate = 50,
		.low = 65,
		.high = 75,
		.critical = 82,
		.min_age_sec = 60,
		.retain_sec = 600,
		.half_life_sec = (argc > 3 ? (unsigned)atoi(argv[3]) : 12) * 3600,
		.min_size_bytes = 1,
	};
	uint64_t written = 0;

	rng_state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	time_plan(&r);
	rng_state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	make_trace(days);
	for (size_t i = 0; i < nfiles; i++)
		written += files[i].bytes;
	printf("%u days, %zu files in %zu layers, %.1f GiB written, %zu events; "
	       "%.0f MiB are read at all\n",
	       days, nfiles, nlayers, gib(written), nevents, mib(first_reads()));
	for (size_t i = 0; i < ARRAY_SIZE(sizes_mib); i++) {
		hot_bytes = sizes_mib[i] * MIB;
		table(&r);
	}
	free(files);
	free(layers);
	free(events);
	return 0;
}
