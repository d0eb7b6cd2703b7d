/* SPDX-License-Identifier: MIT
 * The session and its threads.
 *
 * Threads are added whenever the last waiting one takes a request, up to FS_THREADS_MAX (but not
 * while one leads, see lead.c), and leave
 * again when more than `keep` wait and there were enough for LINGER_NS: a request that waits (a
 * recall, a full disk) costs a thread, never its neighbours.
 */
#include "fs_int.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* On a busy machine bursts come again and again: a thread for each costs more than it does. */
#define LINGER_NS  UINT64_C(2000000000)
#define LINGER_MAX 8 /* they keep their buffers */

_Thread_local unsigned worker_slot;
_Thread_local struct later later;
static _Thread_local void *tl_io;

void *io_buffer(void)
{
	if (!tl_io && posix_memalign(&tl_io, 4096, IO_MAX))
		tl_io = NULL;
	return tl_io;
}

static void wake(int sig)
{
	(void)sig; /* only to make read(2) return EINTR */
}

static int spawn_locked(struct fs *f);

/* This thread has taken a request: keep at least one waiting. */
static void went_busy(struct fs *f)
{
	pthread_mutex_lock(&f->lock);
	f->idle--;
	/* Not beside INIT: after a takeover the kernel has requests waiting. */
	if (!f->idle && !lead_alone(f) && f->ready && f->nthreads < FS_THREADS_MAX &&
	    !fuse_session_exited(f->se)) {
		f->short_ns = clock_mono_ns();
		spawn_locked(f);
	}
	pthread_mutex_unlock(&f->lock);
}

/* Back to waiting; false: there are enough, leave. */
static bool went_idle(struct fs *f)
{
	pthread_mutex_lock(&f->lock);
	unsigned n = f->idle + f->lead.parked;
	bool stay = !f->idle || n < f->keep ||
		    (n < f->keep + LINGER_MAX && clock_mono_ns() - f->short_ns < LINGER_NS);

	if (stay)
		f->idle++;
	pthread_mutex_unlock(&f->lock);
	return stay;
}

/* Not after a death that may have been its fault: it is no request, so poison.c would look for the
 * guilty one in vain. The one who asks for that frame will be. */
static void do_later(struct fs *f)
{
	struct later l = later;

	later = (struct later){false, 0};
	if (f->no_ahead || (!l.frames && !l.dir))
		return;
	lead_leave(f); /* who asked goes on meanwhile */
	if (l.frames && !fuse_session_exited(f->se))
		tier_read_ahead(f->t);
	if (l.dir && !fuse_session_exited(f->se))
		tier_warm(f->t, l.dir);
}

struct worker_arg {
	struct fs *f;
	unsigned slot;
};

static void worker_end(struct fs *f, unsigned slot, bool was_idle)
{
	pthread_mutex_lock(&f->lock);
	if (was_idle)
		f->idle--;
	f->used[slot] = false;
	f->nthreads--;
	pthread_detach(pthread_self());
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

static void *worker(void *p)
{
	struct worker_arg a = *(struct worker_arg *)p;
	struct fs *f = a.f;
	struct fuse_buf buf = {.mem = NULL};
	bool idle = true;
	sigset_t usr1;

	free(p);
	worker_slot = a.slot;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	while (!fuse_session_exited(f->se)) {
		lead_park(f);
		int r = fuse_session_receive_buf(f->se, &buf);

		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0)
			break;
		went_busy(f);
		doing_begin(f, true);
		fuse_session_process_buf(f->se, &buf);
		doing_end(f);
		cur_raw = (struct raw_req){0};
		do_later(f);
		idle = went_idle(f);
		if (!idle)
			break;
	}
	free(buf.mem);
	free(tl_io);
	tl_io = NULL;
	worker_end(f, a.slot, idle);
	return NULL;
}

static int spawn_locked(struct fs *f)
{
	struct worker_arg *a = malloc(sizeof(*a));
	unsigned i = 0;

	if (!a)
		return -ENOMEM;
	while (i < FS_THREADS_MAX && f->used[i])
		i++;
	*a = (struct worker_arg){f, i};
	/* Counted before it runs, so that a burst does not start one thread for each request. */
	f->used[i] = true;
	f->nthreads++;
	f->idle++;
	int r = thread_start(&f->threads[i], "fuse", worker, a);

	if (r) {
		f->used[i] = false;
		f->nthreads--;
		f->idle--;
		free(a);
	}
	return r;
}

/* The kernel forgets the attributes it has; its pages stay (the content is the same). */
static void attr_changed(void *ctx, uint64_t nodeid)
{
	struct fs *f = ctx;

	fuse_lowlevel_notify_inval_inode(f->se, nodeid, -1, 0);
}

