/* SPDX-License-Identifier: MIT
 * What the policy is asked about: every file of the hot tier that has data there and lies where
 * something may be spilled by itself. Made by a walk in the background, used for one or a few
 * plans; whoever acts on it asks everything that matters again (spill_batch_add), so that an old
 * catalog costs a worse choice and nothing else.
 */
#include "catalog.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <sys/stat.h>

#define NAMES_MAX UINT32_MAX
#define ROWS_PAGE 256
#define ASK_NS    1000000000ull

/* ---- files that have their copy, by node id -------------------------------------------------- */

struct copies {
	struct copy {
		uint64_t node; /* 0: free */
		uint64_t size;
		int64_t mtime_ns, ctime_ns;
	} * v;
	size_t cap, n;
};

static struct copy *copy_place(struct copy *v, size_t cap, uint64_t node)
{
	size_t i = (node * 0x9e3779b97f4a7c15ull) >> 20 & (cap - 1);

	while (v[i].node && v[i].node != node)
		i = (i + 1) & (cap - 1);
	return &v[i];
}

static int copies_add(struct copies *c, uint64_t node, const struct file_row *row)
{
	if ((c->n + 1) * 4 > c->cap * 3) {
		size_t cap = c->cap ? 2 * c->cap : 1024;
		struct copy *v = calloc(cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		for (size_t i = 0; i < c->cap; i++)
			if (c->v[i].node)
				*copy_place(v, cap, c->v[i].node) = c->v[i];
		free(c->v);
		c->v = v;
		c->cap = cap;
	}
	struct copy *p = copy_place(c->v, c->cap, node);

	c->n += !p->node;
	*p = (struct copy){node, row->size, row->mtime_ns, row->ctime_ns};
	return 0;
}

/* Copies that are not trusted (after an unclean stop, or recalled) are none: they are made anew, by
 * hash. */
static int copies_load(struct tier *t, struct copies *c)
{
	struct file_row rows[ROWS_PAGE];
	struct hot_id after = {0, 0};
	ssize_t n;

	while ((n = index_file_list(t->ix, RES_PREMIGRATED, after, rows, ROWS_PAGE)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			uint64_t node = node_id_of(t, rows[i].id);
			int r = node && copy_is_of(&rows[i], rows[i].mtime_ns, rows[i].ctime_ns)
					? copies_add(c, node, &rows[i])
					: 0;

			if (r)
				return r;
		}
		after = rows[n - 1].id;
	}
	return n < 0 ? (int)n : 0;
}

static bool copies_have(const struct copies *c, uint64_t node, const struct stat *st)
{
	const struct copy *p = c->cap && node ? copy_place(c->v, c->cap, node) : NULL;
	int64_t mt, ct;

	return p && p->node && p->size == (uint64_t)st->st_size && ts_to_ns(&st->st_mtim, &mt) &&
	       ts_to_ns(&st->st_ctim, &ct) && mt == p->mtime_ns && ct == p->ctime_ns;
}

/* ---- the walk -------------------------------------------------------------------------------- */

struct builder {
	struct tier *t;
	struct catalog *c;
	struct copies copies;
	const struct layer_set *set;
	const struct layer *l; /* of the present walk; NULL: find out */
	int64_t now_ns;
	bool unclassed; /* walk of everything */
};

bool path_excluded(const struct config *c, const char *path)
{
	char pattern[sizeof(c->exclude)];

	for (const char *p = c->exclude; *p;) {
		size_t len = strcspn(p, ":");

		memcpy(pattern, p, len);
		pattern[len] = 0;
		if (len && !fnmatch(pattern, path, 0))
			return true;
		p += len + (p[len] == ':');
	}
	return false;
}

static int put_name(struct catalog *c, const char *s, size_t len, uint32_t *ret)
{
	if (c->names_len + len + 1 > NAMES_MAX)
		return -E2BIG;
	if (c->names_len + len + 1 > c->names_cap) {
		size_t cap = MAX(2 * c->names_cap, c->names_len + len + 65536);
		char *v = realloc(c->names, cap);

		if (!v)
			return -ENOMEM;
		c->names = v;
		c->names_cap = cap;
	}
	*ret = (uint32_t)c->names_len;
	memcpy(c->names + c->names_len, s, len);
	c->names[c->names_len + len] = 0;
	c->names_len += len + 1;
	return 0;
}

/* Room for one more file, and its name; the directory is shared with the file before. */
static int put_place(struct catalog *c, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t dir_len = slash ? (size_t)(slash - path) : 0;
	const char *before = c->n ? c->names + c->at[c->n - 1].dir : NULL;
	int r = 0;

	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 1024;
		struct policy_file *f = realloc(c->f, cap * sizeof(*f));

		if (!f)
			return -ENOMEM;
		c->f = f;
		struct cat_name *at = realloc(c->at, cap * sizeof(*at));

		if (!at)
			return -ENOMEM;
		c->at = at;
		c->cap = cap;
	}
	struct cat_name *at = &c->at[c->n];

	if (before && strlen(before) == dir_len && !memcmp(before, path, dir_len))
		at->dir = c->at[c->n - 1].dir;
	else
		r = put_name(c, path, dir_len, &at->dir);
	return r ? r
		 : put_name(c, path + dir_len + !!slash, strlen(path + dir_len + !!slash),
			    &at->name);
}

