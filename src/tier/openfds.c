/* SPDX-License-Identifier: MIT
 * The descriptors of open files: as many as RLIMIT_NOFILE allows us, not as many as users have
 * files open.
 *
 * An inode can be opened again at any time by its handle, or by the descriptor that keeps a deleted
 * one alive, so the descriptor of an open file that nobody has used lately may be closed. Kept are
 * those of files that could not be opened again: deleted ones that nothing else keeps, and writers
 * of a file that was made immutable or append-only since.
 *
 * What is lost with the last descriptor: an error of writing back that nobody was told yet, when
 * the kernel drops the inode before the file is opened again. It takes a disk that fails and a user
 * with more files open than descriptors.
 *
 * Lists by file, each under its own lock, oldest first; a file used since the hand last came by
 * gets a second round. Whether a descriptor is in use is told by one word (struct file, word):
 * users in the upper half, descriptor + 1 in the lower, so that neither changes unseen.
 */
#include "tier_int.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define STRIPES  64
#define ONE_USER (1ull << 32)

struct stripe_fds {
	pthread_mutex_t lock;
	struct file *oldest, *newest;
};

struct openfds {
	unsigned max;
	atomic_uint n;
	atomic_bool told_full, told_short;
	_Atomic uint64_t errors; /* 1 + how often fsync(2) said that data could not be written */
	struct stripe_fds s[STRIPES];
};

uint64_t fd_limit(void)
{
	struct rlimit rl;

	return getrlimit(RLIMIT_NOFILE, &rl) || rl.rlim_cur == RLIM_INFINITY ? 1u << 20
									     : rl.rlim_cur;
}

int openfds_new(struct openfds **ret, unsigned max)
{
	struct openfds *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->max = max;
	o->errors = 1;
	for (unsigned i = 0; i < STRIPES; i++)
		pthread_mutex_init(&o->s[i].lock, NULL);
	*ret = o;
	return 0;
}

void openfds_free(struct openfds *o)
{
	free(o);
}

static unsigned stripe_of(const struct file *f)
{
	return (unsigned)(((uintptr_t)f * 0x9e3779b97f4a7c15ull) >> 58);
}

static int fd_in(uint64_t word)
{
	return (int)(uint32_t)word - 1;
}

/* ---- lists [stripe lock] ----------------------------------------------------------------------
 */

static void unlink_file(struct stripe_fds *s, struct file *f)
{
	*(f->older ? &f->older->newer : &s->oldest) = f->newer;
	*(f->newer ? &f->newer->older : &s->newest) = f->older;
	f->older = f->newer = NULL;
	f->listed = false;
}

static void link_newest(struct stripe_fds *s, struct file *f)
{
	f->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = f;
	s->newest = f;
	f->listed = true;
}

/* ---- closing ----------------------------------------------------------------------------------
 */

static bool opens_again(const struct file *f, int fd)
{
	struct statx sx;
	bool writes = (f->flags & O_ACCMODE) != O_RDONLY;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_NLINK, &sx))
		return false;
	if (writes && sx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))
		return false;
	/* Whoever deletes it from now on holds one of its own, which becomes pin_fd. */
	return sx.stx_nlink || atomic_load(&f->n->pin_fd) >= 0;
}

/* Take the descriptor of the oldest file of s that nobody uses, or -1. [stripe lock] */
static int take_oldest(struct openfds *o, struct stripe_fds *s, bool all)
{
	struct file *last = s->newest, *f = s->oldest;

	for (bool end = false; f && !end;) {
		struct file *next = f->newer;
		uint64_t w = atomic_load(&f->word);

		end = f == last;
		if (w >= ONE_USER || (!all && atomic_exchange(&f->recent, false)) ||
		    !opens_again(f, fd_in(w))) {
			unlink_file(s, f);
			link_newest(s, f);
		} else {
			/* Before it is closed: who opens it again must find it. */
			atomic_store(&f->errors, atomic_load(&o->errors));
			if (atomic_compare_exchange_strong(&f->word, &w, 0)) {
				unlink_file(s, f);
				atomic_fetch_sub(&o->n, 1);
				return fd_in(w);
			}
		}
		f = next;
	}
	return -1;
}

/* Close one, or all (-1) that can be. Returns how many. */
static unsigned close_some(struct openfds *o, unsigned from, bool all)
{
	unsigned n = 0;

	for (unsigned i = 0; i < STRIPES && (all || !n); i++) {
		struct stripe_fds *s = &o->s[(from + i) % STRIPES];
		int fd;

		do {
			pthread_mutex_lock(&s->lock);
			fd = take_oldest(o, s, all);
			pthread_mutex_unlock(&s->lock);
			if (fd >= 0) {
				close(fd);
				n++;
			}
		} while (all && fd >= 0);
	}
	return n;
}

