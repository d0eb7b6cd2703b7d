/* SPDX-License-Identifier: MIT
 * src/index: every call, transactions and totals, reopening, readers beside a writer.
 */
#include "spill/index.h"

#include <sqlite3.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "index_util.h"

/* ---- calls ------------------------------------------------------------------------------- */

TEST(create_and_open)
{
	const char *dir = fresh_dir();
	char path[160];
	struct index *ix = NULL;
	struct stat st;

	CHECK_EQ(index_open(&ix, dir, false, false), -ENOENT);
	CHECK_EQ(index_open(&ix, "/nonexistent/x", true, false), -ENOENT);
	CHECK_EQ(index_open(&ix, dir, true, true), -ENOENT);
	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	index_close(ix);
	snprintf(path, sizeof(path), "%s/index.db", dir);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);
	CHECK_EQ(index_open(&ix, dir, false, true), 0);
	CHECK_EQ(index_begin(ix), -EROFS);
	index_close(ix);
	snprintf(path, sizeof(path), "%s/index.db-wal", dir);
	CHECK_EQ(access(path, F_OK), -1); /* reading left no trace */
	/* An empty file is damage unless it may be created. */
	snprintf(path, sizeof(path), "%s/index.db", dir);
	CHECK_EQ(truncate(path, 0), 0);
	CHECK_EQ(index_open(&ix, dir, false, false), -EUCLEAN);
	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	index_close(ix);
}

TEST(refuses_symlinks_and_others)
{
	const char *dir = fresh_dir();
	char db[160], real[160], link_dir[160];
	struct index *ix = NULL;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	index_close(ix);
	snprintf(db, sizeof(db), "%s/index.db", dir);
	snprintf(real, sizeof(real), "%s/real.db", dir);
	snprintf(link_dir, sizeof(link_dir), "%s.link", dir);
	CHECK_EQ(symlink(dir, link_dir), 0); /* the directory may be reached through one */
	CHECK_EQ(index_open(&ix, link_dir, false, false), 0);
	index_close(ix);
	CHECK_EQ(rename(db, real), 0);
	CHECK_EQ(symlink("real.db", db), 0);
	CHECK_EQ(index_open(&ix, dir, true, false), -ELOOP);
	CHECK_EQ(unlink(db), 0);
	CHECK_EQ(mkdir(db, 0700), 0);
	CHECK_EQ(index_open(&ix, dir, true, false), -EUCLEAN);
	CHECK_EQ(rmdir(db), 0);
	CHECK_EQ(rename(real, db), 0);
	snprintf(real, sizeof(real), "%s/index.db-wal", dir);
	CHECK_EQ(symlink("elsewhere", real), 0);
	CHECK_EQ(index_open(&ix, dir, false, false), -ELOOP);
	CHECK_EQ(unlink(real), 0);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	index_close(ix);
}

TEST(newer_schema)
{
	const char *dir = fresh_dir();
	char db[160];
	uint8_t version[4] = {0, 0, 0, 99};
	struct index *ix = NULL;
	int fd;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	index_close(ix);
	snprintf(db, sizeof(db), "%s/index.db", dir);
	fd = open(db, O_RDWR);
	CHECK_EQ(pwrite(fd, version, 4, 60), 4); /* user_version, in SQLite's file header */
	close(fd);
	CHECK_EQ(index_open(&ix, dir, true, false), -EPROTONOSUPPORT);
}

/* A wrong number in a row must never lead to another object's bytes. */
TEST(altered_object_row)
{
	static const char *const alter[] = {
		"UPDATE object SET off = off + 1", "UPDATE object SET frame = frame + 1",
		"UPDATE object SET pack = pack + 1", "UPDATE object SET h1 = h1 + 1",
		"UPDATE object SET size = size + 1"};

	for (size_t i = 0; i < ARRAY_SIZE(alter); i++) {
		const char *dir = fresh_dir();
		struct object *o = NULL;
		struct index *ix = NULL;
		char path[160];
		sqlite3 *db;

		CHECK_EQ(index_open(&ix, dir, true, false), 0);
		CHECK_EQ(index_begin(ix), 0);
		CHECK_EQ(put_plain(ix, 5, 100), 0);
		CHECK_EQ(index_commit(ix), 0);
		CHECK_EQ(index_object_get(ix, (struct obj_id){5}, &o), 0);
		object_free(o);
		index_close(ix);
		snprintf(path, sizeof(path), "%s/index.db", dir);
		CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
		CHECK_EQ(sqlite3_exec(db, alter[i], NULL, NULL, NULL), SQLITE_OK);
		sqlite3_close(db);
		CHECK_EQ(index_open(&ix, dir, true, false), 0);
		CHECK_EQ(index_object_get(ix, (struct obj_id){5}, &o), -EUCLEAN);
		index_close(ix);
	}
}

