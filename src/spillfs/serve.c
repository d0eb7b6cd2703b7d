/* SPDX-License-Identifier: MIT
 * The daemon at work: FUSE threads, control socket, background threads, and the main thread, which
 *waits for signals. A mount is reported as usable only when it answers and can be controlled.
 *
 *	up:   fs, control socket, tier's threads, report
 *	down: fs (unmounted by somebody, or by us on a signal), control socket; the caller closes
 *the tiers
 *
 * SIGTERM, SIGINT, SIGHUP: unmount. When files are in use, the mount leaves the tree at once and
 *they are served for a grace period; a second signal ends that. What stays is the guard.
 */
#include "serve.h"

#include "daemon.h"
#include "launch.h"
#include "spill/durable.h"
#include "spill/fs.h"
#include "spill/mnt.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mount.h>

#define GRACE_SEC     20
#define BINDS_MAX     32
#define QUIESCE_MS    30000
#define READAHEAD_KIB 1024 /* four READs of MAX_READ (start.c) */

struct server {
	struct daemon d;
	struct fs *fs;
	const char *dir;
	const struct life *life;
	unsigned dev_major, dev_minor; /* of our mount: somebody may mount something over it */
	pthread_t fs_thread, main_thread;
	atomic_bool fs_done;
	atomic_bool restart; /* asked for */
	int fs_result;       /* valid once fs_done */
};

static void *fs_main(void *arg)
{
	struct server *v = arg;

	v->fs_result = fs_run(v->fs);
	atomic_store(&v->fs_done, true);
	pthread_kill(v->main_thread, SIGUSR1);
	return NULL;
}

static const struct mnt_entry *own_mount(const struct mnt_table *t, const char *dir)
{
	const struct mnt_entry *e = mnt_top(t, dir);

	return e && !strcmp(e->fstype, SPILLFS_FSTYPE) ? e : NULL;
}

static void remember_mount(struct server *v)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	const struct mnt_entry *e = mnt_table_read(&t) < 0 ? NULL : own_mount(&t, v->dir);

	if (e) {
		v->dev_major = e->dev_major;
		v->dev_minor = e->dev_minor;
	}
}

/* Take our mount off DIR while it is there and on top: once, or more when DIR was bound onto itself
 * (dockerd does that). False: files are in use. */
static bool unmount(struct server *v, int flags)
{
	for (int i = 0; i < BINDS_MAX; i++) {
		cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
		const struct mnt_entry *e = mnt_table_read(&t) < 0 ? NULL : own_mount(&t, v->dir);

		if (!e || e->dev_major != v->dev_major || e->dev_minor != v->dev_minor)
			return true;
		if (umount2(v->dir, flags | UMOUNT_NOFOLLOW))
			return errno != EBUSY;
	}
	return true;
}

/* ---- signals
 * ---------------------------------------------------------------------------------------------- */
static void wait_set(sigset_t *s)
{
	sigemptyset(s);
	sigaddset(s, SIGTERM);
	sigaddset(s, SIGINT);
	sigaddset(s, SIGHUP);
	sigaddset(s, SIGUSR1); /* the fs thread has ended */
}

/* Until the fs thread has ended (true), a signal asks us to leave (false), or sec are over (false;
 * 0: never). */
static bool wait_end(struct server *v, unsigned sec)
{
	uint64_t until = clock_mono_ns() + sec * UINT64_C(1000000000);
	sigset_t s;

	wait_set(&s);
	while (!atomic_load(&v->fs_done)) {
		if (!sec && atomic_load(&v->restart))
			return false;
		struct timespec ts = {.tv_sec = 3600};
		uint64_t now = clock_mono_ns();
		siginfo_t si;
		int sig;

		if (sec && now >= until)
			return false;
		if (sec)
			ts = ns_to_ts((int64_t)(until - now));
		sig = sigtimedwait(&s, &si, &ts);
		/* Whoever signals the whole group reaches us twice; the supervisor's counts. */
		if (sig > 0 && sig != SIGUSR1 && v->life->keeper_fd >= 0 &&
		    getppid() == v->life->main_pid && si.si_pid != v->life->main_pid)
			continue;
		if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP)
			return false;
	}
	return true;
}

/* fs_run returns after this, whoever still uses files. */
static void leave(struct server *v)
{
	if (!unmount(v, 0)) {
		log_warn("%s is in use; it leaves the tree now, open files are served for up to %d "
			 "s",
			 v->dir, GRACE_SEC);
		unmount(v, MNT_DETACH);
	}
	if (!wait_end(v, GRACE_SEC)) {
		log_warn("%s: giving up on files still in use", v->dir);
		fs_stop(v->fs);
	}
}

/* Every request that was taken is answered first; the rest waits in the kernel. */
static bool ask_restart(struct daemon *d)
{
	struct server *v = (struct server *)((char *)d - offsetof(struct server, d));

	if (v->life->keeper_fd < 0 || getppid() != v->life->main_pid)
		return false;
	atomic_store(&v->restart, true);
	pthread_kill(v->main_thread, SIGUSR1);
	return true;
}

/* ---- up and down
 * -------------------------------------------------------------------------------------------- */
static int put_notes(struct server *v)
{
	char pid[16], daemon[16];
	int r;

	snprintf(pid, sizeof(pid), "%d", (int)v->life->main_pid);
	snprintf(daemon, sizeof(daemon), "%d", (int)getpid());
	r = mnt_run_put(v->dir, "store", v->d.cfg->store);
	if (!r)
		r = mnt_run_put(v->dir, "dir", v->dir);
	if (!r)
		r = mnt_run_put(v->dir, "daemon", daemon);
	return r ? r : mnt_run_put(v->dir, "pid", pid);
}

