/* SPDX-License-Identifier: MIT
 * Pins: paths whose files stay in the hot tier (DESIGN.md section 8).
 *
 * The index has them durably (table pin); here is a copy that walks can ask for each file: the
 * paths in order, so that each beginning of a file's path is one binary search, and the inodes of
 * pinned files, so that another hard link of one is kept, too. Without a pin it is one atomic load.
 *
 * Invariant: when tier_pin_add has returned, no batch that was put together without the new pin is
 * under way (it takes spill_lock once), so nothing below it can be punched any more.
 */
#include "tier_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct pins {
	pthread_rwlock_t lock;  /* leaf; no I/O under it */
	pthread_mutex_t change; /* outermost: one change at a time, index and copy together */
	struct pin_row *v;      /* by path, owner; lock */
	size_t n;
	struct hot_id *ids; /* of pinned files, sorted; lock */
	size_t nids;
	atomic_size_t count;
	atomic_ullong hot_bytes; /* as last measured; UINT64_MAX: never */
};

static int id_cmp(const void *pa, const void *pb)
{
	const struct hot_id *a = pa, *b = pb;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->gen < b->gen ? -1 : a->gen > b->gen;
}

/* The index's rows become the copy. */
static int reload(struct tier *t)
{
	struct pins *p = t->pins;
	struct pin_row *v = NULL, *old;
	size_t n = 0, old_n, nids = 0;
	int r = index_pin_list(t->ix, &v, &n);

	if (r)
		return r;
	struct hot_id *ids = calloc(n + 1, sizeof(*ids)), *old_ids;

	if (!ids) {
		index_pins_free(v, n);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		if (v[i].id.ino)
			ids[nids++] = v[i].id;
	if (nids)
		qsort(ids, nids, sizeof(*ids), id_cmp);
	pthread_rwlock_wrlock(&p->lock);
	old = p->v;
	old_n = p->n;
	old_ids = p->ids;
	p->v = v;
	p->n = n;
	p->ids = ids;
	p->nids = nids;
	pthread_rwlock_unlock(&p->lock);
	atomic_store(&p->count, n);
	index_pins_free(old, old_n);
	free(old_ids);
	return 0;
}

int pins_load(struct tier *t)
{
	struct pins *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	pthread_rwlock_init(&p->lock, NULL);
	pthread_mutex_init(&p->change, NULL);
	atomic_store(&p->hot_bytes, UINT64_MAX);
	t->pins = p;
	return reload(t);
}

bool pins_any(const struct tier *t)
{
	return atomic_load(&t->pins->count);
}

void pins_done(struct tier *t)
{
	struct pins *p = t->pins;

	if (!p)
		return;
	index_pins_free(p->v, p->n);
	free(p->ids);
	pthread_rwlock_destroy(&p->lock);
	pthread_mutex_destroy(&p->change);
	free(p);
}

/* ---- asking
 * ----------------------------------------------------------------------------------------- */

static int cmp_len(const char *path, size_t len, const char *pin)
{
	int r = strncmp(path, pin, len);

	return r ? r : pin[len] ? -1 : 0;
}

/* The first pin whose path is the first len bytes of path. [lock] */
static const struct pin_row *find_len(const struct pins *p, const char *path, size_t len)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cmp_len(path, len, p->v[mid].path) > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->n && !cmp_len(path, len, p->v[lo].path) ? &p->v[lo] : NULL;
}

/* The outermost pin at or above path; a limit below its own length leaves path itself out. [lock]
 */
static const struct pin_row *find_above(const struct pins *p, const char *path, size_t limit)
{
	const struct pin_row *row = find_len(p, path, 0);

	for (size_t len = 0; !row && path[len] && len < limit;) {
		len += strcspn(path + len, "/");
		if (len > limit)
			break;
		row = find_len(p, path, len);
		len += path[len] == '/';
	}
	return row;
}

bool pin_keeps(struct tier *t, const char *path, const struct node *n)
{
	struct pins *p = t->pins;

	if (likely(!atomic_load_explicit(&p->count, memory_order_acquire)))
		return false;
	struct hot_id id = {0};

	if (n)
		id = node_hot_id(t, n);
	while (*path == '/')
		path++;
	if (!strcmp(path, "."))
		path = "";
	pthread_rwlock_rdlock(&p->lock);
	bool yes = find_above(p, path, SIZE_MAX) ||
		   (id.ino && p->nids && bsearch(&id, p->ids, p->nids, sizeof(id), id_cmp));

	pthread_rwlock_unlock(&p->lock);
	return yes;
}

