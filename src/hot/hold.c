/* SPDX-License-Identifier: MIT
 * Holding others back, by fanotify's pre-content events: the kernel asks before each read and write
 * of a watched file, and the one who reads or writes waits for the answer.
 *
 * The kernel asks about an open file only if it found such a mark at the open. So there are two
 * groups: one whose marks are there for that alone, with an ignore mask beside the mask, and one
 * with marks only while the hold is on.
 *
 * An event comes with a descriptor, and if the process had none left the kernel would refuse the
 * write. So the thread that reads them has a table of descriptors of its own.
 */
#include "hot_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <unistd.h>

/* include/uapi/linux/fanotify.h of Linux 6.14; Debian 12's headers are older */
#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS 0x00100000
#endif
#ifndef FAN_EVENT_INFO_TYPE_RANGE
#define FAN_EVENT_INFO_TYPE_RANGE 6
#endif
/* struct fanotify_event_info_range of the same */
struct info_range {
	struct fanotify_event_info_header hdr;
	uint32_t pad;
	uint64_t offset, count;
};

#define HELD_MAX     512 /* threads of others; more of them go on at once */
#define LIMIT_MAX_MS 60000

struct held {
	int fd; /* the kernel's name for it, and the thread's descriptor */
	unsigned round;
	uint64_t since_ns, len;
};

struct hold {
	int group, silent, wake;
	hold_wait_fn wait;
	void *ctx;
	pthread_t thread;
	sem_t started;
	int start_err;
	atomic_bool on, stop;
	atomic_uint limit_ms, round; /* round: how often it was turned off */
	/* the thread's */
	struct held held[HELD_MAX];
	size_t n;
};

/* An inode's mark; evictable: it keeps no inode in memory. */
static int mark(int group, unsigned how, int fd)
{
	char path[32];

	if (!fanotify_mark(group, how, FAN_PRE_ACCESS, fd, NULL))
		return 0;
	if (errno == EBADF && /* O_PATH */
	    !fanotify_mark(group, how, FAN_PRE_ACCESS, AT_FDCWD, hot_fd_path(fd, path)))
		return 0;
	return -errno;
}

