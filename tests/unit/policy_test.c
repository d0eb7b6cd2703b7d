/* SPDX-License-Identifier: MIT
 * The policy: when to spill and what first, as tables.
 */
#include "../../src/tier/policy.h"

#include "test.h"

TEST_MAIN

TEST(used_percent_as_df_shows_it)
{
	/* blocks, bfree, bavail -> percent of what ordinary users can have, rounded up */
	static const struct {
		unsigned long blocks, bfree, bavail;
		unsigned want;
	} t[] = {
		{100, 100, 100, 0},   {100, 0, 0, 100},  {100, 50, 50, 50},
		{1000, 499, 499, 51}, {100, 25, 20, 79}, /* five blocks are root's */
		{0, 0, 0, 100},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct statvfs sv = {
			.f_blocks = t[i].blocks,
			.f_bfree = t[i].bfree,
			.f_bavail = t[i].bavail,
		};

		CHECK_EQ(policy_used_percent(&sv), t[i].want);
	}
}

TEST(spills_from_the_high_mark_down_to_the_low_one)
{
	CHECK_EQ(policy_decide(74, 75, 65, false), POLICY_REST);
	CHECK_EQ(policy_decide(75, 75, 65, false), POLICY_SPILL);
	CHECK_EQ(policy_decide(70, 75, 65, true), POLICY_SPILL);
	CHECK_EQ(policy_decide(70, 75, 65, false), POLICY_REST);
	CHECK(!policy_urgent(81, 65, 82, 0));
	CHECK(policy_urgent(82, 65, 82, 0));
	CHECK(policy_urgent(66, 65, 82, 1));
	CHECK(!policy_urgent(65, 65, 82, 1));
	CHECK_EQ(policy_decide(65, 75, 65, true), POLICY_REST);
	CHECK_EQ(policy_decide(100, 75, 65, true), POLICY_SPILL);
}

TEST(blobs_first_then_the_coldest)
{
	struct layer blob = {.key = (char *)"b", .kind = LAYER_BLOB};
	struct layer old = {.key = (char *)"o", .kind = LAYER_SNAPSHOT};
	struct layer young = {.key = (char *)"y", .kind = LAYER_SNAPSHOT};
	struct layer own = {.key = (char *)"w", .kind = LAYER_WRITABLE};
	struct policy_candidate v[] = {{&own, 1}, {&young, 9}, {&old, 2}, {&blob, 99}};

	policy_order(v, ARRAY_SIZE(v));
	CHECK(v[0].l == &blob);
	CHECK(v[1].l == &old);
	CHECK(v[2].l == &young);
	CHECK(v[3].l == &own);
	policy_order(NULL, 0);
}

TEST(looks_more_often_near_the_mark)
{
	CHECK_EQ(policy_pause_ms(80, 75, 5000), 200);
	CHECK_EQ(policy_pause_ms(74, 75, 5000), 500);
	CHECK_EQ(policy_pause_ms(10, 75, 5000), 5000);
	CHECK(policy_pause_ms(73, 75, 5000) < policy_pause_ms(70, 75, 5000));
}
