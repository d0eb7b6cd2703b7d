/* SPDX-License-Identifier: MIT
 * ctl_fake DIR: a control server with the daemon's real verbs over a pretended tier, so that
 * spillctl can be tested without a mount, without a store, and with answers made to measure.
 *
 * DIR is a plain directory. What a file pretends to be is in the end of its name: ".spilled",
 * ".premigrated", ".busy" (spill and recall find it in use), ".bad" (they fail with EIO). A file
 * "slow" makes them work until interrupted, "full" makes them stop with ENOSPC, and "damaged"
 * makes check find two problems. Serves until stdin ends.
 */
#include "../../src/spillfs/verb_check.c"
#include "../../src/spillfs/verb_layers.c"
#include "../../src/spillfs/verb_list.c"
#include "../../src/spillfs/verb_move.c"
#include "../../src/spillfs/verb_kubelet.c"
#include "../../src/spillfs/verb_pause.c"
#include "../../src/spillfs/verb_pin.c"
#include "../../src/spillfs/verb_status.c"
#include "../../src/spillfs/verb_why.c"
#include "../../src/spillfs/verbs.c"

#include "spill/mnt.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>

struct tier {
	int dirfd;
	struct config cfg;
};

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static bool has(struct tier *t, const char *path, const char *name)
{
	char full[8192];

	snprintf(full, sizeof(full), "%s%s%s", path, *path ? "/" : "", name);
	return !faccessat(t->dirfd, full, F_OK, AT_SYMLINK_NOFOLLOW);
}

int tier_status(struct tier *t, struct tier_status *ret)
{
	*ret = (struct tier_status){
		.trend = {.known = !has(t, "", "fresh"),
			  .watched_sec = 600,
			  .bytes_per_hour = 1000000000,
			  .bytes_per_hour_now = 2000000000,
			  .inodes_per_hour = -5},
		.hot = {7000000000, 5000000000, 2000000000, 459000, 310683},
		.backing = {100000000000, 60000000000, 3000000000, 12000000, 0},
		.files_resident = has(t, "", "uncounted") ? UINT64_MAX : 1234,
		.files_premigrated = 12,
		.files_spilled = 34567,
		.spilled_logical_bytes = 9000000000,
		.objects = 20000,
		.errors = has(t, "", "damaged") ? 3 : 0,
		.auto_spill = true,
		.used_percent = 71,
		.busy = has(t, "", "busy"),
		.paused_until_ns = has(t, "", "paused") ? INT64_MAX : 0,
		.pins = has(t, "", "pins") ? 3 : 0,
		.pinned_bytes = 6900000000,
		.frozen = has(t, "", "frozen"),
	};
	if (has(t, "", "parked"))
		strcpy(ret->parked, "the store is full: \x1b[31m");
	return has(t, "", "broken") ? -EIO : 0;
}

bool fs_passthrough(const struct fs *f)
{
	(void)f;
	return true;
}

uint64_t fs_requests(const struct fs *f, unsigned opcode, const char **ret_name)
{
	(void)f;
	*ret_name = opcode == 1 ? "LOOKUP" : NULL;
	return 1234;
}

void fs_lives(const struct fs *f, uint64_t *ret_lives, uint64_t *ret_again)
{
	(void)f;
	*ret_lives = 2;
	*ret_again = 3;
}

void fs_refused(const struct fs *f, char ret[FS_REFUSED_MAX])
{
	(void)f;
	ret[0] = 0;
}

bool fs_writeback(const struct fs *f)
{
	(void)f;
	return false;
}

uint64_t fs_lost(const struct fs *f)
{
	(void)f;
	return 0;
}

uint64_t fs_refusals(const struct fs *f)
{
	(void)f;
	return 0;
}

static bool no_supervisor(struct daemon *d)
{
	(void)d;
	return false;
}

void tier_statfs(struct tier *t, struct statvfs *ret)
{
	(void)t;
	*ret = (struct statvfs){.f_frsize = 4096, .f_blocks = 26000000, .f_bavail = 15000000};
}

