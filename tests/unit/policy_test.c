/* SPDX-License-Identifier: MIT
 * The policy: heat, who is a scanner, when to move and what first, as tables.
 */
#include "spill/policy.h"

#include "test.h"

TEST_MAIN

static const struct policy_rules rules = {
	.premigrate = 50,
	.low = 65,
	.high = 75,
	.critical = 82,
	.min_age_sec = 60,
	.retain_sec = 600,
	.half_life_sec = 3600,
	.min_size_bytes = 1,
};

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

TEST(when)
{
	static const struct {
		unsigned used;
		bool running;
		enum policy_act want;
	} t[] = {
		{0, false, POLICY_REST},        {49, false, POLICY_REST},
		{50, false, POLICY_PREMIGRATE}, {65, true, POLICY_PREMIGRATE},
		{66, true, POLICY_SPILL},       {74, false, POLICY_PREMIGRATE},
		{75, false, POLICY_SPILL},      {100, true, POLICY_SPILL},
	};
	struct policy_rules off = rules;

	off.premigrate = 0;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		enum policy_act want = t[i].want == POLICY_PREMIGRATE ? POLICY_REST : t[i].want;

		CHECK_EQ(policy_decide(&rules, t[i].used, t[i].running), t[i].want);
		CHECK_EQ(policy_decide(&off, t[i].used, t[i].running), want);
	}
	CHECK(!policy_urgent(&rules, 81, 0));
	CHECK(policy_urgent(&rules, 82, 0));
	CHECK(policy_urgent(&rules, 66, 1));
	CHECK(!policy_urgent(&rules, 65, 1));
}

TEST(room_for_one_file)
{
	enum { GIB = 1 << 18, MIB = 1 << 8 }; /* blocks */
	struct statvfs sv = {.f_frsize = 4096, .f_blocks = 100 * GIB};

	/* Of 100 GiB 82 may be in use. */
	sv.f_bfree = sv.f_bavail = 18 * GIB + 512 * MIB;
	CHECK(policy_roomy(&sv, 82, false));
	sv.f_bfree = --sv.f_bavail;
	CHECK(!policy_roomy(&sv, 82, false));
	sv.f_bfree = sv.f_bavail = 10 * GIB;
	CHECK(!policy_roomy(&sv, 82, false));
	CHECK_EQ(policy_room(&sv, 82), 0);
	CHECK_EQ(policy_room(&sv, 91), UINT64_C(1) << 30);
	/* Who can be made to wait may begin beyond the mark. */
	CHECK(policy_roomy(&sv, 82, true));
	sv.f_bfree = sv.f_bavail = GIB;
	CHECK(policy_roomy(&sv, 82, true));
	sv.f_bfree = --sv.f_bavail;
	CHECK(!policy_roomy(&sv, 82, true));
	/* Of 200 MiB a quarter. */
	sv = (struct statvfs){.f_frsize = 4096, .f_blocks = 200 * MIB};
	sv.f_bfree = sv.f_bavail = 36 * MIB + 50 * MIB;
	CHECK(policy_roomy(&sv, 82, false) && policy_roomy(&sv, 82, true));
	sv.f_bfree = --sv.f_bavail;
	CHECK(!policy_roomy(&sv, 82, false) && !policy_roomy(&sv, 82, true));
}

TEST(looks_more_often_near_the_mark)
{
	CHECK_EQ(policy_pause_ms(80, 75, 5000), 200);
	CHECK_EQ(policy_pause_ms(74, 75, 5000), 500);
	CHECK_EQ(policy_pause_ms(10, 75, 5000), 5000);
	CHECK(policy_pause_ms(73, 75, 5000) < policy_pause_ms(70, 75, 5000));
}

/* ---- heat ------------------------------------------------------------------------------------ */

TEST(heat_decays_by_halves)
{
	struct heat h = {.score = 8, .used_sec = 1000};
	static const struct {
		uint32_t after;
		float want;
	} t[] = {{0, 8}, {3600, 4}, {7200, 2}, {10800, 1}, {1800, 5.657f}, {36000000, 0}};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		float got = heat_at(&h, 1000 + t[i].after, 3600);

		CHECK(got > t[i].want * 0.998f - 0.0001f && got < t[i].want * 1.002f + 0.0001f);
	}
	CHECK(heat_at(&h, 10, 3600) == 8);      /* a clock that was set back */
	CHECK(heat_at(&h, 99999, 0) == 8);      /* no half-life: never */
	for (uint32_t s = 0; s < 20000; s += 7) /* no step upwards where a halving ends */
		CHECK(heat_at(&h, 1000 + s + 7, 3600) <= heat_at(&h, 1000 + s, 3600));
}

