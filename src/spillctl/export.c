/* SPDX-License-Identifier: MIT
 * `export TO`: a plain copy elsewhere. Through the mount, where reading recalls nothing; or without
 * a daemon from STORE and the hot directory behind the guard.
 */
#include "copy.h"
#include "offline.h"

#include "spill/hot.h"
#include "spill/tier.h"
#include <dirent.h>
#include <fcntl.h>

struct exporting {
	const struct cli *c;
	struct progress progress;
	uint64_t shown_ns;
	json_t *failed;
	struct offline off;
};

/* ---- TO: a new or empty directory, outside of what is copied ----------------------------------
 */

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/' || !strcmp(dir, "/"));
}

static int is_empty(int fd)
{
	int dup = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dup < 0 ? NULL : fdopendir(dup);
	const struct dirent *e;
	int n = 0;

	if (!d) {
		if (dup >= 0)
			close(dup);
		return -errno;
	}
	/* lost+found: a file system of its own is a good place. */
	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		     strcmp(e->d_name, "lost+found");
	closedir(d);
	return !n;
}

/* An fd of TO, or -1 with *ret_code (said). from: the directories it must not lie in. */
static int open_to(const struct cli *c, const char *to, const char *const from[], int *ret_code)
{
	cleanup_free char *real = NULL;
	cleanup_fd int fd = -1;
	bool made = !mkdir(to, 0700);
	int r;

	*ret_code = EXIT_FAILED;
	if (!made && errno != EEXIST) {
		fail(c, EXIT_FAILED, "%s: %s", to, strerror(errno));
		return -1;
	}
	real = realpath(to, NULL);
	if (real)
		fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		fail(c, EXIT_FAILED, "%s: %s", to, strerror(errno));
		return -1;
	}
	for (size_t i = 0; from[i]; i++)
		if (is_below(real, from[i])) {
			if (made)
				rmdir(real);
			*ret_code = fail(c, EXIT_USAGE, "%s: lies inside %s; export to elsewhere",
					 to, from[i]);
			return -1;
		}
	r = is_empty(fd);
	if (r <= 0) {
		fail(c, EXIT_FAILED, "%s: %s", to,
		     r ? strerror(-r)
		       : "not empty; name a new directory (what an interrupted export left "
			 "can be deleted)");
		return -1;
	}
	*ret_code = EXIT_OK;
	return steal_fd(&fd);
}

/* ---- copying ------------------------------------------------------------------------------ */

static bool on_progress(void *user, const struct copy *c, const char *path)
{
	struct exporting *e = user;
	uint64_t now = clock_mono_ns();

	if (now - e->shown_ns > 200000000) {
		e->shown_ns = now;
		progress_show(&e->progress, c->files, c->bytes, path);
	}
	return !interrupted();
}

static void on_note(void *user, const char *path, const char *what, int err)
{
	struct exporting *e = user;
	json_t *o = json_object();

	progress_clear(&e->progress);
	if (err == -EINTR) {
		json_decref(o);
		return;
	}
	warn("%s: %s%s%s", path, what, err ? ": " : "", err ? strerror(-err) : "");
	ctl_name_put(o, "path", path);
	ctl_name_put(o, "error", what);
	if (err)
		json_object_set_new(o, "errno", json_string(strerrorname_np(-err)));
	json_array_append_new(e->failed, o);
}

/* Offline: what a stub stands for. */
static int stub_data(void *ctx, int fd, struct stat *st, copy_sink_fn sink, void *sink_ctx)
{
	struct exporting *e = ctx;
	struct marker mk;
	int r = hot_marker_get(fd, &mk);

	if (r == -ENODATA)
		return 0;
	if (r)
		return r;
	if (mk.state == RES_PARTIAL && st->st_size) {
		r = tier_partial_data(e->off.hot, e->off.store, fd, sink, sink_ctx);
		return r ? r : 1;
	}
	if (mk.size != (uint64_t)st->st_size)
		return 0; /* void: the file was truncated since */
	if (mk.state != RES_SPILLED)
		st->st_mtim = ns_to_ts(mk.mtime_ns);
	r = tier_stub_data(e->off.store, e->off.ix, &mk, sink, sink_ctx);
	return r ? r : 1;
}

