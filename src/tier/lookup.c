/* SPDX-License-Identifier: MIT
 * From names, handles and descriptors to nodes, and back to descriptors; what a node's marker says
 * is learned here, once.
 */
#include "overflow.h"

#include <fcntl.h>
#include <sys/stat.h>

int node_fh(struct tier *t, const struct node *n, struct hot_fh *ret)
{
	if (n->fh) {
		*ret = *n->fh;
		return 0;
	}
	return hot_fh_of_nodeid(t->hot, n->nodeid, ret) ? 0 : -ESTALE;
}

int node_open(struct tier *t, struct node *n, int flags)
{
	struct hot_fh fh;
	int fd, pin = n->nodeid == 1 ? hot_root_fd(t->hot) : atomic_load(&n->pin_fd);

	if (pin < 0) {
		int r = node_fh(t, n, &fh);

		if (r)
			return r;
	}
	do
		fd = pin >= 0 ? hot_reopen(pin, flags) : hot_open_fh(t->hot, &fh, flags);
	while (fd < 0 && tier_fds_short(t, fd));
	return fd;
}

/* hot_identify needs a descriptor when in doubt. */
static int identify(struct tier *t, int dirfd, const char *name, struct stat *st, struct hot_fh *fh,
		    uint64_t *id)
{
	int r;

	do
		r = hot_identify(t->hot, dirfd, name, st, fh, id);
	while (r && tier_fds_short(t, r));
	return r;
}

int node_of_fd(struct tier *t, int fd, struct node **ret, struct stat *ret_st)
{
	struct hot_fh fh;
	uint64_t id;
	bool fresh;
	int r = hot_identify(t->hot, fd, "", ret_st, &fh, &id);

	return r ? r : node_intern(t, id, &fh, ret_st, 0, ret, &fresh);
}

int node_learn(struct tier *t, struct node *n, int fd, const struct stat *st)
{
	struct marker mk;

	if (node_has(n, NODE_RES_KNOWN) || !node_has(n, NODE_REG))
		return 0;
	int r = hot_marker_get(fd, &mk);

	if (r == -ENODATA || r == -EOPNOTSUPP) {
		node_flag(n, NODE_RES_KNOWN, 0);
		return 0;
	}
	/* A stub is never empty: a marker here is what an interrupted truncation left. */
	if (st->st_size == 0 && (!r || r == -EUCLEAN || r == -EPROTONOSUPPORT)) {
		node_flag(n, NODE_RES_KNOWN | NODE_STALE_MARKER, 0);
		return 0;
	}
	if (!r && mk.state == RES_PARTIAL) {
		r = overflow_load(t, n, fd);
		if (r && r != -ENOENT)
			return r; /* it may pass */
		if (r) {
			log_err("inode %llu: the part of it that is in the store's overflow cannot "
				"be had (%s): its content cannot be proved right; is it the right "
				"store?",
				(unsigned long long)st->st_ino, strerror(-r));
			atomic_fetch_add(&t->n_errors, 1);
			node_flag(n, NODE_DAMAGED, 0);
		}
		node_flag(n, NODE_RES_KNOWN, 0);
		return 0;
	}
	if (r == -EUCLEAN || r == -EPROTONOSUPPORT || (!r && mk.size != (uint64_t)st->st_size)) {
		log_err("inode %llu: the stub marker is damaged or does not fit the file (size "
			"%lld): "
			"its content cannot be proved right; run spillctl check",
			(unsigned long long)st->st_ino, (long long)st->st_size);
		atomic_fetch_add(&t->n_errors, 1);
		node_flag(n, NODE_RES_KNOWN | NODE_DAMAGED, 0);
		return 0;
	}
	if (r)
		return r;
	n->cold = cold_new(&mk);
	if (!n->cold)
		return -ENOMEM;
	atomic_store(&n->res, RES_SPILLED);
	node_flag(n, NODE_RES_KNOWN, 0);
	return 0;
}

/* The common cases of node_learn, without a descriptor. Only while nobody can exchange names in the
 * directory: exchanged and exchanged back between two system calls, which leaves no trace on xfs, a
 * stub would be taken for what it is not. */
static bool learn_at(struct tier *t, struct node *n, int dirfd, const char *name,
		     const struct stat *st)
{
	struct marker mk;
	int r = st->st_size ? hot_marker_get_at(dirfd, name, st, &mk) : -EAGAIN;
	bool stub = !r && mk.state != RES_PARTIAL && mk.size == (uint64_t)st->st_size;

	if (!stub && r != -ENODATA)
		return false;
	node_lock(t, n);
	if (!node_has(n, NODE_RES_KNOWN) && stub) {
		n->cold = cold_new(&mk);
		if (n->cold)
			atomic_store(&n->res, RES_SPILLED);
	}
	bool done = node_has(n, NODE_RES_KNOWN) || !stub || n->cold;

	if (done)
		node_flag(n, NODE_RES_KNOWN, 0);
	node_unlock(t, n);
	return done;
}