int tier_pin_of(struct tier *t, const char *path, char **ret_path, char **ret_owner)
{
	struct pins *p = t->pins;
	int r = -ENOENT;

	while (*path == '/')
		path++;
	pthread_rwlock_rdlock(&p->lock);
	const struct pin_row *row = find_above(p, path, SIZE_MAX);

	if (row) {
		*ret_path = strdup(row->path);
		*ret_owner = strdup(row->owner);
		r = *ret_path && *ret_owner ? 0 : -ENOMEM;
	}
	pthread_rwlock_unlock(&p->lock);
	return r;
}

/* ---- changing
 * --------------------------------------------------------------------------------------- */

/* "a/b/c" or "": what the walks say. Anything else would never match. */
static bool canonical(const char *path)
{
	size_t len;

	if (!*path)
		return true;
	for (const char *p = path;; p += len + 1) {
		len = strcspn(p, "/");
		if (!len || (len == 1 && p[0] == '.') || (len == 2 && !strncmp(p, "..", 2)))
			return false;
		if (!p[len])
			return true;
	}
}

static bool have_locked(const struct pins *p, const char *path, const char *owner)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->v[i].path, path) && !strcmp(p->v[i].owner, owner))
			return true;
	return false;
}

int tier_pin_add(struct tier *t, const char *path, const char *owner)
{
	struct pin_row row = {
		.path = (char *)path, .owner = (char *)owner, .since_ns = clock_wall_ns()};
	cleanup_fd int fd = -1;
	struct node *n;
	struct stat st;

	if (!canonical(path))
		return -EINVAL;
	fd = walk_open(hot_root_fd(t->hot), path, O_PATH);
	if (fd < 0)
		return fd;
	int r = node_of_fd(t, fd, &n, &st);

	if (r)
		return r;
	/* A directory's inode says nothing about what is below it. */
	if (S_ISREG(st.st_mode))
		row.id = node_hot_id(t, n);
	tier_put(t, n);
	pthread_mutex_lock(&t->pins->change);
	bool had = have_locked(t->pins, path, owner);

	r = index_begin(t->ix);
	if (!r) {
		r = index_pin_put(t->ix, &row);
		if (r)
			index_rollback(t->ix);
		else
			r = index_commit(t->ix);
	}
	if (!r)
		r = reload(t);
	pthread_mutex_unlock(&t->pins->change);
	if (r)
		return r;
	pthread_mutex_lock(&t->spill_lock); /* the batch under way does not know of it */
	pthread_mutex_unlock(&t->spill_lock);
	return had ? -EEXIST : 0;
}

int tier_pin_del(struct tier *t, const char *path, const char *owner, uint64_t *ret_removed)
{
	struct pins *p = t->pins;
	uint64_t removed = 0;

	*ret_removed = 0;
	pthread_mutex_lock(&p->change);
	int r = index_begin(t->ix);

	if (!r) {
		for (size_t i = 0; i < p->n && !r; i++) {
			if (strcmp(p->v[i].owner, owner) || (path && strcmp(p->v[i].path, path)))
				continue;
			r = index_pin_del(t->ix, p->v[i].path, owner);
			removed += !r;
		}
		if (r)
			index_rollback(t->ix);
		else
			r = index_commit(t->ix);
	}
	if (!r)
		r = reload(t);
	pthread_mutex_unlock(&p->change);
	if (r)
		return r;
	*ret_removed = removed;
	return removed ? 0 : -ENOENT;
}

/* ---- measuring
 * -------------------------------------------------------------------------------------- */

struct count {
	struct tier *t;
	struct tier_pin *pin; /* adds to it */
	struct tier_fit *fit; /* or to it */
	tier_progress_fn fn;
	void *ctx;
	struct tier_work w;
};

static int count_file(void *ctx, int dirfd, const char *name, const struct stat *st,
		      const char *path)
{
	struct count *c = ctx;
	struct marker mk;

	if (atomic_load(&c->t->stop))
		return -EINTR;
	c->w.files_seen++;
	c->w.current = path;
	if (c->fn && !(c->w.files_seen & 255) && !c->fn(c->ctx, &c->w))
		return -EINTR;
	if (c->pin) {
		c->pin->files++;
		c->pin->hot_bytes += (uint64_t)st->st_blocks * 512;
	}
	/* Only a file with fewer blocks than bytes can be a stub; the marker decides. */
	if (st->st_size == 0 || (uint64_t)st->st_blocks * 512 >= (uint64_t)st->st_size + 65536)
		return 0;
	cleanup_fd int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || hot_marker_get(fd, &mk))
		return 0;
	if (mk.state == RES_PARTIAL && c->fit) { /* at most: some of it is here */
		c->fit->files++;
		c->fit->bytes += (uint64_t)(st->st_size - MIN(st->st_size, st->st_blocks * 512));
	}
	if (mk.size != (uint64_t)st->st_size)
		return 0;
	if (c->pin) {
		c->pin->spilled_files++;
		c->pin->spilled_bytes += mk.size;
	}
	if (c->fit) {
		c->fit->files++;
		c->fit->bytes += (uint64_t)mk.blocks * 512;
	}
	return 0;
}