static void flush(int group)
{
	fanotify_mark(group, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
}

int hold_again(struct hold *h, int fd)
{
	return atomic_load(&h->on) ? mark(h->group, FAN_MARK_ADD | FAN_MARK_EVICTABLE, fd) : 0;
}

int hold_watch(struct hold *h, int fd)
{
	/* The ignore mask first: nobody is to be asked. */
	int r = mark(h->silent,
		     FAN_MARK_ADD | FAN_MARK_EVICTABLE | FAN_MARK_IGNORED_MASK |
			     FAN_MARK_IGNORED_SURV_MODIFY,
		     fd);

	if (!r)
		r = mark(h->silent, FAN_MARK_ADD | FAN_MARK_EVICTABLE, fd);
	return r ? r : hold_again(h, fd);
}

void hold_unwatch(struct hold *h, int fd)
{
	mark(h->group, FAN_MARK_REMOVE, fd);
	/* The mask first, again. */
	mark(h->silent, FAN_MARK_REMOVE, fd);
	mark(h->silent, FAN_MARK_REMOVE | FAN_MARK_IGNORED_MASK, fd);
}

void hold_forget(struct hold *h)
{
	flush(h->silent);
	if (!atomic_load(&h->on)) /* what came too late for hold_off */
		flush(h->group);
}

static void wake(struct hold *h)
{
	eventfd_write(h->wake, 1);
}

void hold_on(struct hold *h)
{
	atomic_store(&h->on, true);
}

void hold_off(struct hold *h)
{
	atomic_store(&h->on, false);
	flush(h->group);
	atomic_fetch_add(&h->round, 1);
	wake(h);
}

void hold_limit(struct hold *h, unsigned ms)
{
	if (atomic_exchange(&h->limit_ms, ms) > ms)
		wake(h);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void allow(int group, int fd)
{
	struct fanotify_response r = {.fd = fd, .response = FAN_ALLOW};

	while (write(group, &r, sizeof(r)) < 0 && errno == EINTR)
		;
	close(fd);
}

/* For so long at most. */
static uint64_t limit_ns(const struct hold *h, uint64_t len)
{
	uint64_t mib = MAX(len >> 20, 1), ms = atomic_load(&h->limit_ms) * MIN(mib, 1024);

	return MIN(ms, LIMIT_MAX_MS) * 1000000;
}

/* Those who waited long enough, or were there when it was turned off. */
static void let_go(struct hold *h, bool all)
{
	unsigned round = atomic_load(&h->round);
	uint64_t now = clock_mono_ns();
	size_t kept = 0;

	for (size_t i = 0; i < h->n; i++) {
		const struct held *e = &h->held[i];

		if (all || e->round != round || now - e->since_ns >= limit_ns(h, e->len))
			allow(h->group, e->fd);
		else
			h->held[kept++] = *e;
	}
	h->n = kept;
}

static bool must_wait(struct hold *h, const struct fanotify_event_metadata *m, uint64_t *ret_len)
{
	uint64_t off = 0, len = UINT64_MAX;
	struct stat st;

	if (!atomic_load(&h->on) || m->pid == getpid() || h->n == HELD_MAX || fstat(m->fd, &st))
		return false;
	if (m->event_len >= m->metadata_len + sizeof(struct info_range)) {
		struct info_range range;

		memcpy(&range, (const char *)m + m->metadata_len, sizeof(range));
		if (range.hdr.info_type == FAN_EVENT_INFO_TYPE_RANGE) {
			off = range.offset;
			len = range.count;
		}
	}
	*ret_len = len;
	return h->wait(h->ctx, &st, off, len);
}

static void take(struct hold *h, int group)
{
	_Alignas(struct fanotify_event_metadata) char buf[8192];
	unsigned round = atomic_load(&h->round); /* before `on` is asked */
	ssize_t n = read(group, buf, sizeof(buf));
	const struct fanotify_event_metadata *m = (void *)buf;
	uint64_t len;

	for (; n > 0 && FAN_EVENT_OK(m, n); m = FAN_EVENT_NEXT(m, n)) {
		if (m->fd < 0) /* no event of a file */
			continue;
		if (group == h->group && must_wait(h, m, &len))
			h->held[h->n++] = (struct held){m->fd, round, clock_mono_ns(), len};
		else
			allow(group, m->fd);
	}
}

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* From here on the thread's descriptors are its own, and none but these three. */
static int own_table(const struct hold *h)
{
	int keep[] = {h->group, h->silent, h->wake};

	qsort(keep, 3, sizeof(int), by_value);
	if (close_range((unsigned)keep[2] + 1, ~0u, CLOSE_RANGE_UNSHARE))
		return -errno;
	for (int i = 0, from = 0; i < 3; from = keep[i++] + 1)
		if (from < keep[i])
			close_range((unsigned)from, (unsigned)keep[i] - 1, 0);
	return 0;
}

static void *hold_main(void *arg)
{
	struct hold *h = arg;
	struct pollfd p[] = {{.fd = h->group, .events = POLLIN},
			     {.fd = h->silent, .events = POLLIN},
			     {.fd = h->wake, .events = POLLIN}};

	h->start_err = own_table(h);
	bool ok = !h->start_err;

	sem_post(&h->started);
	while (ok && !atomic_load(&h->stop)) {
		eventfd_t n;

		/* Those who wait are looked at often enough to keep to their limit. */
		if (poll(p, 3, h->n ? 10 : -1) > 0) {
			if (p[2].revents)
				eventfd_read(h->wake, &n);
			if (p[0].revents)
				take(h, h->group);
			if (p[1].revents)
				take(h, h->silent);
		}
		let_go(h, false);
	}
	let_go(h, true);
	return NULL;
}

static int new_group(void)
{
	int fd = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
				       FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
			       O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NOATIME);

	return fd < 0 ? -errno : fd;
}

/* Not all who have fanotify have these events, nor has each file system. */
static int try_mark(struct hold *h, int dirfd)
{
	int r = mark(h->group, FAN_MARK_ADD, dirfd);

	flush(h->group);
	return r == -EINVAL ? -EOPNOTSUPP : r;
}

static int start(struct hold *h)
{
	int r = thread_start(&h->thread, "hold", hold_main, h);

	if (r)
		return r;
	while (sem_wait(&h->started))
		;
	if (h->start_err)
		pthread_join(h->thread, NULL);
	return h->start_err;
}

static void close_all(struct hold *h)
{
	int fds[] = {h->group, h->silent, h->wake};

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	sem_destroy(&h->started);
	free(h);
}

int hold_new(struct hold **ret, const struct hot *hot, hold_wait_fn wait, void *ctx)
{
	struct hold *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->wait = wait;
	h->ctx = ctx;
	sem_init(&h->started, 0, 0);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = h->wake < 0 ? -errno : 0;

	h->group = new_group();
	h->silent = new_group();
	if (!r)
		r = MIN(MIN(h->group, h->silent), 0);
	if (!r)
		r = try_mark(h, hot_root_fd(hot));
	if (!r)
		r = start(h);
	if (r)
		close_all(h);
	else
		*ret = h;
	return r;
}

void hold_free(struct hold *h)
{
	if (!h)
		return;
	atomic_store(&h->stop, true);
	wake(h);
	pthread_join(h->thread, NULL);
	close_all(h); /* with a group's last descriptor the kernel lets go of all */
}
