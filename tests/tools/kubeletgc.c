/* SPDX-License-Identifier: MIT
 * kubeletgc: a stand-in for the two parts of kubelet that delete images, for tests.
 *
 *	kubeletgc [OPTION=VALUE...] DIR HOOK
 *
 * DIR is asked by statfs(2), as cAdvisor does; lookup=CMD names a command whose first line of
 *output is the directory to ask instead (cAdvisor's look-up of DIR in the mount table), once, at
 *the start. HOOK is a command: "HOOK list" prints a line "ID BYTES IN-USE(0|1)" for each image,
 *"HOOK remove ID" deletes one. Runs until SIGTERM or SIGINT, then writes the summary.
 *
 *	gc=5000		image GC every so many ms (kubelet: 5 minutes): use at or above high=85
 *percent -> unused images go, those used longest ago first, until low=80 evict=500	the eviction
 *manager looks every so many ms (kubelet: 10 seconds): available below avail=15 percent, or inodes
 *below inodes=5 percent -> every unused image goes min-age=120000	images known for less stay
 *(imageMinimumGCAge) log=FILE	a line for each sample, decision and deletion; default stdout
 *	summary=FILE	what it came to, as key=value lines; default stdout
 *
 * Rules and arithmetic: kubelet 1.32, pkg/kubelet/images/image_gc_manager.go (detectImages,
 *GarbageCollect, freeSpace, freeImage) and pkg/kubelet/eviction; cAdvisor, fs/fs.go getVfsStats.
 *kubelet gives up waiting for statfs after 2 seconds: such answers are counted as late.
 *
 * Exit: 0 with a summary, 1 wrong usage.
 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#define IMAGES_MAX 4096
#define ID_MAX     256
#define LATE_MS    2000
#define NEVER      (-1.0)

struct image {
	char id[ID_MAX];
	uint64_t bytes;
	double first_ms, used_ms; /* used_ms: NEVER when it was not */
	bool in_use, seen;
};

static struct {
	double gc, evict, min_age;
	double high, low, avail, inodes;
	const char *lookup, *log, *summary, *dir, *hook;
} opt = {.gc = 5000,
	 .evict = 500,
	 .min_age = 120000,
	 .high = 85,
	 .low = 80,
	 .avail = 15,
	 .inodes = 5};

static struct {
	unsigned samples, errors, late, gc_runs, evictions, deleted, delete_failed, list_failed;
	double min_avail, max_avail, min_inodes, max_ms;
} sum = {.min_avail = 100, .min_inodes = 100};

static struct image images[IMAGES_MAX];
static size_t nimages;
static FILE *logfile;
static double t0;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	va_list ap;

	fprintf(logfile, "%.3f ", (now_ms() - t0) / 1e3);
	va_start(ap, fmt);
	vfprintf(logfile, fmt, ap);
	va_end(ap);
	fputc('\n', logfile);
	fflush(logfile);
}

/* ---- what it sees ------------------------------------------------------------------------------
 */

struct sample {
	uint64_t capacity, available;
	double avail_pct, inodes_pct;
};

static bool look(struct sample *ret)
{
	struct statvfs sv;
	double begun = now_ms();
	int r = statvfs(opt.dir, &sv), err = errno;
	double ms = now_ms() - begun;

	sum.samples++;
	if (ms > sum.max_ms)
		sum.max_ms = ms;
	if (ms >= LATE_MS)
		sum.late++;
	if (r || !sv.f_blocks) {
		sum.errors++;
		note("sample error=%s ms=%.1f", r ? strerror(err) : "no blocks", ms);
		return false;
	}
	ret->capacity = (uint64_t)sv.f_blocks * sv.f_frsize;
	ret->available = (uint64_t)sv.f_bavail * sv.f_frsize;
	ret->avail_pct = 100.0 * (double)ret->available / (double)ret->capacity;
	ret->inodes_pct = sv.f_files ? 100.0 * (double)sv.f_ffree / (double)sv.f_files : 100;
	if (ret->avail_pct < sum.min_avail)
		sum.min_avail = ret->avail_pct;
	if (ret->avail_pct > sum.max_avail)
		sum.max_avail = ret->avail_pct;
	if (ret->inodes_pct < sum.min_inodes)
		sum.min_inodes = ret->inodes_pct;
	note("sample avail=%.2f%% capacity=%llu available=%llu inodes=%.2f%% ms=%.2f",
	     ret->avail_pct, (unsigned long long)ret->capacity, (unsigned long long)ret->available,
	     ret->inodes_pct, ms);
	return true;
}