static uint32_t since(int64_t now_ns, int64_t then_ns)
{
	int64_t sec = (now_ns - then_ns) / 1000000000;

	return sec < 0 ? 0 : (uint32_t)MIN(sec, (int64_t)UINT32_MAX);
}

static uint8_t class_of(const struct layer *l)
{
	if (!l)
		return POLICY_OTHER;
	return l->kind == LAYER_BLOB       ? POLICY_BLOB
	       : l->kind == LAYER_SNAPSHOT ? POLICY_LAYER
					   : POLICY_WRITABLE;
}

static bool is_open(struct tier *t, uint64_t node)
{
	struct node *n = node ? node_find(t, node) : NULL;
	bool yes = false;

	if (n) {
		node_lock(t, n);
		yes = n->opens;
		node_unlock(t, n);
		tier_put(t, n);
	}
	return yes;
}

/* The number of l in the catalog; its files come one behind the other. */
static int put_layer(struct catalog *c, const struct layer *l, uint32_t *ret)
{
	if (c->nlayers + 2 > c->layers_cap) {
		size_t cap = c->layers_cap ? 2 * c->layers_cap : 64;
		struct cat_layer *v = realloc(c->layers, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		c->layers = v;
		c->layers_cap = cap;
	}
	if (!c->nlayers)
		c->layers[c->nlayers++] = (struct cat_layer){0};
	*ret = 0;
	if (!l)
		return 0;
	*ret = (uint32_t)c->nlayers - 1;
	if (*ret && !strcmp(c->names + c->layers[*ret].key, l->key))
		return 0;
	*ret = (uint32_t)c->nlayers;
	c->layers[c->nlayers] = (struct cat_layer){0};
	int r = put_name(c, l->key, strlen(l->key), &c->layers[c->nlayers].key);

	c->nlayers += !r;
	return r;
}

static int add_file(void *ctx, int dirfd, const char *name, const struct stat *walked,
		    const char *path)
{
	struct builder *b = ctx;
	struct tier *t = b->t;
	uint32_t used = 0, recalled = 0;
	struct hot_fh fh;
	struct stat st;
	uint64_t node;
	int64_t m, c;

	if (winding_down(t))
		return -EINTR;
	if (!walked->st_size || !walked->st_blocks ||
	    hot_identify(t->hot, dirfd, name, &st, &fh, &node) || !S_ISREG(st.st_mode) ||
	    !ts_to_ns(&st.st_mtim, &m) || !ts_to_ns(&st.st_ctim, &c))
		return 0;
	const struct layer *l = b->l ? b->l : layers_find(b->set, path);
	int r = put_place(b->c, path);

	if (!r)
		r = put_layer(b->c, l, &b->c->at[b->c->n].layer);
	if (r)
		return r;
	float heat =
		node ? heats_of(t, node, (uint32_t)(b->now_ns / 1000000000), &used, &recalled) : 0;
	int64_t last = MAX(MAX(m, c), (int64_t)used * 1000000000);

	if (l)
		last = MAX(last, layer_last_used(t, l));
	b->c->f[b->c->n++] = (struct policy_file){
		.bytes = (uint64_t)st.st_blocks * 512,
		.size = (uint64_t)st.st_size,
		.heat = heat,
		.idle_sec = since(b->now_ns, last),
		.age_sec = since(b->now_ns, MAX(m, c)),
		.recalled_sec =
			recalled ? since(b->now_ns, (int64_t)recalled * 1000000000) : UINT32_MAX,
		.cls = class_of(l),
		.flags = (uint8_t)((copies_have(&b->copies, node, &st) ? POLICY_COPIED : 0) |
				   (is_open(t, node) ? POLICY_OPEN : 0) |
				   (pin_keeps(t, path, NULL) || path_excluded(t->cfg, path)
					    ? POLICY_PINNED
					    : 0)),
	};
	return 0;
}

/* ---- what is asleep -------------------------------------------------------------------------- */

bool layer_asleep(struct tier *t, const struct layer *l)
{
	/* A use says more than the mount table. */
	return l->asleep &&
	       clock_wall_ns() - layer_last_used(t, l) >= (int64_t)t->cfg->retain_sec * 1000000000;
}

static void set_asleep(struct tier *t, struct catalog *c, const struct layer_set *set)
{
	for (size_t i = 1; i < c->nlayers; i++) {
		const struct layer *l = layers_find(set, c->names + c->layers[i].key);

		c->layers[i].asleep = l && layer_asleep(t, l);
	}
	for (size_t i = 0; i < c->n; i++) {
		c->f[i].flags &= (uint8_t)~POLICY_ASLEEP;
		if (c->layers[c->at[i].layer].asleep)
			c->f[i].flags |= POLICY_ASLEEP;
	}
	c->asked_ns = clock_mono_ns();
}

void catalog_ask(struct tier *t, struct catalog *c)
{
	uint64_t start = clock_mono_ns();
	struct layer_set set;

	if (start - c->asked_ns < MAX(ASK_NS, 20 * c->ask_took_ns))
		return;
	int r = layers_scan(hot_root_fd(t->hot), &set);

	if (r) { /* a worse choice, nothing else */
		log_debug("which layers are asleep: %s", strerror(-r));
		c->asked_ns = start;
		return;
	}
	set_asleep(t, c, &set);
	layer_set_done(&set);
	c->ask_took_ns = c->asked_ns - start;
}

int catalog_build(struct tier *t, struct catalog *ret)
{
	struct layer_set set = {0};
	struct builder b = {.t = t, .c = ret, .set = &set, .now_ns = clock_wall_ns()};
	uint64_t start = clock_mono_ns();

	*ret = (struct catalog){0};
	int r = layers_scan(hot_root_fd(t->hot), &set);

	if (!r)
		r = copies_load(t, &b.copies);
	if (!r && t->cfg->spill_all)
		r = walk_tree(hot_root_fd(t->hot), "", add_file, &b, NULL);
	for (size_t i = 0; i < set.n && !r && !t->cfg->spill_all; i++) {
		b.l = &set.v[i];
		r = walk_tree(hot_root_fd(t->hot), b.l->key, add_file, &b, NULL);
		if (r == -ENOENT) /* removed meanwhile */
			r = 0;
	}
	free(b.copies.v);
	if (!r)
		set_asleep(t, ret, &set);
	layer_set_done(&set);
	ret->built_ns = clock_mono_ns();
	ret->took_ns = ret->built_ns - start;
	if (r)
		catalog_done(ret);
	return r;
}

void catalog_done(struct catalog *c)
{
	free(c->f);
	free(c->at);
	free(c->names);
	free(c->layers);
	*c = (struct catalog){0};
}

/* ---- acting on a plan ------------------------------------------------------------------------ */

static int by_number(const void *pa, const void *pb)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;

	return a < b ? -1 : a > b;
}

