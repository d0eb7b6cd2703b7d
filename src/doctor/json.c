/* SPDX-License-Identifier: MIT
 * JSON (daemon.json) by jansson. It keeps no lines of values: those are 0, that of an error is
 * told.
 */
#include "conf.h"

#include <jansson.h>
#include <stdio.h>

static int walk(struct conf *c, struct conf_path *p, json_t *o)
{
	char num[32];
	const char *key;
	json_t *sub;
	size_t i, old;
	int r = 0;

	switch (json_typeof(o)) {
	case JSON_OBJECT:
		json_object_foreach (o, key, sub) {
			r = conf_path_push(p, key, &old);
			if (!r)
				r = walk(c, p, sub);
			if (r)
				return r;
			conf_path_cut(p, old);
		}
		return 0;
	case JSON_ARRAY:
		json_array_foreach (o, i, sub) {
			snprintf(num, sizeof(num), "%zu", i);
			r = conf_path_push(p, num, &old);
			if (!r)
				r = walk(c, p, sub);
			if (r)
				return r;
			conf_path_cut(p, old);
		}
		return 0;
	case JSON_STRING:
		return conf_add(c, p->s, json_string_value(o), 0);
	case JSON_INTEGER:
		snprintf(num, sizeof(num), "%lld", (long long)json_integer_value(o));
		return conf_add(c, p->s, num, 0);
	case JSON_REAL:
		snprintf(num, sizeof(num), "%.17g", json_real_value(o));
		return conf_add(c, p->s, num, 0);
	case JSON_TRUE:
	case JSON_FALSE:
		return conf_add(c, p->s, json_is_true(o) ? "true" : "false", 0);
	case JSON_NULL:
		break;
	}
	return 0;
}

int conf_json(struct conf *c, const char *text, size_t len, struct conf_error *ret_err)
{
	cleanup_(conf_path_done) struct conf_path p = {0};
	json_error_t err;
	json_t *o;
	int r;

	*ret_err = (struct conf_error){0};
	if (strspn(text, " \t\r\n") == len) /* Docker takes an empty file for {} */
		return 0;
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &err);
	if (!o || !json_is_object(o)) {
		ret_err->line = o ? 1 : (unsigned)MAX(err.line, 0);
		snprintf(ret_err->why, sizeof(ret_err->why), "%s", o ? "not an object" : err.text);
		json_decref(o);
		return -EUCLEAN;
	}
	r = walk(c, &p, o);
	json_decref(o);
	return r;
}
