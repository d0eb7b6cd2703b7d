/* SPDX-License-Identifier: MIT
 * Numbers as Kubernetes and Go write them: percentages and quantities (apimachinery's
 * resource.Quantity), durations (Go's time.ParseDuration).
 */
#include "doctor_int.h"

/* A plain decimal number; *s moves behind it. (strtod would take "inf", hex and the locale's
 * comma.) */
static bool decimal(const char **s, double *ret)
{
	double v = 0, unit = 1;
	bool any = false, point = false;

	for (;; (*s)++) {
		char c = **s;

		if (c == '.' && !point) {
			point = true;
		} else if (c >= '0' && c <= '9') {
			v = v * 10 + (c - '0');
			unit *= point ? 10 : 1;
			any = true;
		} else {
			break;
		}
	}
	*ret = v / unit;
	return any && v < 1e30;
}

bool percent_parse(const char *s, int *ret)
{
	double v;

	if (!decimal(&s, &v) || *s || v > 1000 || v != (int)v)
		return false;
	*ret = (int)v;
	return true;
}

bool limit_parse(const char *s, struct doctor_limit *ret)
{
	static const struct {
		const char *suffix;
		double factor;
	} units[] = {
		{"", 1},
		{"k", 1e3},
		{"M", 1e6},
		{"G", 1e9},
		{"T", 1e12},
		{"P", 1e15},
		{"E", 1e18},
		{"Ki", 1024.0},
		{"Mi", 1048576.0},
		{"Gi", 1073741824.0},
		{"Ti", 1099511627776.0},
		{"Pi", 1125899906842624.0},
		{"Ei", 1152921504606846976.0},
	};
	double v;

	*ret = (struct doctor_limit){0};
	if (!decimal(&s, &v))
		return false;
	if (!strcmp(s, "%")) {
		ret->percent = v;
		return v <= 100;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(s, units[i].suffix) && v * units[i].factor < 9.2e18) {
			ret->amount = (uint64_t)(v * units[i].factor);
			return true;
		}
	return false;
}

bool duration_parse(const char *s, double *ret_sec)
{
	static const struct {
		const char *unit;
		double sec;
	} units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
	double sum = 0, v;

	if (!strcmp(s, "0")) {
		*ret_sec = 0;
		return true;
	}
	if (!*s)
		return false;
	while (*s) {
		size_t n, i;

		if (!decimal(&s, &v))
			return false;
		n = strspn(s, "nusmh");
		for (i = 0; i < ARRAY_SIZE(units); i++)
			if (strlen(units[i].unit) == n && !strncmp(s, units[i].unit, n))
				break;
		if (i == ARRAY_SIZE(units))
			return false;
		sum += v * units[i].sec;
		s += n;
	}
	*ret_sec = sum;
	return true;
}
