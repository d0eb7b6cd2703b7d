/* SPDX-License-Identifier: MIT
 * `layers`: layers of container engines, in the order in which they would be spilled.
 */
#include "spillctl.h"

static int by_last_used(const void *a, const void *b)
{
	uint64_t x = jnum(*(json_t *const *)a, "last_used");
	uint64_t y = jnum(*(json_t *const *)b, "last_used");

	return (x > y) - (x < y);
}

static void add_row(struct table *t, const json_t *l, uint64_t now)
{
	cleanup_free char *key = NULL, *name = NULL, *ago = NULL;
	uint64_t used = jnum(l, "last_used");

	ctl_name_get(l, "key", &key);
	ctl_name_get(l, "name", &name);
	if (asprintf(&ago, "%s ago", fmt_span(now > used ? now - used : 0)) < 0)
		ago = NULL;
	table_add(t, name ? name : "?");
	table_add(t, jstr(l, "engine"));
	table_add(t, jstr(l, "kind"));
	table_add(t, json_is_true(json_object_get(l, "mounted")) ? "yes" : "-");
	table_add(t, fmt_count(jnum(l, "files")));
	table_add(t, fmt_size(jnum(l, "logical_bytes")));
	table_add(t, fmt_size(jnum(l, "allocated_bytes")));
	table_add(t, fmt_count(jnum(l, "spilled_files")));
	table_add(t, fmt_size(jnum(l, "spilled_bytes")));
	table_add(t, used && ago ? ago : "-");
	table_add(t, key ? key : "?");
}

static void layers_print(const struct cli *c, const json_t *layers)
{
	static const char *const heads[] = {"LAYER",   "ENGINE",    "KIND", "RUNS",
					    "FILES",   "SIZE",      "HOT",  "FILES-SPILLED",
					    "SPILLED", "LAST-USED", "PATH"};
	cleanup_(table_done) struct table t = {.align = "<<<<>>>>><<"};
	size_t n = json_array_size(layers);
	cleanup_free json_t **v = calloc(n + 1, sizeof(*v));
	uint64_t now = (uint64_t)time(NULL);

	if (!v)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(heads) && !c->quiet; i++)
		table_add(&t, heads[i]);
	for (size_t i = 0; i < n; i++)
		v[i] = json_array_get(layers, i);
	qsort(v, n, sizeof(*v), by_last_used);
	for (size_t i = 0; i < n; i++)
		add_row(&t, v[i], now);
	table_print(&t, stdout);
}

int do_layers(const struct cli *c)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	json_t *layers = json_array(), *sum = NULL;
	int code = target_mount(c, &t, &err);

	if (!code)
		code = request(t.mount, request_new("layers", ""), collect_entries, &layers, &sum,
			       &err);
	json_decref(sum);
	if (code) {
		json_decref(layers);
		return fail(c, code, "%s", err ? err : "out of memory");
	}
	if (c->json) {
		print_json(layers);
		return EXIT_OK;
	}
	if (json_array_size(layers))
		layers_print(c, layers);
	else if (!c->quiet)
		puts("no layers of a container engine found");
	json_decref(layers);
	return EXIT_OK;
}
