/* SPDX-License-Identifier: MIT
 * `unguard`: take the guard of an unmounted DIR away. The one thing that keeps everybody from
 * reading stubs as zeros, so it looks for stubs first.
 */
#include "spillctl.h"

#include "spill/mnt.h"
#include "spill/tier.h"

#define ENOUGH 1000 /* stubs counted for the message; counting all may take minutes */

/* 0: nothing would show. */
static int look_for_stubs(const struct cli *c, const char *dir)
{
	cleanup_fd int fd = mnt_hot_fd(dir);
	uint64_t stubs = 0;
	int err;

	if (fd < 0)
		return fail(
			c, EXIT_STUBS,
			"%s: the directory behind the guard cannot be looked into (%s), so there "
			"may be spilled files; --expose removes the guard all the same",
			dir, strerror(-fd));
	err = tier_count_stubs(fd, ENOUGH, &stubs);
	if (err)
		return fail(c, EXIT_FAILED, "%s: looking for spilled files: %s", dir,
			    strerror(-err));
	if (stubs)
		return fail(
			c, EXIT_STUBS,
			"%s: %s%s files are spilled and would read as zeros; mount it and bring "
			"them back first (spillctl drain), or use --expose",
			dir, stubs >= ENOUGH ? "at least " : "", fmt_count(stubs));
	return EXIT_OK;
}

int do_unguard(const struct cli *c)
{
	cleanup_free char *dir = target_resolve(c->argv[0]);
	enum mnt_state state;
	int err, code;

	if (!dir)
		return fail(c, EXIT_DIR_BAD, "%s: %s", c->argv[0], strerror(errno));
	err = mnt_probe(dir, &state, NULL);
	if (err && err != -ETIMEDOUT)
		return fail(c, EXIT_FAILED, "%s: %s", dir, strerror(-err));
	if (err || state == MNT_LIVE || state == MNT_DEAD)
		return fail(c, EXIT_MOUNTED, "%s: still mounted; unmount it first", dir);
	if (state == MNT_BARE) {
		if (c->json)
			print_json(json_pack("{s:b}", "removed", 0));
		else if (!c->quiet)
			puts("there is no guard");
		return EXIT_OK;
	}
	code = c->expose ? EXIT_OK : look_for_stubs(c, dir);
	if (code)
		return code;
	err = mnt_guard_down(dir);
	if (err)
		return fail(c, err == -EPERM ? EXIT_SYSTEM : EXIT_FAILED, "%s: %s", dir,
			    strerror(-err));
	if (c->json)
		print_json(json_pack("{s:b}", "removed", 1));
	return EXIT_OK;
}
