/* SPDX-License-Identifier: MIT
 * `check` without a daemon: opens the store read-only, and the hot tier where it is (behind the
 * guard, or bare).
 *
 * Invariant: no daemon works on the store meanwhile. A shared lock on STORE/LOCK is held all the
 * time, which a daemon's exclusive one excludes; otherwise what is being moved would look damaged.
 */
#include "offline.h"

#include "spill/hot.h"
#include "spill/index.h"
#include "spill/mnt.h"
#include "spill/store.h"
#include "spill/tier.h"
#include <fcntl.h>
#include <sys/file.h>

void offline_done(struct offline *o)
{
	if (o->hot)
		hot_close(o->hot);
	if (o->ix)
		index_close(o->ix);
	if (o->store)
		store_close(o->store);
	spill_closep(&o->hot_fd);
	spill_closep(&o->lock_fd);
}

static int lock_store(const struct cli *c, const char *store, struct offline *o)
{
	cleanup_free char *path = path_of(store, "LOCK");

	o->lock_fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (o->lock_fd < 0)
		return errno == ENOENT ? EXIT_OK /* never used yet */
				       : fail(c, EXIT_SYSTEM, "%s: %s", path, strerror(errno));
	if (!flock(o->lock_fd, LOCK_SH | LOCK_NB))
		return EXIT_OK;
	if (errno == EWOULDBLOCK)
		return fail(c, EXIT_STORE_LOCKED,
			    "%s: in use by a daemon; ask that instead (spillctl %s, with DIR or -m "
			    "DIR)",
			    store, c->verb->name);
	return fail(c, EXIT_SYSTEM, "%s: %s", path, strerror(errno));
}

static int store_failed(const struct cli *c, const char *store, int err)
{
	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
		return fail(c, EXIT_STORE_MISSING, "%s: %s", store, strerror(-err));
	case -ENODATA:
		return fail(c, EXIT_STORE_FOREIGN, "%s: an empty directory, not a store", store);
	case -EMEDIUMTYPE:
		return fail(c, EXIT_STORE_FOREIGN, "%s: not a spillfs store", store);
	case -EPROTONOSUPPORT:
		return fail(c, EXIT_STORE_FOREIGN, "%s: written by a newer spillfs", store);
	case -EUCLEAN:
	case -EBADMSG:
		return fail(c, EXIT_STORE_CORRUPT, "%s: damaged", store);
	case -EBUSY:
		return fail(c, EXIT_STORE_LOCKED, "%s: in use", store);
	}
	return fail(c, err == -ENOMEM ? EXIT_SYSTEM : EXIT_FAILED, "%s: %s", store, strerror(-err));
}

int offline_store(const struct cli *c, const char *store, struct offline *o)
{
	struct store_opts opts = {.level = 3, .pack_bytes = 128u << 20, .cache_bytes = 32u << 20};
	struct store_id id;
	int err = store_identify(store, &id), code;

	if (err)
		return store_failed(c, store, err);
	code = lock_store(c, store, o);
	if (code)
		return code;
	err = store_open(&o->store, store, &opts, true);
	if (err)
		return store_failed(c, store, err);
	err = index_open(&o->ix, store, false, true);
	if (err == -ENOENT)
		return fail(c, EXIT_STORE_CORRUPT, "%s: index.db is missing", store);
	if (err == -EUCLEAN)
		return fail(c, EXIT_STORE_CORRUPT, "%s: index.db is damaged", store);
	return err ? store_failed(c, store, err) : EXIT_OK;
}

int offline_hot(const struct cli *c, const char *dir, struct offline *o)
{
	cleanup_free char *real = target_resolve(dir);
	enum mnt_state state = MNT_BARE;
	const char *why = NULL;
	struct hot_root root;
	int err;

	if (!real)
		return fail(c, EXIT_DIR_BAD, "%s: %s", dir, strerror(errno));
	err = mnt_probe(real, &state, NULL);
	if (err || state == MNT_LIVE || state == MNT_DEAD)
		return fail(c, EXIT_MOUNTED,
			    "%s: a spillfs is mounted there, and not from this store; unmount it "
			    "or ask its daemon (DIR without STORE)",
			    real);
	o->hot_fd = state == MNT_GUARDED ? mnt_hot_fd(real)
					 : open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->hot_fd < 0)
		return fail(c, EXIT_DIR_BAD, "%s: %s", real,
			    strerror(state == MNT_GUARDED ? -o->hot_fd : errno));
	err = hot_open(&o->hot, o->hot_fd, &why);
	if (err)
		return fail(c, EXIT_HOT_BAD, "%s: %s", real, why ? why : strerror(-err));
	err = hot_root_get(o->hot, &root);
	if (!err && memcmp(root.store_uuid, store_ident(o->store)->uuid, sizeof(root.store_uuid)))
		return fail(c, EXIT_STORE_FOREIGN, "%s: belongs to another store", real);
	if (err == -ENODATA)
		return fail(c, EXIT_STORE_FOREIGN, "%s: was never mounted with a store", real);
	return EXIT_OK;
}

static bool on_progress(void *ctx, const struct tier_work *w)
{
	struct check_report *r = ctx;

	progress_show(&r->progress, w->files_seen, w->bytes_done, w->current ? w->current : "");
	return !interrupted();
}

static void on_problem(void *ctx, const char *what, const char *path)
{
	check_report_problem(ctx, what, path);
}

static json_t *sums_json(const struct check_result *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)s->files,
			 "stubs", (json_int_t)s->stubs, "objects", (json_int_t)s->objects, "packs",
			 (json_int_t)s->packs, "frames", (json_int_t)s->frames, "bytes",
			 (json_int_t)s->bytes, "problems", (json_int_t)s->problems,
			 "leaked_objects", (json_int_t)s->leaked_objects);
}

int check_offline(const struct cli *c, const char *store, const char *hot)
{
	cleanup_(offline_done) struct offline o = {.lock_fd = -1, .hot_fd = -1};
	struct check_report r = {.c = c, .mount = hot, .found = NULL};
	struct check_result sums = {0};
	int err, code = offline_store(c, store, &o);

	if (!code && hot)
		code = offline_hot(c, hot, &o);
	if (code)
		return code;
	interrupt_catch();
	progress_init(&r.progress, c, "checking");
	r.found = json_array();
	err = tier_check_offline(o.hot, o.store, o.ix, !c->quick, on_progress, on_problem, &r,
				 &sums);
	progress_clear(&r.progress);
	if (err == -EINTR)
		code = fail(c, EXIT_INTERRUPTED, "interrupted; %s problems found until then",
			    fmt_count(json_array_size(r.found)));
	else if (err)
		code = fail(c, EXIT_FAILED, "%s: %s", store, strerror(-err));
	else
		code = check_report_finish(&r, sums_json(&sums), "offline", store);
	json_decref(r.found);
	return code;
}
