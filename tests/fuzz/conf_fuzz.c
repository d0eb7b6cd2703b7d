/* SPDX-License-Identifier: MIT
 * libFuzzer harness of the readers of others' configuration (src/doctor), and of the numbers in it.
 *
 * The first byte says which reader. What must hold: it ends, an error names a line of the text, and
 * the same text gives the same items again.
 */
#include "../../src/doctor/doctor_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const readers[])(struct conf *, const char *, size_t,
				      struct conf_error *) = {conf_toml, conf_yaml, conf_json};
	cleanup_(conf_done) struct conf a = {0}, b = {0};
	cleanup_free char *text = NULL;
	struct conf_error e, again;
	size_t lines = 1;
	int r;

	if (!size)
		return 0;
	text = malloc(size); /* of just that size: a byte read beyond it is found */
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	for (size_t i = 0; i + 1 < size; i++)
		/* YAML also breaks lines at CR, NEL and the two separators */
		lines += text[i] == '\n' || text[i] == '\r' || (uint8_t)text[i] >= 0x80;
	r = readers[data[0] % 3](&a, text, size - 1, &e);
	must(!r || r == -EUCLEAN || r == -E2BIG, "the error is one of those promised");
	must(r != -EUCLEAN || (e.line <= lines + 1 && *e.why), "an error says where and why");
	must(readers[data[0] % 3](&b, text, size - 1, &again) == r && a.n == b.n, "the same again");
	for (size_t i = 0; i < a.n; i++) {
		struct doctor_limit l;
		double sec;
		int p;

		must(!strcmp(a.v[i].key, b.v[i].key) && !strcmp(a.v[i].value, b.v[i].value) &&
			     a.v[i].line == b.v[i].line,
		     "the same items");
		must(strlen(a.v[i].key) < CONF_KEY_MAX, "keys are bounded");
		if (limit_parse(a.v[i].value, &l))
			must(l.percent >= 0 && l.percent <= 100, "a percentage is one");
		if (duration_parse(a.v[i].value, &sec))
			must(sec >= 0, "durations do not run backwards");
		if (percent_parse(a.v[i].value, &p))
			must(p >= 0 && p <= 1000, "small numbers are small");
	}
	return 0;
}
