/* SPDX-License-Identifier: MIT
 * Clocks, and file times as one signed number of nanoseconds (the form markers and index rows
 * keep). Times before 1970 are legal; what does not fit into 64 bits (before 1677, after 2262) is
 * refused, never wrapped: a wrapped time would be restored to a user's file.
 */
#include "spill/base.h"

#define NS_PER_SEC 1000000000ll

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return (uint64_t)read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

bool ts_to_ns(const struct timespec *ts, int64_t *ret_ns)
{
	int64_t sec = ts->tv_sec, nsec = ts->tv_nsec, ns;

	/* Counted from the following second, so that the smallest time overflows nowhere on its
	 * way. */
	if (sec < 0 && nsec) {
		sec++;
		nsec -= NS_PER_SEC;
	}
	if (__builtin_mul_overflow(sec, NS_PER_SEC, &ns) || __builtin_add_overflow(ns, nsec, &ns))
		return false;
	*ret_ns = ns;
	return true;
}

struct timespec ns_to_ts(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};

	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += NS_PER_SEC;
	}
	return ts;
}