static int start_ctl(struct server *v)
{
	cleanup_free char *run = mnt_run_dir(v->dir), *sock = NULL;

	if (!run || asprintf(&sock, "%s/sock", run) < 0) {
		sock = NULL;
		return -ENOMEM;
	}
	return ctl_server_start(&v->d.ctl, sock, daemon_verbs(), &v->d);
}

static int bring_up(struct server *v, struct outcome *o)
{
	int r = fs_wait_ready(v->fs);

	if (r < 0)
		return outcome_set(o, EXIT_MOUNT, "the kernel did not accept the mount on %s: %s",
				   v->dir, strerror(-r));
	if (!fs_passthrough(v->fs) && v->d.cfg->passthrough == PASSTHROUGH_ON)
		return outcome_set(o, EXIT_SYSTEM,
				   "passthrough=on, but this kernel has none (Linux 6.9 and "
				   "CONFIG_FUSE_PASSTHROUGH); leave the option away");
	if (!fs_passthrough(v->fs) && v->d.cfg->passthrough == PASSTHROUGH_AUTO &&
	    v->d.cfg->writeback != WRITEBACK_ON)
		log_info("this kernel has no FUSE passthrough (Linux 6.9): all reads and writes go "
			 "through the daemon");
	r = mnt_readahead(v->dev_major, v->dev_minor, READAHEAD_KIB);
	if (r < 0)
		log_info("%s: readahead stays at the kernel's default: /sys/class/bdi: %s", v->dir,
			 strerror(-r));
	r = put_notes(v);
	if (!r)
		r = start_ctl(v);
	if (r < 0 && v->life->resume) { /* files come first */
		log_err("%s is served, but spillctl does not reach it (%s): make room in /run, "
			"then umount and mount again when that is convenient",
			v->dir, strerror(-r));
		r = 0;
	}
	if (r < 0)
		return outcome_set(o, EXIT_MOUNT, "cannot make the control socket of %s: %s",
				   v->dir, strerror(-r));
	if (!getenv("SPILLFS_FAULT_EARLY"))
		durable_arm();
	r = tier_start(v->d.tier);
	if (r < 0)
		return outcome_set(o, EXIT_SYSTEM, "cannot start threads: %s", strerror(-r));
	return 0;
}

static int run_mounted(struct server *v, struct report *rep, struct outcome *o)
{
	int r = bring_up(v, o);

	if (r < 0) {
		if (!v->life->resume) /* else the next daemon may have more luck */
			unmount(v, MNT_DETACH);
		fs_stop(v->fs);
	} else {
		report_ready(rep);
		log_info("%s %s, store %s", v->life->resume ? "took over" : "mounted", v->dir,
			 v->d.cfg->store);
		if (!v->life->resume)
			launch_warn();
		if (!wait_end(v, 0)) {
			if (atomic_load(&v->restart)) {
				tier_quiesce(v->d.tier, QUIESCE_MS);
				fs_stop(v->fs);
			} else {
				leave(v);
			}
		}
	}
	pthread_join(v->fs_thread, NULL);
	if (v->d.ctl)
		ctl_server_stop(v->d.ctl);
	if (!r && v->fs_result < 0) {
		unmount(v, MNT_DETACH); /* nobody would answer any more */
		return outcome_set(o, EXIT_MOUNT, "serving %s failed: %s", v->dir,
				   strerror(-v->fs_result));
	}
	return r;
}

int serve(struct start *s, const struct life *l, struct report *rep, struct outcome *o)
{
	struct server v = {
		.d = {.tier = s->tier, .cfg = s->cfg, .start_mono_ns = clock_mono_ns()},
		.dir = s->cfg->dir,
		.life = l,
		.d.restart = ask_restart,
		.main_thread = pthread_self(),
	};
	struct fs_opts opts = {
		.read_only = s->cfg->read_only,
		.noatime = s->cfg->noatime,
		.debug = s->cfg->debug,
		.passthrough =
			s->cfg->passthrough != PASSTHROUGH_OFF && s->cfg->writeback != WRITEBACK_ON,
		.writeback = s->cfg->writeback != WRITEBACK_OFF,
		.state_fd = l->state_fd,
		.resume = l->resume,
		.orphans = l->orphans,
		.n_orphans = l->n_orphans,
		.keep = life_keep,
		.keep_ctx = (void *)l,
		.blocks_at_once = hot_fs_type(s->hot) == HOT_EXT4,
		.dir_handles = hot_fs_type(s->hot) == HOT_BTRFS,
	};
	int r;

	remember_mount(&v);
	opts.dev_minor = v.dev_minor;
	tier_on_orphan(s->tier, life_keep, (void *)l);
	int dev_fd = fcntl(l->dev_fd, F_DUPFD_CLOEXEC, 3);

	r = dev_fd < 0 ? -errno : fs_new(&v.fs, s->tier, dev_fd, v.dir, &opts);
	if (r < 0) {
		if (!l->resume)
			unmount(&v, MNT_DETACH);
		return outcome_set(o, EXIT_SYSTEM, "cannot make a FUSE session: %s", strerror(-r));
	}
	v.d.fs = v.fs;
	for (size_t i = 0; i < l->n_orphans; i++) /* whoever needs one has its own now */
		close(l->orphans[i].fd);
	r = thread_start(&v.fs_thread, "spill-fs", fs_main, &v);
	if (r < 0) {
		if (!l->resume)
			unmount(&v, MNT_DETACH);
		outcome_set(o, EXIT_SYSTEM, "cannot start threads: %s", strerror(-r));
	} else {
		r = run_mounted(&v, rep, o);
	}
	s->again = atomic_load(&v.restart);
	fs_free(v.fs);
	tier_on_orphan(s->tier, NULL, NULL);
	return r < 0 ? -1 : 0;
}