/* One more, f's: where there are too many, another one goes. */
static void add(struct openfds *o, struct file *f)
{
	unsigned n = atomic_fetch_add(&o->n, 1), i = stripe_of(f);

	pthread_mutex_lock(&o->s[i].lock);
	link_newest(&o->s[i], f);
	pthread_mutex_unlock(&o->s[i].lock);
	if (n < o->max)
		return;
	/* The second time round nobody has a recent use left. */
	if (!close_some(o, i, false) && !close_some(o, i, false))
		return;
	if (!atomic_exchange(&o->told_full, true))
		log_info("more than %u files are open: their descriptors are closed and opened "
			 "again as they are used (RLIMIT_NOFILE is %llu)",
			 o->max, (unsigned long long)fd_limit());
}

/* ---- for file.c -------------------------------------------------------------------------------
 */

void openfds_start(struct tier *t, struct file *f, int fd)
{
	if (fd < 0)
		return;
	atomic_store(&f->word, (uint32_t)fd + 1);
	atomic_store(&f->recent, true);
	add(t->open_fds, f);
}

void openfds_end(struct tier *t, struct file *f)
{
	struct stripe_fds *s = &t->open_fds->s[stripe_of(f)];

	pthread_mutex_lock(&s->lock);
	if (f->listed) {
		unlink_file(s, f);
		atomic_fetch_sub(&t->open_fds->n, 1);
	}
	pthread_mutex_unlock(&s->lock);
	int fd = fd_in(atomic_load(&f->word));

	if (fd >= 0)
		close(fd);
}

/* The caller counts as a user: nobody takes f off its list meanwhile. [N] */
static int open_again(struct tier *t, struct file *f)
{
	int fd = fd_in(atomic_load(&f->word));

	if (fd >= 0) /* somebody else has meanwhile */
		return fd;
	if (node_is_cold(f->n))
		return -EXDEV;
	fd = node_open(t, f->n, f->flags);
	/* Made immutable since it was opened for passthrough: fsync and lseek go on. */
	if (fd == -EPERM && f->backing)
		fd = node_open(t, f->n, O_RDONLY);
	if (fd >= 0) {
		add(t->open_fds, f);
		atomic_fetch_add(&f->word, (uint32_t)fd + 1);
	}
	return fd;
}

struct file_fd tier_file_fd(struct tier *t, struct file *f)
{
	if (!f)
		return (struct file_fd){.fd = -EBADF};
	int fd = fd_in(atomic_fetch_add(&f->word, ONE_USER));

	if (fd < 0) {
		node_lock(t, f->n);
		fd = open_again(t, f);
		node_unlock(t, f->n);
	}
	if (fd < 0) {
		atomic_fetch_sub(&f->word, ONE_USER);
		return (struct file_fd){.fd = fd};
	}
	if (!atomic_load_explicit(&f->recent, memory_order_relaxed))
		atomic_store_explicit(&f->recent, true, memory_order_relaxed);
	return (struct file_fd){.fd = fd, .f = f};
}

void tier_file_fd_put(struct file_fd *h)
{
	if (h->f)
		atomic_fetch_sub(&h->f->word, ONE_USER);
	h->f = NULL;
}

/* A descriptor is told once of what could not be written since it was opened, and only if nobody
 * was told before. One that was closed and opened again would miss what others were told meanwhile:
 * that is told here, rather once too often. */
int openfds_sync(struct tier *t, struct file *f, int fd, bool data_only)
{
	struct openfds *o = t->open_fds;
	int r = (data_only ? fdatasync(fd) : fsync(fd)) ? -errno : 0; /* user effect */

	if (r) {
		node_lock(t, f->n);
		node_flag(f->n, NODE_SYNC_FAILED, 0);
		node_unlock(t, f->n);
		atomic_fetch_add(&o->errors, 1);
		return r;
	}
	uint64_t then = atomic_load(&f->errors), now = atomic_load(&o->errors);

	if (!then || then == now || !node_has(f->n, NODE_SYNC_FAILED))
		return 0;
	atomic_store(&f->errors, now);
	return -EIO;
}

bool tier_fds_short(struct tier *t, int err)
{
	if (err != -EMFILE && err != -ENFILE)
		return false;
	unsigned n = close_some(t->open_fds, 0, true) + fdcache_shrink(t->fds);

	if (!atomic_exchange(&t->open_fds->told_short, true))
		log_warn("no descriptors left (%s, RLIMIT_NOFILE is %llu): those of %u files were "
			 "closed to go on; raise LimitNOFILE= of the service, or fs.file-max",
			 strerror(-err), (unsigned long long)fd_limit(), n);
	return n;
}

int tier_may_delete(struct tier *t, int fd)
{
	struct node *n = NULL;
	struct stat st;

	/* The rest is for those who have a file open that is still there. */
	if (likely(atomic_load(&t->n_pins) < t->max_pins) || fd < 0 || node_of_fd(t, fd, &n, &st))
		return 0;
	node_lock(t, n);
	bool last = st.st_nlink == 1 && n->opens && atomic_load(&n->pin_fd) < 0;

	node_unlock(t, n);
	tier_put(t, n);
	if (!last)
		return 0;
	if (!atomic_exchange(&t->open_fds->told_short, true))
		log_warn("%u deleted files are still open, each takes a descriptor (RLIMIT_NOFILE "
			 "is %llu): deleting another one that is open fails; raise LimitNOFILE= of "
			 "the service",
			 t->max_pins, (unsigned long long)fd_limit());
	return -EMFILE;
}
