/* SPDX-License-Identifier: MIT
 * The janitor: deferred index changes, and freeing what is durably gone (invariant 7).
 *
 * Requests never wait for the index: they queue what must be recorded, in order, and one thread
 * applies it in batched transactions. Losing queued changes in a crash loses no data: a row that
 * stayed too long only keeps an object alive until the next reconcile.
 *
 * Freeing an unlinked stub's object, in this order:
 *   tombstone journalled -> nobody holds the inode -> syncfs(hot), later than the unlink -> handle
 * is stale -> row, tombstone and reference deleted in one transaction -> grace period of cold reads
 * -> frames punched A power cut before the syncfs may bring the name back: then row and object are
 * still there.
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>

#define FLUSH_MS  300
#define FREE_MS   1000
#define SWEEP_MS  30000
#define LAYERS_MS 10000
#define TOMBS_MAX 4096
#define ROWS_PAGE 1024

int janitor_init(struct tier *t)
{
	pthread_condattr_t ca;

	pthread_mutex_init(&t->defer_lock, NULL);
	pthread_mutex_init(&t->flush_lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&t->defer_cond, &ca);
	pthread_condattr_destroy(&ca);
	t->defer_tail = &t->defer_head;
	return 0;
}

void janitor_done(struct tier *t)
{
	while (t->defer_head) {
		struct defer *d = t->defer_head;

		t->defer_head = d->next;
		free(d);
	}
}

void defer_put(struct tier *t, enum defer_kind kind, const struct file_row *row)
{
	struct defer *d = malloc(sizeof(*d));

	if (!d)
		return; /* the next reconcile finds it */
	*d = (struct defer){.kind = kind, .row = *row};
	pthread_mutex_lock(&t->defer_lock);
	*t->defer_tail = d;
	t->defer_tail = &d->next;
	t->defer_n++;
	if (t->defer_n >= 4096)
		pthread_cond_signal(&t->defer_cond);
	pthread_mutex_unlock(&t->defer_lock);
}

/* ---- rows and references [W] --------------------------------------------------------------------
 */

static int freed_add(struct freed *fr, struct object *o)
{
	if (fr->n == fr->cap) {
		size_t cap = fr->cap ? 2 * fr->cap : 64;
		struct object **v = realloc(fr->v, cap * sizeof(struct object *));

		if (!v)
			return -ENOMEM;
		fr->v = v;
		fr->cap = cap;
	}
	fr->v[fr->n++] = o;
	return 0;
}

/* One reference less; an object that nobody refers to goes, and is collected in fr. */
static int unref(struct tier *t, struct obj_id id, struct freed *fr)
{
	struct object *o = NULL;
	int64_t left = index_object_ref(t->ix, id, -1);

	if (left == -ENOENT)
		return 0;
	if (left)
		return left < 0 ? (int)left : 0;
	if (atomic_load(&t->frozen)) /* nothing may be freed */
		return 0;
	int r = index_object_get(t->ix, id, &o);

	if (r)
		return r == -ENOENT ? 0 : r;
	r = index_object_delete(t->ix, id);
	if (!r)
		r = freed_add(fr, o);
	if (r)
		object_free(o);
	return r;
}

int row_replace(struct tier *t, const struct file_row *row, struct freed *fr)
{
	struct file_row old = {0};
	int r = index_file_get(t->ix, row->id, &old);

	if (r && r != -ENOENT)
		return r;
	if (old.obj.v != row->obj.v) {
		int64_t n = index_object_ref(t->ix, row->obj, 1);

		if (n < 0)
			return (int)n;
		if (old.obj.v) {
			r = unref(t, old.obj, fr);
			if (r)
				return r;
		}
	}
	return index_file_put(t->ix, row);
}

int row_drop(struct tier *t, struct hot_id id, struct obj_id obj, struct freed *fr)
{
	struct file_row row;
	int r = index_file_get(t->ix, id, &row);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (row.obj.v != obj.v)
		return 0; /* spilled anew since */
	r = index_file_del(t->ix, id);
	return r ? r : unref(t, obj, fr);
}

/* ---- freed frames
 * ---------------------------------------------------------------------------------- */

