/* SPDX-License-Identifier: MIT
 * `why`: what the daemon says about a file, in a few lines.
 */
#include "spillctl.h"

static const char *decision_text(const json_t *o)
{
	const char *d = jstr(o, "decision");

	if (!strcmp(d, "spilled"))
		return "stays in the store";
	if (!strcmp(d, "spill-now"))
		return "will be spilled";
	if (!strcmp(d, "spill-later"))
		return "may be spilled, not now";
	return "stays in the hot tier";
}

static void print_one(const json_t *o, const char *path)
{
	cleanup_free char *layer = NULL;
	const json_t *r;
	size_t i;

	put_safe(stdout, path);
	printf("\n  state     %s, %s (%s in the hot tier)\n", jstr(o, "state"),
	       fmt_size(jnum(o, "size_bytes")), fmt_size(jnum(o, "hot_bytes")));
	if (!ctl_name_get(o, "layer", &layer)) {
		printf("  layer     ");
		put_safe(stdout, layer);
		putchar('\n');
	}
	printf("  decision  %s\n", decision_text(o));
	json_array_foreach (json_object_get(o, "reasons"), i, r) {
		cleanup_free char *text = NULL;

		ctl_name_get(r, "text", &text);
		printf("  because   ");
		put_safe(stdout, text ? text : "?");
		putchar('\n');
	}
}

int do_why(const struct cli *c)
{
	json_t *out = json_array();
	int bad = 0, last = EXIT_OK;

	for (int i = 0; i < c->argc; i++) {
		cleanup_(target_done) struct target t = {0};
		cleanup_free char *err = NULL;
		json_t *o = NULL;
		int code = target_of_path(c, c->argv[i], &t, &err);

		if (!code)
			code = request(t.mount, request_new("why", t.rel), NULL, NULL, &o, &err);
		if (code && c->argc == 1) {
			json_decref(out);
			return t.path ? fail(c, code, "%s: %s", t.path, err ? err : "out of memory")
				      : fail(c, code, "%s", err ? err : "out of memory");
		}
		if (code) {
			last = code;
			bad++;
			warn("%s%s%s", t.path ? t.path : "", t.path ? ": " : "",
			     err ? err : "out of memory");
			o = json_pack("{s:i}", "code", code);
			ctl_name_put(o, "error", err ? err : "out of memory");
		} else if (!c->json) {
			print_one(o, t.path);
		}
		ctl_name_put(o, "path", t.path ? t.path : c->argv[i]);
		json_array_append_new(out, o);
	}
	if (c->json)
		print_json(c->argc == 1 ? json_incref(json_array_get(out, 0)) : json_incref(out));
	json_decref(out);
	return !bad ? EXIT_OK : bad == c->argc ? last : EXIT_PARTIAL;
}
