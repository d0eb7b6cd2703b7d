/* SPDX-License-Identifier: MIT
 * Open files: who may have which bytes.
 *
 * An open decides residency and is counted under one hold of the node lock (invariant 5); from then
 * on no release can begin until the last release. Reading a stub goes to the store; a file opened
 * cold turns hot by itself when somebody else recalled it meanwhile.
 */
#include "gate.h"
#include "overflow.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Flags that the hot descriptor needs. O_APPEND is the kernel's business (it sends offsets), O_SYNC
 * comes as FSYNC, O_TRUNC and O_CREAT are handled by the callers. */
#define HOT_FLAGS (O_ACCMODE | O_DIRECT | O_NOATIME)

bool node_is_cold(const struct node *n)
{
	uint8_t r = atomic_load_explicit(&n->res, memory_order_acquire);

	return r == RES_SPILLED || r == RES_RECALLING;
}

struct hot_id node_hot_id(struct tier *t, const struct node *n)
{
	struct hot_fh fh;

	if (node_fh(t, n, &fh))
		return (struct hot_id){0, 0};
	return hot_id_of_fh(t->hot, &fh, 0);
}

/* Take a release in progress back: the lease goes first, or an open of the hot file would wait for
 * it. */
static void cancel_release(struct node *n)
{
	if (!n->rel || n->rel->cancelled)
		return;
	n->rel->cancelled = true;
	if (n->rel->fd >= 0)
		fcntl(n->rel->fd, F_SETLEASE, F_UNLCK);
}

void node_settle(struct tier *t, struct node *n)
{
	while (n->rel || node_has(n, NODE_BUSY | NODE_FILLING)) {
		cancel_release(n);
		node_wait(t, n);
	}
}

static int file_new(struct node *n, int flags, int backing, struct cold *cold, struct file **ret)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->n = n;
	f->flags = flags & HOT_FLAGS;
	f->backing = backing;
	f->cold = cold;
	*ret = f;
	return 0;
}

static int learn_locked(struct tier *t, struct node *n)
{
	struct stat st;

	if (node_has(n, NODE_RES_KNOWN))
		return 0;
	cleanup_fd int fd = node_open(t, n, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	return node_learn(t, n, fd, &st);
}

int make_ready(struct tier *t, struct node *n, bool wr, bool trunc)
{
	int r = learn_locked(t, n);

	while (!r) {
		if (wr || trunc) {
			node_settle(t, n);
		} else {
			/* Readers wait only for the short busy part of a release, for the lease at
			 * its begin (the kernel's own open would meet it) and for a fill; a stub
			 * being recalled is still served from the store. */
			for (;;) {
				cancel_release(n);
				if (!(node_has(n, NODE_BUSY) && !node_is_cold(n)) &&
				    !node_has(n, NODE_FILLING) && !(n->rel && !n->rel->leased))
					break;
				node_wait(t, n);
			}
		}
		if (node_has(n, NODE_DAMAGED) || (trunc && node_is_cold(n)) ||
		    ((wr || trunc) && node_has(n, NODE_STALE_MARKER))) {
			if (node_has(n, NODE_DAMAGED) && !trunc)
				return -EIO;
			r = stub_empty(t, n);
			continue;
		}
		if (trunc && n->over) {
			r = overflow_empty(t, n);
			continue;
		}
		if (wr && node_is_cold(n)) {
			r = recall_node(t, n, false);
			continue;
		}
		/* Which of the two is the older copy nobody knows yet. */
		if (n->over && atomic_load(&t->frozen))
			return -EIO;
		if (!node_is_cold(n) || n->cold->loaded)
			return 0;
		r = cold_load(t, n);
	}
	return r;
}

bool tier_would_block(struct tier *t, struct node *n, int flags)
{
	(void)t;
	return node_is_cold(n) && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_TRUNC);
}

int tier_open_file(struct tier *t, struct node *n, int flags, struct file **ret)
{
	bool wr = (flags & O_ACCMODE) != O_RDONLY;
	struct cold *cold = NULL;
	bool drop = false;
	int fd = -1, backing = 0;

	node_lock(t, n);
	int r = make_ready(t, n, wr, flags & O_TRUNC);

	if (!r) {
		backing = grant_way(t, n, flags, -1);
		r = MIN(backing, 0);
		if (!r && node_is_cold(n))
			cold = cold_ref(n->cold);
		drop = !r && !backing && node_has(n, NODE_OLD_PAGES);
	}
	node_unlock(t, n);
	if (r)
		return r;
	/* A passthrough writer has one too, for fsync: a descriptor is told of the errors since its
	 * open. */
	if (!cold && (!backing || wr || flags & O_TRUNC)) {
		fd = node_open(t, n, (flags & (HOT_FLAGS | O_TRUNC)) | O_NOFOLLOW);
		if (fd < 0 && (!backing || flags & O_TRUNC))
			r = fd;
	}
	if (!r)
		r = file_new(n, flags, backing, cold, ret);
	if (r) {
		if (fd >= 0)
			close(fd);
		cold_unref(cold);
		node_lock(t, n);
		grant_end(t, n, flags, backing);
		node_unlock(t, n);
		return r;
	}
	(*ret)->drop_pages = drop;
	node_ref(t, n);
	openfds_start(t, *ret, fd);
	atomic_fetch_add(&t->n_open, 1);
	return 0;
}

