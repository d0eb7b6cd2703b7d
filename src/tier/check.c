/* SPDX-License-Identifier: MIT
 * check: prove that everything can be read back, and report what cannot. Changes nothing.
 *
 *   1. the index's own structure and sums
 *   2. every marker: well-formed, fits its inode, names an object with its hash; every file's row
 *   3. every row: its inode exists and bears the marker
 *   4. every pack: each frame's checksum and identity, from the pack's own bytes          (deep)
 *   5. every object: its content's hash                                                    (deep)
 */
#include "tier_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct check {
	struct tier *t; /* NULL offline */
	struct hot *hot;
	struct store *store;
	struct index *ix;
	bool deep;
	tier_progress_fn fn;
	check_problem_fn cb;
	void *ctx;
	struct check_result *res;
	struct tier_work w;
	uint64_t reported_ns;
};

static void problem(struct check *c, const char *path, const char *fmt, ...) printf_like(3, 4);
static void problem(struct check *c, const char *path, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->res->problems++;
	if (c->cb)
		c->cb(c->ctx, text, path);
}

static bool go_on(struct check *c, const char *current)
{
	uint64_t now = clock_mono_ns();

	if (!c->fn || now - c->reported_ns < 200000000)
		return true;
	c->reported_ns = now;
	c->w.files_seen = c->res->files;
	c->w.bytes_done = c->res->bytes;
	c->w.current = current;
	return c->fn(c->ctx, &c->w);
}

/* Online, a file that is being moved is passed over: its state has two truths just now. */
static bool in_transit(struct check *c, int fd)
{
	struct stat st;
	struct node *n;
	bool yes;

	if (!c->t || node_of_fd(c->t, fd, &n, &st))
		return false;
	node_lock(c->t, n);
	yes = n->rel || node_has(n, NODE_BUSY | NODE_QUEUED);
	node_unlock(c->t, n);
	tier_put(c->t, n);
	return yes;
}

static int check_file(void *ctx, int dirfd, const char *name, const struct stat *st,
		      const char *path)
{
	struct check *c = ctx;
	struct object *o = NULL;
	struct file_row row;
	struct hot_fh fh;
	struct marker mk;
	struct stat now;
	uint64_t id;

	(void)st;
	if (!go_on(c, path))
		return -EINTR;
	c->res->files++;
	cleanup_fd int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0;
	int r = hot_marker_get(fd, &mk);

	if (hot_identify(c->hot, fd, "", &now, &fh, &id) || in_transit(c, fd))
		return 0;
	if (r == -ENODATA || r == -EOPNOTSUPP) {
		if (now.st_size && now.st_blocks == 0 &&
		    !index_file_get(c->ix, hot_id_of_fh(c->hot, &fh, now.st_ino), &row) &&
		    row.state == RES_SPILLED && hot_marker_get(fd, &mk) == -ENODATA)
			problem(c, path,
				"its marker is lost: the index says spilled (object %llu), the "
				"file "
				"shows zeros",
				(unsigned long long)row.obj.v);
		return 0;
	}
	if (r) {
		problem(c, path, "the stub marker cannot be read: %s", strerror(-r));
		return 0;
	}
	if (now.st_size == 0)
		return 0; /* void: an interrupted truncation */
	c->res->stubs++;
	if (mk.state == RES_PARTIAL) {
		int over =
			store_overflow_open(c->store, hot_id_of_fh(c->hot, &fh, now.st_ino), false);

		if (over < 0)
			problem(c, path, "the part of it in the store's overflow: %s",
				strerror(-over));
		else
			close(over);
		return 0;
	}
	if (mk.size != (uint64_t)now.st_size) {
		problem(c, path, "the marker is for %llu bytes, the file has %lld",
			(unsigned long long)mk.size, (long long)now.st_size);
		return 0;
	}
	r = index_object_get(c->ix, mk.obj, &o);
	if (r) {
		problem(c, path, "object %llu: %s", (unsigned long long)mk.obj.v,
			r == -ENOENT ? "not in the index" : strerror(-r));
		return 0;
	}
	if (memcmp(o->sha, mk.hash16, 16) || o->size != mk.size)
		problem(c, path, "object %llu in the store is another one",
			(unsigned long long)mk.obj.v);
	object_free(o);
	if (index_file_get(c->ix, hot_id_of_fh(c->hot, &fh, now.st_ino), &row) ||
	    row.obj.v != mk.obj.v) {
		/* Readable, but nothing keeps the object alive for it; online the janitor may be
		 * about to. */
		if (!c->t)
			problem(c, path, "no index row refers to object %llu for this file",
				(unsigned long long)mk.obj.v);
	}
	return 0;
}

static int check_rows(struct check *c)
{
	struct file_row rows[512];
	struct hot_id after = {0, 0};
	ssize_t n;

	while ((n = index_file_list(c->ix, RES_SPILLED, after, rows, ARRAY_SIZE(rows))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct hot_fh fh;

			if (!hot_fh_of_id(c->hot, rows[i].id, &fh))
				continue;
			cleanup_fd int fd = hot_open_fh(c->hot, &fh, O_PATH | O_NOFOLLOW);

			if (fd == -ESTALE)
				c->res->leaked_objects++;
		}
		after = rows[n - 1].id;
		if (!go_on(c, "index"))
			return -EINTR;
	}
	return n < 0 ? (int)n : 0;
}

static int check_frame(void *ctx, uint32_t pack, uint32_t frame, uint32_t clen, uint32_t ulen,
		       int err)
{
	struct check *c = ctx;
	char where[48];

	(void)ulen;
	snprintf(where, sizeof(where), "pack %u, frame %u", pack, frame);
	c->res->frames++;
	c->res->bytes += clen;
	if (err)
		problem(c, where, "%s", err == -EBADMSG ? "checksum mismatch" : strerror(-err));
	return go_on(c, where) ? 0 : -EINTR;
}