int tier_info(struct tier *t, const char *path, struct tier_info *ret)
{
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (fstatat(t->dirfd, path, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -errno;
	*ret = (struct tier_info){
		.mode = st.st_mode,
		.ino = st.st_ino,
		.nlink = st.st_nlink,
		.size_bytes = (uint64_t)st.st_size,
		.hot_blocks = (uint64_t)st.st_blocks,
	};
	snprintf(ret->name, sizeof(ret->name), "%s", slash ? slash + 1 : path);
	if (ends_in(path, ".spilled") || ends_in(path, ".premigrated")) {
		ret->state = ends_in(path, ".spilled") ? RES_SPILLED : RES_PREMIGRATED;
		ret->obj.v = 4711;
		ret->obj_refs = 2;
		ret->stored_bytes = 99;
		memset(ret->hash16, 0xa5, sizeof(ret->hash16));
		strcpy(ret->layer, "overlay2/\xff"
				   "abc");
	}
	return 0;
}

int tier_ls(struct tier *t, const char *path, bool (*cb)(void *ctx, const struct tier_info *i),
	    void *ctx)
{
	struct tier_info i;
	struct dirent **v;
	int err = tier_info(t, path, &i), n;

	if (err || !S_ISDIR(i.mode)) {
		if (!err)
			cb(ctx, &i);
		return err;
	}
	n = scandirat(t->dirfd, *path ? path : ".", &v, NULL, alphasort);
	for (int k = 0; k < n; k++) {
		cleanup_free char *full = NULL;

		if (strcmp(v[k]->d_name, ".") && strcmp(v[k]->d_name, "..") &&
		    asprintf(&full, "%s/%s", *path ? path : ".", v[k]->d_name) >= 0 &&
		    !tier_info(t, full, &i))
			cb(ctx, &i);
		free(v[k]);
	}
	if (n >= 0)
		free(v);
	return n < 0 ? -errno : 0;
}

struct moving {
	tier_note_fn note;
	tier_progress_fn progress;
	void *ctx;
	struct tier_work w;
	const char *dir;
	int err;
};

static bool move_file(void *ctx, const struct tier_info *i)
{
	struct moving *m = ctx;
	cleanup_free char *path = NULL;

	if (!S_ISREG(i->mode))
		return true;
	if (asprintf(&path, "%s%s%s", m->dir, *m->dir ? "/" : "", i->name) < 0)
		return false;
	m->w.files_seen++;
	m->w.current = path;
	if (!strcmp(i->name, "slow"))
		while (m->progress(m->ctx, &m->w))
			usleep(10000);
	if (!m->progress(m->ctx, &m->w))
		m->err = -EINTR;
	else if (!strcmp(i->name, "full"))
		m->err = -ENOSPC;
	else if (ends_in(i->name, ".busy")) {
		m->w.files_busy++;
		m->note(m->ctx, path, -EBUSY);
	} else if (ends_in(i->name, ".bad")) {
		m->w.files_failed++;
		m->note(m->ctx, path, -EIO);
	} else if (ends_in(i->name, ".spilled")) {
		m->w.files_skipped++;
	} else {
		m->w.files_done++;
		m->w.bytes_done += i->size_bytes;
		m->w.bytes_stored += i->size_bytes / 4;
		m->w.freed_bytes += i->hot_blocks * 512;
	}
	return !m->err;
}

int tier_spill_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
		    void *ctx, struct tier_work *ret)
{
	struct moving m = {.note = note, .progress = fn, .ctx = ctx, .dir = path};
	struct tier_info i;
	int err = tier_info(t, path, &i);
	char *dir = strdupa(path);

	if (!err && !S_ISDIR(i.mode)) {
		m.dir = strrchr(dir, '/') ? dir : "";
		if (*m.dir)
			*strrchr(dir, '/') = 0;
	}
	if (!err)
		err = tier_ls(t, path, move_file, &m);
	m.w.current = NULL;
	*ret = m.w;
	return err ? err : m.err;
}

int tier_premigrate_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
			 void *ctx, struct tier_work *ret)
{
	return tier_spill_path(t, path, fn, note, ctx, ret);
}

int tier_recall_path(struct tier *t, const char *path, tier_progress_fn fn, tier_note_fn note,
		     void *ctx, struct tier_work *ret)
{
	return tier_spill_path(t, path, fn, note, ctx, ret);
}

int tier_layers(struct tier *t, bool (*cb)(void *ctx, const struct tier_layer *l), void *ctx)
{
	struct layer a = {.key = (char *)"overlay2/aaa/diff",
			  .name = (char *)"aaa",
			  .engine = LAYER_DOCKER,
			  .kind = LAYER_SNAPSHOT};
	struct layer b = {.key = (char *)"blobs/sha256/bbb",
			  .name = (char *)"bbb",
			  .engine = LAYER_CONTAINERD,
			  .kind = LAYER_BLOB};
	struct tier_layer la = {.l = &a,
				.size = {10, 1000000, 4096},
				.spilled_files = 9,
				.spilled_bytes = 995904,
				.last_used_ns = (int64_t)time(NULL) * 1000000000};
	struct tier_layer lb = {.l = &b, .size = {1, 500, 4096}, .last_used_ns = 1};

	if (!has(t, "", "nolayers") && cb(ctx, &la))
		cb(ctx, &lb);
	return 0;
}

