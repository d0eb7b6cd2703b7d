/* SPDX-License-Identifier: MIT
 * Part of fsdiff: the table of operations and how one is drawn.
 *
 * Operation number i of seed s depends on s and i only, never on what earlier operations did: so
 * any subset of a run can be replayed, which is what makes traces short.
 */

enum { KIND_OPEN = 0, KIND_MKDIR = 21 }; /* places in the table */

static const struct op_kind kinds[] = {
	[KIND_OPEN] = {"open", 120, op_open},
	{"close", 14, op_close},
	{"dup", 6, op_dup},
	{"setfl", 5, op_setfl},
	{"flock", 3, op_flock},
	{"ofdlock", 3, op_ofdlock},
	{"read", 40, op_read},
	{"readv", 8, op_readv},
	{"write", 60, op_write},
	{"sync", 6, op_sync},
	{"truncate", 14, op_truncate},
	{"ftruncate", 14, op_ftruncate},
	{"fallocate", 24, op_fallocate},
	{"lseek", 10, op_lseek},
	{"holes", 10, op_holes},
	{"copy", 12, op_copy},
	{"ficlone", 2, op_ficlone},
	{"mmap", 14, op_mmap},
	{"mread", 12, op_mread},
	{"mwrite", 16, op_mwrite},
	{"munmap", 5, op_munmap},
	[KIND_MKDIR] = {"mkdir", 30, op_mkdir},
	{"rmdir", 8, op_rmdir},
	{"unlink", 16, op_unlink},
	{"mknod", 10, op_mknod},
	{"symlink", 12, op_symlink},
	{"readlink", 6, op_readlink},
	{"link", 16, op_link},
	{"linkfd", 6, op_linkfd},
	{"rename", 36, op_rename},
	{"chmod", 18, op_chmod},
	{"fchmod", 8, op_fchmod},
	{"chown", 14, op_chown},
	{"fchown", 6, op_fchown},
	{"utimens", 16, op_utimens},
	{"futimens", 8, op_futimens},
	{"stat", 16, op_stat},
	{"fstat", 8, op_fstat},
	{"statx", 4, op_statx},
	{"access", 10, op_access},
	{"list", 10, op_list},
	{"listfd", 6, op_listfd},
	{"setxattr", 22, op_setxattr},
	{"fsetxattr", 6, op_fsetxattr},
	{"getxattr", 10, op_getxattr},
	{"fgetxattr", 4, op_fgetxattr},
	{"listxattr", 6, op_listxattr},
	{"removexattr", 8, op_removexattr},
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Names have a theme (files, directories, special files), so that most operations find what they
 * can work on; one in seven draws from another theme, and some are too long, or lead up. */
enum theme { FILES, DIRS, SPECIAL };

static void gen_name(struct rng *r, enum theme theme, char *out)
{
	static const char *const names[3][4] = {
		{"a", "b", "c", "e f"}, {"d0", "d1", "d2", "d1"}, {"s", "t", "g\n", "t"}};
	uint32_t v = rng_below(r, 100);

	if (v < 95) {
		strcpy(out, names[v < 82 ? theme : rng_below(r, 3)][rng_below(r, 4)]);
	} else if (v == 95) {
		strcpy(out, "..");
	} else {
		size_t n = v < 99 ? 255 : 256;

		memset(out, v == 96 ? 'L' : 'x', n);
		out[n] = 0;
	}
}

/* One to three names; most often in the root or in one directory. */
static void gen_path(struct rng *r, enum theme theme, char *out)
{
	uint32_t v = rng_below(r, 100);
	unsigned depth = v < 55 ? 1 : v < 88 ? 2 : 3;
	char name[300];

	out[0] = 0;
	if (rng_one_in(r, 60)) {
		strcpy(out, rng_one_in(r, 3) ? "" : ".");
		return;
	}
	if (rng_one_in(r, 10))
		strcpy(out, "/");
	for (unsigned i = 0; i < depth; i++) {
		gen_name(r, i + 1 < depth ? DIRS : theme, name);
		if (i)
			strcat(out, "/");
		strcat(out, name);
	}
	if (rng_one_in(r, 25))
		strcat(out, rng_one_in(r, 2) ? "/" : "/.");
}

static enum theme theme_of(const struct op_kind *k, struct rng *r)
{
	if (k->run == op_mkdir || k->run == op_rmdir || k->run == op_list)
		return DIRS;
	if (k->run == op_mknod || k->run == op_symlink || k->run == op_readlink)
		return SPECIAL;
	return rng_one_in(r, 4) ? (rng_one_in(r, 2) ? DIRS : SPECIAL) : FILES;
}

static uint64_t gen_off(struct rng *r)
{
	static const uint64_t edges[] = {0, 4096, 8192, 65536, 131072, 262144};
	uint32_t v = rng_below(r, 100);

	if (v < 25)
		return rng_below(r, 6000);
	if (v < 55)
		return edges[rng_below(r, 6)] + rng_below(r, 3) - (rng_one_in(r, 2) ? 1 : 0);
	if (v < 96)
		return rng_below(r, 400000);
	if (v < 98) /* beyond 4 GiB */
		return (4ull << 30) + rng_below(r, 1u << 30) - 5000;
	if (v == 98)
		return 1 << 20;
	return rng_one_in(r, 4) ? (uint64_t)INT64_MAX - rng_below(r, 3) : (uint64_t)-1;
}

static uint64_t gen_len(struct rng *r)
{
	static const uint64_t edges[] = {0, 1, 512, 4096, 8192, 131072, 131073, 131071};
	uint32_t v = rng_below(r, 100);

	if (v < 40)
		return edges[rng_below(r, 8)];
	if (v < 70)
		return rng_below(r, 10000);
	return rng_below(r, 300000);
}

static void gen_op(uint64_t seed, unsigned index, struct op *o)
{
	static const mode_t umasks[] = {022, 0, 077, 027};
	static const char *const first[] = {"d0", "d1",   "d0/d1", "a",   "b",
					    "c",  "d0/a", "d0/b",  "d1/a"};
	unsigned total = 0;
	struct rng r = {seed * 0x9e3779b97f4a7c15u ^ (uint64_t)index * 0xd1342543de82ef95u};
	uint32_t pick, who;
	enum theme theme;

	for (size_t i = 0; i < NKINDS; i++)
		total += kinds[i].weight;
	memset(o, 0, sizeof(*o));
	rng_next(&r);
	o->index = index;
	pick = rng_below(&r, total);
	for (o->kind = kinds; pick >= o->kind->weight; o->kind++)
		pick -= o->kind->weight;
	who = rng_below(&r, 100);
	o->cred = who < 66 ? 0 : who < 83 ? 1 : 2;
	o->umask = umasks[rng_below(&r, 4)];
	theme = theme_of(o->kind, &r);
	gen_path(&r, theme, o->p1);
	gen_path(&r, theme, o->p2);
	/* The first operations build something to work on. */
	if (index < sizeof(first) / sizeof(first[0]) && !rng_one_in(&r, 8)) {
		o->kind = &kinds[first[index][0] == 'd' ? KIND_MKDIR : KIND_OPEN];
		o->cred = 0;
		strcpy(o->p1, first[index]);
	}
	o->s1 = (int)rng_below(&r, NSLOTS);
	o->s2 = (int)rng_below(&r, NSLOTS);
	for (int i = 0; i < 6; i++)
		o->v[i] = (uint32_t)(rng_next(&r) >> 32);
	o->off = gen_off(&r);
	o->len = gen_len(&r);
	o->data = rng_next(&r);
	o->around = rng_one_in(&r, 2);
}