TEST(uses_near_each_other_are_one)
{
	struct heat h = {0};

	CHECK(heat_use(&h, 1000, 3600));
	for (uint32_t s = 0; s < HEAT_GAP_SEC; s++)
		CHECK(!heat_use(&h, 1000 + s, 3600));
	CHECK(h.score == 1);
	CHECK(heat_use(&h, 1000 + HEAT_GAP_SEC, 3600));
	CHECK(h.score > 1.9f && h.score < 2);
	CHECK(!heat_use(&h, 900, 3600)); /* set back */
}

TEST(scanners_are_no_users)
{
	enum { FILES = 300, N = 4 * FILES };
	struct heat_use_rec *v = calloc(N, sizeof(*v));
	size_t n = 0;

	CHECK(v);
	for (unsigned i = 0; i < FILES; i++) {
		v[n++] = (struct heat_use_rec){i, 7, 1}; /* a scan */
		if (i % 30 == 0)
			v[n++] = (struct heat_use_rec){i, 8, 1};
		v[n++] = (struct heat_use_rec){i % 5, 9, 1}; /* one that opens much, and often */
	}
	size_t left = heat_judge(v, n, 256);

	CHECK_EQ(left, 15);
	for (size_t i = 0; i < left; i++)
		CHECK(v[i].pid != 7);
	CHECK_EQ(heat_judge(v, 0, 256), 0);
	free(v);
	CHECK_EQ(heat_scan_limit(0), 256);
	CHECK_EQ(heat_scan_limit(2000), 1000);
	CHECK_EQ(heat_scan_limit(1000000), 4096);
}

/* ---- what ------------------------------------------------------------------------------------ */

static struct policy_file file_of(enum policy_class cls, unsigned flags, float heat, uint32_t idle)
{
	return (struct policy_file){
		.bytes = 100,
		.size = 100,
		.heat = heat,
		.idle_sec = idle,
		.age_sec = 9999,
		.recalled_sec = UINT32_MAX,
		.cls = (uint8_t)cls,
		.flags = (uint8_t)flags,
	};
}

TEST(what_may_be_moved)
{
	static const struct {
		enum policy_class cls;
		unsigned flags;
		uint32_t age, recalled;
		uint64_t size;
		bool calm, urgent, all; /* all: calm, with spill=all */
	} t[] = {
		{POLICY_LAYER, 0, 60, UINT32_MAX, 1, true, true, true},
		{POLICY_LAYER, POLICY_PINNED, 9999, UINT32_MAX, 9, false, false, false},
		{POLICY_LAYER, POLICY_OPEN, 9999, UINT32_MAX, 9, false, false, false},
		{POLICY_BLOB, POLICY_COPIED | POLICY_PINNED, 9999, UINT32_MAX, 9, false, false,
		 false},
		{POLICY_LAYER, 0, 59, UINT32_MAX, 9, false, true, false},
		{POLICY_LAYER, 0, 9999, 599, 9, false, true, false},
		{POLICY_LAYER, 0, 9999, 600, 9, true, true, true},
		{POLICY_OTHER, 0, 9999, UINT32_MAX, 9, false, false, true},
		{POLICY_WRITABLE, 0, 9999, UINT32_MAX, 9, true, true, true},
		{POLICY_LAYER, 0, 9999, UINT32_MAX, 0, false, false, false},
	};
	struct policy_rules all = rules;

	all.spill_all = true;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct policy_file f = file_of(t[i].cls, t[i].flags, 0, 0);

		f.age_sec = t[i].age;
		f.recalled_sec = t[i].recalled;
		f.size = t[i].size;
		CHECK_EQ(policy_eligible(&rules, &f, false), t[i].calm);
		CHECK_EQ(policy_eligible(&rules, &f, true), t[i].urgent);
		CHECK_EQ(policy_eligible(&all, &f, false), t[i].all);
	}
}