int fs_new(struct fs **ret, struct tier *t, int dev_fd, const char *mountpoint,
	   const struct fs_opts *o)
{
	char arg0[] = "spillfs", debug[] = "-d";
	char *argv[] = {arg0, debug, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(o->debug ? 2 : 1, argv);
	struct fs *f = calloc(1, sizeof(*f));
	int r = -ENOMEM;

	if (!f)
		goto fail;
	f->t = t;
	f->o = *o;
	f->dev_fd = dev_fd;
	f->mountpoint = strdup(mountpoint);
	f->threads = calloc(FS_THREADS_MAX, sizeof(*f->threads));
	f->used = calloc(FS_THREADS_MAX, sizeof(*f->used));
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
	pthread_mutex_init(&f->one_suspect, NULL);
	poison_arm(f);
	if (!f->mountpoint || !f->threads || !f->used)
		goto fail;
	pthread_mutex_init(&f->stray_lock, NULL);
	r = state_map(o->state_fd, &f->state);
	if (r && o->resume)
		r = lost_renew(f);
	if (!r)
		r = handles_new(&f->h, f->state);
	if (r)
		goto fail;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	struct utsname un;
	unsigned major = 0, minor = 0;

	if (!uname(&un) && sscanf(un.release, "%u.%u", &major, &minor) == 2)
		f->fill = major > 6 || (major == 6 && minor >= 11);
	f->dir_handles = o->dir_handles;
	f->keep = o->threads ? o->threads : (unsigned)MAX(2 * cpus, 4);
	f->keep = MIN(f->keep, FS_THREADS_MAX);
	spin_init(f);
	lead_init(f);
	f->se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), f);
	fuse_opt_free_args(&args);
	r = -EINVAL;
	if (!f->se)
		goto fail;
	r = fuse_session_custom_io(f->se, &fs_io, dev_fd);
	if (r)
		goto fail;
	tier_on_attr_change(t, attr_changed, f);
	atomic_fetch_add(&f->state->lives, 1);
	if (o->dev_minor) /* 0: something lies over the mount just now */
		atomic_store(&f->state->dev_minor, o->dev_minor);
	tier_count_work(t, &f->state->progress);
	if (o->resume) {
		f->replay = true;
		r = resume_handles(f);
		lost_orphans(f);
		f->o.n_orphans = 0; /* their owner closes them: the numbers are others' then */
		if (r)
			goto fail_resume;
	}
	*ret = f;
	return 0;
fail_resume:
	fs_free(f);
	return r;
fail:
	close(dev_fd);
	fs_free(f);
	return r;
}

int fs_run(struct fs *f)
{
	struct sigaction sa = {.sa_handler = wake};
	int r = 0;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	creds_init();
	umask(0);
	pthread_mutex_lock(&f->lock);
	/* INIT first, alone: the session has no lock for it. */
	r = spawn_locked(f);
	while (!r && !f->ready && f->nthreads)
		pthread_cond_wait(&f->cond, &f->lock);
	for (unsigned i = 1; i < f->keep && !r && f->nthreads; i++)
		r = spawn_locked(f);
	while (f->nthreads)
		pthread_cond_wait(&f->cond, &f->lock);
	pthread_mutex_unlock(&f->lock);
	return r;
}

int fs_wait_ready(struct fs *f)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&f->lock);
	while (!f->ready && !r)
		r = -pthread_cond_timedwait(&f->cond, &f->lock, &until);
	pthread_mutex_unlock(&f->lock);
	return r;
}

void fs_stop(struct fs *f)
{
	fuse_session_exit(f->se);
	for (;;) {
		struct timespec until;

		pthread_mutex_lock(&f->lock);
		for (unsigned i = 0; i < FS_THREADS_MAX; i++)
			if (f->used[i])
				pthread_kill(f->threads[i], SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		/* A thread between its check and read(2) misses the signal: again. */
		bool gone = !f->nthreads || !pthread_cond_timedwait(&f->cond, &f->lock, &until);

		gone = gone && !f->nthreads;
		pthread_mutex_unlock(&f->lock);
		if (gone)
			return;
	}
}

void fs_free(struct fs *f)
{
	if (!f)
		return;
	tier_on_attr_change(f->t, NULL, NULL);
	tier_count_work(f->t, NULL);
	/* Backing ids of files that are open stay the kernel's: another daemon may take over. */
	tier_use_passthrough(f->t, &(struct tier_backing){0});
	if (f->se)
		fuse_session_destroy(f->se);
	handles_free(f->h);
	strays_free(f);
	state_unmap(f->state);
	free(f->mountpoint);
	free(f->threads);
	free(f->used);
	free(f);
}