TEST(relative_path_and_chdir)
{
	const char *dir = fresh_dir();
	struct index *ix = NULL;
	char *old = getcwd(NULL, 0);

	CHECK_EQ(chdir(dir), 0);
	CHECK_EQ(index_open(&ix, ".", true, false), 0);
	CHECK_EQ(chdir("/"), 0);
	CHECK_EQ(fill(ix, 1, 10), 0);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	index_close(ix);
	CHECK_EQ(chdir(old), 0);
	free(old);
}

TEST(meta_and_layers)
{
	struct index *ix = NULL;
	uint64_t v = 5;
	int64_t t = 0;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(index_meta_get(ix, "epoch", &v), -ENOENT);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_meta_set(ix, "epoch", UINT64_MAX), 0);
	CHECK_EQ(index_layer_used_set(ix, "overlay2/a", -3), 0);
	CHECK_EQ(index_layer_used_set(ix, "overlay2/a", 44), 0);
	CHECK_EQ(index_meta_get(ix, "epoch", &v), -ENOENT); /* committed state only */
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_meta_get(ix, "epoch", &v), 0);
	CHECK(v == UINT64_MAX);
	CHECK_EQ(index_layer_used_get(ix, "overlay2/a", &t), 0);
	CHECK_EQ(t, 44);
	CHECK_EQ(index_layer_used_get(ix, "overlay2/b", &t), -ENOENT);
	index_close(ix);
}

