/* SPDX-License-Identifier: MIT
 * Going on where a daemon before us was killed. The kernel side of the mount has gone on: it knows
 * the nodes, handles and backing ids it was given, and sends again (RESEND, Linux 6.9) every
 * request that had no answer, marked as such.
 *
 * Most requests can be done twice. Those that cannot note themselves before they begin
 * (intent_begin); the kernel holds the directories' locks all the time, so nobody else changes the
 * name meanwhile: if the second attempt fails because of what the first one did, and the times of
 * the inode agree, it was us.
 */
#include "fs_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static int64_t coarse_ns(void)
{
	struct timespec ts;
	int64_t ns;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts); /* what file systems stamp times with */
	return ts_to_ns(&ts, &ns) ? ns : 0;
}

bool intent_begin(fuse_req_t req, uint64_t a, uint64_t b, struct state_intent *was)
{
	struct state *s = fs_of(req)->state;
	struct state_intent *now = &s->now[worker_slot];
	const struct state_intent *old = cur_raw.again ? state_find(s, cur_raw.unique) : NULL;

	if (old) /* what held before the first attempt */
		*was = *old;
	atomic_store(&now->unique, 0);
	now->begun_ns = old ? old->begun_ns : coarse_ns();
	now->a = old ? old->a : a;
	now->b = old ? old->b : b;
	atomic_store(&now->unique, cur_raw.unique);
	return old;
}

bool born_since(int dirfd, const char *name, const struct state_intent *was)
{
	struct statx sx;
	struct timespec ts;
	int64_t ns;

	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_CTIME, &sx))
		return false;
	struct statx_timestamp t = sx.stx_mask & STATX_BTIME ? sx.stx_btime : sx.stx_ctime;

	ts = (struct timespec){.tv_sec = t.tv_sec, .tv_nsec = t.tv_nsec};
	return ts_to_ns(&ts, &ns) && ns >= was->begun_ns;
}

bool changed_since(int dirfd, const char *name, const struct state_intent *was)
{
	struct stat st;
	int64_t ns;

	return !fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) && ts_to_ns(&st.st_ctim, &ns) &&
	       ns >= was->begun_ns;
}

/* What a handle stood for; NULL is nothing. */
static void drop(struct fs *f, enum handle_kind kind, void *p)
{
	if (p && kind == HANDLE_FILE)
		tier_release_file(f->t, p);
	else if (p)
		dirh_free(p);
}

void resume_request(struct fs *f, uint64_t unique)
{
	enum handle_kind kind;
	void *p = handle_take_unanswered(f->h, unique, &kind);

	drop(f, kind, p);
}

static int orphan_fd(const struct fs *f, uint64_t nodeid)
{
	for (size_t i = 0; i < f->o.n_orphans; i++)
		if (f->o.orphans[i].nodeid == nodeid)
			return f->o.orphans[i].fd;
	return -1;
}

static void *adopt(void *ctx, enum handle_kind kind, const struct state_slot *s)
{
	struct fs *f = ctx;
	struct file *file = NULL;
	struct node *n;
	int r;

	if (kind == HANDLE_DIR) {
		r = tier_get(f->t, s->nodeid, &n);
		void *d = r ? NULL : dirh_new(f, n, &r);

		if (!r)
			tier_put(f->t, n);
		return d;
	}
	r = tier_adopt_open(f->t, s->nodeid, &s->fh, orphan_fd(f, s->nodeid), s->flags, s->backing,
			    &file);
	if (r && f->ready)
		return NULL;
	if (r)
		atomic_fetch_add(&f->lost, 1);
	if (r)
		log_err("node %llx: open before the daemon's death and lost (%s): its reads and "
			"writes through us fail",
			(unsigned long long)s->nodeid, strerror(-r));
	return file;
}

int resume_handles(struct fs *f)
{
	state_inherit(f->state);
	f->no_ahead = poison_inherit(f->state);
	tier_resumed(f->t);
	int r = handles_adopt(f->h, adopt, f);

	if (!r)
		mend(f);
	return r;
}

void *resume_late(struct fs *f, enum handle_kind kind, uint64_t fh)
{
	void *spare = NULL;
	void *p = f->o.resume ? handle_retry(f->h, kind, fh, adopt, f, &spare) : NULL;

	drop(f, kind, spare);
	return p;
}
