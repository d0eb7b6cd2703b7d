/* SPDX-License-Identifier: MIT
 * A set of strings: added in any order, sorted once, then looked up.
 */
#include "layers_int.h"

int names_add(struct names *s, const char *str, size_t len)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		char **p = reallocarray(s->v, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		s->v = p;
		s->cap = cap;
	}
	s->v[s->n] = strndup(str, len);
	if (!s->v[s->n])
		return -ENOMEM;
	s->n++;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *s)
{
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), compare);
}

bool names_have(const struct names *s, const char *str)
{
	return s->n && bsearch(&str, s->v, s->n, sizeof(*s->v), compare);
}

void names_done(struct names *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct names){0};
}
