/* SPDX-License-Identifier: MIT
 * The way an open file's data takes: past us (the kernel reads and writes the hot inode itself) or
 * through us (mediated).
 *
 * The kernel allows one way at a time for an inode, from the answer to an OPEN to the RELEASE; ours
 * is the coarser view (a RELEASE comes later than the kernel's end), so what is granted here is
 * never refused there. Mediated are: stubs, and whoever opens such a file while one of its readers
 * has it open still; writers that append; and writers of an engine's downloads, or while the disk
 * is nearly full: they can go on in the store (DESIGN.md section 8). To wait, others can be made,
 * too (gate.h).
 *
 * A shared mapping outlives its RELEASE. While one may be left that can be written to, the file
 * stays passthrough, as the pages that a mediated reader would be served from would not follow it,
 * and attributes are not trusted. Only the kernel knows: a read lease is granted when
 * nobody can write (NODE_MAPPED).
 */
#include "gate.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool is_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static bool can_map(int flags)
{
	return (flags & O_ACCMODE) != O_WRONLY;
}

void tier_use_passthrough(struct tier *t, const struct tier_backing *b)
{
	t->pass = *b;
}

bool file_drops_pages(const struct file *f)
{
	return f->drop_pages;
}

int file_backing(const struct file *f)
{
	return f->backing;
}

unsigned tier_passed_writers(const struct node *n)
{
	return atomic_load(&n->writers);
}

/* Has the last mapping that could be written to gone? [N] */
static bool unmapped(struct tier *t, struct node *n)
{
	if (!node_has(n, NODE_MAPPED))
		return true;
	/* Our own descriptor would stand in the way of a release's lease. */
	if (atomic_load(&n->writers) || n->rel)
		return false;
	cleanup_fd int fd = node_open(t, n, O_RDONLY | O_NOATIME | O_NONBLOCK);

	if (fd < 0 || fcntl(fd, F_SETLEASE, F_RDLCK))
		return false;
	mapping_gone(t, n);
	return true;
}

void mapping_gone(struct tier *t, struct node *n)
{
	/* In this order: who finds no flag finds the new epoch, too. */
	if (node_has(n, NODE_MAPPED))
		atomic_fetch_add(&t->attr_epoch, 1);
	node_flag(n, 0, NODE_MAPPED);
}

unsigned tier_attr_epoch(struct tier *t, struct node *n)
{
	if (n && node_has(n, NODE_MAPPED) && !atomic_load(&n->writers)) {
		node_lock(t, n);
		unmapped(t, n);
		node_unlock(t, n);
	}
	return atomic_load(&t->attr_epoch);
}

bool tier_attr_stable(const struct tier *t, const struct node *n, unsigned epoch)
{
	return !atomic_load(&n->writers) && !node_has(n, NODE_MAPPED) &&
	       atomic_load(&t->attr_epoch) == epoch;
}

void unpassed(struct tier *t, struct node *n)
{
	if (!node_has(n, NODE_PASSED) || n->mediated || n->passed || n->rel)
		return;
	cleanup_fd int fd = node_open(t, n, O_RDONLY | O_NOATIME | O_NONBLOCK);

	/* Granted when nobody else has the inode open at all. */
	if (fd >= 0 && !fcntl(fd, F_SETLEASE, F_WRLCK)) {
		mapping_gone(t, n);
		node_flag(n, 0, NODE_PASSED);
	}
}

/* What passes us by does not go on in the store, and a file may get any size; without the gate it
 * does not wait for spilling either. */
static bool disk_is_tight(struct tier *t, const struct node *n)
{
	if (!t->cfg->auto_spill)
		return false;
	bool held = gate_serves(t) && node_hot_id(t, n).ino; /* 0: see gate.c */
	unsigned used = auto_used(t), mark = held ? t->cfg->critical : t->cfg->high;

	return used >= mark || !atomic_load(&t->roomy);
}

/* What the hot file system would say to an open for writing (chattr +i, +a): the kernel would make
 * EIO of it. */
static int may_write(int fd, int flags)
{
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &sx))
		return -errno;
	if (sx.stx_attributes & STATX_ATTR_IMMUTABLE)
		return -EPERM;
	return sx.stx_attributes & STATX_ATTR_APPEND && (flags & (O_APPEND | O_TRUNC)) != O_APPEND
		       ? -EPERM
		       : 0;
}