static int finish(struct exporting *e, const struct copy *cp, int err, const char *to)
{
	const struct cli *c = e->c;
	bool stopped = err == -EINTR || interrupted();

	progress_clear(&e->progress);
	if (c->json) {
		print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:O}", "files",
				     (json_int_t)cp->files, "directories", (json_int_t)cp->dirs,
				     "others", (json_int_t)cp->others, "hard_links",
				     (json_int_t)cp->links, "bytes", (json_int_t)cp->bytes,
				     "files_failed", (json_int_t)cp->failed, "mounts_left_out",
				     (json_int_t)cp->left_out, "complete",
				     (int)(!err && !cp->failed), "interrupted", (int)stopped,
				     "failed", e->failed));
	} else if (!c->quiet) {
		printf("%sexported %s files, %s, and %s directories; every copy was read back and "
		       "compared",
		       stopped ? "interrupted; " : "", fmt_count(cp->files), fmt_size(cp->bytes),
		       fmt_count(cp->dirs));
		if (cp->failed)
			printf("; %s FAILED", fmt_count(cp->failed));
		putchar('\n');
	}
	if (stopped)
		return EXIT_INTERRUPTED;
	if (err) {
		warn("%s: %s; it is not complete, delete it", to, strerror(-err));
		return EXIT_FAILED;
	}
	return cp->failed ? EXIT_PARTIAL : EXIT_OK;
}

static int run(struct exporting *e, struct copy *cp, int src, const char *to,
	       const char *const from[])
{
	int code;
	cleanup_fd int dst = open_to(e->c, to, from, &code);

	if (dst < 0)
		return code;
	cp->ctx = cp->user = e;
	cp->hidden = hot_xattr_reserved;
	cp->progress = on_progress;
	cp->note = on_note;
	e->failed = json_array();
	interrupt_catch();
	progress_init(&e->progress, e->c, "exporting");
	code = finish(e, cp, copy_tree(cp, src, dst), to);
	json_decref(e->failed);
	return code;
}

static int export_offline(const struct cli *c)
{
	struct exporting e = {.c = c, .off = {.lock_fd = -1, .hot_fd = -1}};
	struct copy cp = {.data = stub_data};
	cleanup_free char *store = target_resolve(c->store), *hot = target_resolve(c->hot);
	const char *from[] = {hot, store, NULL};
	int code = offline_store(c, c->store, &e.off);

	if (!code)
		code = offline_hot(c, c->hot, &e.off);
	if (!code)
		code = hot && store ? run(&e, &cp, hot_root_fd(e.off.hot), c->argv[0], from)
				    : fail(c, EXIT_SYSTEM, "out of memory");
	offline_done(&e.off);
	return code;
}

int do_export(const struct cli *c)
{
	cleanup_(target_done) struct target t = {0};
	struct exporting e = {.c = c};
	struct copy cp = {0};
	cleanup_free char *err = NULL, *store = NULL;
	json_t *o = NULL;
	int code;

	if (c->store || c->hot) {
		if (!c->store || !c->hot || c->mount)
			return fail(c, EXIT_USAGE,
				    "without a daemon it takes both: --store STORE --hot DIR");
		return export_offline(c);
	}
	code = target_mount(c, &t, &err);
	if (!code)
		code = request(t.mount, request_new("status", ""), NULL, NULL, &o, &err);
	if (code)
		return fail(c, code, "%s", err ? err : "out of memory");
	ctl_name_get(o, "store", &store);
	json_decref(o);
	const char *from[] = {t.mount, store, NULL};
	cleanup_fd int src = open(t.mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (src < 0)
		return fail(c, EXIT_FAILED, "%s: %s", t.mount, strerror(errno));
	return run(&e, &cp, src, c->argv[0], from);
}
