/* SPDX-License-Identifier: MIT
 * The option table, and the parser of -o lists that is driven by it.
 *
 * A list is applied as a whole or not at all: a bad option leaves the configuration as it was. A
 * later option overrides an earlier one, as everywhere with mount(8). Nothing is silently misread:
 * an option that is unknown, or that would promise something we do not do, is an error that says
 * what to write.
 */
#include "config_int.h"

#include <limits.h>
#include <stdio.h>

#define MIB (1ull << 20)

/* What stands between the braces of an entry. */
#define NUM(kind_, name_, f, min_, max_)                                                           \
	.name = name_, .kind = kind_, .field = offsetof(struct config, f), .min = min_, .max = max_
#define WORD(name_, f, off, on)                                                                    \
	.name = name_, .kind = OPT_WORD, .field = offsetof(struct config, f), .words = {off, on}
#define CHOICE(name_, f, ...)                                                                      \
	.name = name_, .kind = OPT_CHOICE, .field = offsetof(struct config, f),                    \
	.words = {__VA_ARGS__}
#define FLAG(kind_, name_, f) .name = name_, .kind = kind_, .field = offsetof(struct config, f)

const struct option_desc config_options[] = {
	/* generic options that change something */
	{FLAG(OPT_SET, "ro", read_only)},
	{FLAG(OPT_CLEAR, "rw", read_only)},
	{FLAG(OPT_CLEAR, "nodev", allow_dev)},
	{FLAG(OPT_SET, "dev", allow_dev)},
	{FLAG(OPT_CLEAR, "nosuid", allow_suid)},
	{FLAG(OPT_SET, "suid", allow_suid)},
	{FLAG(OPT_CLEAR, "noexec", allow_exec)},
	{FLAG(OPT_SET, "exec", allow_exec)},
	{FLAG(OPT_SET, "noatime", noatime)},
	{FLAG(OPT_CLEAR, "atime", noatime)},
	/* our own */
	{NUM(OPT_UINT, "high", high, 1, 99)},
	{NUM(OPT_UINT, "low", low, 0, 98)},
	{NUM(OPT_UINT, "critical", critical, 1, 99)},
	{NUM(OPT_UINT, "premigrate", premigrate, 0, 98)},
	{NUM(OPT_SIZE, "rate", rate_bytes, 0, 1ull << 40)},
	{NUM(OPT_AGE, "retain", retain_sec, 0, 30 * 86400)},
	{NUM(OPT_AGE, "half-life", half_life_sec, 60, 365 * 86400)},
	{NUM(OPT_TEXT, "exclude", exclude, 0, sizeof(((struct config *)0)->exclude))},
	{WORD("auto", auto_spill, "off", "on")},
	{WORD("spill", spill_all, "layers", "all")},
	{NUM(OPT_AGE, "min-age", min_age_sec, 0, 3650 * 86400ull)},
	{NUM(OPT_SIZE, "min-size", min_size_bytes, 1, 1ull << 40)},
	{NUM(OPT_SIZE, "store-size", store_size_bytes, 0, INT64_MAX)},
	{NUM(OPT_AGE, "store-grace", store_grace_sec, 0, 86400)},
	{NUM(OPT_SIZE, "pack-size", pack_size_bytes, MIB, 1024 * MIB)},
	{NUM(OPT_UINT, "level", level, 1, 19)},
	{NUM(OPT_UINT, "threads", threads, 0, 256)},
	{NUM(OPT_AGE, "interval", interval_sec, 1, 3600)},
	{WORD("supervisor", supervisor, "off", "on")},
	{WORD("overflow", overflow, "off", "on")},
	{CHOICE("passthrough", passthrough, "auto", "on", "off")},
	{CHOICE("kubelet", kubelet, "auto", "anchor", "off")},
	{CHOICE("writeback", writeback, "off", "auto", "on")},
	{FLAG(OPT_SET, "debug", debug)},
	{.name = NULL},
};

/* Said to mount(8), systemd or the kernel, not to us. user, owner and group imply nodev, nosuid and
 * noexec; mount(8) spells those out for its helpers. A star stands for any ending. */
