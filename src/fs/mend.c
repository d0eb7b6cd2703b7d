/* SPDX-License-Identifier: MIT
 * What a daemon that was killed between two steps has left half done, and the kernel does not ask
 * for again; noted in the shared state before the first step, mended by the next daemon.
 *
 *	backing id made, handle not noted yet	nobody would close it: its inode's space is lost
 *	handle gone, backing id not closed yet	the same
 *	chown or truncate, which drop file capabilities, and not yet restored
 */
#include "fs_int.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

static struct state_end *mine(struct fs *f)
{
	return &f->state->ends[worker_slot];
}

/* ---- notes ------------------------------------------------------------------------------------
 */

/* Ids only grow (the kernel allocates them cyclically): what is made now is above all known. */
void end_backing_begin(struct fs *f)
{
	atomic_store(&mine(f)->floor, atomic_load(&f->state->backing_max) + 1);
}

void end_backing_made(struct fs *f, int id)
{
	int32_t max = atomic_load(&f->state->backing_max);

	fault_point(f, "backing");
	if (id > 0)
		atomic_store(&mine(f)->made, id);
	while (id > max && !atomic_compare_exchange_weak(&f->state->backing_max, &max, id))
		;
	atomic_store(&mine(f)->floor, 0);
}

void end_backing_released(struct fs *f, int id)
{
	if (id > 0)
		atomic_store_explicit(&mine(f)->released, id, memory_order_release);
}

void end_caps_begin(struct fs *f, struct node *n, const void *val, size_t len)
{
	struct state_end *e = mine(f);

	if (len > sizeof(e->caps))
		return;
	e->nodeid = node_id(n);
	tier_handle(n, &e->fh);
	memcpy(e->caps, val, len);
	atomic_store(&e->caps_len, (uint32_t)len);
}

void end_caps_done(struct fs *f)
{
	atomic_store(&mine(f)->caps_len, 0);
}

/* ---- after a death ----------------------------------------------------------------------------
 */

/* Without a handle it is nobody's. */
static void close_unused(struct fs *f, int id)
{
	uint32_t v = (uint32_t)id;

	if (id > 0 && !handles_backing(f->h, id) && !ioctl(f->dev_fd, ABI_BACKING_CLOSE, &v))
		log_info("backing id %d: left by the daemon before; closed", id);
}

static void mend_backing(struct fs *f)
{
	struct abi_backing_map m = {.fd = f->o.state_fd}; /* any regular file */
	int32_t from = 0;

	for (unsigned i = 0; i < STATE_WORKERS; i++) {
		struct state_end *e = &f->state->ends[i];
		int32_t floor = atomic_exchange(&e->floor, 0);

		if (floor && (!from || floor < from))
			from = floor;
		close_unused(f, atomic_exchange(&e->made, 0));
		close_unused(f, atomic_exchange(&e->released, 0));
	}
	if (!from)
		return;
	/* What was made in the middle of being noted lies between what was known and the next. */
	int next = ioctl(f->dev_fd, ABI_BACKING_OPEN, &m);

	for (int id = from; id < next; id++)
		close_unused(f, id);
	uint32_t v = (uint32_t)next;

	if (next > 0)
		ioctl(f->dev_fd, ABI_BACKING_CLOSE, &v);
}

static void mend_caps(struct fs *f, struct state_end *e)
{
	uint32_t len = atomic_load(&e->caps_len);
	struct node_fd fd;
	struct node *n;
	char p[32];

	if (!len || len > sizeof(e->caps))
		return;
	int r = tier_get_known(f->t, e->nodeid, &e->fh, &n);

	if (!r) {
		r = tier_fd_get(f->t, n, &fd);
		if (!r) {
			if (setxattr(hot_fd_path(fd.fd, p), "security.capability", e->caps, len,
				     XATTR_CREATE) &&
			    errno != EEXIST)
				r = -errno;
			tier_fd_put(f->t, &fd);
		}
		tier_put(f->t, n);
	}
	if (r)
		log_err("node %llx: its file capabilities were lost with the daemon before: %s",
			(unsigned long long)e->nodeid, strerror(-r));
	atomic_store(&e->caps_len, 0);
}

void mend(struct fs *f)
{
	mend_backing(f);
	for (unsigned i = 0; i < STATE_WORKERS; i++)
		mend_caps(f, &f->state->ends[i]);
}

/* ---- faults -----------------------------------------------------------------------------------
 */

/* SPILLFS_FAULT_POINT=NAME: the first daemon of a mount is killed there. */
void fault_point(const struct fs *f, const char *name)
{
	if (unlikely(f->fault_point) && !strcmp(f->fault_point, name) &&
	    atomic_load(&f->state->lives) == 1)
		kill(getpid(), SIGKILL);
}