unsigned read_enter(struct tier *t)
{
	for (;;) {
		unsigned p = atomic_load(&t->read_parity) & 1;

		atomic_fetch_add(&t->reads[p], 1);
		if ((atomic_load(&t->read_parity) & 1) == p)
			return p;
		atomic_fetch_sub(&t->reads[p], 1); /* the parity turned in between */
	}
}

void read_exit(struct tier *t, unsigned parity)
{
	atomic_fetch_sub(&t->reads[parity], 1);
}

void read_grace(struct tier *t)
{
	/* One at a time: a second turn would not wait for those who entered before the first. */
	pthread_mutex_lock(&t->grace_lock);
	unsigned p = atomic_fetch_add(&t->read_parity, 1) & 1;

	while (atomic_load(&t->reads[p]))
		usleep(1000);
	pthread_mutex_unlock(&t->grace_lock);
}

void freed_release(struct tier *t, struct freed *fr)
{
	struct pack_row *packs = NULL;
	size_t n = 0;

	if (fr->n) {
		read_grace(t);
		for (size_t i = 0; i < fr->n; i++) {
			const struct object *o = fr->v[i];

			/* Larger objects own their frames; the rest goes with its pack. */
			for (uint32_t k = 0; o->stream_len >= FRAME_SIZE && k < o->nsegs; k++) {
				uint64_t frames = (o->segs[k].len + FRAME_SIZE - 1) / FRAME_SIZE;

				store_punch_frames(t->store, o->segs[k].pack, o->segs[k].frame,
						   (uint32_t)frames);
			}
			object_free(fr->v[i]);
		}
		/* Packs without a live byte; the newest may still be appended to. */
		if (!index_pack_list(t->ix, &packs, &n))
			for (size_t i = 0; i + 1 < n; i++) {
				if (packs[i].live_bytes || index_begin(t->ix))
					continue;
				if (index_pack_del(t->ix, packs[i].len.pack))
					index_rollback(t->ix);
				else if (!index_commit(t->ix))
					store_remove_pack(t->store, packs[i].len.pack);
			}
	}
	free(packs);
	free(fr->v);
	*fr = (struct freed){0};
}

void freed_forget(struct freed *fr)
{
	for (size_t i = 0; i < fr->n; i++)
		object_free(fr->v[i]);
	free(fr->v);
	*fr = (struct freed){0};
}

/* ---- flush
 * -------------------------------------------------------------------------------------------- */

static int apply(struct tier *t, const struct defer *d, struct freed *fr)
{
	struct tomb tb = {.id = d->row.id, .obj = d->row.obj};

	switch (d->kind) {
	case DEFER_TOMB:
		return index_tomb_put(t->ix, &tb);
	case DEFER_DROP:
		return row_drop(t, d->row.id, d->row.obj, fr);
	case DEFER_PREMIGRATED:
	case DEFER_ADOPT:
		return row_replace(t, &d->row, fr);
	}
	return 0;
}

int janitor_flush(struct tier *t)
{
	struct freed fr = {0};
	int r = 0;

	pthread_mutex_lock(&t->flush_lock);
	pthread_mutex_lock(&t->defer_lock);
	struct defer *list = t->defer_head;

	t->defer_head = NULL;
	t->defer_tail = &t->defer_head;
	t->defer_n = 0;
	pthread_mutex_unlock(&t->defer_lock);
	if (list) {
		r = index_begin(t->ix);
		for (struct defer *d = list; d && !r; d = d->next) {
			r = apply(t, d, &fr);
			if (r == -ENOENT)
				r = 0;
		}
		if (r) {
			index_rollback(t->ix);
		} else {
			r = index_commit(t->ix);
		}
		if (r) {
			log_err("the index cannot be written: %s; kept, and tried again",
				strerror(-r));
			freed_forget(&fr);
			/* Back to the front, in order. */
			struct defer **end = &list;

			while (*end)
				end = &(*end)->next;
			pthread_mutex_lock(&t->defer_lock);
			*end = t->defer_head;
			if (!t->defer_head)
				t->defer_tail = end;
			t->defer_head = list;
			pthread_mutex_unlock(&t->defer_lock);
			list = NULL;
		}
		while (list) {
			struct defer *next = list->next;

			free(list);
			list = next;
		}
		freed_release(t, &fr);
	}
	pthread_mutex_unlock(&t->flush_lock);
	return r;
}