static const char *const ignored[] = {
	"defaults",   "noauto",   "_netdev",    "nofail",      "user",          "nouser",
	"users",      "nousers",  "owner",      "noowner",     "group",         "nogroup",
	"async",      "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime",
	"nolazytime", "diratime", "nodiratime", "iversion",    "noiversion",    "silent",
	"loud",       "comment",  "x-*",        "X-*",
};

/* Known, but a promise that we would not keep. */
static const struct {
	const char *name, *why;
} refused[] = {
	{"sync", "not supported; fsync(2) and O_SYNC reach the disk without it"},
	{"dirsync", "not supported; fsync(2) of a directory works without it"},
	{"loop", "STORE is a directory, not an image: mount the image first"},
	{"remount", "not supported: unmount and mount again"},
};

static int vmsg(char **ret, const char *fmt, va_list ap)
{
	if (vasprintf(ret, fmt, ap) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return -EINVAL;
}

printf_like(2, 3) static int complain(char **ret, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vmsg(ret, fmt, ap);
	va_end(ap);
	return r;
}

static bool is_ignored(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		const char *star = strchr(ignored[i], '*');

		if (star ? !strncmp(name, ignored[i], (size_t)(star - ignored[i]))
			 : !strcmp(name, ignored[i]))
			return true;
	}
	return false;
}

static const char *why_refused(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (!strcmp(name, refused[i].name))
			return refused[i].why;
	return NULL;
}

static const struct option_desc *find(const char *name)
{
	for (const struct option_desc *o = config_options; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

/* Edits (insert, delete, replace) that turn a into b; both are short. */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[32], la = (unsigned)strlen(a), lb = (unsigned)strlen(b);

	if (la >= ARRAY_SIZE(row) || lb >= ARRAY_SIZE(row))
		return UINT_MAX;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diag = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= lb; j++) {
			unsigned above = row[j];

			row[j] = MIN(MIN(above, row[j - 1]) + 1, diag + (a[i - 1] != b[j - 1]));
			diag = above;
		}
	}
	return row[lb];
}

static int complain_unknown(const char *name, char **ret_msg)
{
	const char *best = NULL;
	unsigned best_d = 3; /* farther away it is another word, not a slip */

	for (const struct option_desc *o = config_options; o->name; o++) {
		unsigned d = edit_distance(name, o->name);

		if (d < best_d && d < strlen(name)) {
			best = o->name;
			best_d = d;
		}
	}
	if (best)
		return complain(ret_msg, "%s: unknown option (did you mean %s?)", name, best);
	return complain(ret_msg, "%s: unknown option", name);
}

void config_describe_range(const struct option_desc *o, char *buf, size_t len)
{
	char lo[32], hi[32];

	if (o->kind == OPT_SIZE) {
		config_format_size(o->min, lo, sizeof(lo));
		config_format_size(o->max, hi, sizeof(hi));
	} else if (o->kind == OPT_AGE) {
		config_format_age(o->min, lo, sizeof(lo));
		config_format_age(o->max, hi, sizeof(hi));
	} else {
		snprintf(lo, sizeof(lo), "%llu", (unsigned long long)o->min);
		snprintf(hi, sizeof(hi), "%llu", (unsigned long long)o->max);
	}
	if (o->max == INT64_MAX)
		snprintf(buf, len, "must be at least %s and fit into 63 bits", lo);
	else
		snprintf(buf, len, "must be between %s and %s", lo, hi);
}

static void set_num(struct config *c, const struct option_desc *o, uint64_t v)
{
	void *p = (char *)c + o->field;

	if (o->kind == OPT_SIZE)
		*(uint64_t *)p = v;
	else
		*(unsigned *)p = (unsigned)v;
}

static void set_bool(struct config *c, const struct option_desc *o, bool v)
{
	*(bool *)((char *)c + o->field) = v;
}

