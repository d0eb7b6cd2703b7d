/* SPDX-License-Identifier: MIT
 * Attributes as the user left them (invariant 6).
 *
 * A stub has no blocks, and its own ctime tells when it was punched; the marker keeps what the user
 * saw. GNU tar and cp take st_blocks == 0 for "all zeros" and would lose data. Once the user
 * changes metadata of a stub, its inode's own ctime is the true one, and the marker says so
 * (ctime_valid).
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/stat.h>

static void show(struct stat *st, int64_t mtime_ns, int64_t ctime_ns, bool ctime_valid,
		 blkcnt_t blocks)
{
	st->st_mtim = ns_to_ts(mtime_ns);
	if (ctime_valid)
		st->st_ctim = ns_to_ts(ctime_ns);
	st->st_blocks = blocks;
}

int tier_fix_attr(struct tier *t, struct node *n, int fd, struct stat *st)
{
	(void)fd;
	if (st->st_dev != hot_dev(t->hot)) /* a btrfs subvolume: inode numbers begin anew in it */
		st->st_ino ^= (ino_t)st->st_dev << 40;
	if (!node_has(n, NODE_REG))
		return 0;
	node_lock(t, n);
	if (n->cold) {
		/* While a transition is under way the inode's own mtime is not the user's. */
		struct timespec mt = st->st_mtim;

		show(st, n->cold->mtime_ns, n->cold->ctime_ns,
		     n->cold->ctime_valid && !node_has(n, NODE_META_NEW), n->cold->blocks);
		st->st_size = (off_t)n->cold->size;
		if (!node_has(n, NODE_BUSY) && n->cold->state == RES_SPILLED)
			st->st_mtim = mt;
	} else if (n->rel && n->rel->started) {
		st->st_mtim = n->rel->st.st_mtim;
		st->st_ctim = n->rel->st.st_ctim;
		st->st_blocks = n->rel->st.st_blocks;
	} else if (n->over) {
		st->st_blocks += (blkcnt_t)overflow_blocks(n->over);
	}
	node_unlock(t, n);
	return 0;
}

void tier_on_attr_change(struct tier *t, tier_attr_fn fn, void *ctx)
{
	t->attr_changed = fn;
	t->attr_ctx = ctx;
}

void tier_count_work(struct tier *t, _Atomic uint64_t *counter)
{
	t->work = counter;
}

void tier_on_orphan(struct tier *t, tier_orphan_fn fn, void *ctx)
{
	t->orphan = fn;
	t->orphan_ctx = ctx;
}

int tier_getattr(struct tier *t, struct node *n, struct stat *ret)
{
	struct node_fd f;
	int r = tier_fd_get(t, n, &f);

	if (r)
		return r;
	/* A concurrent end of a spill or recall between the stat and the fix would mix two states.
	 */
	for (int i = 0; i < 3; i++) {
		uint8_t before = atomic_load(&n->res);

		if (fstatat(f.fd, "", ret, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
			r = -errno;
			break;
		}
		if (node_has(n, NODE_REG) && !node_has(n, NODE_RES_KNOWN)) {
			node_lock(t, n);
			r = node_learn(t, n, f.fd, ret);
			node_unlock(t, n);
			before = atomic_load(&n->res);
		}
		if (!r)
			r = tier_fix_attr(t, n, f.fd, ret);
		if (r || before == atomic_load(&n->res))
			break;
	}
	tier_fd_put(t, &f);
	return r;
}

int stub_repair_times(struct tier *t, struct node *n)
{
	struct marker mk = cold_marker(n->cold);

	if (mk.state == RES_SPILLED)
		return 0;
	cleanup_fd int fd = node_open(t, n, O_RDONLY | O_NOATIME | O_NONBLOCK);
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, ns_to_ts(mk.mtime_ns)};

	if (fd < 0)
		return fd;
	int r = d_futimens(fd, ts);

	mk.state = RES_SPILLED;
	if (!r)
		r = hot_marker_set(fd, &mk);
	if (!r)
		n->cold->state = RES_SPILLED;
	return r;
}

void tier_meta_changed(struct tier *t, struct node *n)
{
	if (!node_has(n, NODE_REG))
		return;
	node_lock(t, n);
	if (!n->rel && !n->cold) {
		node_unlock(t, n);
		return;
	}
	/* A rename or link holds its directories: it does not wait for the rest of a recall, after
	 * which ctime is the inode's own anyway. */
	if (atomic_load(&n->res) == RES_RECALLING) {
		node_flag(n, NODE_META_NEW, 0);
		node_unlock(t, n);
		return;
	}
	node_settle(t, n);
	if (n->cold && !stub_repair_times(t, n)) {
		/* Opened by handle: a descriptor that can set xattrs. On failure (immutable, say)
		 * only the shown ctime stays old. */
		cleanup_fd int fd = node_open(t, n, O_RDONLY | O_NOATIME | O_NONBLOCK);
		struct marker mk = cold_marker(n->cold);
		struct stat st;

		mk.ctime_valid = false;
		if (fd >= 0 && !fstat(fd, &st) && ts_to_ns(&st.st_mtim, &mk.mtime_ns) &&
		    (n->cold->ctime_valid || mk.mtime_ns != n->cold->mtime_ns) &&
		    !hot_marker_set(fd, &mk))
			cold_set_marker(n->cold, &mk);
	}
	node_unlock(t, n);
}

void tier_meta_changed_fd(struct tier *t, int fd)
{
	struct node *n;
	struct stat st;

	if (node_of_fd(t, fd, &n, &st))
		return;
	if (node_has(n, NODE_REG) && !node_has(n, NODE_RES_KNOWN)) {
		node_lock(t, n);
		node_learn(t, n, fd, &st);
		node_unlock(t, n);
	}
	tier_meta_changed(t, n);
	tier_put(t, n);
}

int tier_node_open(struct tier *t, struct node *n, int flags)
{
	return node_open(t, n, flags);
}

bool tier_hides_trusted(const struct tier *t)
{
	return hot_fs_type(t->hot) != HOT_BTRFS;
}

void tier_created(struct tier *t)
{
	atomic_fetch_add(&t->n_regular, 1);
}

int tier_utimens(struct tier *t, struct node *n, const struct timespec ts[2])
{
	struct node_fd f;
	int r = tier_fd_get(t, n, &f);

	if (r)
		return r;
	if (node_has(n, NODE_REG)) {
		node_lock(t, n);
		node_settle(t, n);
		if (n->cold)
			r = stub_repair_times(t, n);
		if (!r)
			r = hot_utimens(f.fd, ts); /* user effect */
		node_unlock(t, n);
		if (!r)
			tier_meta_changed(t, n);
	} else {
		r = hot_utimens(f.fd, ts); /* user effect */
	}
	tier_fd_put(t, &f);
	return r;
}
