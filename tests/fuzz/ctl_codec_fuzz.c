/* SPDX-License-Identifier: MIT
 * libFuzzer harness of the control protocol's codec and names.
 *
 * The first byte says into pieces of which size the rest is cut. What must hold: the lines that
 * come out do not depend on the cutting; a line that came in as an object goes out and in again
 * equal; a name survives JSON; escaped text has no control characters.
 */
#include "spill/ctl.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void round_trip(const json_t *o)
{
	cleanup_(ctl_reader_done) struct ctl_reader r;
	cleanup_free char *line = NULL;
	size_t len;
	json_t *again;

	if (ctl_line(o, &line, &len))
		return;
	ctl_reader_init(&r);
	must(!memchr(line, '\n', len - 1), "one line");
	must(!ctl_reader_feed(&r, line, len), "feed again");
	must(ctl_reader_next(&r, &again) == 1, "parse again");
	must(json_equal(o, again), "equal");
	json_decref(again);
}

/* All results of the lines in data, cut into pieces, as one hash. */
static uint64_t run(const uint8_t *data, size_t size, size_t piece)
{
	cleanup_(ctl_reader_done) struct ctl_reader r;
	uint64_t sum = 0;

	ctl_reader_init(&r);
	for (size_t i = 0; i < size; i += piece) {
		json_t *o;
		int n;

		must(!ctl_reader_feed(&r, data + i, MIN(piece, size - i)), "feed");
		while ((n = ctl_reader_next(&r, &o))) {
			sum = sum * 31 + (n == 1) + 1;
			if (n == 1) {
				round_trip(o);
				json_decref(o);
			}
		}
	}
	return sum;
}

static void names(const uint8_t *data, size_t size)
{
	cleanup_free char *name = strndup((const char *)data, size), *back = NULL, *text = NULL;
	json_t *o = json_object();

	must(!ctl_name_put(o, "path", name), "put");
	round_trip(o);
	must(!ctl_name_get(o, "path", &back) && !strcmp(name, back), "name");
	json_decref(o);
	text = ctl_escape(name);
	for (const char *p = text; *p; p++)
		must((unsigned char)*p >= 0x20 && *p != 0x7f, "escaped");
	/* As it comes from a client. */
	o = json_object();
	json_object_set_new(o, "path_hex", json_stringn_nocheck((const char *)data, size));
	free(steal_ptr(back));
	must(ctl_name_get(o, "path", &back) <= 0, "get");
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? data[0] + 1u : 1;

	if (!size)
		return 0;
	must(run(data + 1, size - 1, piece) == run(data + 1, size - 1, size), "cutting");
	names(data + 1, size - 1);
	return 0;
}
