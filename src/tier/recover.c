/* SPDX-License-Identifier: MIT
 * What happens at mount: are these two tiers each other's, is either older than the other
 * remembers, and what did an unclean stop leave (the table in DESIGN.md section 4).
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static int say(char **ret_msg, int err, const char *text)
{
	*ret_msg = strdup(text);
	return err;
}

int tier_bind(struct tier *t, char **ret_msg)
{
	const struct store_id *sid = store_ident(t->store);
	struct index_totals tot;
	struct hot_root hr;
	int r = hot_root_get(t->hot, &hr);

	if (r == -ENODATA) {
		r = index_totals(t->ix, &tot);
		if (r)
			return say(ret_msg, r, "the index cannot be read");
		if (tot.objects || tot.files_spilled)
			return say(ret_msg, -EMEDIUMTYPE,
				   "the store holds data of another directory: this one was never "
				   "mounted with "
				   "it; give the right STORE, or an empty directory for a new one");
		memset(&hr, 0, sizeof(hr));
		memcpy(hr.store_uuid, sid->uuid, 16);
		memcpy(hr.hot_uuid, sid->hot_uuid, 16);
		r = hot_root_set(t->hot, &hr);
		return r ? say(ret_msg, r, "the directory's root record cannot be written") : 0;
	}
	if (r)
		return say(ret_msg, r, "the directory's root record (" ROOT_XATTR ") is damaged");
	if (memcmp(hr.store_uuid, sid->uuid, 16) || memcmp(hr.hot_uuid, sid->hot_uuid, 16))
		return say(ret_msg, -EMEDIUMTYPE,
			   "the directory belongs to another store, or the store to another "
			   "directory; give "
			   "the STORE it was mounted with before");
	return 0;
}

/* ---- rows that were in transit
 * ------------------------------------------------------------------------ */

/* A SPILLING (or RECALLING) row: what does the inode say? *drop: the row goes; else it becomes
 * SPILLED. */
static int resolve(struct tier *t, const struct file_row *row, bool *drop, bool *stale)
{
	struct object *o = NULL;
	struct marker mk;
	struct hot_fh fh;
	struct stat st;
	int r;

	*drop = *stale = false;
	if (!hot_fh_of_id(t->hot, row->id, &fh))
		return 0;
	cleanup_fd int fd = hot_open_fh(t->hot, &fh, O_RDWR | O_NOFOLLOW | O_NOATIME);

	if (fd == -ESTALE) {
		*stale = true; /* nominated only: the reconcile's scan decides */
		return 0;
	}
	if (fd < 0)
		return fd;
	r = hot_marker_get(fd, &mk);
	if (r == -ENODATA || (!r && mk.obj.v != row->obj.v)) {
		*drop = true; /* still resident: the copy is not trusted */
		return 0;
	}
	if (r)
		return 0; /* damaged marker: reported when it is looked up */
	if (fstat(fd, &st))
		return -errno;
	if (mk.state == RES_SPILLED || (uint64_t)st.st_size != mk.size)
		return 0;
	/* Marker SPILLING: finish it, unless the store's copy is not good after all. */
	r = object_prove(t, &mk);
	if (!r)
		r = index_object_get(t->ix, mk.obj, &o);
	if (!r)
		r = compare_hot(t, fd, o);
	object_free(o);
	struct timespec times[2] = {st.st_atim, ns_to_ts(mk.mtime_ns)};

	if (!r) {
		r = hot_punch_all(fd, mk.size);
		if (!r)
			r = d_futimens(fd, times);
		mk.state = RES_SPILLED;
		return r ? r : hot_marker_set(fd, &mk);
	}
	/* It was partial, and all of that is still here. */
	int over = store_overflow_open(t->store, row->id, false);

	if (over >= 0) {
		close(over);
		*drop = true;
		r = overflow_marker(fd);
		return r ? r : d_fsync(fd);
	}
	/* All of it is still here? Blocks do not tell: the marker may have brought one. Of a file
	 * with holes of its own it cannot be told without the object. */
	if (lseek(fd, 0, SEEK_HOLE) == st.st_size) {
		log_warn("inode %llu: its copy in the store is not good (%s); the file stays in "
			 "the hot tier",
			 (unsigned long long)row->id.ino, strerror(-r));
		*drop = true;
		r = hot_marker_drop(fd);
		return r ? r : d_fsync(fd);
	}
	log_err("inode %llu: was being spilled, and neither copy can be proved right (%s)",
		(unsigned long long)row->id.ino, strerror(-r));
	atomic_fetch_add(&t->n_errors, 1);
	return 0;
}

static int resolve_state(struct tier *t, enum residency state)
{
	struct file_row rows[256];
	struct hot_id after = {0, 0};
	ssize_t n;

	while ((n = index_file_list(t->ix, state, after, rows, ARRAY_SIZE(rows))) > 0) {
		struct freed fr = {0};
		bool drop[256], stale[256];
		int r = 0;

		for (ssize_t i = 0; i < n && !r; i++)
			r = resolve(t, &rows[i], &drop[i], &stale[i]);
		if (!r)
			r = d_syncfs(hot_root_fd(t->hot));
		if (!r)
			r = index_begin(t->ix);
		if (r)
			return r;
		for (ssize_t i = 0; i < n && !r; i++) {
			if (drop[i])
				r = row_drop(t, rows[i].id, rows[i].obj, &fr);
			else
				r = index_file_state(t->ix, rows[i].id, RES_SPILLED);
		}
		if (r) {
			index_rollback(t->ix);
			freed_forget(&fr);
			return r;
		}
		r = index_commit(t->ix);
		if (r) {
			freed_forget(&fr);
			return r;
		}
		freed_release(t, &fr);
		after = rows[n - 1].id;
	}
	return n < 0 ? (int)n : 0;
}