TEST(objects)
{
	struct seg segs[3] = {{0, 2 * FRAME_SIZE, 1, 4, 0},
			      {2 * FRAME_SIZE, FRAME_SIZE, 2, 0, 0},
			      {3 * FRAME_SIZE, 50, 2, 9, 70}};
	struct range ranges[2] = {{4096, 3 * FRAME_SIZE}, {8 * FRAME_SIZE, 50}};
	struct object sparse = {.size = 9 * FRAME_SIZE,
				.stream_len = 3 * FRAME_SIZE + 50,
				.refs = 2,
				.nsegs = 3,
				.nranges = 2,
				.segs = segs,
				.ranges = ranges};
	struct object hole = {.id = {77}, .size = 1 << 20}, *o = NULL;
	struct index *ix = NULL;
	struct obj_id id;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_newid(ix, &sparse.id), 0);
	CHECK_EQ(sparse.id.v, 1);
	make_sha(sparse.sha, 1000);
	make_sha(hole.sha, 1001);
	CHECK_EQ(index_object_put(ix, &sparse), 0);
	CHECK_EQ(index_object_put(ix, &sparse), -EEXIST); /* and the transaction goes on */
	CHECK_EQ(index_object_put(ix, &hole), 0);
	CHECK_EQ(put_plain(ix, 50, 1234), 0);
	CHECK_EQ(index_object_find(ix, sparse.sha, sparse.size, sparse.stream_len, &id), 0);
	CHECK_EQ(id.v, 1);
	CHECK_EQ(index_commit(ix), 0);

	CHECK_EQ(index_object_get(ix, sparse.id, &o), 0);
	CHECK_MEM(o->sha, sparse.sha, 16);
	CHECK_EQ(o->size, sparse.size);
	CHECK_EQ(o->stream_len, sparse.stream_len);
	CHECK_EQ(o->refs, 2);
	CHECK_EQ(o->nsegs, 3);
	CHECK_EQ(o->nranges, 2);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(o->segs[i].stream_off, segs[i].stream_off);
		CHECK_EQ(o->segs[i].len, segs[i].len);
		CHECK_EQ(o->segs[i].pack, segs[i].pack);
		CHECK_EQ(o->segs[i].frame, segs[i].frame);
		CHECK_EQ(o->segs[i].off, segs[i].off);
	}
	CHECK_MEM(o->ranges, ranges, sizeof(ranges));
	object_free(o);
	CHECK_EQ(index_object_get(ix, hole.id, &o), 0);
	CHECK_EQ(o->nsegs, 0);
	CHECK_EQ(o->stream_len, 0);
	CHECK_EQ(o->size, 1 << 20);
	object_free(o);
	CHECK_EQ(index_object_get(ix, (struct obj_id){50}, &o), 0);
	CHECK_EQ(o->nsegs, 1);
	CHECK_EQ(o->segs[0].len, 1234);
	CHECK_EQ(o->segs[0].frame, 50);
	object_free(o);
	object_free(NULL);
	CHECK_EQ(index_object_get(ix, (struct obj_id){51}, &o), -ENOENT);

	CHECK_EQ(index_object_find(ix, sparse.sha, sparse.size, sparse.stream_len - 1, &id),
		 -ENOENT);
	CHECK_EQ(index_object_find(ix, sparse.sha, sparse.size + 1, sparse.stream_len, &id),
		 -ENOENT);
	sparse.sha[15] ^= 1; /* the half that is not indexed counts, too */
	CHECK_EQ(index_object_find(ix, sparse.sha, sparse.size, sparse.stream_len, &id), -ENOENT);
	sparse.sha[15] ^= 1;
	sparse.sha[7] ^= 1;
	CHECK_EQ(index_object_find(ix, sparse.sha, sparse.size, sparse.stream_len, &id), -ENOENT);
	CHECK(index_object_size_known(ix, sparse.size));
	CHECK(index_object_size_known(ix, 1 << 20));
	CHECK(!index_object_size_known(ix, 1234)); /* small sizes are not kept track of */
	CHECK(!index_object_size_known(ix, sparse.size + 1));
	CHECK(!index_object_size_known(ix, UINT64_MAX));

	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_newid(ix, &id), 0);
	CHECK_EQ(id.v, 78); /* behind what was put */
	CHECK_EQ(index_object_ref(ix, sparse.id, 3), 5);
	CHECK_EQ(index_object_ref(ix, sparse.id, -6), -EUCLEAN);
	CHECK_EQ(index_object_delete(ix, sparse.id), -EBUSY);
	CHECK_EQ(index_object_ref(ix, sparse.id, -5), 0);
	CHECK_EQ(index_object_delete(ix, sparse.id), 0);
	CHECK_EQ(index_object_delete(ix, sparse.id), -ENOENT);
	CHECK_EQ(index_object_ref(ix, sparse.id, 1), -ENOENT);
	CHECK_EQ(index_commit(ix), 0);
	CHECK(!index_object_size_known(ix, sparse.size));
	index_close(ix);
}

TEST(object_rules)
{
	struct seg seg[2] = {{0, 100, 1, 0, 0}, {100, 50, 1, 1, 0}};
	struct range range[2] = {{0, 100}, {200, 50}};
	struct object good = {.id = {1},
			      .size = 300,
			      .stream_len = 150,
			      .nsegs = 2,
			      .nranges = 2,
			      .segs = seg,
			      .ranges = range},
		      o;
	struct index *ix = NULL;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	o = good, o.id.v = 0;
	CHECK_EQ(index_object_put(ix, &o), -EINVAL);
	o = good, o.id.v = UINT64_MAX;
	CHECK_EQ(index_object_put(ix, &o), -EINVAL);
	o = good, o.size = UINT64_MAX;
	CHECK_EQ(index_object_put(ix, &o), -EINVAL);
	o = good, o.nsegs = 1;
	CHECK_EQ(index_object_put(ix, &o), -EINVAL);
	o = good, o.nranges = 1;
	CHECK_EQ(index_object_put(ix, &o), -EINVAL);
	o = good, o.nranges = 0;
	CHECK_EQ(index_object_put(ix, &o), -EINVAL);
	seg[1].stream_off = 99;
	CHECK_EQ(index_object_put(ix, &good), -EINVAL);
	seg[1].stream_off = 100, seg[1].off = FRAME_SIZE;
	CHECK_EQ(index_object_put(ix, &good), -EINVAL);
	seg[1].off = 0, range[1].off = 100; /* touches */
	CHECK_EQ(index_object_put(ix, &good), -EINVAL);
	range[1].off = 251; /* leaves the file */
	CHECK_EQ(index_object_put(ix, &good), -EINVAL);
	range[1].off = UINT64_MAX - 10;
	CHECK_EQ(index_object_put(ix, &good), -EINVAL);
	range[1].off = 250;
	CHECK_EQ(index_object_put(ix, &good), 0);
	CHECK_EQ(index_commit(ix), 0);
	index_close(ix);
}

