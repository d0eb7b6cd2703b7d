/* SPDX-License-Identifier: MIT
 * `pin`, `unpin`, `pins`: what is never spilled. Images and layers are turned into paths here,
 * through the mount, as the engine's own files may be spilled themselves.
 */
#include "spillctl.h"

#include "spill/layers.h"
#include <fcntl.h>

void pin_req_done(struct pin_req *r)
{
	target_done(&r->t);
	json_decref(r->items);
	free(r->owner);
	*r = (struct pin_req){0};
}

static int add_item(struct pin_req *r, const char *rel)
{
	json_t *o = json_object();

	if (o && !ctl_name_put(o, "path", rel) && !json_array_append_new(r->items, o))
		return 0;
	json_decref(o);
	return -ENOMEM;
}

static char *text_of(const char *fmt, ...) printf_like(1, 2);
static char *text_of(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return s;
}

static int mount_fd(const struct pin_req *r, char **ret_err)
{
	int fd = open(r->t.mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		*ret_err = text_of("%s: %s", r->t.mount, strerror(errno));
	return fd;
}

/* A layer by its key, its path, or the name that `layers` shows. */
static int find_layer(struct pin_req *r, const char *arg, char **ret_err)
{
	const struct layer *found = NULL;
	struct layer_set set = {0};
	size_t n = 0, ml = strlen(r->t.mount);
	cleanup_fd int fd = mount_fd(r, ret_err);
	const char *rel = arg;

	if (fd < 0)
		return EXIT_FAILED;
	if (!strncmp(arg, r->t.mount, ml) && arg[ml] == '/')
		rel = arg + ml + 1;
	int err = layers_scan(fd, &set);

	for (size_t i = 0; i < set.n && !err; i++)
		if (!strcmp(set.v[i].key, rel) || !strcmp(set.v[i].name, arg)) {
			found = &set.v[i];
			n++;
		}
	if (!err && n == 1)
		err = add_item(r, found->key);
	layer_set_done(&set);
	if (err)
		*ret_err = text_of("%s: %s", arg, strerror(-err));
	else if (!n)
		*ret_err = text_of("%s: no such layer; spillctl layers lists them", arg);
	else if (n > 1)
		*ret_err = text_of("%s: %zu layers have this name; say its path", arg, n);
	return err || n != 1 ? EXIT_FAILED : EXIT_OK;
}

static int find_image(struct pin_req *r, const char *arg, char **ret_err)
{
	struct layer_image img = {0};
	cleanup_fd int fd = mount_fd(r, ret_err);

	if (fd < 0)
		return EXIT_FAILED;
	int err = layers_image(fd, arg, &img, ret_err);

	for (size_t i = 0; i < img.n && !err; i++)
		err = add_item(r, img.keys[i]);
	if (!err) {
		r->owner = strdup(img.name);
		r->engine = (int)img.engine;
		r->in_kubernetes = img.in_kubernetes;
		err = r->owner ? 0 : -ENOMEM;
	}
	layer_image_done(&img);
	if (err && !*ret_err)
		*ret_err = text_of("%s: %s", arg, strerror(-err));
	return err ? EXIT_FAILED : EXIT_OK;
}

int pin_resolve(const struct cli *c, const char *arg, bool gone, struct pin_req *r, char **ret_err)
{
	int code;

	*r = (struct pin_req){.items = json_array()};
	if (c->layer || c->image) {
		code = target_mount(c, &r->t, ret_err);
		if (code)
			return code;
		return c->image ? find_image(r, arg, ret_err) : find_layer(r, arg, ret_err);
	}
	code = target_of_path(c, arg, &r->t, ret_err);
	if (code == EXIT_FAILED && gone) { /* even the way to it is gone */
		free(steal_ptr(*ret_err));
		code = target_of_words(c, arg, &r->t, ret_err);
	}
	if (!code && add_item(r, r->t.rel)) {
		*ret_err = strdup("out of memory");
		code = EXIT_SYSTEM;
	}
	return code;
}

/* ---- events
 * ----------------------------------------------------------------------------------------- */
struct pin_events {
	struct progress progress;
	const char *mount;
};

static bool on_event(void *ctx, const json_t *ev)
{
	struct pin_events *e = ctx;
	cleanup_free char *rel = NULL, *path = NULL;

	if (!strcmp(jstr(ev, "event"), "note")) {
		if (!ctl_name_get(ev, "path", &rel))
			path = path_of(e->mount, rel);
		progress_clear(&e->progress);
		warn("%s: %s", path ? path : "?", jstr(ev, "error"));
	} else if (!strcmp(jstr(ev, "event"), "progress")) {
		ctl_name_get(ev, "current", &rel);
		progress_show(&e->progress, jnum(ev, "files_seen"), jnum(ev, "bytes_done"),
			      rel ? rel : "");
	}
	return !interrupted();
}

int pin_ask(const struct cli *c, const char *verb, const struct pin_req *r, bool recall,
	    json_t **ret, char **ret_err)
{
	json_t *req = json_pack("{s:s, s:O, s:b}", "verb", verb, "items", r->items, "recall",
				(int)recall);
	struct pin_events e = {.mount = r->t.mount};
	int code;

	if (!req || (r->owner && ctl_name_put(req, "owner", r->owner))) {
		json_decref(req);
		*ret_err = strdup("out of memory");
		return EXIT_SYSTEM;
	}
	progress_init(&e.progress, c, "pinning");
	code = request(r->t.mount, req, on_event, &e, ret, ret_err);
	progress_clear(&e.progress);
	return code;
}

/* ---- verbs
 * ------------------------------------------------------------------------------------------ */

static void say_pinned(const char *arg, const json_t *o)
{
	put_safe(stdout, arg);
	printf(": pinned");
	if (!jnum(o, "pinned"))
		printf(" before");
	if (jnum(o, "files_done"))
		printf("; recalled %s files, %s", fmt_count(jnum(o, "files_done")),
		       fmt_size(jnum(o, "bytes_done")));
	if (jnum(o, "spilled_files"))
		printf("; %s files stay in the store until they are recalled",
		       fmt_count(jnum(o, "spilled_files")));
	putchar('\n');
}

static int one(const struct cli *c, bool pin, const char *arg, json_t *out)
{
	cleanup_(pin_req_done) struct pin_req r = {0};
	cleanup_free char *err = NULL;
	json_t *o = NULL;
	int code;

	/* An image that the engine no longer knows still has its pins. */
	if (!pin && c->image) {
		r.items = json_array();
		r.owner = strdup(arg);
		code = target_mount(c, &r.t, &err);
	} else {
		code = pin_resolve(c, arg, !pin, &r, &err);
	}
	if (!code)
		code = pin_ask(c, pin ? "pin" : "unpin", &r, !c->no_recall, &o, &err);
	if (!code && (*jstr(o, "stopped") || jnum(o, "files_failed"))) {
		code = EXIT_PARTIAL;
		if (asprintf(&err, "pinned, but not all of it was recalled%s%s",
			     *jstr(o, "stopped") ? ": " : "", jstr(o, "stopped")) < 0)
			err = NULL;
	}
	if (code == EXIT_INTERRUPTED) {
		json_decref(o);
		return code;
	}
	if (code) {
		const char *why = err ? err : "out of memory";

		/* Most messages name what they are about. */
		if (!strncmp(why, arg, strlen(arg)))
			warn("%s", why);
		else
			warn("%s: %s", arg, why);
	} else if (!c->quiet && !c->json && pin) {
		say_pinned(arg, o);
	}
	if (!o)
		o = json_object();
	ctl_name_put(o, pin || !c->image ? "path" : "image", arg);
	json_object_set_new(o, "code", json_integer(code));
	if (code)
		ctl_name_put(o, "error", err ? err : "out of memory");
	json_array_append_new(out, o);
	return code;
}

static int each(const struct cli *c, bool pin)
{
	json_t *out = json_array();
	int bad = 0, last = EXIT_OK, i;

	if (c->layer && c->image) {
		json_decref(out);
		return fail(c, EXIT_USAGE, "--layer and --image: one of the two, please");
	}
	interrupt_catch();
	for (i = 0; i < c->argc && last != EXIT_INTERRUPTED; i++) {
		int code = one(c, pin, c->argv[i], out);

		bad += code != EXIT_OK;
		last = code ? code : last;
	}
	if (c->json)
		print_json(out);
	else
		json_decref(out);
	return last == EXIT_INTERRUPTED || bad == c->argc ? last : bad ? EXIT_PARTIAL : EXIT_OK;
}

int do_pin(const struct cli *c)
{
	return each(c, true);
}

int do_unpin(const struct cli *c)
{
	return each(c, false);
}

static void add_row(struct table *t, const json_t *p)
{
	cleanup_free char *path = NULL, *image = NULL;

	ctl_name_get(p, "path", &path);
	ctl_name_get(p, "image", &image);
	table_add(t, json_is_true(json_object_get(p, "missing")) ? "gone" : "");
	table_add(t, fmt_count(jnum(p, "files")));
	table_add(t, fmt_size(jnum(p, "hot_bytes")));
	table_add(t, fmt_count(jnum(p, "spilled_files")));
	table_add(t, fmt_size(jnum(p, "spilled_bytes")));
	table_add(t, image ? image : "-");
	table_add(t, path && *path ? path : ".");
}

int do_pins(const struct cli *c)
{
	static const char *const heads[] = {"",        "FILES", "HOT", "FILES-SPILLED",
					    "SPILLED", "IMAGE", "PATH"};
	cleanup_(table_done) struct table table = {.align = "<>>>><<"};
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	json_t *pins = json_array(), *sum = NULL, *p;
	int code = target_mount(c, &t, &err);
	size_t i;

	interrupt_catch();
	if (!code)
		code = request(t.mount, request_new("pins", ""), collect_entries, &pins, &sum,
			       &err);
	json_decref(sum);
	if (code) {
		json_decref(pins);
		return fail(c, code, "%s", err ? err : "out of memory");
	}
	if (c->json) {
		print_json(pins);
		return EXIT_OK;
	}
	for (i = 0; i < ARRAY_SIZE(heads) && !c->quiet; i++)
		table_add(&table, heads[i]);
	json_array_foreach (pins, i, p)
		add_row(&table, p);
	if (json_array_size(pins))
		table_print(&table, stdout);
	else if (!c->quiet)
		puts("nothing is pinned");
	json_decref(pins);
	return EXIT_OK;
}
