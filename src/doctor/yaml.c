/* SPDX-License-Identifier: MIT
 * YAML (kubelet, k3s; JSON is YAML too) by libyaml's events. Only the first document counts, as for
 * kubelet. Anchors and merge keys are refused: nobody writes them there, and an alias is how a
 * small text becomes a huge one.
 */
#include "conf.h"

#include <stdio.h>
#include <yaml.h>

struct level {
	bool map, key_next; /* a mapping whose next scalar is a key */
	unsigned index;     /* of a sequence's next item */
	size_t old;         /* the path before the running key or index */
};
struct walk {
	struct conf *c;
	struct conf_path p;
	struct level v[CONF_DEPTH_MAX];
	unsigned depth;
	struct conf_error *err;
};

static int broken(struct conf_error *e, size_t line, const char *why)
{
	e->line = (unsigned)line;
	snprintf(e->why, sizeof(e->why), "%s", why);
	return -EUCLEAN;
}

/* A value begins: in a sequence its index becomes part of the path. */
static int value_begin(struct walk *w)
{
	struct level *l = w->depth ? &w->v[w->depth - 1] : NULL;
	char num[16];

	if (!l || l->map)
		return 0;
	snprintf(num, sizeof(num), "%u", l->index++);
	return conf_path_push(&w->p, num, &l->old);
}

static void value_end(struct walk *w)
{
	struct level *l = w->depth ? &w->v[w->depth - 1] : NULL;

	if (!l)
		return;
	conf_path_cut(&w->p, l->old);
	l->key_next = true;
}

static int open_level(struct walk *w, bool map, size_t line)
{
	int r;

	if (w->depth && w->v[w->depth - 1].map && w->v[w->depth - 1].key_next)
		return broken(w->err, line, "a mapping or list as key");
	if (w->depth == CONF_DEPTH_MAX)
		return broken(w->err, line, "nested too deeply");
	r = value_begin(w);
	w->v[w->depth++] = (struct level){.map = map, .key_next = true, .old = w->p.len};
	return r;
}

static int scalar(struct walk *w, const yaml_event_t *ev, size_t line)
{
	const char *s = (const char *)ev->data.scalar.value;
	struct level *l = w->depth ? &w->v[w->depth - 1] : NULL;
	int r;

	if (strlen(s) != ev->data.scalar.length)
		return broken(w->err, line, "a NUL in a value");
	if (l && l->map && l->key_next) {
		l->key_next = false;
		return conf_path_push(&w->p, s, &l->old);
	}
	if (!l)
		return *s ? broken(w->err, line, "not a mapping") : 0;
	r = value_begin(w);
	/* null and ~ mean: as if it were not there */
	if (!r && (ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ||
		   (*s && strcmp(s, "null") && strcmp(s, "~"))))
		r = conf_add(w->c, w->p.s, s, (unsigned)line);
	value_end(w);
	return r;
}

static int take(struct walk *w, const yaml_event_t *ev)
{
	size_t line = ev->start_mark.line + 1;

	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return broken(w->err, line, "aliases are not understood");
	case YAML_SCALAR_EVENT:
		return scalar(w, ev, line);
	case YAML_SEQUENCE_START_EVENT:
		if (!w->depth)
			return broken(w->err, line, "a list, not a mapping");
		return open_level(w, false, line);
	case YAML_MAPPING_START_EVENT:
		return open_level(w, true, line);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		w->depth--;
		value_end(w);
		return 0;
	default:
		return 0;
	}
}

int conf_yaml(struct conf *c, const char *text, size_t len, struct conf_error *ret_err)
{
	struct walk w = {.c = c, .err = ret_err};
	yaml_parser_t parser;
	yaml_event_t ev;
	bool done = false;
	int r = 0;

	*ret_err = (struct conf_error){0};
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (!r && !done) {
		if (!yaml_parser_parse(&parser, &ev)) {
			r = parser.error == YAML_MEMORY_ERROR
				    ? -ENOMEM
				    : broken(ret_err,
					     (parser.error == YAML_READER_ERROR
						      ? parser.mark.line
						      : parser.problem_mark.line) +
						     1,
					     parser.problem ? parser.problem : "not YAML");
			break;
		}
		done = ev.type == YAML_STREAM_END_EVENT || ev.type == YAML_DOCUMENT_END_EVENT;
		r = take(&w, &ev);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	conf_path_done(&w.p);
	return r;
}