/* After an unclean stop no premigrated copy is trusted without hashing: snap_ns 0 says so. */
static int distrust(struct tier *t)
{
	const size_t page = 16384; /* each is one commit, while everybody waits */
	cleanup_free struct file_row *rows = calloc(page, sizeof(*rows));
	struct hot_id after = {0, 0};
	ssize_t n;

	if (!rows)
		return -ENOMEM;
	while ((n = index_file_list(t->ix, RES_PREMIGRATED, after, rows, page)) > 0) {
		int r = index_begin(t->ix);

		for (ssize_t i = 0; i < n && !r; i++) {
			if (!rows[i].snap_ns)
				continue;
			rows[i].snap_ns = 0;
			r = index_file_put(t->ix, &rows[i]);
		}
		if (r) {
			index_rollback(t->ix);
			return r;
		}
		r = index_commit(t->ix);
		if (r)
			return r;
		after = rows[n - 1].id;
	}
	return n < 0 ? (int)n : 0;
}

struct pack_recovery {
	struct tier *t;
	bool index_used;      /* not a new one in place of a lost one */
	uint32_t orphans[16]; /* more than one batch leaves are found again at the next mount */
	size_t n;
};

static void pack_problem(void *ctx, uint32_t pack, int err, const char *what)
{
	struct pack_recovery *pr = ctx;

	/* The epochs agree, so the index is no older than the packs: a pack it does not know comes
	 * from a batch that never committed, and no marker names anything in it. */
	if (err == -ESTALE && pr->index_used && pr->n < ARRAY_SIZE(pr->orphans)) {
		pr->orphans[pr->n++] = pack;
		return;
	}
	log_err("pack %u: %s (%s); files in it may be unreadable, run spillctl check", pack, what,
		strerror(-err));
	atomic_fetch_add(&pr->t->n_errors, 1);
}

static int recover_packs(struct tier *t)
{
	struct pack_recovery pr = {.t = t};
	struct pack_row *rows = NULL;
	struct pack_len *lens = NULL;
	uint64_t e;
	size_t n = 0;
	int r = index_pack_list(t->ix, &rows, &n);

	if (r)
		return r;
	pr.index_used = !index_meta_get(t->ix, "epoch", &e);
	lens = calloc(n ? n : 1, sizeof(*lens));
	if (!lens) {
		free(rows);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		lens[i] = rows[i].len;
	r = store_recover(t->store, lens, n, pack_problem, &pr);
	for (size_t i = 0; i < pr.n && !r; i++) {
		log_info("pack %u: left by a batch that was cut off; removed", pr.orphans[i]);
		r = store_remove_pack(t->store, pr.orphans[i]);
	}
	free(lens);
	free(rows);
	return r;
}

static uint64_t meta(struct tier *t, const char *key, uint64_t def)
{
	uint64_t v;

	return index_meta_get(t->ix, key, &v) ? def : v;
}

int tier_mark_clean(struct tier *t)
{
	return index_meta_put(t->ix, "clean", 1);
}

int tier_thaw(struct tier *t)
{
	struct hot_root hr;
	int r = 0;

	if (!atomic_load(&t->frozen))
		return 0;
	pthread_mutex_lock(&t->spill_lock);
	r = hot_root_get(t->hot, &hr);
	if (!r) {
		t->epoch = MAX(MAX(hr.epoch, meta(t, "epoch", 0)), meta(t, "epoch_next", 0));
		r = recover_packs(t);
	}
	/* What a mount does after an unclean stop: copies are not trusted. The rest, which must not
	 * meet open files, is left to the next one. */
	if (!r && t->unclean) {
		atomic_store(&t->scan_due, true);
		r = distrust(t);
	}
	if (!r)
		r = index_meta_put(t->ix, "clean", 0);
	if (!r)
		r = epoch_bump(t);
	if (!r)
		atomic_store(&t->frozen, false);
	pthread_mutex_unlock(&t->spill_lock);
	return r;
}

int tier_recover(struct tier *t, char **ret_msg)
{
	uint64_t epoch = meta(t, "epoch", 0), next = meta(t, "epoch_next", 0);
	struct hot_root hr;
	int r = hot_root_get(t->hot, &hr);

	if (r)
		return say(ret_msg, r, "the directory's root record cannot be read");
	t->unclean = meta(t, "clean", 1) == 0;
	t->obj_limit = meta(t, "obj_limit", 1);
	t->next_obj = t->obj_limit;
	t->epoch = hr.epoch;
	if (hr.epoch != epoch && hr.epoch != next) {
		atomic_store(&t->frozen, true);
		log_err("the hot tier and the store do not remember the same last change (%llx, "
			"%llx): one "
			"of them is an older copy. Nothing is spilled or freed until `spillctl "
			"check` has "
			"passed",
			(unsigned long long)hr.epoch, (unsigned long long)epoch);
		return 0; /* no repair that could destroy what the other side needs */
	}
	if (t->unclean)
		log_info("the last stop was not clean: recovering");
	r = recover_packs(t);
	if (r)
		return say(ret_msg, r, "the store's packs cannot be recovered");
	if (t->unclean) {
		r = resolve_state(t, RES_SPILLING);
		if (!r)
			r = resolve_state(t, RES_RECALLING);
		if (!r)
			r = distrust(t);
		if (r)
			return say(ret_msg, r, "recovery after the unclean stop failed");
	}
	r = index_meta_put(t->ix, "clean", 0);
	if (!r)
		r = epoch_bump(t);
	return r ? say(ret_msg, r, "the new epoch cannot be recorded") : 0;
}
