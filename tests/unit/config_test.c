/* SPDX-License-Identifier: MIT
 * src/config: every message a user may meet, the round trip parse -> format -> parse, and garbage.
 */
#include "spill/config.h"
#include "test.h"

/* The message for opts on top of the defaults, parsed and validated; "" when all is well. */
static const char *complaint(const char *opts)
{
	static char buf[512];
	cleanup_(config_done) struct config c;
	cleanup_free char *msg = NULL;
	int r;

	config_init(&c);
	r = config_parse_opts(&c, opts, &msg);
	if (!r)
		r = config_validate(&c, &msg);
	snprintf(buf, sizeof(buf), "%s", msg ? msg : "");
	return r == (msg ? -EINVAL : 0) ? buf : "code and message disagree";
}

TEST(defaults)
{
	cleanup_(config_done) struct config c;

	config_init(&c);
	CHECK_EQ(c.high, 75);
	CHECK_EQ(c.low, 65);
	CHECK_EQ(c.critical, 82);
	CHECK(c.auto_spill && !c.spill_all && c.allow_dev && c.allow_suid && c.allow_exec);
	CHECK(!c.read_only && !c.noatime && !c.debug && !c.store && !c.dir);
	CHECK_EQ(c.min_age_sec, 60);
	CHECK_EQ(c.min_size_bytes, 1);
	CHECK_EQ(c.store_size_bytes, 0);
	CHECK_EQ(c.pack_size_bytes, 128 << 20);
	CHECK_EQ(c.level, 3);
	CHECK_EQ(c.threads, 0);
	CHECK_EQ(c.interval_sec, 5);
	CHECK_STR(complaint(""), "");
}

TEST(parse_everything)
{
	cleanup_(config_done) struct config c;
	char *msg;

	config_init(&c);
	CHECK_EQ(config_parse_opts(
			 &c,
			 "ro,nodev,nosuid,noexec,noatime,high=70,low=10,critical=70,auto=off,"
			 "spill=all,min-age=2h,min-size=4K,store-size=20G,store-grace=2m,pack-size="
			 "1M,level=19,threads=4,interval=3600,supervisor=off,passthrough=off,"
			 "overflow=off,kubelet=anchor,debug",
			 &msg),
		 0);
	CHECK_EQ(config_validate(&c, &msg), 0);
	CHECK(c.read_only && !c.allow_dev && !c.allow_suid && !c.allow_exec && c.noatime &&
	      c.debug);
	CHECK(!c.auto_spill && c.spill_all);
	CHECK_EQ(c.high, 70);
	CHECK_EQ(c.low, 10);
	CHECK_EQ(c.critical, 70);
	CHECK_EQ(c.min_age_sec, 7200);
	CHECK_EQ(c.min_size_bytes, 4096);
	CHECK_EQ(c.store_size_bytes, 20ll << 30);
	CHECK_EQ(c.store_grace_sec, 120);
	CHECK_EQ(c.pack_size_bytes, 1 << 20);
	CHECK_EQ(c.level, 19);
	CHECK_EQ(c.threads, 4);
	CHECK_EQ(c.interval_sec, 3600);
	CHECK_EQ(c.passthrough, PASSTHROUGH_OFF);
	CHECK_EQ(c.kubelet, KUBELET_ANCHOR);
	CHECK(!c.supervisor);
	CHECK(!c.overflow);
	CHECK_EQ(config_parse_opts(&c, "rw,dev,suid,exec,atime", &msg), 0);
	CHECK(!c.read_only && c.allow_dev && c.allow_suid && c.allow_exec && !c.noatime);
	CHECK_EQ(c.high, 70);
}

