/* SPDX-License-Identifier: MIT
 * statwatch [-r] [-i INTERVAL_US] [-o FILE] DIR: call statfs(2) of DIR again and again until
 * SIGTERM or SIGINT, then say on one line what came of it:
 *
 *	n, p50_us, p99_us, p999_us, max_us	how long it took
 *	first_avail, last_avail, min_avail	bytes
 *	rise		the most by which the available bytes were above an earlier minimum
 *	used_drop	the same for the share in use, as kubelet counts it, in 1/1000 percent
 *	fall_ms		the most by which they fell between two samples; and in how many ms
 *
 * -o: a line for each sample, "milliseconds available_bytes total_bytes microseconds". -r: with
 * real-time priority, so that it waits for the answer and not for a CPU once the answer is there.
 */
#include "spill/base.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/vfs.h>

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

struct watch {
	uint32_t *us; /* each sample's time, units of 0.1 us */
	size_t n, cap;
	uint64_t first, last, min, rise, fall, fall_ns, last_ns;
	int64_t max_used, used_drop; /* 1/1000 percent */
};

static int sample(struct watch *w, const char *dir, uint64_t t0, FILE *out)
{
	struct statfs sf;
	uint64_t before = clock_mono_ns();

	if (statfs(dir, &sf))
		return -errno;
	uint64_t now = clock_mono_ns(), took = now - before;
	uint64_t avail = (uint64_t)sf.f_bavail * (uint64_t)sf.f_bsize,
		 total = (uint64_t)sf.f_blocks * (uint64_t)sf.f_bsize;
	int64_t used = total ? 100000 - (int64_t)((double)avail * 100000 / (double)total) : 100000;

	if (w->n == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 65536;
		uint32_t *v = reallocarray(w->us, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		w->us = v;
		w->cap = cap;
	}
	if (!w->n) {
		w->first = w->min = avail;
		w->max_used = used;
	} else if (w->last > avail && w->last - avail > w->fall) {
		w->fall = w->last - avail;
		w->fall_ns = now - w->last_ns;
	}
	w->us[w->n++] = (uint32_t)MIN(took / 100, UINT32_MAX);
	if (avail > w->min)
		w->rise = MAX(w->rise, avail - w->min);
	w->used_drop = MAX(w->used_drop, w->max_used - used);
	w->max_used = MAX(w->max_used, used);
	w->min = MIN(w->min, avail);
	w->last = avail;
	w->last_ns = now;
	if (out)
		fprintf(out, "%llu %llu %llu %.1f\n", (unsigned long long)((now - t0) / 1000000),
			(unsigned long long)avail, (unsigned long long)total, (double)took / 1000);
	return 0;
}

static double at(const struct watch *w, double share)
{
	return (double)w->us[(size_t)((double)(w->n - 1) * share)] / 10;
}

static void tell(struct watch *w)
{
	qsort(w->us, w->n, sizeof(*w->us), cmp);
	printf("n=%zu p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f first_avail=%llu "
	       "last_avail=%llu min_avail=%llu rise=%llu used_drop=%lld fall=%llu fall_ms=%.1f\n",
	       w->n, at(w, 0.5), at(w, 0.99), at(w, 0.999), at(w, 1), (unsigned long long)w->first,
	       (unsigned long long)w->last, (unsigned long long)w->min, (unsigned long long)w->rise,
	       (long long)w->used_drop, (unsigned long long)w->fall, (double)w->fall_ns / 1e6);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	useconds_t interval = 1000;
	struct watch w = {0};
	FILE *out = NULL;
	int c, r = 0;

	while ((c = getopt(argc, argv, "i:o:r")) != -1) {
		if (c == 'i') {
			interval = (useconds_t)strtoul(optarg, NULL, 0);
		} else if (c == 'r') {
			const struct sched_param prio = {.sched_priority = 1};

			if (sched_setscheduler(0, SCHED_FIFO, &prio)) {
				perror("statwatch: real-time priority");
				return 1;
			}
		} else if (c != 'o' || !(out = fopen(optarg, "w"))) {
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr,
			"statwatch: usage: statwatch [-r] [-i INTERVAL_US] [-o FILE] DIR\n");
		return 2;
	}
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	uint64_t t0 = clock_mono_ns();

	while (!stop && !r) {
		r = sample(&w, argv[optind], t0, out);
		if (interval)
			usleep(interval);
	}
	if (out)
		fclose(out);
	if (r)
		fprintf(stderr, "statwatch: %s\n", strerror(-r));
	if (w.n)
		tell(&w);
	free(w.us);
	return r || !w.n;
}
