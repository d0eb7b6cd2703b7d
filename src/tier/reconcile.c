/* SPDX-License-Identifier: MIT
 * The scan of the whole hot tier after a mount, in the background: counts regular files, and after
 * an unclean stop puts markers and index rows in line.
 *
 *   marker, leftover data (a recall that was cut off)     punched again
 *   row, inode alive without a marker                     the row goes: recalled or emptied before
 * the crash row, inode gone and no marker seen anywhere            tombstone (handle and scan
 * agree, invariant 7) marker without a row                                   the row is made again
 * (restored tree, lost index)
 */
#include "overflow.h"

#include "spill/durable.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct scan {
	struct tier *t;
	struct hot_id *seen; /* inodes with a marker */
	size_t n, cap;
	long long regular;
};

static int id_cmp(const void *pa, const void *pb)
{
	const struct hot_id *a = pa, *b = pb;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->gen < b->gen ? -1 : a->gen > b->gen;
}

static bool has_data(int fd)
{
	return lseek(fd, 0, SEEK_DATA) >= 0;
}

/* A stub with hot data in it: only a spill or recall that was cut off leaves that. The store's copy
 * is the truth, once it is proved. */
static void punch_leftover(struct tier *t, struct node *n)
{
	node_lock(t, n);
	if (!n->cold || n->rel || node_has(n, NODE_BUSY)) {
		node_unlock(t, n);
		return;
	}
	struct marker mk = cold_marker(n->cold);

	bool restored = false;

	node_busy_set(n);
	node_unlock(t, n);
	cleanup_fd int fd = node_open(t, n, O_RDWR | O_NOFOLLOW | O_NOATIME);
	struct stat st;
	int r = 0;

	if (fd >= 0 && has_data(fd) && !fstat(fd, &st) && !(r = object_prove(t, &mk))) {
		struct timespec times[2] = {st.st_atim, ns_to_ts(mk.mtime_ns)};

		if (!hot_punch_all(fd, mk.size) && !d_futimens(fd, times)) {
			mk.state = RES_SPILLED;
			restored = !hot_marker_set(fd, &mk);
		}
	}
	if (r) {
		log_err("inode %llu: left over from a spill or recall that was cut off, and its "
			"object %llu cannot be proved right (%s); the data stays where it is, run "
			"spillctl check",
			(unsigned long long)node_hot_id(t, n).ino, (unsigned long long)mk.obj.v,
			strerror(-r));
		atomic_fetch_add(&t->n_errors, 1);
	}
	node_lock(t, n);
	if (restored)
		n->cold->state = RES_SPILLED;
	node_busy_clear(t, n);
	node_unlock(t, n);
}

static int scan_file(void *ctx, int dirfd, const char *name, const struct stat *st,
		     const char *path)
{
	struct scan *s = ctx;
	struct tier *t = s->t;
	struct file_row row;
	struct node *n;
	struct marker mk;
	struct stat now;

	(void)path;
	if (atomic_load(&t->stop))
		return -EINTR;
	s->regular++;
	/* Frozen: nothing is repaired that the other, older side may need. */
	if (!t->unclean || st->st_size == 0 || atomic_load(&t->frozen))
		return 0;
	cleanup_fd int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || hot_marker_get(fd, &mk) || mk.state == RES_PARTIAL ||
	    node_of_fd(t, fd, &n, &now))
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1024;
		struct hot_id *v = realloc(s->seen, cap * sizeof(*v));

		if (!v) {
			tier_put(t, n);
			return -ENOMEM;
		}
		s->seen = v;
		s->cap = cap;
	}
	s->seen[s->n++] = node_hot_id(t, n);
	node_lock(t, n);
	node_learn(t, n, fd, &now);
	node_unlock(t, n);
	/* No batch between the look and the queue: it would write the row, and ours come after. */
	pthread_mutex_lock(&t->spill_lock);
	if (index_file_get(t->ix, node_hot_id(t, n), &row) == -ENOENT && node_is_cold(n)) {
		row = (struct file_row){
			.id = node_hot_id(t, n), .obj = mk.obj, .state = RES_SPILLED};
		defer_put(t, DEFER_ADOPT, &row);
	}
	pthread_mutex_unlock(&t->spill_lock);
	/* An xattr block alone is 8 sectors. */
	if (mk.state == RES_RECALLING || now.st_blocks > 8)
		punch_leftover(t, n);
	tier_put(t, n);
	return 0;
}

/* One page of rows after *after. spill_lock held: a batch that takes such a file flushes what is
 * queued here before it writes its own row, and a row it wrote is not read here before its marker
 * is set. Returns the number of rows. */
static ssize_t match_page(struct scan *s, struct hot_id *after)
{
	struct tier *t = s->t;
	struct file_row rows[512];
	ssize_t n = index_file_list(t->ix, RES_SPILLED, *after, rows, ARRAY_SIZE(rows));

	for (ssize_t i = 0; i < n; i++) {
		struct hot_fh fh;
		struct marker mk;
		int r;

		if (bsearch(&rows[i].id, s->seen, s->n, sizeof(*s->seen), id_cmp) ||
		    !hot_fh_of_id(t->hot, rows[i].id, &fh))
			continue;
		cleanup_fd int fd = hot_open_fh(t->hot, &fh, O_PATH | O_NOFOLLOW);

		if (fd == -ESTALE)
			defer_put(t, DEFER_TOMB, &rows[i]);
		else if (fd >= 0 && (r = hot_marker_get(fd, &mk),
				     r == -ENODATA || (!r && mk.state == RES_PARTIAL)))
			defer_put(t, DEFER_DROP, &rows[i]);
	}
	if (n > 0)
		*after = rows[n - 1].id;
	return n;
}

static void match_rows(struct scan *s)
{
	struct hot_id after = {0, 0};
	struct tier *t = s->t;
	ssize_t n = 1;

	if (s->n)
		qsort(s->seen, s->n, sizeof(*s->seen), id_cmp);
	while (n > 0 && !atomic_load(&t->stop)) {
		pthread_mutex_lock(&t->spill_lock);
		n = match_page(s, &after);
		pthread_mutex_unlock(&t->spill_lock);
	}
}

void *reconcile_main(void *arg)
{
	struct tier *t = arg;
	struct scan s = {.t = t};

	atomic_fetch_add(&t->working, 1);
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
	int unread = 0, r = walk_tree(hot_root_fd(t->hot), "", scan_file, &s, &unread);

	/* What could not be read may hold stubs: no row is taken for gone then. */
	r = r ? r : unread;
	if (!r && t->unclean && atomic_load(&t->frozen))
		atomic_store(&t->scan_due, true);
	if (!r) {
		atomic_fetch_add(&t->n_regular, s.regular);
		if (t->unclean && !atomic_load(&t->scan_due))
			match_rows(&s);
		if (t->unclean && !atomic_load(&t->scan_due) && !atomic_load(&t->stop))
			overflow_sweep(t);
		if (!atomic_load(&t->stop)) /* else the next mount has to do it again */
			atomic_store(&t->regular_known, true);
	} else if (r != -EINTR) {
		log_warn("scanning the hot tier: %s", strerror(-r));
	}
	free(s.seen);
	tier_pins_measure(t);
	atomic_fetch_sub(&t->working, 1);
	return NULL;
}
