/* SPDX-License-Identifier: MIT
 * The shared state is damaged or gone when a daemon takes over. INIT, without which there is no
 * session, is in a second memfd, kept as a descriptor of no inode (SPARE_ID). The handles are lost:
 * the kernel goes on with passthrough files by itself, and a request on a handle nobody knows is
 * served by its node, opened again. Gone for good: requests that cannot be made twice and were
 * being made, backing ids of files that are closed (until umount), and, where node ids are not file
 * handles (btrfs), files that are open.
 */
#include "fs_int.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>

#define SPARE_ID 0

struct spare {
	uint32_t init_len, granted;
	uint8_t init[STATE_INIT];
};

struct stray {
	struct stray *next;
	uint64_t fh;
	struct file *file;
};

void spare_keep(struct fs *f)
{
	struct spare s = {.init_len = f->state->init_len, .granted = f->state->granted};

	if (!f->o.keep)
		return;
	cleanup_fd int fd = memfd_create("spillfs-init", MFD_CLOEXEC);

	memcpy(s.init, f->state->init, sizeof(s.init));
	if (fd >= 0 && pwrite(fd, &s, sizeof(s), 0) == sizeof(s))
		f->o.keep(f->o.keep_ctx, SPARE_ID, fd);
	else
		log_warn("no second copy of the session's begin: %s", strerror(errno));
}

static int orphan_of(const struct fs *f, uint64_t nodeid)
{
	for (size_t i = 0; i < f->o.n_orphans; i++)
		if (f->o.orphans[i].nodeid == nodeid)
			return f->o.orphans[i].fd;
	return -1;
}

int lost_renew(struct fs *f)
{
	int from = orphan_of(f, SPARE_ID);
	struct spare s;

	if (from < 0 || pread_full(from, &s, sizeof(s), 0) != sizeof(s) || !s.init_len ||
	    s.init_len > STATE_INIT) {
		log_err("the shared state of the mount is lost, and so is its spare copy: nobody "
			"can go on serving; umount and mount again");
		return -EUCLEAN;
	}
	int r = fs_state_init(f->o.state_fd);

	if (!r)
		r = state_map(f->o.state_fd, &f->state);
	if (r)
		return r;
	memcpy(f->state->init, s.init, sizeof(s.init));
	f->state->granted = s.granted;
	f->state->init_len = s.init_len;
	f->state->lives = 1;
	/* No handle of ours may have the number of one that the kernel has from before. */
	if (getrandom(&f->state->gen_base, sizeof(f->state->gen_base), GRND_NONBLOCK) < 0)
		f->state->gen_base = (uint32_t)clock_mono_ns();
	f->state->gen_base |= 1u << 31;
	f->state->handles_lost = true;
	log_err("the shared state of the mount is damaged: files that are open are opened again "
		"as they are used; what was being changed when the daemon died may be reported "
		"wrong; the space of some deleted files is freed at umount");
	return 0;
}

void lost_orphans(struct fs *f)
{
	const struct hot_fh none = {0};

	/* The descriptors are ours for a moment only; a file without a name stays until the end. */
	for (size_t i = 0; f->state->handles_lost && i < f->o.n_orphans; i++) {
		const struct fs_orphan *o = &f->o.orphans[i];
		struct file *file;

		if (o->nodeid != SPARE_ID &&
		    tier_adopt_open(f->t, o->nodeid, &none, o->fd, O_RDWR, 0, &file))
			atomic_fetch_add(&f->lost, 1);
	}
}

/* The file of a handle that nobody knows, opened again. */
static struct file *reopen(struct fs *f, uint64_t nodeid, bool writes)
{
	const struct hot_fh none = {0};
	struct file *file = NULL;
	struct node *n;
	int r = tier_get(f->t, nodeid, &n);

	if (!r) {
		if (writes) { /* spilled since */
			r = tier_hold(f->t, n);
			if (!r)
				tier_unhold(f->t, n);
		}
		if (!r)
			r = tier_adopt_open(f->t, nodeid, &none, -1, O_RDWR, 0, &file);
		tier_put(f->t, n);
	}
	if (r)
		atomic_fetch_add(&f->lost, 1);
	return r ? NULL : file;
}

/* [stray_lock] */
static struct stray *stray_find(struct fs *f, uint64_t fh)
{
	struct stray *s = f->strays;

	while (s && s->fh != fh)
		s = s->next;
	return s;
}

struct file *stray_get(struct fs *f, uint64_t nodeid, uint64_t fh, bool writes)
{
	if (!f->state->handles_lost)
		return NULL;
	pthread_mutex_lock(&f->stray_lock);
	struct stray *s = stray_find(f, fh);

	pthread_mutex_unlock(&f->stray_lock);
	if (s) /* its handle is in use: nobody releases it */
		return s->file;
	struct file *file = reopen(f, nodeid, writes), *ret = NULL;
	struct stray *new = file ? calloc(1, sizeof(*new)) : NULL;

	pthread_mutex_lock(&f->stray_lock);
	s = stray_find(f, fh); /* another request may have been quicker */
	if (!s && new) {
		*new = (struct stray){f->strays, fh, steal_ptr(file)};
		s = f->strays = steal_ptr(new);
	}
	if (s)
		ret = s->file;
	pthread_mutex_unlock(&f->stray_lock);
	if (file)
		tier_release_file(f->t, file);
	free(new);
	return ret;
}

void stray_release(struct fs *f, uint64_t fh)
{
	if (!f->state->handles_lost)
		return;
	pthread_mutex_lock(&f->stray_lock);
	for (struct stray **p = &f->strays; *p; p = &(*p)->next) {
		struct stray *s = *p;

		if (s->fh != fh)
			continue;
		*p = s->next;
		tier_release_file(f->t, s->file);
		free(s);
		break;
	}
	pthread_mutex_unlock(&f->stray_lock);
}

void strays_free(struct fs *f)
{
	while (f->strays) {
		struct stray *s = f->strays;

		f->strays = s->next;
		free(s);
	}
}