static int offer(struct catalog *c, uint32_t i, int dirfd, struct work *k)
{
	const char *dir = c->names + c->at[i].dir, *name = c->names + c->at[i].name;
	struct policy_file *f = &c->f[i];
	cleanup_free char *path = NULL;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode)) {
		f->bytes = 0; /* gone meanwhile */
		return 0;
	}
	if (asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", name) < 0)
		return -ENOMEM;
	/* Done or refused: not a second time from this catalog. */
	if (k->copy_only)
		f->flags |= POLICY_COPIED;
	else
		f->bytes = 0;
	return work_spill_file(k, dirfd, name, &st, path);
}

static int offer_some(struct catalog *c, const uint32_t *v, size_t n, bool copied, struct work *k)
{
	cleanup_fd int dirfd = -1;
	uint32_t dir = UINT32_MAX;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		if (!!(c->f[v[i]].flags & POLICY_COPIED) != copied)
			continue;
		if (c->at[v[i]].dir != dir) {
			if (dirfd >= 0)
				close(steal_fd(&dirfd));
			dir = c->at[v[i]].dir;
			dirfd = walk_open(hot_root_fd(k->t->hot), c->names + dir,
					  O_RDONLY | O_DIRECTORY);
		}
		if (dirfd >= 0)
			r = offer(c, v[i], dirfd, k);
	}
	return r;
}

int catalog_spill(struct catalog *c, const struct policy_plan *p, struct work *k)
{
	int r = 0;

	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), by_number);
	if (!k->copy_only) {
		r = offer_some(c, p->v, p->n, true, k);
		int f = work_finish(k);

		r = r ? r : f;
	}
	if (!r)
		r = offer_some(c, p->v, p->n, false, k);
	int f = work_finish(k);

	return r ? r : f;
}