TEST(files)
{
	struct file_row f, rows[8];
	struct hot_id from = {0};
	struct index *ix = NULL;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	for (uint64_t i = 1; i <= 20; i++) {
		CHECK_EQ(put_file(ix, i, i, RES_SPILLED), -ENOENT); /* its object first */
		CHECK_EQ(put_plain(ix, i, i), 0);
		CHECK_EQ(put_file(ix, i, i, i % 4 ? RES_SPILLED : RES_PREMIGRATED), 0);
	}
	CHECK_EQ(put_file(ix, 1, 1, RES_RESIDENT), -EINVAL);
	/* Another generation of the same inode number is another file; all of gen's 32 bits count.
	 */
	f = (struct file_row){.id = {20, 0}, .obj = {3}, .state = RES_RECALLING};
	CHECK_EQ(index_file_put(ix, &f), 0);
	f.id.gen = UINT32_MAX;
	CHECK_EQ(index_file_put(ix, &f), 0);
	CHECK_EQ(index_commit(ix), 0);

	CHECK_EQ(index_file_get(ix, hot(4), &f), 0);
	CHECK_EQ(f.state, RES_PREMIGRATED);
	CHECK_EQ(f.obj.v, 4);
	CHECK_EQ(f.size, 7);
	CHECK_EQ(f.mtime_ns, -5);
	CHECK_EQ(f.ctime_ns, 6);
	CHECK_EQ(f.snap_ns, 8);
	CHECK_EQ(index_file_get(ix, hot(5), &f), 0);
	CHECK_EQ(f.state, RES_SPILLED);
	CHECK_EQ(f.size, 0);
	CHECK_EQ(f.snap_ns, 0);
	CHECK_EQ(index_file_get(ix, (struct hot_id){4, 0}, &f), -ENOENT);
	CHECK_EQ(index_file_get(ix, (struct hot_id){20, UINT32_MAX}, &f), 0);
	CHECK_EQ(f.id.gen, UINT32_MAX);
	CHECK_EQ(f.state, RES_RECALLING);

	/* Pages: all, in order, without gaps. */
	for (uint64_t seen = 0; seen < 22;) {
		ssize_t n = index_file_list(ix, -1, from, rows, 8);

		CHECK_EQ(n, MIN(8, 22 - seen));
		for (ssize_t i = 0; i < n; i++, seen++)
			CHECK_EQ(rows[i].id.ino, MIN(seen + 1, 20));
		from = rows[n - 1].id;
	}
	CHECK_EQ(index_file_list(ix, -1, from, rows, 8), 0);
	CHECK_EQ(from.gen, UINT32_MAX); /* order of gen is unsigned */
	CHECK_EQ(index_file_list(ix, RES_PREMIGRATED, (struct hot_id){0}, rows, 8), 5);
	CHECK_EQ(rows[4].id.ino, 20);
	CHECK_EQ(index_file_list(ix, RES_PREMIGRATED, hot(8), rows, 8), 3);
	CHECK_EQ(rows[0].id.ino, 12);
	CHECK_EQ(index_file_list(ix, RES_SPILLED, hot(3), rows, 2), 2);
	CHECK_EQ(rows[0].id.ino, 5);
	CHECK_EQ(index_file_list(ix, RES_RECALLING, (struct hot_id){0}, rows, 8), 2);
	CHECK_EQ(index_file_list(ix, RES_PARTIAL, (struct hot_id){0}, rows, 8), 0);
	CHECK_EQ(index_file_by_obj(ix, (struct obj_id){3}, rows, 8), 3);
	CHECK_EQ(index_file_by_obj(ix, (struct obj_id){3}, rows, 2), 2);
	CHECK_EQ(index_file_by_obj(ix, (struct obj_id){99}, rows, 8), 0);

	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_file_state(ix, hot(4), RES_SPILLING), 0);
	CHECK_EQ(index_file_state(ix, hot(8), RES_SPILLING), 0);
	CHECK_EQ(index_file_state(ix, hot(99), RES_SPILLING), -ENOENT);
	CHECK_EQ(index_file_state(ix, hot(8), RES_SPILLED), 0);
	CHECK_EQ(index_file_del(ix, hot(5)), 0);
	CHECK_EQ(index_file_del(ix, hot(5)), -ENOENT);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_file_get(ix, hot(4), &f), 0);
	CHECK_EQ(f.state, RES_SPILLING);
	CHECK_EQ(f.size, 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_file_state(ix, hot(4), RES_PREMIGRATED), 0); /* called off */
	CHECK_EQ(index_file_state(ix, hot(8), RES_PREMIGRATED), 0); /* recalled */
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_file_get(ix, hot(4), &f), 0);
	CHECK_EQ(f.snap_ns, 8);
	CHECK_EQ(index_file_get(ix, hot(8), &f), 0);
	CHECK_EQ(f.snap_ns, 0);
	index_close(ix);
}

