/* SPDX-License-Identifier: MIT
 * What kubelet sees of a mount, and when it would begin to delete images. The daemon knows the
 * numbers and how they change; the thresholds are those of the kubelet of this machine.
 */
#include "spillctl.h"

#include "spill/doctor.h"

#define WARN_INODES_FREE 10 /* percent; kubelet's own line is 5 */

/* Seconds until `left` is used up at a rate per hour; -1: never. */
static double until(double left, double per_hour)
{
	return per_hour > 0 ? left / per_hour * 3600 : -1;
}

static void set_sec(json_t *o, const char *key, double sec)
{
	/* what is more than a hundred years off is no forecast */
	json_object_set_new(o, key,
			    sec < 0 || sec > 3.2e9 ? json_null() : json_integer((json_int_t)sec));
}

static double rate(const json_t *o, const char *key)
{
	return (double)json_integer_value(json_object_get(json_object_get(o, "forecast"), key));
}

/* To what the daemon said of the mount, or alone. Takes what. */
static void add_to(json_t *status, json_t *what)
{
	json_t *o = json_object_get(status, "kubelet");

	if (o) {
		json_object_update(o, what);
		json_decref(what);
	} else {
		json_object_set_new(status, "kubelet", what);
	}
}

void kubelet_add(json_t *status)
{
	struct doctor_facts f;
	struct doctor_line line;
	json_t *forecast = json_object_get(status, "forecast");
	double total = (double)jnum2(status, "hot", "inodes_total");
	double free_inodes = (double)jnum2(status, "hot", "inodes_free"), limit;

	if (doctor_collect_kubelet("/", &f))
		return;
	doctor_line(&f.kubelet, jnum2(status, "statfs", "total_bytes"),
		    jnum2(status, "statfs", "available_bytes"), &line);
	limit = MAX(f.kubelet.hard.imagefs_inodes.percent, f.kubelet.hard.nodefs_inodes.percent);
	add_to(status,
	       json_pack("{s:b, s:b, s:i, s:o, s:o, s:s, s:f}", "found", (int)f.kubelet.there,
			 "configured", (int)f.kubelet.configured, "used_percent",
			 (int)line.used_percent, "gc_at_percent",
			 line.at_percent < 0 ? json_null() : json_integer(line.at_percent),
			 "bytes_until_gc",
			 line.at_percent < 0 ? json_null()
					     : json_integer((json_int_t)MIN(line.bytes_until,
									    (uint64_t)INT64_MAX)),
			 "deleted_by", line.by_eviction ? "eviction" : "image-gc",
			 "inodes_free_at_percent", limit));
	if (json_is_object(forecast)) {
		double bytes =
			MAX(rate(status, "bytes_per_hour"), rate(status, "bytes_per_hour_now"));

		set_sec(forecast, "seconds_until_gc",
			line.at_percent < 0 ? -1 : until((double)line.bytes_until, bytes));
		set_sec(forecast, "seconds_until_inodes",
			total > 0 ? until(MAX(free_inodes - limit / 100 * total, 0),
					  rate(status, "inodes_per_hour"))
				  : -1);
	}
	doctor_facts_done(&f);
}

static void print_in(const json_t *forecast, const char *key)
{
	const json_t *sec = json_object_get(forecast, key);

	if (json_is_integer(sec))
		printf(", in %s at this rate", fmt_span((uint64_t)json_integer_value(sec)));
}

static void print_rate(const json_t *forecast)
{
	json_int_t v = json_integer_value(json_object_get(forecast, "bytes_per_hour"));
	json_int_t now = json_integer_value(json_object_get(forecast, "bytes_per_hour_now"));

	if (!json_is_integer(json_object_get(forecast, "bytes_per_hour")))
		return;
	v = MAX(v, now);
	if (v > 0)
		printf("; fills by %s an hour", fmt_size((uint64_t)v));
	else
		printf("; not filling");
}

void kubelet_print(const json_t *status)
{
	const json_t *k = json_object_get(status, "kubelet");
	const json_t *forecast = json_object_get(status, "forecast");
	uint64_t total = jnum2(status, "hot", "inodes_total");
	uint64_t inodes = jnum2(status, "hot", "inodes_free"), left = jnum(k, "bytes_until_gc");

	if (!k)
		return;
	printf("  kubelet    sees %llu%% used", (unsigned long long)jnum(k, "used_percent"));
	if (!json_is_integer(json_object_get(k, "gc_at_percent"))) {
		printf(", and deletes nothing for space");
	} else {
		printf("%s deletes images from %llu%% on%s: ", left ? "," : ", and",
		       (unsigned long long)jnum(k, "gc_at_percent"),
		       json_is_true(json_object_get(k, "found")) ? "" : " (default)");
		if (left)
			printf("%s to go", fmt_size(left));
		else
			printf("NOW");
	}
	print_in(forecast, "seconds_until_gc");
	print_rate(forecast);
	putchar('\n');
	if (!total || inodes * 100 >= total * WARN_INODES_FREE)
		return;
	printf("  INODES     %s of %s free in the hot tier, and spilling frees none; kubelet "
	       "deletes "
	       "images at %g%%",
	       fmt_count(inodes), fmt_count(total),
	       json_real_value(json_object_get(k, "inodes_free_at_percent")));
	print_in(forecast, "seconds_until_inodes");
	putchar('\n');
}