/* ---- freeing unlinked stubs
 * ----------------------------------------------------------------------------- */

enum fate { FATE_GONE, FATE_HELD, FATE_BACK };

static enum fate fate_of(struct tier *t, struct hot_id id)
{
	struct hot_fh fh;
	struct stat st;

	if (!hot_fh_of_id(t->hot, id, &fh))
		return FATE_HELD;
	cleanup_fd int fd = hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);

	if (fd == -ESTALE || fd == -ENOENT)
		return FATE_GONE;
	if (fd < 0 || fstat(fd, &st))
		return FATE_HELD; /* cannot tell: keep */
	return st.st_nlink ? FATE_BACK : FATE_HELD;
}

static int free_tombs(struct tier *t, const struct tomb *tb, size_t n)
{
	struct freed fr = {0};
	int r = epoch_bump(t);

	if (!r)
		r = index_begin(t->ix);
	if (r)
		return r;
	for (size_t i = 0; i < n && !r; i++) {
		r = row_drop(t, tb[i].id, tb[i].obj, &fr);
		if (!r)
			r = index_tomb_del(t->ix, tb[i].id);
		if (r == -ENOENT)
			r = 0;
	}
	if (r)
		index_rollback(t->ix);
	else
		r = index_commit(t->ix);
	if (r)
		freed_forget(&fr);
	else
		freed_release(t, &fr);
	for (size_t i = 0; i < n && !r; i++)
		if (!tb[i].obj.v) /* it was partial */
			store_overflow_remove(t->store, tb[i].id);
	return r;
}

int janitor_free(struct tier *t)
{
	cleanup_free struct tomb *tb = NULL;
	size_t n = 0;
	int r = 0;

	if (atomic_load(&t->frozen) || pthread_mutex_trylock(&t->spill_lock))
		return 0;
	tb = calloc(TOMBS_MAX, sizeof(*tb));
	ssize_t got = tb ? index_tomb_list(t->ix, tb, TOMBS_MAX) : -ENOMEM;

	for (ssize_t i = 0; i < got; i++)
		if (!node_known(t, node_id_of(t, tb[i].id)))
			tb[n++] = tb[i];
	if (got < 0)
		r = (int)got;
	if (n)
		r = d_syncfs(hot_root_fd(t->hot));
	size_t gone = 0;

	for (size_t i = 0; i < n && !r; i++) {
		switch (fate_of(t, tb[i].id)) {
		case FATE_GONE:
			tb[gone++] = tb[i];
			break;
		case FATE_BACK: /* linked anew, by descriptor */
			if (!index_begin(t->ix)) {
				if (index_tomb_del(t->ix, tb[i].id))
					index_rollback(t->ix);
				else
					index_commit(t->ix);
			}
			break;
		case FATE_HELD:
			break;
		}
	}
	if (gone && !r)
		r = free_tombs(t, tb, gone);
	pthread_mutex_unlock(&t->spill_lock);
	return r;
}

/* ---- stale premigrated copies
 * ------------------------------------------------------------------------------ */

static bool copy_stale(struct tier *t, const struct file_row *row, bool *ret_gone)
{
	struct hot_fh fh;
	struct marker mk;
	struct stat st;
	int64_t m, c;

	*ret_gone = false;
	if (!hot_fh_of_id(t->hot, row->id, &fh))
		return false;
	cleanup_fd int fd = hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);

	if (fd == -ESTALE) {
		*ret_gone = true;
		return true;
	}
	if (fd < 0 || fstat(fd, &st) || hot_marker_get(fd, &mk) != -ENODATA)
		return false;
	if ((uint64_t)st.st_size != row->size)
		return true;
	return row->snap_ns && ts_to_ns(&st.st_mtim, &m) && m != row->mtime_ns &&
	       ts_to_ns(&st.st_ctim, &c);
}