TEST(a_transaction_sees_itself)
{
	struct object *o = NULL;
	struct index *ix = NULL;
	struct file_row f;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(put_plain(ix, 1, 1), 0);
	CHECK_EQ(index_object_get(ix, (struct obj_id){1}, &o), 0);
	object_free(o);
	CHECK_EQ(put_file(ix, 7, 1, RES_PREMIGRATED), 0);
	CHECK_EQ(index_file_get(ix, hot(7), &f), 0);
	CHECK_EQ(f.obj.v, 1);
	CHECK_EQ(index_file_state(ix, hot(7), RES_SPILLED), 0);
	CHECK_EQ(index_file_get(ix, hot(7), &f), 0);
	CHECK_EQ(f.state, RES_SPILLED);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_file_del(ix, hot(7)), 0);
	CHECK_EQ(index_file_get(ix, hot(7), &f), -ENOENT);
	index_rollback(ix);
	CHECK_EQ(index_file_get(ix, hot(7), &f), 0);
	index_close(ix);
}

TEST(tombs)
{
	struct tomb t = {.id = {9, 3000000000u}, .obj = {4}}, got[4];
	struct index *ix = NULL;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_tomb_put(ix, &t), 0);
	CHECK_EQ(index_tomb_put(ix, &t), 0);
	t.id.ino = 3;
	CHECK_EQ(index_tomb_put(ix, &t), 0);
	CHECK_EQ(index_tomb_list(ix, got, 4), 0);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_tomb_list(ix, got, 4), 2);
	CHECK_EQ(got[1].id.ino, 9);
	CHECK_EQ(got[1].id.gen, 3000000000u);
	CHECK_EQ(got[1].obj.v, 4);
	CHECK_EQ(index_tomb_list(ix, got, 1), 1);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_tomb_del(ix, t.id), 0);
	CHECK_EQ(index_tomb_del(ix, t.id), -ENOENT);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_tomb_list(ix, got, 4), 1);
	index_close(ix);
}