/* Attach layer identity and residency to a node just found by name. */
static int node_attach(struct tier *t, struct node *dir, int dirfd, const char *name, int fd,
		       bool locked, struct node *n, struct stat *st)
{
	if (dir && dir != n && !node_has(n, NODE_CLASSED)) {
		layer_class cls;
		uint32_t layer;

		layer_of_child(t, dir, dirfd, name, &cls, &layer);
		node_set_layer(t, n, cls, layer);
	}
	if (!S_ISREG(st->st_mode))
		return 0;
	if (!node_has(n, NODE_RES_KNOWN) && !(locked && learn_at(t, n, dirfd, name, st))) {
		cleanup_fd int tmp = -1;

		if (fd < 0) {
			tmp = node_open(t, n, O_PATH | O_NOFOLLOW);
			if (tmp < 0)
				return tmp == -ESTALE ? -ENOENT : tmp;
			fd = tmp;
		}
		node_lock(t, n);
		int r = node_learn(t, n, fd, st);

		node_unlock(t, n);
		if (r)
			return r;
	}
	return tier_fix_attr(t, n, fd, st);
}

static int lookup(struct tier *t, struct node *dir, const char *name, bool locked,
		  struct node **ret, struct stat *ret_st)
{
	struct node_fd dfd;
	struct hot_fh fh;
	uint64_t id;
	bool fresh;
	int r = tier_fd_get(t, dir, &dfd);

	if (r)
		return r;
	r = identify(t, dfd.fd, name, ret_st, &fh, &id);
	if (!r)
		r = node_intern(t, id, &fh, ret_st, 1, ret, &fresh);
	if (!r) {
		r = node_attach(t, dir, dfd.fd, name, -1, locked, *ret, ret_st);
		if (r)
			node_drop(t, (*ret)->nodeid, 1, 1);
	}
	tier_fd_put(t, &dfd);
	return r;
}

int tier_lookup(struct tier *t, struct node *dir, const char *name, struct node **ret,
		struct stat *ret_st)
{
	return lookup(t, dir, name, false, ret, ret_st);
}

int tier_lookup_listed(struct tier *t, struct node *dir, const char *name, struct node **ret,
		       struct stat *ret_st)
{
	return lookup(t, dir, name, true, ret, ret_st);
}

int tier_lookup_fd(struct tier *t, struct node *dir, const char *name, int fd, struct node **ret,
		   struct stat *ret_st)
{
	struct node_fd dfd;
	struct hot_fh fh;
	uint64_t id;
	bool fresh;
	int r = hot_identify(t->hot, fd, "", ret_st, &fh, &id);

	if (!r)
		r = node_intern(t, id, &fh, ret_st, 1, ret, &fresh);
	if (r)
		return r;
	if (fresh) {
		node_lock(t, *ret);
		node_flag(*ret, NODE_RES_KNOWN | NODE_NO_CAPS, 0);
		node_unlock(t, *ret);
	}
	r = tier_fd_get(t, dir, &dfd);
	if (!r) {
		r = node_attach(t, dir, dfd.fd, name, fd, false, *ret, ret_st);
		tier_fd_put(t, &dfd);
	}
	if (!r && ret_st->st_nlink == 0 && atomic_load(&(*ret)->pin_fd) < 0) {
		/* O_TMPFILE: no name keeps the inode for the kernel's reference. */
		int pin;

		do
			pin = hot_reopen(fd, O_PATH);
		while (pin < 0 && tier_fds_short(t, pin));
		node_pin(t, *ret, pin);
		r = MIN(pin, 0);
	}
	if (r)
		node_drop(t, (*ret)->nodeid, 1, 1);
	return r;
}

int tier_get(struct tier *t, uint64_t nodeid, struct node **ret)
{
	struct node *n = node_find(t, nodeid);
	struct hot_fh fh;
	struct stat st;
	bool fresh;

	if (n) {
		*ret = n;
		return 0;
	}
	if (!hot_fh_of_nodeid(t->hot, nodeid, &fh))
		return -ESTALE;
	cleanup_fd int fd = -1;

	do
		fd = hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);
	while (fd < 0 && tier_fds_short(t, fd));
	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	/* It stays until the kernel forgets it: as good as a lookup. */
	return node_intern(t, nodeid, &fh, &st, t->resumed, ret, &fresh);
}

bool tier_no_caps(const struct node *n)
{
	return node_has(n, NODE_NO_CAPS);
}

void tier_caps_come(struct tier *t, struct node *n)
{
	node_lock(t, n);
	node_flag(n, 0, NODE_NO_CAPS);
	node_unlock(t, n);
}

void tier_handle(const struct node *n, struct hot_fh *ret)
{
	*ret = n->fh ? *n->fh : (struct hot_fh){0};
}

void tier_resumed(struct tier *t)
{
	t->resumed = true;
}

/* ---- fds ---------------------------------------------------------------------------------------
 */

int tier_fd_get(struct tier *t, struct node *n, struct node_fd *ret)
{
	int pin = n == t->root ? hot_root_fd(t->hot) : atomic_load(&n->pin_fd);

	if (pin >= 0) { /* lives as long as the node, which the caller holds */
		*ret = (struct node_fd){.fd = pin, .slot = t};
		return 0;
	}
	if (!fdcache_get(t->fds, n->nodeid, ret))
		return 0;
	int fd = node_open(t, n, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	fdcache_put_new(t->fds, n->nodeid, fd, ret);
	return 0;
}

void tier_fd_put(struct tier *t, struct node_fd *f)
{
	if (f->slot != t)
		fdcache_release(t->fds, f);
}