TEST(the_order)
{
	const struct policy_file t[] = {
		/* coldest first */
		file_of(POLICY_BLOB, POLICY_COPIED, 0, 100),
		file_of(POLICY_BLOB, 0, 0, 100),
		file_of(POLICY_LAYER, POLICY_COPIED, 0, 10),
		file_of(POLICY_LAYER, 0, 0, 4000000),
		file_of(POLICY_LAYER, 0, 0.01f, 3000),          /* as good as none */
		file_of(POLICY_LAYER, POLICY_ASLEEP, 0.4f, 20), /* that is no more than */
		file_of(POLICY_LAYER, 0, 0, 19),
		file_of(POLICY_LAYER, POLICY_ASLEEP, 4, 100),
		file_of(POLICY_LAYER, 0, 0.5f, 100),
		file_of(POLICY_LAYER, 0, 1.5f, 100),
		file_of(POLICY_LAYER, POLICY_ASLEEP, 18, 100), /* it comes back every hour */
		file_of(POLICY_BLOB, 0, 2, 100),               /* somebody reads it */
		file_of(POLICY_LAYER, POLICY_COPIED, 40, 100),
		file_of(POLICY_LAYER, 0, 1e30f, 100),
		file_of(POLICY_WRITABLE, 0, 0, 100),
		file_of(POLICY_OTHER, 0, 0, 100),
	};

	for (size_t i = 1; i < ARRAY_SIZE(t); i++)
		CHECK(policy_key(&t[i - 1]) < policy_key(&t[i]));
}

TEST(a_plan_takes_what_is_needed)
{
	const struct policy_file f[] = {
		file_of(POLICY_LAYER, 0, 3, 100),
		file_of(POLICY_LAYER, 0, 1, 100),
		file_of(POLICY_LAYER, 0, 2, 100),
		file_of(POLICY_LAYER, POLICY_PINNED, 0, 100),
		file_of(POLICY_LAYER, POLICY_COPIED, 0, 100),
	};
	struct policy_plan p;

	/* 800 of 1000: 150 too much, so the copied one and the coldest other one */
	CHECK_EQ(policy_plan(&rules, POLICY_SPILL, false, 800, 1000, f, ARRAY_SIZE(f), &p), 0);
	CHECK_EQ(p.want_bytes, 150);
	CHECK_EQ(p.n, 2);
	CHECK_EQ(p.v[0], 4);
	CHECK_EQ(p.v[1], 1);
	CHECK_EQ(p.got_bytes, 200);
	policy_plan_done(&p);
	/* 700: 200 above the premigrate mark, 100 have their copy */
	CHECK_EQ(policy_plan(&rules, POLICY_PREMIGRATE, false, 700, 1000, f, ARRAY_SIZE(f), &p), 0);
	CHECK_EQ(p.want_bytes, 100);
	CHECK_EQ(p.n, 1);
	CHECK_EQ(p.v[0], 1);
	policy_plan_done(&p);
	CHECK_EQ(policy_plan(&rules, POLICY_SPILL, false, 650, 1000, f, ARRAY_SIZE(f), &p), 0);
	CHECK_EQ(p.n, 0);
	policy_plan_done(&p);
	CHECK_EQ(policy_plan(&rules, POLICY_REST, false, 999, 1000, f, ARRAY_SIZE(f), &p), 0);
	CHECK_EQ(p.n, 0);
	policy_plan_done(&p);
	/* more than there is */
	CHECK_EQ(policy_plan(&rules, POLICY_SPILL, false, 1000000, 1000000, f, ARRAY_SIZE(f), &p),
		 0);
	CHECK_EQ(p.n, 4);
	CHECK(p.got_bytes < p.want_bytes);
	policy_plan_done(&p);
	CHECK_EQ(policy_plan(&rules, POLICY_SPILL, false, 900, 1000, NULL, 0, &p), 0);
	CHECK_EQ(p.n, 0);
	policy_plan_done(&p);
}

TEST(sizes_near_the_end_of_64_bits)
{
	struct policy_file f = file_of(POLICY_LAYER, 0, 0, 100);
	struct policy_plan p;

	f.bytes = UINT64_MAX / 2;
	CHECK_EQ(policy_plan(&rules, POLICY_SPILL, false, UINT64_MAX, UINT64_MAX, &f, 1, &p), 0);
	CHECK_EQ(p.n, 1);
	CHECK(p.want_bytes > UINT64_MAX / 100 * 34 && p.want_bytes < UINT64_MAX / 100 * 36);
	policy_plan_done(&p);
}

TEST(recall_needs_repeated_use_and_room)
{
	CHECK(!policy_recall(&rules, 1, 10, 500, 1000));
	CHECK(policy_recall(&rules, 1.9f, 10, 500, 1000));
	CHECK(!policy_recall(&rules, 1.9f, 300, 500, 1000));
}