TEST(packs_and_live_bytes)
{
	struct pack_len len = {.pack = 7, .bytes = 1000, .frames = 12};
	struct seg segs[2] = {{0, FRAME_SIZE, 7, 0, 0}, {FRAME_SIZE, 10, 3, 0, 0}};
	struct object o = {.id = {5},
			   .size = FRAME_SIZE + 10,
			   .stream_len = FRAME_SIZE + 10,
			   .nsegs = 2,
			   .segs = segs};
	struct pack_row *p = NULL;
	struct index *ix = NULL;
	size_t n = 9;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(index_pack_list(ix, &p, &n), 0);
	CHECK_EQ(n, 0);
	free(p);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_put(ix, &o), 0);
	CHECK_EQ(index_pack_set(ix, &len), 0);
	len.pack = 3;
	CHECK_EQ(index_pack_set(ix, &len), 0);
	CHECK_EQ(index_pack_del(ix, 3), -EBUSY); /* live, though not written yet */
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_begin(ix), 0);
	len.bytes = 2000;
	CHECK_EQ(index_pack_set(ix, &len), 0);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_pack_list(ix, &p, &n), 0);
	CHECK_EQ(n, 2);
	CHECK_EQ(p[0].len.pack, 3);
	CHECK_EQ(p[0].len.bytes, 2000);
	CHECK_EQ(p[0].len.frames, 12);
	CHECK_EQ(p[0].live_bytes, 10);
	CHECK_EQ(p[1].live_bytes, FRAME_SIZE);
	free(p);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);

	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_pack_del(ix, 4), -ENOENT);
	CHECK_EQ(index_object_delete(ix, o.id), 0);
	CHECK_EQ(index_pack_del(ix, 3), 0);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_pack_list(ix, &p, &n), 0);
	CHECK_EQ(n, 1);
	CHECK_EQ(p[0].live_bytes, 0);
	free(p);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);
}

/* ---- transactions and totals ------------------------------------------------------------- */

TEST(totals_follow_commits)
{
	char *dir = fresh_dir();
	struct index_totals before, after, again;
	struct index *ix = NULL;
	struct obj_id id, id2;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	CHECK_EQ(fill(ix, 1, 100), 0);
	CHECK_EQ(index_totals(ix, &before), 0);
	CHECK_EQ(before.objects, 100);
	CHECK_EQ(before.files_spilled, 100);
	CHECK_EQ(before.files_premigrated, 0);
	CHECK_EQ(before.spilled_logical_bytes, 100 * 100 + 5050);
	CHECK(before.db_bytes >= 8192);

	/* Everything at once, then away with it. */
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_newid(ix, &id), 0);
	CHECK_EQ(put_plain(ix, id.v, 5000), 0);
	CHECK_EQ(put_file(ix, 1, id.v, RES_SPILLED), 0);
	CHECK_EQ(index_file_state(ix, hot(2), RES_PREMIGRATED), 0);
	CHECK_EQ(index_file_del(ix, hot(3)), 0);
	CHECK_EQ(index_object_ref(ix, (struct obj_id){3}, -1), 0);
	CHECK_EQ(index_object_delete(ix, (struct obj_id){3}), 0);
	index_rollback(ix);
	CHECK_EQ(index_totals(ix, &after), 0);
	CHECK(same_totals(&before, &after));
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);

	/* The same, kept. */
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_newid(ix, &id2), 0);
	CHECK_EQ(id2.v, id.v); /* it was never committed */
	CHECK_EQ(put_plain(ix, id.v, 5000), 0);
	CHECK_EQ(index_object_ref(ix, (struct obj_id){1}, -1), 0);
	CHECK_EQ(put_file(ix, 1, id.v, RES_SPILLING), 0);
	CHECK_EQ(index_file_state(ix, hot(2), RES_PREMIGRATED), 0);
	CHECK_EQ(index_file_del(ix, hot(3)), 0);
	CHECK_EQ(index_object_ref(ix, (struct obj_id){3}, -1), 0);
	CHECK_EQ(index_object_delete(ix, (struct obj_id){3}), 0);
	CHECK_EQ(index_object_delete(ix, (struct obj_id){1}), 0);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_totals(ix, &after), 0);
	CHECK_EQ(after.objects, 99);
	CHECK_EQ(after.files_spilled, 98);
	CHECK_EQ(after.files_premigrated, 1);
	CHECK_EQ(after.spilled_logical_bytes,
		 before.spilled_logical_bytes - 101 - 102 - 103 + 5000);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);

	CHECK_EQ(index_open(&ix, dir, false, true), 0);
	CHECK_EQ(index_totals(ix, &again), 0);
	CHECK(same_totals(&after, &again));
	index_close(ix);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_newid(ix, &id2), 0);
	CHECK_EQ(id2.v, id.v + 1);
	index_rollback(ix);
	index_close(ix);
}

