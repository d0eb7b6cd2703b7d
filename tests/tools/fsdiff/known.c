/* SPDX-License-Identifier: MIT
 * Part of fsdiff: the one table of differences that are known, cannot be helped, and are
 * documented.
 *
 * An operation in it is done on the mount first; when it answers with this errno there, the plain
 * side is not asked at all and the run goes on with both sides as they were. Anything else is
 * compared as usual.
 */

static const struct known {
	const char *op;   /* name of the kind, as in the table of kinds */
	const char *call; /* the result text begins with it; "" any */
	int err;
	const char *reason;
} known[] = {
	{"ficlone", "", EOPNOTSUPP, "fs/fuse has no remap_file_range: cp falls back to copying"},
	{"fallocate", "fallocate COLLAPSE", EOPNOTSUPP,
	 "fs/fuse/file.c refuses all modes but KEEP_SIZE, PUNCH_HOLE and ZERO_RANGE itself"},
	{"fallocate", "fallocate INSERT", EOPNOTSUPP, "the same"},
	{"read", "", EISDIR,
	 "read(2) of a directory is EINVAL on btrfs, EISDIR on FUSE and elsewhere"},
};

static bool maybe_known(const struct op *o)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].op, o->kind->name) == 0)
			return true;
	return false;
}

static bool is_known(const struct op *o, const char *result)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		char want[48];

		snprintf(want, sizeof(want), " = -1 %s", strerrorname_np(known[i].err));
		if (strcmp(known[i].op, o->kind->name) == 0 &&
		    strncmp(result, known[i].call, strlen(known[i].call)) == 0 &&
		    strstr(result, want))
			return true;
	}
	return false;
}