TEST(others_options_are_ignored)
{
	CHECK_STR(complaint("defaults,auto,noauto,_netdev,nofail,user,user=joe,users,owner,group,"
			    "async"),
		  "");
	CHECK_STR(complaint("relatime,strictatime,lazytime,iversion,nouser,comment=hello,,"), "");
	CHECK_STR(
		complaint("x-systemd.requires=/mnt/store,x-systemd.device-timeout=5,X-mount.mkdir"),
		"");
	CHECK_STR(complaint("comment=\"a,b\",x-note=\"high=1000,c\",level=4"), "");
}

TEST(messages)
{
	static const char *const t[][2] = {
		{"high=120", "high=120: must be between 1 and 99"},
		{"high=0", "high=0: must be between 1 and 99"},
		{"high=-5", "high=-5: must be a whole number"},
		{"high=75%", "high=75%: must be a whole number"},
		{"high=", "high=: must be a whole number"},
		{"high=4K", "high=4K: must be a whole number"},
		{"high", "high: needs a value (high=...)"},
		{"critical=100", "critical=100: must be between 1 and 99"},
		{"level=20", "level=20: must be between 1 and 19"},
		{"level=99999999999999999999999",
		 "level=99999999999999999999999: must be a whole number"},
		{"threads=257", "threads=257: must be between 0 and 256"},
		{"threads=4294967297", "threads=4294967297: must be between 0 and 256"},
		{"interval=0", "interval=0: must be between 1s and 1h"},
		{"min-age=1w", "min-age=1w: must be seconds, or a number with s, m, h or d"},
		{"min-age=3651d", "min-age=3651d: must be between 0 and 3650d"},
		{"store-grace=25h", "store-grace=25h: must be between 0 and 1d"},
		{"min-size=0", "min-size=0: must be between 1 and 1T"},
		{"pack-size=1K", "pack-size=1K: must be between 1M and 1G"},
		{"pack-size=2G", "pack-size=2G: must be between 1M and 1G"},
		{"pack-size=big", "pack-size=big: must be bytes, or a number with K, M, G or T"},
		{"store-size=1M", "store-size=1M must not be below pack-size=128M (set both)"},
		{"premigrate=75", "premigrate=75 must be below high=75 (0: never)"},
		{"premigrate=99", "premigrate=99: must be between 0 and 98"},
		{"premigrate=0", ""},
		{"high=40,low=30", ""}, /* the default gives way */
		{"rate=fast", "rate=fast: must be bytes, or a number with K, M, G or T"},
		{"half-life=1s", "half-life=1s: must be between 1m and 365d"},
		{"retain=31d", "retain=31d: must be between 0 and 30d"},
		{"exclude=a*:b", ""},
		{"exclude=\"a,b\"", "exclude: must be shorter than 256 bytes, without commas, "
				    "quotes and newlines"},
		{"auto=yes", "auto=yes: must be off or on"},
		{"kubelet=on", "kubelet=on: must be auto, anchor or off"},
		{"passthrough=yes", "passthrough=yes: must be auto, on or off"},
		{"spill=none", "spill=none: must be layers or all"},
		{"spill", "spill: needs a value (spill=...)"},
		{"ro=1", "ro=1: ro takes no value"},
		{"hihg=80", "hihg: unknown option (did you mean high?)"},
		{"nosudi", "nosudi: unknown option (did you mean nosuid?)"},
		{"compression=zstd", "compression: unknown option"},
		{"=5", ": unknown option"},
		{"loop", "loop: STORE is a directory, not an image: mount the image first"},
		{"loop=/dev/loop0",
		 "loop: STORE is a directory, not an image: mount the image first"},
		{"sync", "sync: not supported; fsync(2) and O_SYNC reach the disk without it"},
		{"low=75", "low=75 must be below high=75 (set both)"},
		{"high=60", "low=65 must be below high=60 (set both)"},
		{"high=90", "high=90 must not be above critical=82 (set both)"},
		{"high=90,critical=90,low=89", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK_STR(complaint(t[i][0]), t[i][1]);
}

TEST(a_bad_list_changes_nothing)
{
	cleanup_(config_done) struct config c;
	cleanup_free char *msg = NULL;

	config_init(&c);
	CHECK_EQ(config_parse_opts(&c, "ro,level=9,level=99", &msg), -EINVAL);
	CHECK_EQ(c.level, 3);
	CHECK(!c.read_only);
}

TEST(validate_checks_ranges)
{
	cleanup_(config_done) struct config c;
	cleanup_free char *msg = NULL;

	config_init(&c);
	c.pack_size_bytes = 4096;
	CHECK_EQ(config_validate(&c, &msg), -EINVAL);
	CHECK_STR(msg, "pack-size=4K: must be between 1M and 1G");
}

TEST(sizes)
{
	static const struct {
		const char *s;
		uint64_t v;
	} good[] = {{"10", 10},         {"4K", 4096},
		    {"3M", 3 << 20},    {"2G", 2ull << 30},
		    {"1T", 1ull << 40}, {"4k", 4096},
		    {"0", 0},           {"0T", 0},
		    {"007", 7},         {"16777215T", 16777215ull << 40}};
	static const char *const bad[] = {"",
					  "K",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "1KB",
					  "1P",
					  "1.5G",
					  "0x1",
					  "1KK",
					  "16777216T",
					  "18446744073709551616"};
	uint64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		CHECK_EQ(config_parse_size(good[i].s, &v), 0);
		CHECK(v == good[i].v);
	}
	v = 42;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(config_parse_size(bad[i], &v), -EINVAL);
	CHECK_EQ(v, 42);
}

TEST(format_defaults)
{
	cleanup_(config_done) struct config c;
	cleanup_free char *s = NULL;

	config_init(&c);
	s = config_format(&c);
	CHECK_STR(
		s,
		"rw,dev,suid,exec,atime,high=75,low=65,critical=82,premigrate=50,rate=50M,"
		"retain=10m,half-life=12h,auto=on,spill=layers,min-age=1m,"
		"min-size=1,store-size=0,store-grace=5m,pack-size=128M,level=3,threads=0,interval="
		"5s,supervisor="
		"on,overflow=on,passthrough="
		"auto,kubelet=auto,writeback=off");
}

TEST(format_reads_back)
{
	cleanup_(config_done) struct config a, b;
	cleanup_free char *s = NULL, *s2 = NULL, *msg = NULL;

	config_init(&a);
	config_init(&b);
	CHECK_EQ(config_parse_opts(
			 &a,
			 "ro,nodev,noatime,debug,min-age=61s,min-size=1023,pack-size=1025K,"
			 "store-size=9223372036854775807,exclude=lib/"
			 "*:*.log,rate=0,auto=off,spill=all,low=0",
			 &msg),
		 0);
	s = config_format(&a);
	CHECK_EQ(config_parse_opts(&b, s, &msg), 0);
	s2 = config_format(&b);
	CHECK_STR(s, s2);
	CHECK(a.read_only && b.read_only && !b.allow_dev && b.noatime && b.debug && !b.auto_spill);
	CHECK_EQ(b.min_age_sec, 61);
	CHECK_EQ(b.store_size_bytes, INT64_MAX);
}

/* Any bytes at all: an answer, and a message exactly when it is no. */
TEST(garbage_is_answered)
{
	static const char alphabet[] = "highlow=,\"0123456789KMx-*%\n\xff";
	unsigned seed = 1;
	char s[64];

	for (int round = 0; round < 20000; round++) {
		cleanup_free char *msg = NULL;
		struct config c;
		int r, len = rand_r(&seed) % (int)sizeof(s);

		for (int i = 0; i < len; i++)
			s[i] = alphabet[(unsigned)rand_r(&seed) % (sizeof(alphabet) - 1)];
		s[len] = 0;
		config_init(&c);
		r = config_parse_opts(&c, s, &msg);
		CHECK_EQ(r, msg ? -EINVAL : 0);
	}
}

TEST_MAIN
