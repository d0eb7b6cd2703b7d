/* SPDX-License-Identifier: MIT
 * Numbers with units: sizes (powers of 1024) and ages. What is printed can be read back exactly.
 */
#include "config_int.h"

#include <stdio.h>

struct unit {
	char letter;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{'T', 1ull << 40}, {'G', 1ull << 30}, {'M', 1ull << 20}, {'K', 1ull << 10}};
static const struct unit age_units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

/* Digits, then at most one unit letter (either case), then nothing: no sign, no space, no fraction.
 */
static int parse_unit(const char *s, const struct unit *units, size_t n, uint64_t *ret)
{
	uint64_t v = 0, factor = 0;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -EINVAL;
	if (*s) {
		for (size_t i = 0; i < n; i++)
			if ((*s | 0x20) == (units[i].letter | 0x20))
				factor = units[i].factor;
		if (!factor || s[1] || __builtin_mul_overflow(v, factor, &v))
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

static void format_unit(uint64_t v, const struct unit *units, size_t n, char *buf, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		if (v && v % units[i].factor == 0) {
			snprintf(buf, len, "%llu%c", (unsigned long long)(v / units[i].factor),
				 units[i].letter);
			return;
		}
	}
	snprintf(buf, len, "%llu", (unsigned long long)v);
}

int config_parse_size(const char *s, uint64_t *ret)
{
	return parse_unit(s, size_units, ARRAY_SIZE(size_units), ret);
}

int config_parse_age(const char *s, uint64_t *ret_sec)
{
	return parse_unit(s, age_units, ARRAY_SIZE(age_units), ret_sec);
}

void config_format_size(uint64_t bytes, char *buf, size_t len)
{
	format_unit(bytes, size_units, ARRAY_SIZE(size_units), buf, len);
}

void config_format_age(uint64_t sec, char *buf, size_t len)
{
	format_unit(sec, age_units, ARRAY_SIZE(age_units), buf, len);
}
