/* SPDX-License-Identifier: MIT
 * A request that kills each daemon that handles it would be sent again for ever, and the mount be
 * given up in the end. So each thread notes in the shared state what it works on; what was being
 * worked on at several deaths in a row is answered with EIO by the next daemon.
 *
 *	deaths 1	suspect
 *	deaths 2	handled alone: of several suspects, the next death tells which it was
 *	deaths 3	EIO; and the next one of that kind on that node is, after one death
 *
 * Only deaths that were a daemon's own fault count (the supervisor knows: no SIGKILL from outside),
 * or a recall that takes long would be refused for it.
 */
#include "fs_int.h"

#include <stdio.h>

#define DEATHS_ALONE 2
#define DEATHS_MAX   3

static _Thread_local bool alone;

/* SPILLFS_FAULT_REQUEST="OPCODE:INODE", as SPILLFS_FAULT (durable.c): such a request aborts. */
void poison_arm(struct fs *f)
{
	const char *env = getenv("SPILLFS_FAULT_REQUEST");

	f->fault_point = getenv("SPILLFS_FAULT_POINT");
	if (!env || !*env)
		return;
	if (sscanf(env, "%u:%u", &f->fault_opcode, &f->fault_ino) != 2 || !f->fault_opcode) {
		log_err("SPILLFS_FAULT_REQUEST=%s: must be OPCODE:INODE", env);
		abort();
	}
}

static struct state_suspect *find(struct state *s, uint64_t unique)
{
	for (unsigned i = 0; i < STATE_SUSPECTS; i++)
		if (s->suspects[i].unique == unique)
			return &s->suspects[i];
	return NULL;
}

static bool known_poison(const struct state *s, uint32_t opcode, uint64_t nodeid)
{
	for (unsigned i = 0; i < ARRAY_SIZE(s->poison); i++)
		if (s->poison[i].opcode == opcode && s->poison[i].nodeid == nodeid)
			return true;
	return false;
}

bool poison_inherit(struct state *s)
{
	bool counts = atomic_exchange(&s->own_fault, 0);

	for (unsigned i = 0; counts && i < STATE_SUSPECTS; i++)
		s->suspects[i].now = false;
	for (unsigned i = 0; i < STATE_WORKERS; i++) {
		struct state_doing *d = &s->doing[i];
		uint64_t unique = atomic_exchange(&d->unique, 0);
		struct state_suspect *p = unique && counts ? find(s, unique) : NULL;

		if (unique && counts && !p) {
			p = find(s, 0);
			if (p)
				*p = (struct state_suspect){unique, d->nodeid, d->opcode, 0, 0};
		}
		if (p) {
			p->deaths =
				known_poison(s, d->opcode, d->nodeid) ? DEATHS_MAX : p->deaths + 1;
			p->now = true;
		}
	}
	/* In a row; but what waited for its turn has not been cleared yet. */
	for (unsigned i = 0; counts && i < STATE_SUSPECTS; i++)
		if (!s->suspects[i].now && s->suspects[i].deaths < DEATHS_ALONE)
			s->suspects[i].unique = 0;
	return counts;
}

bool poison_refuse(struct fs *f, const struct fuse_in_header *h)
{
	struct state *s = f->state;
	struct state_suspect *p = find(s, cur_raw.unique);
	const char *name;

	if (!p || p->deaths < DEATHS_MAX)
		return false;
	struct fuse_out_header oh = {.len = sizeof(oh), .error = -EIO, .unique = h->unique};

	if (!known_poison(s, h->opcode, h->nodeid)) {
		unsigned i = s->npoison++ % ARRAY_SIZE(s->poison);

		s->poison[i].opcode = h->opcode;
		s->poison[i].nodeid = h->nodeid;
	}
	p->unique = 0;
	atomic_fetch_add(&s->refusals, 1);
	fs_requests(f, h->opcode, &name);
	log_err("request %s of node %llx (inode %u) was being handled each time when daemons died: "
		"it is answered with an I/O error; please report this",
		name ? name : "(unknown)", (unsigned long long)h->nodeid, (unsigned)h->nodeid);
	if (write(f->dev_fd, &oh, sizeof(oh)) < 0)
		log_debug("refused request: reply: %s", strerror(errno));
	return true;
}

static void mark(struct fs *f, const struct fuse_in_header *h)
{
	struct state_doing *d = &f->state->doing[worker_slot];

	d->nodeid = h->nodeid;
	d->opcode = h->opcode;
	atomic_store_explicit(&d->unique, cur_raw.unique, memory_order_release);
	if (unlikely(f->fault_opcode) && h->opcode == f->fault_opcode &&
	    (uint32_t)h->nodeid == f->fault_ino)
		abort();
}

void doing_begin(struct fs *f, bool may_wait)
{
	if (unlikely(cur_raw.again) && may_wait) {
		struct state_suspect *p = find(f->state, cur_raw.unique);

		alone = p && p->deaths >= DEATHS_ALONE;
		if (alone)
			pthread_mutex_lock(&f->one_suspect);
	}
	if (likely(cur_raw.buf))
		mark(f, (const struct fuse_in_header *)cur_raw.buf);
}

void doing_end(struct fs *f)
{
	struct state_doing *d = &f->state->doing[worker_slot];

	if (unlikely(alone)) { /* answered, or as good as that */
		struct state_suspect *p = find(f->state, atomic_load(&d->unique));

		if (p)
			p->unique = 0;
		alone = false;
		pthread_mutex_unlock(&f->one_suspect);
	}
	atomic_store_explicit(&d->unique, 0, memory_order_relaxed);
}

void fs_state_fault(int fd)
{
	const uint32_t yes = 1;

	if (pwrite(fd, &yes, sizeof(yes), offsetof(struct state, own_fault)) != sizeof(yes))
		log_warn("the shared state cannot be written: %s", strerror(errno));
}

uint64_t fs_state_refusals(int fd)
{
	uint64_t n = 0;

	return pread(fd, &n, sizeof(n), offsetof(struct state, refusals)) == sizeof(n) ? n : 0;
}

uint64_t fs_refusals(const struct fs *f)
{
	return atomic_load(&f->state->refusals);
}