/* ---- images ------------------------------------------------------------------------------------
 */

static struct image *image_of(const char *id)
{
	for (size_t i = 0; i < nimages; i++)
		if (!strcmp(images[i].id, id))
			return &images[i];
	if (nimages == IMAGES_MAX)
		return NULL;
	struct image *m = &images[nimages++];

	*m = (struct image){.first_ms = now_ms(), .used_ms = NEVER};
	snprintf(m->id, sizeof(m->id), "%s", id);
	return m;
}

static FILE *run_hook(const char *verb, const char *id)
{
	char cmd[4096];

	/* It goes through a shell: nothing else is part of an image's name. */
	for (const char *p = id; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("./:_@-", *p))
			return NULL;
	snprintf(cmd, sizeof(cmd), "%s %s %s", opt.hook, verb, id);
	return popen(cmd, "r");
}

/* detectImages: new ones are known from now on, those that a container has are used now. */
static void detect(void)
{
	FILE *p = run_hook("list", "");
	char id[ID_MAX];
	unsigned long long bytes;
	int used;

	for (size_t i = 0; i < nimages; i++)
		images[i].seen = false;
	while (p && fscanf(p, "%255s %llu %d", id, &bytes, &used) == 3) {
		struct image *m = image_of(id);

		if (!m)
			continue;
		m->seen = true;
		m->bytes = bytes;
		m->in_use = used;
		if (used)
			m->used_ms = now_ms();
	}
	if (!p || pclose(p)) {
		/* Incomplete: what it did not name may be there all the same. */
		sum.list_failed++;
		note("list failed");
		return;
	}
	size_t kept = 0;

	for (size_t i = 0; i < nimages; i++)
		if (images[i].seen)
			images[kept++] = images[i];
	nimages = kept;
}

static int by_use(const void *pa, const void *pb)
{
	const struct image *a = pa, *b = pb;

	if (a->used_ms != b->used_ms)
		return a->used_ms < b->used_ms ? -1 : 1;
	return a->first_ms < b->first_ms ? -1 : a->first_ms > b->first_ms;
}

static bool remove_image(struct image *m, const char *why)
{
	FILE *p = run_hook("remove", m->id);
	char line[512];

	while (p && fgets(line, sizeof(line), p)) /* all of it, or it ends with SIGPIPE */
		;
	int rc = p ? pclose(p) : -1;

	if (rc)
		sum.delete_failed++;
	else
		sum.deleted++;
	note("%s %s: %s bytes=%llu", why, rc ? "cannot delete" : "deleted", m->id,
	     (unsigned long long)m->bytes);
	m->seen = rc != 0;
	return !rc;
}

/* freeSpace: returns the number of images that went. */
static unsigned free_space(uint64_t want, const char *why)
{
	double begun = now_ms();
	uint64_t freed = 0;
	unsigned n = 0;

	detect();
	qsort(images, nimages, sizeof(images[0]), by_use);
	for (size_t i = 0; i < nimages && freed < want && !stop; i++) {
		struct image *m = &images[i];

		if (!m->seen || m->in_use || m->used_ms >= begun ||
		    begun - m->first_ms < opt.min_age)
			continue;
		if (remove_image(m, why)) {
			freed += m->bytes;
			n++;
		}
	}
	return n;
}

/* GarbageCollect */
static void image_gc(void)
{
	struct sample s;

	detect();
	if (!look(&s))
		return;
	int used = 100 - (int)(s.available * 100 / s.capacity);

	if (used < opt.high)
		return;
	uint64_t want = (uint64_t)((double)s.capacity * (100 - opt.low) / 100) - s.available;

	sum.gc_runs++;
	note("image GC: %d%% in use, wants %llu bytes", used, (unsigned long long)want);
	free_space(want, "image GC");
}

