/* SPDX-License-Identifier: MIT
 * Is the index in itself consistent? SQLite's own check, then the sums: references per object
 * against the rows that refer to it, live bytes per pack against the segments in it.
 *
 * Runs on a connection of its own with one snapshot, so it neither blocks the pool nor sees half a
 * transaction; while it runs the WAL can grow.
 */
#include "index_int.h"

#include <stdio.h>

struct ref {
	uint64_t obj;
	uint32_t refs, counted;
};

struct check {
	struct ix_conn c;
	void (*cb)(void *ctx, const char *what);
	void *ctx;
	int problems;
	struct ref *refs; /* ascending obj */
	size_t nrefs, refs_cap;
	struct pack_row *packs; /* ascending; live_bytes as recorded */
	uint64_t *live;         /* counted, beside packs */
	size_t npacks;
};

static void problem(struct check *k, const char *fmt, ...) printf_like(2, 3);
static void problem(struct check *k, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	k->problems++;
	if (k->cb)
		k->cb(k->ctx, line);
}

static int check_pages(struct check *k)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int r = ix_stmt(&k->c, SQL_QUICK_CHECK, &st);

	if (r < 0)
		return r;
	while ((r = ix_step(&k->c, st)) == 1) {
		const char *s = (const char *)sqlite3_column_text(st, 0);

		if (!s)
			return -ENOMEM;
		if (strcmp(s, "ok") != 0)
			problem(k, "index.db: %s", s);
	}
	return r;
}

static int load_packs(struct check *k)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	size_t cap = 0;
	int r = ix_stmt(&k->c, SQL_PACK_LIST, &st);

	if (r < 0)
		return r;
	while ((r = ix_step(&k->c, st)) == 1) {
		struct pack_row *p;

		if (k->npacks == cap) {
			cap = cap ? cap * 2 : 64;
			p = reallocarray(k->packs, cap, sizeof(*p));
			if (!p)
				return -ENOMEM;
			k->packs = p;
		}
		p = &k->packs[k->npacks++];
		*p = (struct pack_row){0};
		if (ix_col_u32(st, 0, &p->len.pack) < 0 || ix_col_u64(st, 1, &p->len.bytes) < 0 ||
		    ix_col_u32(st, 2, &p->len.frames) < 0 || ix_col_u64(st, 3, &p->live_bytes) < 0)
			problem(k, "pack %u: malformed row", p->len.pack);
	}
	if (r < 0)
		return r;
	k->live = calloc(k->npacks + 1, sizeof(*k->live));
	return k->live ? 0 : -ENOMEM;
}

static int cmp_pack(const void *a, const void *b)
{
	uint32_t x = ((const struct pack_row *)a)->len.pack;
	uint32_t y = ((const struct pack_row *)b)->len.pack;

	return (x > y) - (x < y);
}

static int cmp_ref(const void *a, const void *b)
{
	uint64_t x = ((const struct ref *)a)->obj, y = ((const struct ref *)b)->obj;

	return (x > y) - (x < y);
}

/* Frames a segment reaches, starting with its first. */
static uint64_t seg_frames(const struct seg *s)
{
	return (s->off + s->len + FRAME_SIZE - 1) / FRAME_SIZE;
}

static void count_segs(struct check *k, const struct object *o)
{
	for (uint32_t i = 0; i < o->nsegs; i++) {
		const struct seg *s = &o->segs[i];
		const struct pack_row key = {.len.pack = s->pack};
		const struct pack_row *p =
			k->npacks ? bsearch(&key, k->packs, k->npacks, sizeof(key), cmp_pack)
				  : NULL;

		if (!p || s->frame + seg_frames(s) > p->len.frames)
			problem(k, "object %llu: segment %u lies outside pack %u",
				(unsigned long long)o->id.v, i, s->pack);
		if (p)
			k->live[p - k->packs] += s->len;
	}
}

static int check_objects(struct check *k)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int r = ix_stmt(&k->c, SQL_OBJ_ALL, &st);

	if (r < 0)
		return r;
	while ((r = ix_step(&k->c, st)) == 1) {
		struct object *o;

		if (k->nrefs == k->refs_cap) {
			size_t cap = k->refs_cap ? k->refs_cap * 2 : 1024;
			struct ref *p = reallocarray(k->refs, cap, sizeof(*p));

			if (!p)
				return -ENOMEM;
			k->refs = p;
			k->refs_cap = cap;
		}
		r = ix_object_load(&k->c, st, &o);
		if (r == -EUCLEAN) {
			problem(k, "object %lld: malformed row",
				(long long)sqlite3_column_int64(st, 0));
			continue;
		}
		if (r < 0)
			return r;
		k->refs[k->nrefs++] = (struct ref){.obj = o->id.v, .refs = o->refs};
		count_segs(k, o);
		object_free(o);
	}
	return r;
}

static int check_refs(struct check *k)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int r = ix_stmt(&k->c, SQL_FILE_OBJS, &st);

	if (r < 0)
		return r;
	while ((r = ix_step(&k->c, st)) == 1) {
		struct ref key = {.obj = (uint64_t)sqlite3_column_int64(st, 0)};
		struct ref *f =
			k->nrefs ? bsearch(&key, k->refs, k->nrefs, sizeof(key), cmp_ref) : NULL;

		if (f)
			f->counted++;
		else
			problem(k, "object %llu: referred to, but not there",
				(unsigned long long)key.obj);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < k->nrefs; i++)
		if (k->refs[i].refs != k->refs[i].counted)
			problem(k, "object %llu: %u references recorded, %u found",
				(unsigned long long)k->refs[i].obj, k->refs[i].refs,
				k->refs[i].counted);
	for (size_t i = 0; i < k->npacks; i++)
		if (k->packs[i].live_bytes != k->live[i])
			problem(k, "pack %u: %llu live bytes recorded, %llu found",
				k->packs[i].len.pack, (unsigned long long)k->packs[i].live_bytes,
				(unsigned long long)k->live[i]);
	return 0;
}

static int check_strays(struct check *k)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int r = ix_stmt(&k->c, SQL_SEG_STRAY, &st);

	if (r == 0)
		r = ix_step(&k->c, st);
	if (r == 1 && sqlite3_column_int64(st, 0))
		problem(k, "%lld segments belong to no object",
			(long long)sqlite3_column_int64(st, 0));
	return r < 0 ? r : 0;
}

int index_check(struct index *ix, void (*cb)(void *ctx, const char *what), void *ctx)
{
	struct check k = {.cb = cb, .ctx = ctx};
	int r = ix_conn_open(ix, &k.c, false);

	if (r < 0)
		return r;
	r = ix_exec(&k.c, "BEGIN");
	if (r == 0)
		r = check_pages(&k);
	if (r == 0)
		r = load_packs(&k);
	if (r == 0)
		r = check_objects(&k);
	if (r == 0)
		r = check_refs(&k);
	if (r == 0)
		r = check_strays(&k);
	if (r == -EUCLEAN) { /* that is an answer, not a failure to answer */
		problem(&k, "index.db: damaged, the check could not go on");
		r = 0;
	}
	ix_conn_close(&k.c);
	free(k.refs);
	free(k.packs);
	free(k.live);
	return r < 0 ? r : k.problems;
}