/* An id stays used when its object is gone, also over a reopen. */
TEST(ids_are_never_reused)
{
	char *dir = fresh_dir();
	struct index *ix = NULL;
	struct obj_id id;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(index_object_newid(ix, &id), 0);
	CHECK_EQ(index_commit(ix), 0);
	index_close(ix);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_newid(ix, &id), 0);
	CHECK_EQ(id.v, 11);
	index_rollback(ix);
	index_close(ix);
}

TEST(check_finds_miscounts)
{
	struct index *ix = NULL;
	struct pack_len len = {.pack = 1, .bytes = 1, .frames = 1};
	int n = 0;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	CHECK_EQ(fill(ix, 1, 10), 0);
	CHECK_EQ(index_check(ix, count_problem, &n), 0);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_object_ref(ix, (struct obj_id){1}, 5), 6);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_check(ix, count_problem, &n), 1);
	CHECK_EQ(n, 1);
	/* What is left of a deleted file refers to nothing: its row has gone with its reference. */
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_tomb_put(ix, &(struct tomb){.id = {9, 1}, .obj = {2}}), 0);
	CHECK_EQ(index_tomb_put(ix, &(struct tomb){.id = {10, 1}, .obj = {99}}), 0);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_check(ix, count_problem, &n), 1);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_pack_set(ix, &len), 0); /* ten objects now lie behind its end */
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_check(ix, count_problem, &n), 11);
	index_close(ix);
}

/* ---- threads ----------------------------------------------------------------------------- */

struct reader {
	struct index *ix;
	uint64_t *committed; /* atomic: objects 1..this are there */
	int stop;            /* atomic */
	int err;
	uint64_t reads;
};

static void *reader_main(void *arg)
{
	struct reader *rd = arg;
	struct file_row rows[256];

	while (!__atomic_load_n(&rd->stop, __ATOMIC_ACQUIRE) && !rd->err) {
		uint64_t top = __atomic_load_n(rd->committed, __ATOMIC_ACQUIRE);
		uint64_t i = top ? 1 + rd->reads * 7919 % top : 0;
		struct object *o;
		struct file_row f;
		struct obj_id id;
		uint8_t sha[32];

		if (!i) {
			usleep(100);
			continue;
		}
		rd->reads++;
		rd->err = index_object_get(rd->ix, (struct obj_id){i}, &o);
		if (rd->err)
			break;
		if (o->size != 100 + i)
			rd->err = -EBADMSG;
		object_free(o);
		make_sha(sha, i);
		if (!rd->err)
			rd->err = index_object_find(rd->ix, sha, 100 + i, 100 + i, &id);
		if (!rd->err)
			rd->err = index_file_get(rd->ix, hot(i), &f);
		if (!rd->err && index_file_list(rd->ix, -1, hot(i), rows, 256) < 0)
			rd->err = -EBADMSG;
	}
	return NULL;
}

TEST(readers_beside_a_writer)
{
	enum { NREADERS = 6, BATCHES = 140, BATCH = 300 };
	char *dir = fresh_dir(), wal[160];
	struct reader rd[NREADERS] = {0};
	pthread_t th[NREADERS];
	uint64_t committed = 0, reads = 0;
	struct index *ix = NULL;
	off_t largest = 0;
	int r = 0;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	for (int i = 0; i < NREADERS; i++) {
		rd[i].ix = ix;
		rd[i].committed = &committed;
		CHECK_EQ(thread_start(&th[i], "reader", reader_main, &rd[i]), 0);
	}
	snprintf(wal, sizeof(wal), "%s/index.db-wal", dir);
	for (int i = 0; i < BATCHES && r == 0; i++) {
		struct stat st;

		r = fill(ix, committed + 1, BATCH);
		__atomic_store_n(&committed, committed + BATCH, __ATOMIC_RELEASE);
		if (stat(wal, &st) == 0)
			largest = MAX(largest, st.st_size);
	}
	for (int i = 0; i < NREADERS; i++) {
		__atomic_store_n(&rd[i].stop, 1, __ATOMIC_RELEASE);
		pthread_join(th[i], NULL);
		reads += rd[i].reads;
	}
	CHECK_EQ(r, 0);
	for (int i = 0; i < NREADERS; i++)
		CHECK_EQ(rd[i].err, 0);
	CHECK(reads > 0);
	/* Readers that never all pause by themselves must not let the WAL grow without bound. */
	CHECK(largest < 40 << 20);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);
}

