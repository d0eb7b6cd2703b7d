/* SPDX-License-Identifier: MIT
 * Answers to spillctl: numbers, single files, directories, layers.
 */
#include "gate.h"
#include "overflow.h"

#include "spill/policy.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int tier_status(struct tier *t, struct tier_status *ret)
{
	struct index_totals tot;
	struct store_space sp;
	struct statvfs sv;
	int r = hot_statfs(t->hot, &sv);

	memset(ret, 0, sizeof(*ret));
	if (!r)
		r = index_totals(t->ix, &tot);
	if (r)
		return r;
	ret->hot.total_bytes = (uint64_t)sv.f_blocks * sv.f_frsize;
	ret->hot.used_bytes = (uint64_t)(sv.f_blocks - sv.f_bfree) * sv.f_frsize;
	ret->hot.free_bytes = (uint64_t)sv.f_bavail * sv.f_frsize;
	ret->hot.inodes_total = sv.f_files;
	ret->hot.inodes_free = sv.f_ffree;
	tier_space(t, &sp, &ret->backing.silent_sec);
	ret->backing.total_bytes = sp.total_bytes;
	ret->backing.free_bytes = sp.free_bytes;
	ret->backing.stored_bytes = sp.stored_bytes;
	ret->backing.index_bytes = tot.db_bytes;
	pthread_mutex_lock(&t->trend_lock);
	trend_tell(&t->trend, &ret->trend);
	pthread_mutex_unlock(&t->trend_lock);
	ret->files_premigrated = tot.files_premigrated;
	ret->premigrated_bytes = tot.premigrated_data_bytes;
	ret->files_spilled = tot.files_spilled;
	ret->files_partial = store_overflow_files(t->store);
	ret->files_resident = UINT64_MAX;
	if (atomic_load(&t->regular_known)) {
		long long n =
			atomic_load(&t->n_regular) -
			(long long)(tot.files_premigrated + tot.files_spilled + ret->files_partial);

		ret->files_resident = n > 0 ? (uint64_t)n : 0;
	}
	ret->spilled_logical_bytes = tot.spilled_logical_bytes;
	ret->objects = tot.objects;
	ret->nodes_known = atomic_load(&t->n_nodes);
	ret->files_open = atomic_load(&t->n_open);
	ret->spilled_bytes_total = atomic_load(&t->n_spilled_bytes);
	ret->recalled_bytes_total = atomic_load(&t->n_recalled_bytes);
	ret->errors = atomic_load(&t->n_errors);
	ret->auto_spill = t->cfg->auto_spill;
	ret->passthrough = t->pass.open && !atomic_load(&t->pass_off);
	ret->gate = gate_works(t);
	ret->gate_closed = gate_closed(t);
	ret->frozen = atomic_load(&t->frozen);
	pins_status(t, ret);
	pthread_mutex_lock(&t->auto_lock);
	snprintf(ret->parked, sizeof(ret->parked), "%s", t->parked);
	bool kicked = t->auto_kick;

	pthread_mutex_unlock(&t->auto_lock);
	pthread_mutex_lock(&t->defer_lock);
	bool deferred = t->defer_n > 0;

	pthread_mutex_unlock(&t->defer_lock);
	ret->paused_until_ns = tier_paused(t);
	if (!ret->paused_until_ns && !strcmp(ret->parked, PAUSED_TEXT))
		ret->parked[0] = 0; /* it has just ended */
	ret->used_percent = policy_used_percent(&sv);
	bool due = ret->auto_spill && !ret->paused_until_ns && !ret->parked[0] && !ret->frozen &&
		   (kicked || ret->used_percent >= t->cfg->high);

	ret->busy = atomic_load(&t->working) || deferred || due;
	return 0;
}

/* Called often, by one thread. */
void trend_tick(struct tier *t)
{
	struct statvfs sv = {0};
	uint64_t now = clock_mono_ns();

	if (!trend_due(&t->trend, now))
		return;
	tier_statfs(t, &sv);
	if (!sv.f_blocks)
		return;
	pthread_mutex_lock(&t->trend_lock);
	trend_add(&t->trend, now,
		  (uint64_t)(sv.f_blocks - MIN(sv.f_bavail, sv.f_blocks)) * sv.f_frsize,
		  sv.f_files - MIN(sv.f_ffree, sv.f_files));
	pthread_mutex_unlock(&t->trend_lock);
}

/* ---- one file
 * --------------------------------------------------------------------------------------- */

/* The last layer on the way to path, by its own key. */
static void layer_of_path(struct tier *t, const char *path, char *out, size_t len)
{
	size_t best = 0;

	out[0] = 0;
	while (*path == '/')
		path++;
	pthread_rwlock_rdlock(&t->layer_lock);
	for (uint32_t i = 1; i < t->nlayers; i++) {
		size_t n = strlen(t->layers[i].key);

		if (n > best && !strncmp(t->layers[i].key, path, n) &&
		    (path[n] == '/' || !path[n])) {
			best = n;
			snprintf(out, len, "%s", t->layers[i].key);
		}
	}
	pthread_rwlock_unlock(&t->layer_lock);
}

/* Not changed since; the row of a file that was goes with the next sweep. */
static bool copy_fits(const struct file_row *row, const struct stat *st)
{
	int64_t m;

	return row->size == (uint64_t)st->st_size && ts_to_ns(&st->st_mtim, &m) &&
	       m == row->mtime_ns;
}

