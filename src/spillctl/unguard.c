/* SPDX-License-Identifier: MIT
 * `unguard`: take the guard of an unmounted DIR away. The one thing that keeps everybody from
 * reading stubs as zeros, so it looks for stubs first.
 */
#include "spillctl.h"

#include "spill/mnt.h"
#include "spill/tier.h"

#define ENOUGH 1000 /* stubs counted for the message; counting all may take minutes */

/* How many files behind the guard are spilled; ENOUGH: so many or more. -errno. */
static int64_t stubs_behind(const char *dir)
{
	cleanup_fd int fd = mnt_hot_fd(dir);
	uint64_t stubs = 0;
	int r = fd < 0 ? fd : tier_count_stubs(fd, ENOUGH, &stubs);

	return r ? r : (int64_t)stubs;
}

static int refuse(const struct cli *c, const char *dir, int64_t stubs)
{
	if (stubs < 0)
		return fail(
			c, EXIT_STUBS,
			"%s: what is behind the guard cannot be looked into (%s), so there may be "
			"spilled files; --expose removes the guard all the same",
			dir, strerror((int)-stubs));
	return fail(
		c, EXIT_STUBS,
		"%s: %s%s files are spilled and would read as zeros; mount it and bring them back "
		"first (spillctl drain), or use --expose",
		dir, stubs >= ENOUGH ? "at least " : "", fmt_count((uint64_t)stubs));
}

int do_unguard(const struct cli *c)
{
	cleanup_free char *dir = target_resolve(c->argv[0]);
	enum mnt_state state;
	int err;

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
	/* Looking may take minutes: who insists does not wait for it. */
	int64_t stubs = c->expose ? 0 : stubs_behind(dir);

	if (stubs)
		return refuse(c, dir, stubs);
	err = mnt_guard_down(dir);
	if (err)
		return fail(c, err == -EPERM ? EXIT_SYSTEM : EXIT_FAILED, "%s: %s", dir,
			    strerror(-err));
	if (c->json)
		print_json(json_pack("{s:b}", "removed", 1));
	else if (!c->quiet)
		printf("%s: the guard is removed%s\n", dir,
		       c->expose
			       ? "; files that are spilled read as zeros until it is mounted again"
			       : "");
	return EXIT_OK;
}
