/* SPDX-License-Identifier: MIT
 * The readers of others' configuration: what they understand, and where they say it is broken.
 */
#include "../../src/doctor/doctor_int.h"

#include "test.h"

TEST_MAIN

/* All items as "key=value;" in order. */
static char *flat(look_parser parse, const char *text, int *ret, struct conf_error *e)
{
	struct conf c = {0};
	char *s = NULL;
	size_t len;
	FILE *f = open_memstream(&s, &len);

	*ret = parse(&c, text, strlen(text), e);
	for (size_t i = 0; i < c.n; i++)
		fprintf(f, "%s=%s;", c.v[i].key, c.v[i].value);
	fclose(f);
	conf_done(&c);
	return s;
}

struct good {
	const char *text, *want;
};
struct bad {
	const char *text;
	unsigned line;
	const char *why; /* part of it */
};

static void check_good(look_parser parse, const struct good *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct conf_error e;
		int r;
		cleanup_free char *got = flat(parse, v[i].text, &r, &e);

		if (r || strcmp(got, v[i].want))
			TEST_FAIL("%s: %d, line %u %s: '%s', want '%s'", v[i].text, r, e.line,
				  e.why, got, v[i].want);
	}
}

/* Deeper than anybody writes, and a byte that no text has. */
static void check_hostile(look_parser parse, const char *begin, const char *byte, size_t len)
{
	struct conf_error e;
	struct conf c = {0};
	char deep[4096];

	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = 0;
	memcpy(deep, begin, strlen(begin));
	CHECK_EQ(parse(&c, deep, strlen(deep), &e), -EUCLEAN);
	conf_done(&c);
	CHECK_STR(e.why, "nested too deeply");
	CHECK_EQ(parse(&c, byte, len, &e), -EUCLEAN);
	conf_done(&c);
}

static void check_bad(look_parser parse, const struct bad *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct conf_error e;
		int r;
		cleanup_free char *got = flat(parse, v[i].text, &r, &e);

		(void)got;
		if (r != -EUCLEAN || e.line != v[i].line || !strstr(e.why, v[i].why))
			TEST_FAIL("%s: %d, line %u '%s', want line %u '%s'", v[i].text, r, e.line,
				  e.why, v[i].line, v[i].why);
	}
}

TEST(toml_good)
{
	static const struct good v[] = {
		{"", ""},
		{"# only\n\n", ""},
		{"a = 1", "a=1;"},
		{"a=1\r\nb = true # no\r\n", "a=1;b=true;"},
		{"version = 2\nroot = \"/var/lib/containerd\"\n",
		 "version=2;root=/var/lib/containerd;"},
		{"[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  snapshotter = "
		 "'overlayfs'\n",
		 "plugins/io.containerd.grpc.v1.cri/containerd/snapshotter=overlayfs;"},
		{"a.\"b.c\". d = 'x'", "a/b.c/d=x;"},
		{"a = [1, 'b', [2,\n # c\n 3,],]\n", "a/0=1;a/1=b;a/2/0=2;a/2/1=3;"},
		{"a = []\nb = {}\n", ""},
		{"a = { b = 1, c.d = \"e\" }", "a/b=1;a/c/d=e;"},
		{"[[t]]\nx=1\n[[t]]\nx=2\n[u]\ny=3", "t/0/x=1;t/1/x=2;u/y=3;"},
		{"a = \"\\u00e4\\t\\\"\\U0001F600\"", "a=\xc3\xa4\t\"\xf0\x9f\x98\x80;"},
		{"a = \"\"\"\nx\ny \\\n   z\"\"\"\"", "a=x\ny z\";"},
		{"a = '''\nx\\n'''", "a=x\\n;"},
		{"a = ''", "a=;"},
		{"d = 1979-05-27T07:32:00Z\nf = +1.5e-3\n", "d=1979-05-27T07:32:00Z;f=+1.5e-3;"},
		{"\xef\xbb\xbf"
		 "a=1",
		 "a=1;"},
		{"a=1\na=2", "a=1;a=2;"},
	};

	check_good(conf_toml, v, ARRAY_SIZE(v));
}

TEST(toml_bad)
{
	static const struct bad v[] = {
		{"a", 1, "'='"},
		{"a =\n", 1, "a value is expected"},
		{"ok = 1\na = \"x\nb = 1", 2, "without end"},
		{"ok = 1\na = \"\"\"x\n\n", 2, "without end"},
		{"\n\n[a\nb=1", 3, "']'"},
		{"a = [1,\n2\n3]", 3, "',' or ']'"},
		{"a = {b=1", 1, "',' or '}'"},
		{"a = 1 2", 1, "after the end"},
		{"= 1", 1, "key"},
		{"a = \"\\q\"", 1, "escape"},
		{"a = \"\\ud800\"", 1, "\\u"},
		{"a = \"\\u12\"", 1, "\\u"},
		{"{\n", 1, "key"},
		{"apiVersion: v1\n", 1, "'='"},
		{"a = \"\\", 1, "without end"},
	};

	check_bad(conf_toml, v, ARRAY_SIZE(v));
	check_hostile(conf_toml, "a=", "a = \"x\0y\"", 9);
}

