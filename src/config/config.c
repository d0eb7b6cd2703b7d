/* SPDX-License-Identifier: MIT
 * The configuration: defaults, contradictions, and its spelling as one -o list.
 *
 * The defaults lie well below kubelet's 85 percent (image garbage collection, and eviction's
 * imagefs.available), see DESIGN.md section 8.
 */
#include "config_int.h"

#include <stdio.h>

void config_init(struct config *c)
{
	*c = (struct config){
		.high = 75,
		.low = 65,
		.critical = 82,
		.premigrate = PREMIGRATE_DEFAULT,
		.rate_bytes = 50u << 20,
		.retain_sec = 600,
		.half_life_sec = 12 * 3600,
		.auto_spill = true,
		.overflow = true,
		.supervisor = true,
		.min_age_sec = 60,
		.min_size_bytes = 1,
		.pack_size_bytes = 128u << 20,
		.store_grace_sec = 300,
		.level = 3,
		.interval_sec = 5,
		.allow_dev = true,
		.allow_suid = true,
		.allow_exec = true,
	};
}

void config_done(struct config *c)
{
	free(c->store);
	free(c->dir);
	c->store = c->dir = NULL;
}

uint64_t config_get_num(const struct config *c, const struct option_desc *o)
{
	const void *p = (const char *)c + o->field;

	return o->kind == OPT_SIZE ? *(const uint64_t *)p : *(const unsigned *)p;
}

static bool is_num(const struct option_desc *o)
{
	return o->kind == OPT_UINT || o->kind == OPT_AGE || o->kind == OPT_SIZE;
}

static void format_num(const struct config *c, const struct option_desc *o, char *buf, size_t len)
{
	uint64_t v = config_get_num(c, o);

	if (o->kind == OPT_SIZE)
		config_format_size(v, buf, len);
	else if (o->kind == OPT_AGE)
		config_format_age(v, buf, len);
	else
		snprintf(buf, len, "%llu", (unsigned long long)v);
}

/* The parser refuses what is out of range; this is for whoever filled the struct another way. */
static int check_ranges(const struct config *c, char **ret_msg)
{
	for (const struct option_desc *o = config_options; o->name; o++) {
		char val[32], range[96];
		uint64_t v;

		if (!is_num(o))
			continue;
		v = config_get_num(c, o);
		if (v >= o->min && v <= o->max)
			continue;
		format_num(c, o, val, sizeof(val));
		config_describe_range(o, range, sizeof(range));
		if (asprintf(ret_msg, "%s=%s: %s", o->name, val, range) < 0) {
			*ret_msg = NULL;
			return -ENOMEM;
		}
		return -EINVAL;
	}
	return 0;
}

int config_validate(const struct config *c, char **ret_msg)
{
	int r, n = 0;

	*ret_msg = NULL;
	r = check_ranges(c, ret_msg);
	if (r < 0)
		return r;
	if (c->low >= c->high) {
		n = asprintf(ret_msg, "low=%u must be below high=%u (set both)", c->low, c->high);
	} else if (c->high > c->critical) {
		n = asprintf(ret_msg, "high=%u must not be above critical=%u (set both)", c->high,
			     c->critical);
	} else if (c->premigrate != PREMIGRATE_DEFAULT && c->premigrate >= c->high) {
		n = asprintf(ret_msg, "premigrate=%u must be below high=%u (0: never)",
			     c->premigrate, c->high);
	} else if (c->store_size_bytes && c->store_size_bytes < c->pack_size_bytes) {
		char store[32], pack[32];

		/* Compaction needs room for one pack. */
		config_format_size(c->store_size_bytes, store, sizeof(store));
		config_format_size(c->pack_size_bytes, pack, sizeof(pack));
		n = asprintf(ret_msg, "store-size=%s must not be below pack-size=%s (set both)",
			     store, pack);
	} else if (c->writeback == WRITEBACK_ON && c->passthrough == PASSTHROUGH_ON) {
		n = asprintf(ret_msg, "writeback=on and passthrough=on exclude each other");
	} else {
		return 0;
	}
	if (n < 0) {
		*ret_msg = NULL;
		return -ENOMEM;
	}
	return -EINVAL;
}

/* "name", "name=value", or "" when the option says nothing about c. */
static void format_one(const struct config *c, const struct option_desc *o, char *buf, size_t len)
{
	char val[32];
	bool b;

	buf[0] = 0;
	if (is_num(o)) {
		format_num(c, o, val, sizeof(val));
		snprintf(buf, len, "%s=%s", o->name, val);
		return;
	}
	if (o->kind == OPT_CHOICE) {
		snprintf(buf, len, "%s=%s", o->name, o->words[config_get_num(c, o)]);
		return;
	}
	if (o->kind == OPT_TEXT) {
		const char *text = (const char *)c + o->field;

		if (*text)
			snprintf(buf, len, "%s=%s", o->name, text);
		return;
	}
	b = *(const bool *)((const char *)c + o->field);
	if (o->kind == OPT_WORD)
		snprintf(buf, len, "%s=%s", o->name, o->words[b]);
	else if (b == (o->kind == OPT_SET))
		snprintf(buf, len, "%s", o->name);
}

char *config_format(const struct config *c)
{
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);
	const char *sep = "";

	if (!f)
		return NULL;
	for (const struct option_desc *o = config_options; o->name; o++) {
		char buf[384];

		format_one(c, o, buf, sizeof(buf));
		if (buf[0]) {
			fprintf(f, "%s%s", sep, buf);
			sep = ",";
		}
	}
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}
