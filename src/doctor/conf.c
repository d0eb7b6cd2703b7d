/* SPDX-License-Identifier: MIT
 * The list, and the walk that the parsers share.
 */
#include "conf.h"

#include <strings.h>

void conf_done(struct conf *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->v[i].key);
		free(c->v[i].value);
	}
	free(c->v);
	*c = (struct conf){0};
}

int conf_add(struct conf *c, const char *key, const char *value, unsigned line)
{
	struct conf_item it = {.line = line};

	if (c->n >= CONF_ITEMS_MAX)
		return -E2BIG;
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 64;
		void *bigger = reallocarray(c->v, cap, sizeof(*c->v));

		if (!bigger)
			return -ENOMEM;
		c->v = bigger;
		c->cap = cap;
	}
	it.key = strdup(key);
	it.value = strdup(value);
	if (!it.key || !it.value) {
		free(it.key);
		free(it.value);
		return -ENOMEM;
	}
	c->v[c->n++] = it;
	return 0;
}

const struct conf_item *conf_find(const struct conf *c, const char *key)
{
	for (size_t i = c->n; i-- > 0;)
		if (!strcmp(c->v[i].key, key))
			return &c->v[i];
	return NULL;
}

const char *conf_get(const struct conf *c, const char *key)
{
	const struct conf_item *it = conf_find(c, key);

	return it ? it->value : NULL;
}

bool conf_has(const struct conf *c, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < c->n; i++)
		if (!strncmp(c->v[i].key, key, len) &&
		    (!c->v[i].key[len] || c->v[i].key[len] == '/'))
			return true;
	return false;
}

bool conf_true(const char *value)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};

	for (size_t i = 0; value && i < ARRAY_SIZE(yes); i++)
		if (!strcasecmp(value, yes[i]))
			return true;
	return false;
}

int conf_path_push(struct conf_path *p, const char *name, size_t *ret_old)
{
	size_t n = strlen(name), need = p->len + n + 2;

	/* each item has a copy: a long key over many items would be a small text that grows huge */
	if (need > CONF_KEY_MAX)
		return -E2BIG;
	if (need > p->cap) {
		size_t cap = MAX(need, 2 * p->cap);
		char *bigger = realloc(p->s, cap);

		if (!bigger)
			return -ENOMEM;
		p->s = bigger;
		p->cap = cap;
	}
	*ret_old = p->len;
	if (p->len)
		p->s[p->len++] = '/';
	memcpy(p->s + p->len, name, n + 1);
	p->len += n;
	return 0;
}

void conf_path_cut(struct conf_path *p, size_t old)
{
	p->len = old;
	if (p->s)
		p->s[old] = 0;
}

void conf_path_done(struct conf_path *p)
{
	free(p->s);
	*p = (struct conf_path){0};
}