static int measure(struct tier *t, struct tier_pin *pin)
{
	struct count c = {.t = t, .pin = pin};
	int r = walk_tree(hot_root_fd(t->hot), pin->path, count_file, &c, NULL);

	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP) {
		pin->missing = true;
		r = 0;
	}
	return r;
}

int tier_fit(struct tier *t, const char *path, tier_progress_fn fn, void *ctx, struct tier_fit *ret)
{
	struct count c = {.t = t, .fit = ret, .fn = fn, .ctx = ctx};
	struct statvfs sv;
	int unread = 0, r = walk_tree(hot_root_fd(t->hot), path, count_file, &c, &unread);

	if (!r)
		r = unread ? unread : hot_statfs(t->hot, &sv);
	if (r)
		return r;
	uint64_t used = (uint64_t)(sv.f_blocks - sv.f_bfree) * sv.f_frsize;

	ret->room_free = (uint64_t)sv.f_bavail * sv.f_frsize;
	uint64_t mark = (uint64_t)((double)(used + ret->room_free) * t->cfg->high / 100);

	ret->room_high = mark > used ? mark - used : 0;
	return 0;
}

/* A copy of the rows, so that walks go without the lock. */
static int rows_copy(struct tier *t, struct pin_row **ret, size_t *ret_n)
{
	return index_pin_list(t->ix, ret, ret_n);
}

int tier_pins(struct tier *t, bool (*cb)(void *ctx, const struct tier_pin *p), void *ctx)
{
	struct pin_row *v = NULL;
	size_t n = 0;
	int r = rows_copy(t, &v, &n);

	for (size_t i = 0; i < n && !r; i++) {
		struct tier_pin pin = {
			.path = v[i].path, .owner = v[i].owner, .since_ns = v[i].since_ns};

		r = measure(t, &pin);
		if (!r && !cb(ctx, &pin))
			break;
	}
	index_pins_free(v, n);
	return r;
}

/* Another pin covers row i: its own path again (by an earlier row), or one above. */
static bool counted_elsewhere(struct tier *t, const struct pin_row *v, size_t i)
{
	size_t len = strlen(v[i].path);

	if (i && !strcmp(v[i - 1].path, v[i].path))
		return true;
	if (!len)
		return false;
	pthread_rwlock_rdlock(&t->pins->lock);
	bool yes = find_above(t->pins, v[i].path, len - 1);

	pthread_rwlock_unlock(&t->pins->lock);
	return yes;
}

void tier_pins_measure(struct tier *t)
{
	struct pin_row *v = NULL;
	struct statvfs sv;
	uint64_t bytes = 0;
	size_t n = 0;
	int r = rows_copy(t, &v, &n);

	for (size_t i = 0; i < n && !r; i++) {
		struct tier_pin pin = {.path = v[i].path};

		if (counted_elsewhere(t, v, i))
			continue;
		r = measure(t, &pin);
		bytes += pin.hot_bytes;
	}
	index_pins_free(v, n);
	if (r) /* the old number stays; it was only a warning's */
		return;
	atomic_store(&t->pins->hot_bytes, bytes);
	if (!bytes || hot_statfs(t->hot, &sv))
		return;
	uint64_t all = (uint64_t)(sv.f_blocks - sv.f_bfree + sv.f_bavail) * sv.f_frsize;

	if (bytes > all / 100 * t->cfg->low)
		log_warn(
			"pinned files take %llu%% of the hot tier, more than the low mark of %u%%: "
			"spilling cannot get there (spillctl pins; unpin some, or raise low= and "
			"high=)",
			(unsigned long long)(bytes * 100 / MAX(all, 1)), t->cfg->low);
}

void pins_status(struct tier *t, struct tier_status *ret)
{
	ret->pins = atomic_load(&t->pins->count);
	ret->pinned_bytes = ret->pins ? atomic_load(&t->pins->hot_bytes) : 0;
}
