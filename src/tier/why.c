/* SPDX-License-Identifier: MIT
 * Why a file is where it is, and what keeps the policy from spilling it. Asks the same questions as
 * spill_batch_add, all of them instead of the first that says no, and changes nothing.
 */
#include "catalog.h"
#include "rounds.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static void look_at_layer(struct tier *t, struct tier_why *w)
{
	struct layer_set set = {0};

	if (layers_scan(hot_root_fd(t->hot), &set))
		return;
	const struct layer *own = w->info.layer[0] ? layers_find(&set, w->info.layer) : NULL;

	if (own) {
		w->in_layer = true;
		w->layer_kind = own->kind;
		w->asleep = layer_asleep(t, own);
		w->layer_used_ns = layer_last_used(t, own);
		for (size_t i = 0; i < set.n; i++)
			w->layers_colder += layer_last_used(t, &set.v[i]) < w->layer_used_ns;
	}
	w->layers_total = set.n;
	layer_set_done(&set);
}

static void look_at_file(struct tier *t, int fd, const struct stat *st, struct tier_why *w)
{
	char p[32];
	int flags = 0;
	int64_t m, c;
	/* A reader of the attributes only; the lease of a release notices it and gives way. */
	cleanup_fd int rd = open(hot_fd_path(fd, p), O_RDONLY | O_NONBLOCK | O_NOATIME | O_CLOEXEC);

	if (st->st_size == 0 || st->st_blocks == 0)
		w->keeps |= WHY_EMPTY;
	if ((uint64_t)st->st_size < t->cfg->min_size_bytes)
		w->keeps |= WHY_SMALL;
	if (!ts_to_ns(&st->st_mtim, &m) || !ts_to_ns(&st->st_ctim, &c)) {
		w->keeps |= WHY_TIMES;
	} else {
		w->age_ns = clock_wall_ns() - MAX(m, c);
		if (w->age_ns < (int64_t)t->cfg->min_age_sec * 1000000000)
			w->keeps |= WHY_YOUNG;
	}
	if (w->info.opens)
		w->keeps |= WHY_OPEN;
	if (rd >= 0 && fgetxattr(rd, "security.capability", NULL, 0) > 0)
		w->keeps |= WHY_CAPABILITY;
	if (rd >= 0 && !ioctl(rd, FS_IOC_GETFLAGS, &flags) &&
	    (flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)))
		w->keeps |= WHY_IMMUTABLE;
}

int tier_why(struct tier *t, const char *path, struct tier_why *ret)
{
	cleanup_fd int fd = walk_open(hot_root_fd(t->hot), path, O_PATH);
	struct node *n;
	struct stat st;

	if (fd < 0)
		return fd;
	memset(ret, 0, sizeof(*ret));
	int r = tier_info(t, path, &ret->info);

	if (!r)
		r = node_of_fd(t, fd, &n, &st);
	if (r)
		return r;
	node_lock(t, n);
	if (node_has(n, NODE_DAMAGED))
		ret->keeps |= WHY_DAMAGED;
	node_unlock(t, n);
	if (!node_hot_id(t, n).ino)
		ret->keeps |= WHY_NO_ID;
	if (pin_keeps(t, path, n))
		ret->keeps |= WHY_PINNED;
	if (path_excluded(t->cfg, path))
		ret->keeps |= WHY_EXCLUDED;
	uint32_t now = (uint32_t)(clock_wall_ns() / 1000000000);

	heats_drain(t, true);
	ret->heat = heats_of(t, node_id(n), now, &ret->used_sec, &ret->recalled_sec);
	if (ret->recalled_sec && now - ret->recalled_sec < t->cfg->retain_sec)
		ret->keeps |= WHY_RECALLED;
	tier_put(t, n);
	if (!ret->info.layer[0] && !S_ISDIR(st.st_mode))
		ret->keeps |= t->cfg->spill_all ? 0 : WHY_NO_LAYER;
	look_at_layer(t, ret);
	if (!S_ISREG(st.st_mode))
		ret->keeps |= WHY_NO_FILE;
	else if (ret->info.state == RES_RESIDENT || ret->info.state == RES_PREMIGRATED)
		look_at_file(t, fd, &st, ret);
	if (auto_urgent(t)) /* as policy_eligible() has it */
		ret->keeps &= ~(unsigned)(WHY_YOUNG | WHY_RECALLED);
	return 0;
}