TEST(trim_gives_memory_back)
{
	char *dir = fresh_dir();
	struct index *ix = NULL;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	CHECK_EQ(fill(ix, 1, 20000), 0);
	sqlite3_int64 full = sqlite3_memory_used();

	index_trim(ix);
	CHECK(full > 2 << 20);
	CHECK(sqlite3_memory_used() < full / 2);
	CHECK_EQ(fill(ix, 20001, 100), 0);
	CHECK_EQ(index_check(ix, print_problem, NULL), 0);
	index_close(ix);
}

static void *two_writers(void *arg)
{
	struct index *ix = arg;
	int r = 0;

	for (int i = 0; i < 100 && r == 0; i++) {
		uint64_t v = 0;

		r = index_begin(ix);
		if (r < 0)
			break;
		r = index_meta_get(ix, "count", &v); /* committed, and nobody else may write now */
		if (r == -ENOENT)
			r = 0;
		if (r == 0)
			r = index_meta_set(ix, "count", v + 1);
		if (r == 0 && i % 10 == 9) {
			index_rollback(ix);
			continue;
		}
		r = r == 0 ? index_commit(ix) : r;
	}
	return (void *)(intptr_t)r;
}

TEST(heat_of_files_and_layers)
{
	static const uint64_t nodes[] = {7, 1ull << 32 | 5, UINT64_MAX};
	char *dir = fresh_dir();
	struct heat_row v[4];
	struct index *ix = NULL;
	uint32_t score;

	CHECK_EQ(index_open(&ix, dir, true, false), 0);
	CHECK_EQ(index_begin(ix), 0);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(index_heat_set(ix, &(struct heat_row){nodes[i], i, 9, UINT32_MAX}), 0);
	CHECK_EQ(index_heat_set(ix, &(struct heat_row){7, 1500, 10, 0}), 0);
	CHECK_EQ(index_layer_used_set(ix, "a", 1), 0);
	CHECK_EQ(index_layer_score_set(ix, "a", 77), 0);
	CHECK_EQ(index_layer_score_set(ix, "nonesuch", 77), 0);
	CHECK_EQ(index_layer_used_set(ix, "a", 2), 0); /* does not forget it */
	CHECK_EQ(index_layer_used_set(ix, "b", 2), 0);
	CHECK_EQ(index_commit(ix), 0);
	index_close(ix);
	CHECK_EQ(index_open(&ix, dir, false, false), 0);
	CHECK_EQ(index_layer_score_get(ix, "a", &score), 0);
	CHECK_EQ(score, 77);
	CHECK_EQ(index_layer_score_get(ix, "b", &score), 0);
	CHECK_EQ(score, 0);
	CHECK_EQ(index_layer_score_get(ix, "nonesuch", &score), -ENOENT);
	CHECK_EQ(index_heat_list(ix, NULL, v, 2), 2);
	CHECK_EQ(v[0].node, UINT64_MAX); /* in SQLite's order, where numbers have a sign */
	CHECK_EQ(v[0].recalled_sec, UINT32_MAX);
	CHECK_EQ(v[1].score, 1500);
	CHECK_EQ(index_heat_list(ix, &v[1].node, v, 4), 1);
	CHECK_EQ(v[0].node, nodes[1]);
	CHECK_EQ(index_begin(ix), 0);
	CHECK_EQ(index_heat_del(ix, 7), 0);
	CHECK_EQ(index_heat_del(ix, 7), 0);
	CHECK_EQ(index_commit(ix), 0);
	CHECK_EQ(index_heat_list(ix, NULL, v, 4), 2);
	index_close(ix);
}

TEST(writers_take_turns)
{
	struct index *ix = NULL;
	pthread_t th[3];
	uint64_t v = 0;
	void *r;

	CHECK_EQ(index_open(&ix, fresh_dir(), true, false), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(thread_start(&th[i], "writer", two_writers, ix), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(th[i], &r);
		CHECK(r == NULL);
	}
	CHECK_EQ(index_meta_get(ix, "count", &v), 0);
	CHECK_EQ(v, 270);
	index_close(ix);
}

TEST_MAIN