static bool still_a_pack(struct check *c, uint32_t pack)
{
	cleanup_free uint32_t *packs = NULL;
	size_t n = 0;

	if (store_list_packs(c->store, &packs, &n))
		return true;
	for (size_t i = 0; i < n; i++)
		if (packs[i] == pack)
			return true;
	return false;
}

static int check_packs(struct check *c)
{
	cleanup_free uint32_t *packs = NULL;
	struct pack_walk pw = {.ctx = c, .frame = check_frame};
	size_t n = 0;
	int r = store_list_packs(c->store, &packs, &n);

	for (size_t i = 0; i < n && !r; i++) {
		char where[32];

		c->res->packs++;
		if (!c->deep)
			continue;
		snprintf(where, sizeof(where), "pack %u", packs[i]);
		r = store_walk_pack(c->store, packs[i], &pw);
		if (r == -ENOENT && !still_a_pack(c, packs[i])) /* freed meanwhile */
			r = 0;
		if (r == -EBADMSG || r == -EUCLEAN || r == -ENOENT) {
			problem(c, where, "%s", strerror(-r));
			r = 0;
		}
	}
	return r;
}

static bool freed_since(struct check *c, struct obj_id id)
{
	struct object *o = NULL;
	int r = index_object_get(c->ix, id, &o);

	object_free(o);
	return r == -ENOENT;
}

/* Every object that a file refers to: present, and (deep) its content right. */
static int check_objects(struct check *c)
{
	struct file_row rows[512];
	struct hot_id after = {0, 0};
	uint64_t last = 0;
	ssize_t n;

	while ((n = index_file_list(c->ix, -1, after, rows, ARRAY_SIZE(rows))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct object *o;
			char where[32];

			snprintf(where, sizeof(where), "object %llu",
				 (unsigned long long)rows[i].obj.v);
			if (rows[i].obj.v == last)
				continue;
			last = rows[i].obj.v;
			if (!go_on(c, where))
				return -EINTR;
			int r = index_object_get(c->ix, rows[i].obj, &o);

			if (r == -ENOENT) {
				struct file_row again;

				/* Online it may have been freed since the page was read. */
				if (!index_file_get(c->ix, rows[i].id, &again) &&
				    again.obj.v == rows[i].obj.v)
					problem(c, where,
						"a file row refers to it, but it is not there");
				continue;
			}
			if (r)
				return r;
			c->res->objects++;
			if (c->deep) {
				unsigned p = c->t ? read_enter(c->t) : 0;

				r = object_verify(c->store, o, false);
				if (c->t)
					read_exit(c->t, p);
				if (r && !freed_since(c, rows[i].obj))
					problem(c, where, "%s",
						r == -EBADMSG ? "content does not match its hash"
							      : strerror(-r));
			}
			object_free(o);
		}
		after = rows[n - 1].id;
	}
	return n < 0 ? (int)n : 0;
}

static void index_problem(void *ctx, const char *what)
{
	struct check *c = ctx;

	problem(c, "index", "%s", what);
}

static int run(struct check *c)
{
	int unread = 0, r = index_check(c->ix, index_problem, c);

	if (r == -EUCLEAN) {
		problem(c, "index", "the database is damaged");
		return 0;
	}
	if (r > 0)
		r = 0;
	if (!r && c->hot)
		r = walk_tree(hot_root_fd(c->hot), "", check_file, c, &unread);
	if (unread)
		problem(c, "hot tier", "some of it cannot be read: %s", strerror(-unread));
	if (!r && c->hot)
		r = check_rows(c);
	if (!r)
		r = check_packs(c);
	if (!r)
		r = check_objects(c);
	return r;
}

int tier_check(struct tier *t, bool deep, tier_progress_fn fn, check_problem_fn cb, void *ctx,
	       struct check_result *ret)
{
	struct check c = {
		.t = t,
		.hot = t->hot,
		.store = t->store,
		.ix = t->ix,
		.deep = deep,
		.fn = fn,
		.cb = cb,
		.ctx = ctx,
		.res = ret,
	};

	memset(ret, 0, sizeof(*ret));
	int r = janitor_flush(t);

	if (!r)
		r = run(&c);
	if (!r && deep && ret->problems == 0)
		r = tier_thaw(t);
	return r;
}

int tier_check_offline(struct hot *hot, struct store *store, struct index *ix, bool deep,
		       tier_progress_fn fn, check_problem_fn cb, void *ctx,
		       struct check_result *ret)
{
	struct check c = {
		.hot = hot,
		.store = store,
		.ix = ix,
		.deep = deep,
		.fn = fn,
		.cb = cb,
		.ctx = ctx,
		.res = ret,
	};

	memset(ret, 0, sizeof(*ret));
	return run(&c);
}

struct count {
	uint64_t n, max;
};

static int count_file(void *ctx, int dirfd, const char *name, const struct stat *st,
		      const char *path)
{
	struct count *c = ctx;
	struct marker mk;

	(void)path;
	if (st->st_size == 0)
		return 0;
	cleanup_fd int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	/* A marker that cannot be read is a stub for this purpose: its data may not be there. */
	int r = fd < 0 ? -ENODATA : hot_marker_get(fd, &mk);

	return r != -ENODATA && r != -EOPNOTSUPP && ++c->n == c->max;
}

int tier_count_stubs(int rootfd, uint64_t max, uint64_t *ret)
{
	struct count c = {.max = max};
	int unread = 0, r = walk_tree(rootfd, "", count_file, &c, &unread);

	*ret = c.n;
	return r < 0 ? r : unread;
}