static int info_of_fd(struct tier *t, int fd, const char *path, struct tier_info *ret)
{
	struct file_row row;
	struct object *o;
	struct stat raw, st;
	struct node *n;
	int r = node_of_fd(t, fd, &n, &raw);

	if (r)
		return r;
	memset(ret, 0, sizeof(*ret));
	const char *slash = strrchr(path, '/');

	snprintf(ret->name, sizeof(ret->name), "%s", slash ? slash + 1 : path);
	layer_of_path(t, path, ret->layer, sizeof(ret->layer));
	st = raw;
	node_lock(t, n);
	r = node_learn(t, n, fd, &raw);
	ret->opens = n->opens;
	ret->state = n->rel ? RES_SPILLING : (enum residency)atomic_load(&n->res);
	if (n->cold) {
		struct marker mk = cold_marker(n->cold);

		ret->obj = mk.obj;
		memcpy(ret->hash16, mk.hash16, 16);
	}
	if (n->over)
		ret->stored_bytes = overflow_blocks(n->over) * 512;
	node_unlock(t, n);
	if (!r)
		r = tier_fix_attr(t, n, fd, &st);
	ret->mode = st.st_mode;
	ret->ino = st.st_ino;
	ret->size_bytes = (uint64_t)st.st_size;
	ret->nlink = st.st_nlink;
	ret->hot_blocks = (uint64_t)raw.st_blocks;
	if (!r && S_ISREG(st.st_mode) && ret->state == RES_RESIDENT && st.st_size &&
	    !index_file_get(t->ix, node_hot_id(t, n), &row) && row.state == RES_PREMIGRATED &&
	    copy_fits(&row, &raw)) {
		ret->state = RES_PREMIGRATED;
		ret->obj = row.obj;
	}
	if (!r && ret->obj.v && !index_object_get(t->ix, ret->obj, &o)) {
		ret->obj_refs = o->refs;
		memcpy(ret->hash16, o->sha, 16);
		ret->stored_bytes = store_seg_bytes(t->store, o->segs, o->nsegs);
		object_free(o);
	}
	tier_put(t, n);
	return r;
}

int tier_info(struct tier *t, const char *path, struct tier_info *ret)
{
	cleanup_fd int fd = walk_open(hot_root_fd(t->hot), path, O_PATH);

	return fd < 0 ? fd : info_of_fd(t, fd, path, ret);
}

int tier_ls(struct tier *t, const char *path, bool (*cb)(void *ctx, const struct tier_info *i),
	    void *ctx)
{
	struct dirent **names;
	struct tier_info ti;
	struct stat st;
	cleanup_fd int fd = walk_open(hot_root_fd(t->hot), path, O_PATH);
	int r = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode)) {
		r = info_of_fd(t, fd, path, &ti);
		if (!r)
			cb(ctx, &ti);
		return r;
	}
	cleanup_fd int dir = walk_open(hot_root_fd(t->hot), path, O_RDONLY | O_DIRECTORY);
	int n = dir < 0 ? -1 : scandirat(dir, ".", &names, NULL, alphasort);

	if (n < 0)
		return dir < 0 ? dir : -errno;
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (!r && strcmp(name, ".") && strcmp(name, "..")) {
			cleanup_free char *full = NULL;
			cleanup_fd int f = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

			if (f >= 0 &&
			    asprintf(&full, "%s%s%s", path, *path ? "/" : "", name) >= 0 &&
			    !info_of_fd(t, f, full, &ti) && !cb(ctx, &ti))
				r = -EINTR;
		}
		free(names[i]);
	}
	free(names);
	return r == -EINTR ? 0 : r;
}

/* ---- layers
 * ------------------------------------------------------------------------------------------- */

struct measure {
	struct tier *t;
	struct tier_layer *l;
};

static int measure_file(void *ctx, int dirfd, const char *name, const struct stat *st,
			const char *path)
{
	struct measure *m = ctx;
	struct marker mk;

	(void)path;
	m->l->size.files++;
	m->l->size.logical_bytes += (uint64_t)st->st_size;
	m->l->size.allocated_bytes += (uint64_t)st->st_blocks * 512;
	/* Only a file with fewer blocks than bytes can be a stub; the marker decides. */
	if (st->st_size == 0 || (uint64_t)st->st_blocks * 512 >= (uint64_t)st->st_size + 65536)
		return 0;
	cleanup_fd int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && !hot_marker_get(fd, &mk) && mk.state != RES_PARTIAL) {
		m->l->spilled_files++;
		m->l->spilled_bytes += mk.size;
	}
	return 0;
}

int tier_layers(struct tier *t, bool (*cb)(void *ctx, const struct tier_layer *l), void *ctx)
{
	struct layer_set set = {0};
	int r = layers_scan(hot_root_fd(t->hot), &set);

	heats_drain(t, true);
	for (size_t i = 0; i < set.n && !r; i++) {
		struct tier_layer tl = {.l = &set.v[i]};
		struct measure m = {.t = t, .l = &tl};

		tl.last_used_ns = layer_last_used(t, tl.l);
		r = walk_tree(hot_root_fd(t->hot), tl.l->key, measure_file, &m, NULL);
		if (r == -ENOENT) { /* removed meanwhile */
			r = 0;
			continue;
		}
		if (!r && !cb(ctx, &tl))
			break;
	}
	layer_set_done(&set);
	return r;
}
