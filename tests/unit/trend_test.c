/* SPDX-License-Identifier: MIT
 * The fill rate: right for a steady rate, blind to its own beginning, quick to see a burst.
 */
#include "../../src/tier/trend.h"

#include "test.h"

#define SEC UINT64_C(1000000000)
#define MIB (1ll << 20)

TEST_MAIN

static bool near(int64_t got, int64_t want, int64_t within)
{
	return got >= want - within && got <= want + within;
}

TEST(nothing_is_known_at_first)
{
	struct trend t = {0};
	struct tier_trend got;

	CHECK(trend_due(&t, 1));
	trend_tell(&t, &got);
	CHECK(!got.known);
	trend_add(&t, 5 * SEC, 100, 1);
	CHECK(!trend_due(&t, 14 * SEC));
	CHECK(trend_due(&t, 15 * SEC));
	trend_add(&t, 15 * SEC, 1 << 30, 1);
	trend_tell(&t, &got);
	CHECK(!got.known);
	CHECK_EQ(got.watched_sec, 10);
}

TEST(a_steady_rate_is_told_from_the_first_minute_on)
{
	struct trend t = {0};
	struct tier_trend got;

	for (unsigned i = 0; i <= 600; i++) {
		trend_add(&t, (1 + i * 10) * SEC, 50 * MIB + i * 10 * MIB, 1000 + i * 20);
		trend_tell(&t, &got);
		CHECK_EQ(got.known, i >= 6);
		if (!got.known)
			continue;
		CHECK(near(got.bytes_per_hour, 3600 * MIB, MIB));
		CHECK(near(got.bytes_per_hour_now, 3600 * MIB, MIB));
		CHECK(near(got.inodes_per_hour, 7200, 2));
	}
}

TEST(a_burst_shows_in_the_short_mean_first)
{
	struct trend t = {0};
	struct tier_trend got;
	uint64_t now = SEC, used = 0;

	for (unsigned i = 0; i < 720; i++, now += 10 * SEC)
		trend_add(&t, now, used, 0);
	for (unsigned i = 0; i < 30; i++, now += 10 * SEC)
		trend_add(&t, now, used += 100 * MIB, 0);
	trend_tell(&t, &got);
	CHECK(got.bytes_per_hour > 0);
	CHECK(got.bytes_per_hour_now > 3 * got.bytes_per_hour);
	/* 36,000 MiB an hour is what it wrote lately; five minutes weigh 0.39 of ten minutes'
	 * memory */
	CHECK(near(got.bytes_per_hour_now, 14050 * MIB, 800 * MIB));
}

TEST(freeing_makes_it_negative_and_the_clock_may_stand_still)
{
	struct trend t = {0};
	struct tier_trend got;

	for (unsigned i = 0; i < 30; i++)
		trend_add(&t, (1 + i * 10) * SEC, (1000 - i) * MIB, 100 - i);
	trend_add(&t, (1 + 29 * 10) * SEC, 0, 0); /* no time has passed: no rate */
	trend_tell(&t, &got);
	CHECK(near(got.bytes_per_hour, -360 * MIB, MIB));
	CHECK(near(got.inodes_per_hour, -360, 1));
}