static int backing_open(struct tier *t, int fd)
{
	int id = t->pass.open(t->pass.ctx, fd);

	if (id == -EBADF || id == -EOPNOTSUPP) { /* O_PATH, before Linux 6.12 */
		cleanup_fd int real = hot_reopen(fd, O_RDONLY | O_NOATIME | O_NONBLOCK);

		id = real < 0 ? real : t->pass.open(t->pass.ctx, real);
	}
	/* ELOOP: the hot file system lies on another already (overlayfs) */
	if ((id == -EPERM || id == -ENOSYS || id == -EOPNOTSUPP || id == -ELOOP || id == -ENOTTY) &&
	    !atomic_exchange(&t->pass_off, true))
		log_warn("the kernel refuses passthrough (%s): all reads and writes go through the "
			 "daemon",
			 strerror(-id));
	return id;
}

/* The backing id for an open, 0: it may not pass us by, or -errno. [N] */
static int pass(struct tier *t, struct node *n, int flags, int fd)
{
	struct node_fd nfd = {.fd = -1};
	bool made = fd >= 0;
	int r = 0;

	/* n->rel: a release that is being taken back leaves its marker for a while, and a daemon
	 * that died then must find nobody who reads past it. */
	if (!t->pass.open || n->mediated || n->over || n->rel || atomic_load(&t->pass_off))
		return 0;
	if (n->backing && !is_writing(flags)) /* as all who have it open */
		return n->backing;
	if (fd < 0) {
		r = tier_fd_get(t, n, &nfd);
		fd = nfd.fd;
	}
	if (!r && is_writing(flags) && !made) /* what is new has no such attributes */
		r = may_write(fd, flags);
	/* O_APPEND: the kernel's own file would go on appending after fcntl(2) has turned it off.
	 */
	bool through = is_writing(flags) &&
		       (disk_is_tight(t, n) || flags & O_APPEND || layers_class_ingest(n->cls));

	if (!r && !n->backing && !(through && unmapped(t, n))) {
		int id = backing_open(t, fd);

		n->backing = id > 0 ? id : 0;
	}
	if (!r && n->backing && is_writing(flags))
		gate_add(t, n, fd);
	if (nfd.fd >= 0)
		tier_fd_put(t, &nfd);
	return r ? r : n->backing;
}

void node_keep(struct tier *t, struct node *n)
{
	int pin = atomic_load(&n->pin_fd);

	if (!t->orphan || pin < 0 || !n->mediated || node_has(n, NODE_KEPT))
		return;
	node_flag(n, NODE_KEPT, 0);
	t->orphan(t->orphan_ctx, n->nodeid, pin);
}

/* Before the name goes: killed after that, nobody else would have the file. Where the name stays
 * after all, the supervisor has one descriptor more until the node goes. */
void tier_unlinking(struct tier *t, int fd)
{
	struct hot_fh fh;
	struct stat st;
	uint64_t id;

	if (!t->orphan || !atomic_load_explicit(&t->n_mediated, memory_order_relaxed) ||
	    hot_identify(t->hot, fd, "", &st, &fh, &id) || !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return;
	bool fresh;
	struct node *n = id ? node_find(t, id) : NULL;

	if (!id && node_intern(t, 0, &fh, &st, 0, &n, &fresh))
		return;
	if (n) {
		node_lock(t, n);
		if (n->mediated && !node_has(n, NODE_KEPT)) {
			node_flag(n, NODE_KEPT, 0);
			t->orphan(t->orphan_ctx, n->nodeid, fd);
		}
		node_unlock(t, n);
	}
	tier_put(t, n);
}

void grant_again(struct tier *t, struct node *n, int flags, int backing)
{
	n->opens++;
	if (!backing) {
		n->mediated++;
		atomic_fetch_add_explicit(&t->n_mediated, 1, memory_order_relaxed);
		node_keep(t, n);
		return;
	}
	n->backing = backing;
	n->passed++;
	/* What was opened for writing alone cannot be mapped at all (mmap(2), EACCES). */
	node_flag(n,
		  NODE_OLD_PAGES | (can_map(flags) ? NODE_PASSED : 0) |
			  (can_map(flags) && is_writing(flags) ? NODE_MAPPED : 0),
		  0);
	if (is_writing(flags))
		atomic_fetch_add(&n->writers, 1);
}

int grant_way(struct tier *t, struct node *n, int flags, int fd)
{
	int id = node_is_cold(n) ? 0 : pass(t, n, flags, fd);

	if (!id && is_writing(flags) && !n->over)
		unpassed(t, n);

	if (id >= 0)
		grant_again(t, n, flags, id);
	return id;
}

void grant_end(struct tier *t, struct node *n, int flags, int backing)
{
	n->opens--;
	if (!backing) {
		n->mediated--;
		atomic_fetch_sub_explicit(&t->n_mediated, 1, memory_order_relaxed);
		return;
	}
	if (is_writing(flags) && atomic_fetch_sub(&n->writers, 1) == 1)
		gate_remove(t, n);
	if (--n->passed)
		return;
	t->pass.close(t->pass.ctx, n->backing);
	n->backing = 0;
}