int tier_check(struct tier *t, bool deep, tier_progress_fn fn, check_problem_fn cb, void *ctx,
	       struct check_result *ret)
{
	struct tier_work w = {.files_seen = 1};

	if (!fn(ctx, &w))
		return -EINTR;
	*ret = (struct check_result){.files = 10,
				     .stubs = 5,
				     .objects = 4,
				     .packs = 1,
				     .frames = deep ? 7 : 0,
				     .bytes = 1000,
				     .leaked_objects = 1};
	if (has(t, "", "damaged")) {
		cb(ctx, "frame 3 of pack 1: checksum mismatch", NULL);
		cb(ctx, "marker without an object",
		   "dir/\xff"
		   "file");
		ret->problems = 2;
	}
	return 0;
}

/* ---- pins, pauses: nothing moves here, only the answers count */

int tier_fit(struct tier *t, const char *path, tier_progress_fn fn, void *ctx, struct tier_fit *ret)
{
	struct tier_info i;
	int err = tier_info(t, path, &i);

	(void)fn, (void)ctx;
	if (err)
		return err;
	ret->files++;
	ret->bytes += 3 << 20;
	ret->room_high = has(t, "", "full") ? 1 << 20 : 100 << 20;
	ret->room_free = ret->room_high;
	return 0;
}

int tier_pin_add(struct tier *t, const char *path, const char *owner)
{
	(void)owner;
	return has(t, path, "pinned") ? -EEXIST : 0;
}

int tier_pin_del(struct tier *t, const char *path, const char *owner, uint64_t *ret_removed)
{
	*ret_removed = path && has(t, path, "pinned");
	(void)owner;
	return *ret_removed ? 0 : -ENOENT;
}

int tier_pins(struct tier *t, bool (*cb)(void *ctx, const struct tier_pin *p), void *ctx)
{
	struct tier_pin a = {.path = "overlay2/aaa/diff", .owner = "img\x1b:1", .files = 10};
	struct tier_pin b = {.path = "gone\xff", .owner = "", .missing = true};

	if (!has(t, "", "nopins") && cb(ctx, &a))
		cb(ctx, &b);
	return 0;
}

void tier_pins_measure(struct tier *t)
{
	(void)t;
}

int tier_pin_of(struct tier *t, const char *path, char **ret_path, char **ret_owner)
{
	(void)t;
	*ret_path = strdup(path);
	*ret_owner = strdup("img\x1b:1");
	return 0;
}

int tier_pause(struct tier *t, int64_t until_ns)
{
	(void)t, (void)until_ns;
	return 0;
}

int64_t tier_paused(struct tier *t)
{
	return has(t, "", "paused") ? INT64_MAX : 0;
}

int tier_why(struct tier *t, const char *path, struct tier_why *ret)
{
	*ret = (struct tier_why){.age_ns = 5000000000};
	int err = tier_info(t, path, &ret->info);

	if (!S_ISREG(ret->info.mode))
		ret->keeps = WHY_NO_FILE;
	else if (!ret->info.opens)
		ret->keeps = WHY_PINNED | WHY_YOUNG;
	return err;
}

int main(int argc, char **argv)
{
	cleanup_free char *run = argc == 2 ? mnt_run_dir(argv[1]) : NULL;
	struct tier t = {.dirfd = argc == 2 ? open(argv[1], O_PATH | O_DIRECTORY) : -1};
	struct daemon d = {.tier = &t,
			   .cfg = &t.cfg,
			   .restart = no_supervisor,
			   .start_mono_ns = clock_mono_ns()};
	char path[4096], c;
	int err;

	if (!run || t.dirfd < 0) {
		fprintf(stderr, "usage: ctl_fake DIR\n");
		return 1;
	}
	config_init(&t.cfg);
	t.cfg.dir = strdup(argv[1]);
	t.cfg.store = strdup("/fake/st\xff"
			     "ore");
	snprintf(path, sizeof(path), "%s/sock", run);
	if (mkdir(run, 0700) && errno != EEXIST) {
		perror(run);
		return 1;
	}
	err = ctl_server_start(&d.ctl, path, daemon_verbs(), &d);
	if (err) {
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	ctl_server_stop(d.ctl);
	config_done(&t.cfg);
	close(t.dirfd);
	return 0;
}
