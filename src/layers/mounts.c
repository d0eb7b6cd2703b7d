/* SPDX-License-Identifier: MIT
 * Upper directories of the overlays mounted now: the one thing all engines show of a container that
 * runs. (containerd keeps whether a snapshot is active in a database we do not read.)
 */
#include "layers_int.h"

#include <stdio.h>

/* Undo the mount table's \ooo in place. */
static size_t unescape(char *s, size_t len)
{
	char *out = s, *p = s, *end = s + len;

	while (p < end) {
		if (*p == '\\' && end - p >= 4 && p[1] >= '0' && p[1] <= '3') {
			*out++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 4;
		} else {
			*out++ = *p++;
		}
	}
	return (size_t)(out - s);
}

static int add_line(struct names *ret, char *line)
{
	char *p = strstr(line, " - overlay ");

	p = p ? strstr(p, "upperdir=") : NULL;
	if (!p)
		return 0;
	p += strlen("upperdir=");
	return names_add(ret, p, unescape(p, strcspn(p, ",\n")));
}

static int add_table(struct names *ret, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	int r = 0;

	if (!f)
		return 0; /* nothing to learn here; files in use are still left alone */
	while (r == 0 && getline(&line, &cap, f) > 0)
		r = add_line(ret, line);
	free(line);
	fclose(f);
	return r;
}

int uppers_load(struct names *ret)
{
	/* Engines usually mount in the first mount namespace; ours may be a private copy of it. */
	int r = add_table(ret, "/proc/self/mountinfo");

	return r < 0 ? r : add_table(ret, "/proc/1/mountinfo");
}

bool uppers_have(const struct names *uppers, const char *key)
{
	size_t klen = strlen(key);

	for (size_t i = 0; i < uppers->n; i++) {
		const char *u = uppers->v[i];
		size_t ulen = strlen(u);

		if (ulen > klen && u[ulen - klen - 1] == '/' && strcmp(u + ulen - klen, key) == 0)
			return true;
	}
	return false;
}