static void sweep(struct tier *t)
{
	cleanup_free struct file_row *rows = calloc(ROWS_PAGE, sizeof(*rows));
	struct hot_id after = {0, 0};
	ssize_t n;

	if (!rows || atomic_load(&t->frozen) || pthread_mutex_trylock(&t->spill_lock))
		return;
	while (!atomic_load(&t->stop) &&
	       (n = index_file_list(t->ix, RES_PREMIGRATED, after, rows, ROWS_PAGE)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			bool gone;

			if (copy_stale(t, &rows[i], &gone))
				defer_put(t, gone ? DEFER_TOMB : DEFER_DROP, &rows[i]);
		}
		after = rows[n - 1].id;
	}
	pthread_mutex_unlock(&t->spill_lock);
}

/* ---- the thread
 * ------------------------------------------------------------------------------------------------
 */

static void flush_layers(struct tier *t)
{
	if (index_begin(t->ix))
		return;
	if (layers_flush(t) || heats_flush(t))
		index_rollback(t->ix);
	else
		index_commit(t->ix);
	index_trim(t->ix);
}

void *janitor_main(void *arg)
{
	struct tier *t = arg;
	uint64_t last_free = 0, last_sweep = clock_mono_ns(), last_layers = last_sweep;

	while (!atomic_load(&t->stop)) {
		struct timespec until;
		uint64_t now;

		pthread_mutex_lock(&t->defer_lock);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += FLUSH_MS * 1000000l;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		if (!atomic_load(&t->stop))
			pthread_cond_timedwait(&t->defer_cond, &t->defer_lock, &until);
		pthread_mutex_unlock(&t->defer_lock);

		janitor_flush(t);
		trend_tick(t);
		heats_drain(t, false);
		now = clock_mono_ns();
		if (now - last_free > FREE_MS * 1000000ull || space_waited_for(t)) {
			int r = overflow_epoch(t) ?: janitor_free(t);

			if (r)
				log_err("freeing deleted objects: %s; tried again later",
					strerror(-r));
			last_free = now;
		}
		if (now - last_sweep > SWEEP_MS * 1000000ull) {
			sweep(t);
			last_sweep = now;
		}
		if (now - last_layers > LAYERS_MS * 1000000ull) {
			flush_layers(t);
			last_layers = now;
		}
	}
	return NULL;
}

/* ---- from requests
 * ------------------------------------------------------------------------------------------------
 */

void tier_unlinked(struct tier *t, int fd)
{
	struct node *n = NULL;
	struct stat st;
	struct hot_fh fh;
	uint64_t id;

	if (hot_identify(t->hot, fd, "", &st, &fh, &id)) {
		close(fd);
		return;
	}
	if (id) {
		n = node_find(t, id == t->root_alias ? 1 : id);
	} else {
		bool fresh;

		if (node_intern(t, id, &fh, &st, 0, &n, &fresh))
			n = NULL;
	}
	if (st.st_nlink && !(S_ISDIR(st.st_mode) && st.st_nlink < 2)) {
		if (n)
			tier_meta_changed(t, n);
		tier_put(t, n);
		close(fd);
		return;
	}
	if (S_ISREG(st.st_mode)) {
		struct file_row row = {.id = hot_id_of_fh(t->hot, &fh, st.st_ino)};
		struct marker mk;
		bool partial = false;

		atomic_fetch_sub(&t->n_regular, 1);
		if (n) {
			node_lock(t, n);
			partial = n->over;
			if (n->cold)
				row.obj.v = n->cold->obj;
			else if (n->rel) /* about to become a stub */
				row.obj = n->rel->obj;
			node_unlock(t, n);
		}
		if (!row.obj.v && !hot_marker_get(fd, &mk)) {
			row.obj = mk.obj;
			partial = partial || mk.state == RES_PARTIAL;
		}
		if (partial)
			row.obj.v = 0;
		if (row.obj.v || partial)
			defer_put(t, DEFER_TOMB, &row);
	}
	/* The kernel may still refer to the inode (an open file, a working directory): keep it
	 * alive. */
	if (!n)
		close(fd);
	if (n) {
		node_pin(t, n, fd);
		node_lock(t, n);
		node_keep(t, n);
		node_unlock(t, n);
	}
	tier_put(t, n);
}