TEST(yaml_good)
{
	static const struct good v[] = {
		{"", ""},
		{"# nothing\n", ""},
		{"---\n", ""},
		{"a: 1\nb: \"x\"\n", "a=1;b=x;"},
		{"evictionHard:\n  imagefs.available: 15%\n  nodefs.available: '10%'\nz: on\n",
		 "evictionHard/imagefs.available=15%;evictionHard/nodefs.available=10%;z=on;"},
		{"kubelet-arg:\n- \"a=b\"\n- c\nd: e\n", "kubelet-arg/0=a=b;kubelet-arg/1=c;d=e;"},
		{"{\"a\": {\"b\": [1, {\"c\": 2}]}, \"d\": null}", "a/b/0=1;a/b/1/c=2;"},
		{"a: ~\nb: null\nc: 'null'\nd:\n", "c=null;"},
		{"a: 1\n---\na: 2\n", "a=1;"},
		{"a: |\n  x\n  y\n", "a=x\ny\n;"},
	};

	check_good(conf_yaml, v, ARRAY_SIZE(v));
}

TEST(yaml_bad)
{
	static const struct bad v[] = {
		{"a: 1\n b: 2\n", 2, "mapping values"}, {"a: [1, 2\nb: 3\n", 2, "did not find"},
		{"x: 1\n\ta: 1\n", 2, "tab"},           {"- a\n- b\n", 1, "a list"},
		{"just words\n", 1, "not a mapping"},   {"a: &x 1\nb: *x\n", 2, "aliases"},
		{"a: \"b\n", 2, "unexpected end"},      {"? [a, b]\n: c\n", 1, "as key"},
	};

	check_bad(conf_yaml, v, ARRAY_SIZE(v));
	check_hostile(conf_yaml, "a: ", "a: \xff\xfe\n", 6);
}

TEST(json)
{
	static const struct good good[] = {
		{"", ""},
		{" \n", ""},
		{"{}", ""},
		{"{\"data-root\": \"/mnt/d\", \"features\": {\"containerd-snapshotter\": true}, "
		 "\"l\": "
		 "[1, 2.5, null]}",
		 "data-root=/mnt/d;features/containerd-snapshotter=true;l/0=1;l/1=2.5;"},
	};
	static const struct bad bad[] = {
		{"{\n\"a\": 1,\n}", 3, ""},
		{"[]", 1, "not an object"},
		{"{\"a\": 1, \"a\": 2}", 1, "duplicate"},
		{"{", 1, ""},
	};

	check_good(conf_json, good, ARRAY_SIZE(good));
	check_bad(conf_json, bad, ARRAY_SIZE(bad));
}

TEST(lookups)
{
	struct conf c = {0};
	struct conf_error e;
	static const char text[] = "a.b = 1\na.b = 2\nabc = 'Yes'\n";

	CHECK_EQ(conf_toml(&c, text, strlen(text), &e), 0);
	CHECK_STR(conf_get(&c, "a/b"), "2");
	CHECK_EQ(conf_find(&c, "a/b")->line, 2);
	CHECK(!conf_get(&c, "a"));
	CHECK(conf_has(&c, "a"));
	CHECK(!conf_has(&c, "ab"));
	CHECK(conf_true(conf_get(&c, "abc")));
	CHECK(!conf_true("off"));
	CHECK(!conf_true(NULL));
	conf_done(&c);
}

TEST(quantities)
{
	static const struct {
		const char *s;
		bool ok;
		double percent;
		uint64_t amount;
	} v[] = {
		{"15%", true, 15, 0},        {"0%", true, 0, 0},
		{"7.5%", true, 7.5, 0},      {"100Mi", true, 0, 100 << 20},
		{"1Gi", true, 0, 1 << 30},   {"1.5k", true, 0, 1500},
		{"2G", true, 0, 2000000000}, {"100", true, 0, 100},
		{"101%", false, 0, 0},       {"", false, 0, 0},
		{"%", false, 0, 0},          {"-1", false, 0, 0},
		{"1Xi", false, 0, 0},        {"inf", false, 0, 0},
		{"0x10", false, 0, 0},       {"1 Gi", false, 0, 0},
		{"99999999Ei", false, 0, 0}, {"1.2.3", false, 0, 0},
	};
	struct doctor_limit l;
	double sec;
	int p;

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		bool ok = limit_parse(v[i].s, &l);

		if (ok != v[i].ok || (ok && (l.percent < v[i].percent || l.percent > v[i].percent ||
					     l.amount != v[i].amount)))
			TEST_FAIL("%s: %d %g %llu", v[i].s, ok, l.percent,
				  (unsigned long long)l.amount);
	}
	CHECK(duration_parse("1h30m", &sec) && sec > 5399 && sec < 5401);
	CHECK(duration_parse("0s", &sec) && sec < 1e-9);
	CHECK(duration_parse("0", &sec));
	CHECK(duration_parse("1500ms", &sec) && sec > 1.49 && sec < 1.51);
	CHECK(!duration_parse("", &sec));
	CHECK(!duration_parse("5", &sec));
	CHECK(!duration_parse("5d", &sec));
	CHECK(!duration_parse("-5s", &sec));
	CHECK(percent_parse("85", &p) && p == 85);
	CHECK(!percent_parse("85%", &p));
	CHECK(!percent_parse("8.5", &p));
	CHECK(!percent_parse("", &p));
}