int tier_adopt_file(struct tier *t, struct node *n, int fd, int flags, struct file **ret)
{
	int r = file_new(n, flags, 0, NULL, ret);

	if (r) {
		close(fd);
		return r;
	}
	node_lock(t, n);
	node_flag(n, 0,
		  NODE_MAPPED | NODE_PASSED |
			  NODE_OLD_PAGES); /* nobody had it before, also not before a takeover */
	r = grant_way(t, n, flags, fd);
	(*ret)->backing = MAX(r, 0);
	node_unlock(t, n);
	if (r < 0) {
		close(fd);
		free(*ret);
		return r;
	}
	node_ref(t, n);
	openfds_start(t, *ret, fd);
	atomic_fetch_add(&t->n_open, 1);
	layer_used(t, n);
	return 0;
}

/* The node of a handle from before, with a reference and one lookup. */
static int adopt_node(struct tier *t, uint64_t nodeid, const struct hot_fh *known, int orphan,
		      struct node **ret)
{
	struct hot_fh fh = *known;
	struct stat st;
	bool fresh;

	if (!fh.len && nodeid != 1 && !hot_fh_of_nodeid(t->hot, nodeid, &fh))
		return -ESTALE;
	cleanup_fd int fd = orphan >= 0 ? hot_reopen(orphan, O_PATH)
					: hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	/* One lookup, however many handles: the kernel may have counted no more. */
	unsigned lookups = !node_known(t, nodeid);
	int r = node_intern(t, known->len ? 0 : nodeid, &fh, &st, lookups, ret, &fresh);

	if (r)
		return r;
	if ((*ret)->nodeid != nodeid)
		r = -ESTALE;
	node_lock(t, *ret);
	if (!r)
		r = node_learn(t, *ret, fd, &st);
	node_unlock(t, *ret);
	if (r) {
		tier_forget(t, (*ret)->nodeid, lookups);
		tier_put(t, *ret);
		return r;
	}
	if (!st.st_nlink)
		node_pin(t, *ret, steal_fd(&fd));
	if (orphan >= 0) /* to be told when it may go */
		node_flag(*ret, NODE_KEPT, 0);
	return 0;
}

int tier_get_known(struct tier *t, uint64_t nodeid, const struct hot_fh *fh, struct node **ret)
{
	*ret = node_find(t, nodeid);
	return *ret ? 0 : adopt_node(t, nodeid, fh, -1, ret);
}

int tier_adopt_open(struct tier *t, uint64_t nodeid, const struct hot_fh *fh, int orphan, int flags,
		    int backing, struct file **ret)
{
	struct cold *cold = NULL;
	struct node *n;
	int r = adopt_node(t, nodeid, fh, orphan, &n);

	if (r)
		return r;
	node_lock(t, n);
	do {
		node_settle(t, n);
		/* A truncation to nothing that was cut off: writes must not meet what the marker
		 * says. */
		if (node_has(n, NODE_STALE_MARKER))
			r = stub_empty(t, n);
		if (!r && (node_has(n, NODE_DAMAGED) || (n->over && atomic_load(&t->frozen))))
			r = -EIO;
		/* The kernel reads no stub by itself. */
		if (!r && node_is_cold(n) && backing)
			r = -EUCLEAN;
		if (r || !node_is_cold(n) || n->cold->loaded)
			break;
		r = cold_load(t, n);
	} while (!r);
	/* Nobody is mediated beside a mapping that can be written to; but beside one that a reader
	 * left, a writer may be. */
	if (!backing && !(flags & O_DIRECT))
		mapping_gone(t, n);
	if (!backing)
		unpassed(t, n);
	if (!r && node_is_cold(n))
		cold = cold_ref(n->cold);
	if (!r)
		r = file_new(n, flags, backing, cold, ret);
	if (!r)
		grant_again(t, n, flags, backing);
	if (!r && backing && (flags & O_ACCMODE) != O_RDONLY)
		gate_add(t, n, -1);
	node_unlock(t, n);
	if (r) {
		cold_unref(cold);
		tier_put(t, n);
		return r;
	}
	atomic_fetch_add(&t->n_open, 1); /* the file keeps the reference */
	return 0;
}

void tier_release_file(struct tier *t, struct file *f)
{
	openfds_end(t, f);
	node_lock(t, f->n);
	grant_end(t, f->n, f->flags, f->backing);
	if (f->drop_pages) /* that open is over, so they have been dropped */
		node_flag(f->n, 0, NODE_OLD_PAGES);
	node_unlock(t, f->n);
	if (f->cold) {
		cold_unref(f->cold);
		cold_rest(t, f->n);
	}
	tier_put(t, f->n);
	atomic_fetch_sub(&t->n_open, 1);
	free(f);
}

int file_flags(const struct file *f)
{
	return f->flags;
}

struct node *file_node(const struct file *f)
{
	return f->n;
}

int tier_hold(struct tier *t, struct node *n)
{
	node_lock(t, n);
	int r = node_has(n, NODE_REG) ? make_ready(t, n, true, false) : 0;

	if (!r && n->over)
		r = overflow_return(t, n);

	if (!r)
		n->opens++;
	node_unlock(t, n);
	return r;
}

void tier_unhold(struct tier *t, struct node *n)
{
	node_lock(t, n);
	n->opens--;
	node_unlock(t, n);
}