static int parse_num(struct config *c, const struct option_desc *o, const char *val, char **ret_msg)
{
	static const char *const form[] = {
		[OPT_UINT] = "a whole number",
		[OPT_AGE] = "seconds, or a number with s, m, h or d",
		[OPT_SIZE] = "bytes, or a number with K, M, G or T",
	};
	char range[96];
	uint64_t v;
	int r;

	if (o->kind == OPT_SIZE)
		r = config_parse_size(val, &v);
	else if (o->kind == OPT_AGE)
		r = config_parse_age(val, &v);
	else
		r = strspn(val, "0123456789") == strlen(val) ? config_parse_size(val, &v) : -EINVAL;
	config_describe_range(o, range, sizeof(range));
	if (r < 0)
		return complain(ret_msg, "%s=%s: must be %s", o->name, val, form[o->kind]);
	if (v < o->min || v > o->max)
		return complain(ret_msg, "%s=%s: %s", o->name, val, range);
	set_num(c, o, v);
	return 0;
}

static int parse_text(struct config *c, const struct option_desc *o, const char *val,
		      char **ret_msg)
{
	/* Printed in one -o list again, so nothing that such a list cannot hold. */
	if (strlen(val) >= o->max || strpbrk(val, ",\"\n"))
		return complain(ret_msg,
				"%s: must be shorter than %u bytes, without commas, quotes and "
				"newlines",
				o->name, (unsigned)o->max);
	memset((char *)c + o->field, 0, o->max);
	memcpy((char *)c + o->field, val, strlen(val));
	return 0;
}

static int parse_word(struct config *c, const struct option_desc *o, const char *val,
		      char **ret_msg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(o->words) && o->words[i]; i++) {
		if (strcmp(val, o->words[i]) != 0)
			continue;
		if (o->kind == OPT_WORD)
			set_bool(c, o, i);
		else
			set_num(c, o, i);
		return 0;
	}
	if (o->words[2])
		return complain(ret_msg, "%s=%s: must be %s, %s or %s", o->name, val, o->words[0],
				o->words[1], o->words[2]);
	return complain(ret_msg, "%s=%s: must be %s or %s", o->name, val, o->words[0], o->words[1]);
}

/* "auto" is two options: ours with a value, mount(8)'s without one. */
static bool is_mounts_auto(const struct option_desc *o, const char *val)
{
	return !val && !strcmp(o->name, "auto");
}

static int parse_one(struct config *c, char *opt, char **ret_msg)
{
	char *val = strchr(opt, '=');
	const struct option_desc *o;
	const char *why;

	if (val)
		*val++ = 0;
	if (is_ignored(opt))
		return 0;
	why = why_refused(opt);
	if (why)
		return complain(ret_msg, "%s: %s", opt, why);
	o = find(opt);
	if (!o)
		return complain_unknown(opt, ret_msg);
	if (o->kind == OPT_SET || o->kind == OPT_CLEAR) {
		if (val)
			return complain(ret_msg, "%s=%s: %s takes no value", opt, val, opt);
		set_bool(c, o, o->kind == OPT_SET);
		return 0;
	}
	if (is_mounts_auto(o, val))
		return 0;
	if (!val)
		return complain(ret_msg, "%s: needs a value (%s=...)", opt, opt);
	if (o->kind == OPT_TEXT)
		return parse_text(c, o, val, ret_msg);
	return o->words[0] ? parse_word(c, o, val, ret_msg) : parse_num(c, o, val, ret_msg);
}

/* Cut the next option off *s. A comma inside double quotes does not separate, as in mount(8). */
static char *next_opt(char **s)
{
	char *start = *s, *p = start;
	bool quoted = false;

	if (!start)
		return NULL;
	for (; *p && (quoted || *p != ','); p++)
		if (*p == '"')
			quoted = !quoted;
	*s = *p ? p + 1 : NULL;
	*p = 0;
	return start;
}

int config_parse_opts(struct config *c, const char *opts, char **ret_msg)
{
	struct config next = *c; /* owns nothing of its own: no option is a pointer */
	cleanup_free char *copy = strdup(opts);
	char *rest = copy, *opt;

	*ret_msg = NULL;
	if (!copy)
		return -ENOMEM;
	while ((opt = next_opt(&rest))) {
		int r;

		if (!*opt)
			continue; /* "rw," and ",,": mount(8) lets them pass too */
		r = parse_one(&next, opt, ret_msg);
		if (r < 0)
			return r;
	}
	*c = next;
	return 0;
}