/* One look of the eviction manager; true: pressure, and nothing left to delete. */
static bool evict(void)
{
	struct sample s;

	if (!look(&s) || (s.avail_pct >= opt.avail && s.inodes_pct >= opt.inodes))
		return false;
	sum.evictions++;
	note("eviction: available %.2f%%, inodes %.2f%%: all unused images go", s.avail_pct,
	     s.inodes_pct);
	return free_space(UINT64_MAX, "eviction") == 0;
}

/* ---- program ------------------------------------------------------------------------------------
 */

static int usage(const char *what)
{
	fprintf(stderr, "kubeletgc: %s\nusage: kubeletgc [OPTION=VALUE...] DIR HOOK\n", what);
	return 1;
}

static bool option(char *arg)
{
	struct {
		const char *name;
		double *num;
		const char **word;
	} known[] = {
		{"gc", &opt.gc, NULL},           {"evict", &opt.evict, NULL},
		{"min-age", &opt.min_age, NULL}, {"high", &opt.high, NULL},
		{"low", &opt.low, NULL},         {"avail", &opt.avail, NULL},
		{"inodes", &opt.inodes, NULL},   {"lookup", NULL, &opt.lookup},
		{"log", NULL, &opt.log},         {"summary", NULL, &opt.summary},
	};
	char *eq = strchr(arg, '='), *end = NULL;

	if (!eq)
		return false;
	*eq = 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(arg, known[i].name) != 0)
			continue;
		if (known[i].word)
			*known[i].word = eq + 1;
		else
			*known[i].num = strtod(eq + 1, &end);
		return known[i].word || (end && end > eq + 1 && !*end && *known[i].num >= 0);
	}
	return false;
}

static bool look_up(char *buf, size_t len)
{
	FILE *p = popen(opt.lookup, "r");
	bool ok = p && fgets(buf, (int)len, p);

	if ((p && pclose(p)) || !ok)
		return false;
	buf[strcspn(buf, "\n")] = 0;
	opt.dir = buf;
	return true;
}

static bool summarize(void)
{
	FILE *f = opt.summary ? fopen(opt.summary, "w") : stdout;

	if (!f)
		return false;
	fprintf(f,
		"samples=%u\nerrors=%u\nlate=%u\nmin_avail_pct=%.2f\nmax_avail_pct=%.2f\n"
		"min_inodes_pct=%.2f\nmax_ms=%.1f\ngc_runs=%u\nevictions=%u\ndeleted=%u\n"
		"delete_failed=%u\nlist_failed=%u\nimages=%zu\ndir=%s\n",
		sum.samples, sum.errors, sum.late, sum.min_avail, sum.max_avail, sum.min_inodes,
		sum.max_ms, sum.gc_runs, sum.evictions, sum.deleted, sum.delete_failed,
		sum.list_failed, nimages, opt.dir);
	return f == stdout ? !fflush(f) : !fclose(f);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	char found[4096];
	double next_gc, quiet_until = 0;

	for (argv++; argc > 1 && *argv && strchr(*argv, '=') && **argv != '/'; argv++)
		if (!option(*argv))
			return usage("unknown option, or not a number");
	if (!argv[0] || !argv[1] || argv[2] || opt.evict < 1 || opt.low >= opt.high)
		return usage("needs DIR and HOOK, evict= of 1 or more, low= below high=");
	opt.dir = argv[0];
	opt.hook = argv[1];
	if (opt.lookup && !look_up(found, sizeof(found)))
		return usage("lookup= printed no directory");
	logfile = opt.log ? fopen(opt.log, "a") : stdout;
	if (!logfile)
		return usage("cannot open log=");
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	t0 = now_ms();
	next_gc = t0;
	while (!stop) {
		struct timespec ts = {(time_t)(opt.evict / 1e3),
				      (long)(opt.evict * 1e6) % 1000000000};

		if (now_ms() >= next_gc) {
			image_gc();
			next_gc = now_ms() + opt.gc;
		}
		/* Nothing was left to delete: listing images ten times a second shows nothing new.
		 */
		if (now_ms() < quiet_until) {
			struct sample s;

			look(&s);
		} else if (evict()) {
			quiet_until = now_ms() + 2000;
		}
		nanosleep(&ts, NULL);
	}
	return summarize() ? 0 : 1;
}
