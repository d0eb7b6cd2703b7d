/* SPDX-License-Identifier: MIT
 * What the index's two tests share: making objects and files whose values follow from their
 * numbers.
 */
#ifndef SPILL_INDEX_UTIL_H
#define SPILL_INDEX_UTIL_H

#include "spill/index.h"

#include <stdio.h>
#include <sys/stat.h>

#include "test.h"

/* A new empty directory below the test's. */
__attribute__((unused)) static char *fresh_dir(void)
{
	static char path[128];
	static int n;

	snprintf(path, sizeof(path), "%s/%d", test_tmpdir(), n++);
	if (mkdir(path, 0700) < 0)
		perror(path);
	return path;
}

__attribute__((unused)) static void make_sha(uint8_t sha[32], uint64_t seed)
{
	uint64_t h = hash64(&seed, sizeof(seed));

	for (int i = 0; i < 4; i++, h = hash64(&h, sizeof(h)))
		put_le64(sha + 8 * i, h);
}

/* A plain object: one segment, refs 1. segs points to *seg. */
__attribute__((unused)) static struct object plain(uint64_t id, uint64_t size, struct seg *seg)
{
	struct object o = {
		.id = {id}, .size = size, .stream_len = size, .refs = 1, .nsegs = 1, .segs = seg};

	*seg = (struct seg){.len = size, .pack = 1 + (uint32_t)(id / 1000), .frame = id % 1000};
	make_sha(o.sha, id);
	return o;
}

__attribute__((unused)) static int put_plain(struct index *ix, uint64_t id, uint64_t size)
{
	struct seg seg;
	struct object o = plain(id, size, &seg);

	return index_object_put(ix, &o);
}

__attribute__((unused)) static int put_file(struct index *ix, uint64_t ino, uint64_t obj,
					    enum residency state)
{
	struct file_row f = {.id = {ino, (uint32_t)(ino * 2654435761u)},
			     .obj = {obj},
			     .state = state,
			     .size = 7,
			     .mtime_ns = -5,
			     .ctime_ns = 6,
			     .snap_ns = 8};

	return index_file_put(ix, &f);
}

__attribute__((unused)) static struct hot_id hot(uint64_t ino)
{
	return (struct hot_id){ino, (uint32_t)(ino * 2654435761u)};
}

__attribute__((unused)) static void print_problem(void *ctx, const char *what)
{
	(void)ctx;
	printf("  problem: %s\n", what);
}

__attribute__((unused)) static void count_problem(void *ctx, const char *what)
{
	(void)what;
	(*(int *)ctx)++;
}

/* One object with one spilled file each, ids 1..n, in one transaction. */
__attribute__((unused)) static int fill(struct index *ix, uint64_t first, uint64_t n)
{
	int r = index_begin(ix);

	for (uint64_t i = first; r == 0 && i < first + n; i++) {
		r = put_plain(ix, i, 100 + i);
		if (r == 0)
			r = put_file(ix, i, i, RES_SPILLED);
	}
	for (uint32_t p = (uint32_t)(first / 1000); r == 0 && p <= (first + n) / 1000; p++) {
		struct pack_len len = {.pack = 1 + p, .bytes = 4096, .frames = 2000};

		r = index_pack_set(ix, &len);
	}
	if (r < 0) {
		index_rollback(ix);
		return r;
	}
	return index_commit(ix);
}

__attribute__((unused)) static bool same_totals(const struct index_totals *a,
						const struct index_totals *b)
{
	return a->files_premigrated == b->files_premigrated &&
	       a->files_spilled == b->files_spilled &&
	       a->spilled_logical_bytes == b->spilled_logical_bytes && a->objects == b->objects;
}

#endif
