/* SPDX-License-Identifier: MIT
 * The control protocol's codec: bytes in, JSON objects out, one per line. Pure: no descriptors.
 *
 * Bytes come from whoever can open the socket, in pieces of any size. Invariant: everything from
 * `line` on is one unfinished line of at most CTL_LINE_MAX bytes, looked at once; [pos, line) are
 * complete lines, none longer than that. So memory stays bounded by the limit plus one feed, and a
 * client that sends single bytes costs no more than one that does not.
 */
#include "spill/ctl.h"

void ctl_reader_init(struct ctl_reader *r)
{
	*r = (struct ctl_reader){0};
}

void ctl_reader_done(struct ctl_reader *r)
{
	free(r->buf);
	ctl_reader_init(r);
}

static int reserve(struct ctl_reader *r, size_t more)
{
	size_t cap = r->cap ? r->cap : 4096;
	char *bigger;

	if (r->pos) {
		memmove(r->buf, r->buf + r->pos, r->len - r->pos);
		r->len -= r->pos;
		r->line -= r->pos;
		r->pos = 0;
	}
	if (more > SIZE_MAX / 4 - r->len)
		return -ENOMEM;
	while (cap < r->len + more)
		cap *= 2;
	if (cap == r->cap)
		return 0;
	bigger = realloc(r->buf, cap);
	if (!bigger)
		return -ENOMEM;
	r->buf = bigger;
	r->cap = cap;
	return 0;
}

int ctl_reader_feed(struct ctl_reader *r, const void *data, size_t len)
{
	const char *p = data, *end = p + len;
	size_t open_len = r->len - r->line, last = SIZE_MAX;
	int err;

	if (!len)
		return 0;
	for (const char *nl; p < end; p = nl + 1, open_len = 0) {
		nl = memchr(p, '\n', (size_t)(end - p));
		open_len += (size_t)((nl ? nl : end) - p);
		if (open_len > CTL_LINE_MAX)
			return -EMSGSIZE;
		if (!nl)
			break;
		last = (size_t)(nl - (const char *)data);
	}
	err = reserve(r, len);
	if (err)
		return err;
	if (last != SIZE_MAX)
		r->line = r->len + last + 1;
	memcpy(r->buf + r->len, data, len);
	r->len += len;
	return 0;
}

int ctl_reader_next(struct ctl_reader *r, json_t **ret)
{
	const char *start, *nl;
	json_t *o;

	if (r->pos == r->line)
		return 0;
	start = r->buf + r->pos;
	nl = memchr(start, '\n', r->line - r->pos);
	/* Bounded: jansson refuses more than 2048 levels, NUL bytes, and what is not UTF-8. */
	o = json_loadb(start, (size_t)(nl - start), JSON_REJECT_DUPLICATES, NULL);
	r->pos += (size_t)(nl - start) + 1;
	if (!json_is_object(o)) {
		json_decref(o);
		return -EBADMSG;
	}
	*ret = o;
	return 1;
}

int ctl_line(const json_t *o, char **ret, size_t *ret_len)
{
	size_t len = json_dumpb(o, NULL, 0, JSON_COMPACT);
	char *line;

	if (!len)
		return -ENOMEM;
	if (len > CTL_LINE_MAX)
		return -EMSGSIZE;
	line = malloc(len + 2);
	if (!line)
		return -ENOMEM;
	if (json_dumpb(o, line, len, JSON_COMPACT) != len) {
		free(line);
		return -ENOMEM;
	}
	line[len] = '\n';
	line[len + 1] = 0;
	*ret = line;
	*ret_len = len + 1;
	return 0;
}
