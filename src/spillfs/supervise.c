/* SPDX-License-Identifier: MIT
 * See supervise.h. One thread, no allocation but the list of kept descriptors; the daemon is a
 * fork, so the configuration needs no second reading, and what it holds goes with it when it dies.
 */
#include "supervise_int.h"

#include "spill/version.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>

#define SHORT_NS    UINT64_C(1000000000) /* a life that ends sooner says nothing good */
#define QUICK_LIVES 5  /* so many short lives in a row are followed by the next at once */
#define MAX_LIVES   50 /* so many: there is no point in going on */
#define PAUSE_MS    50 /* doubles with each */
#define PAUSE_MAX   5000

/* A daemon that gets nowhere for so long while somebody waits is replaced. Waiting for space ends
 * sooner (a minute), and a recall counts as getting on. */
#define HANG_SEC 180
#define LOOK_MS  5000

#define TRIAL_MS 10000  /* so long after its start a new binary is trusted with our own place */
#define HELLO_MS 20000  /* so long it may take until it is running at all */
#define READY_MS 120000 /* ... and from then until it serves; doubled after each that did not */

/* ---- one life ---------------------------------------------------------------------------------
 */

static void end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/* A daemon's body, in its own process. */
static _Noreturn void live(const struct life *l, bool foreground, life_fn fn, void *ctx,
			   int report_fd)
{
	struct report rep = {.fd = report_fd, .keep_stdio = foreground};
	struct outcome o = {0};
	bool again = false;
	sigset_t ours;

	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != l->main_pid)
		_exit(EXIT_MOUNT);
	setpgid(0, 0);      /* Ctrl-C goes to the supervisor alone */
	end_signals(&ours); /* only these: SIGIO stays blocked, it comes with broken leases */
	sigprocmask(SIG_UNBLOCK, &ours, NULL);
	unsetenv("NOTIFY_SOCKET"); /* the supervisor's */
	if (fn(ctx, l, &rep, &o, &again) < 0) {
		if (rep.fd < 0)
			log_err("%s", o.msg);
		report_outcome(&rep, &o);
	}
	exit(again ? EXIT_AGAIN : o.code);
}

static _Noreturn void child_main(struct super *s, life_fn fn, void *ctx, int report_fd)
{
	close(s->keeper);
	close(s->signals);
	if (s->launcher >= 0)
		close(s->launcher); /* its end is what the launcher waits for */
	live(&s->life, s->opts->foreground, fn, ctx, report_fd);
}

void supervised_life(const struct handover *h, bool foreground, life_fn fn, void *ctx)
{
	const struct life l = {
		.dev_fd = h->dev_fd,
		.state_fd = h->state_fd,
		.keeper_fd = h->keeper_fd,
		.resume = true,
		.main_pid = h->main_pid,
		.orphans = h->orphans,
		.n_orphans = h->n_orphans,
	};
	const uint8_t hello = HANDOVER_HELLO;

	if (write_full(h->report_fd, &hello, 1) < 0)
		_exit(EXIT_MOUNT);
	live(&l, foreground, fn, ctx, h->report_fd);
}

static int reap(struct super *s)
{
	int status = 0;

	while (waitpid(s->child, &status, 0) < 0 && errno == EINTR)
		;
	keep_receive(s); /* what it sent last */
	if (s->child_fd >= 0)
		close(steal_fd(&s->child_fd));
	s->child = 0;
	return status;
}

/* A fork, or (upgrade) the binary that is installed now. */
static int start_child(struct super *s, life_fn fn, void *ctx, bool upgrade, int *ret_report)
{
	int pipefd[2];

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	s->child = fork();
	if (s->child == 0) {
		close(pipefd[0]);
		if (upgrade)
			upgrade_child(s, pipefd[1]);
		child_main(s, fn, ctx, pipefd[1]);
	}
	int err = errno;

	close(pipefd[1]);
	if (s->child < 0) {
		close(pipefd[0]);
		return -err;
	}
	s->child_fd = (int)syscall(SYS_pidfd_open, s->child, 0);
	if (s->child_fd < 0) { /* nobody would notice its death */
		err = errno;
		kill(s->child, SIGKILL);
		reap(s);
		close(pipefd[0]);
		return -err;
	}
	*ret_report = pipefd[0];
	return 0;
}

static void pass_on(struct super *s)
{
	if (s->child > 0)
		kill(s->child, s->asked);
	s->asked_pid = s->child;
}

enum event { EV_FD, EV_CHILD_ENDED, EV_SIGNAL, EV_TIMEOUT };

/* Until something happens to fd (-1: nothing can), the child ends, a signal comes while there is
 * none, or timeout_ms (-1: none) are over; meanwhile signals are passed on and descriptors kept. */
static enum event attend(struct super *s, int fd, int timeout_ms)
{
	uint64_t until = clock_mono_ns() + (uint64_t)MAX(timeout_ms, 0) * 1000000;
	struct pollfd p[4] = {{.fd = fd, .events = POLLIN},
			      {.fd = s->child_fd, .events = POLLIN},
			      {.fd = s->signals, .events = POLLIN},
			      {.fd = s->keeper, .events = POLLIN}};

	for (;;) {
		uint64_t now = clock_mono_ns();
		int left = timeout_ms < 0 ? -1
			   : now < until  ? (int)((until - now) / 1000000) + 1
					  : 0;
		int n = poll(p, ARRAY_SIZE(p), left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return EV_TIMEOUT;
		if (p[2].revents) {
			struct signalfd_siginfo si;

			if (read(s->signals, &si, sizeof(si)) == sizeof(si)) {
				s->asked = (int)si.ssi_signo;
				pass_on(s);
			}
			if (!s->child)
				return EV_SIGNAL;
		}
		if (p[3].revents)
			keep_receive(s);
		if (p[0].revents)
			return EV_FD;
		if (p[1].revents)
			return EV_CHILD_ENDED;
	}
}

static unsigned waiting(unsigned conn)
{
	char path[64], buf[16] = "";

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/waiting", conn);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) <= 0)
		return 0; /* not mounted: nobody can tell */
	return (unsigned)strtoul(buf, NULL, 10);
}

/* A thread that waits for a disk in the kernel does not end when it is killed: the daemon would
 * serve nobody any more and never be gone. */
static bool stuck_in_kernel(pid_t pid)
{
	char path[64], name[64 + 1 + NAME_MAX + 6], buf[512];
	bool yes = false;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *d = opendir(path);

	for (struct dirent *e; d && !yes && (e = readdir(d));) {
		if (*e->d_name == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s/stat", path, e->d_name);
		cleanup_fd int fd = open(name, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
		/* "pid (name) state ...", proc(5); the name may hold anything */
		char *p = n <= 0 ? NULL : memrchr(buf, ')', (size_t)n);

		yes = p && p + 2 < buf + n && p[2] == 'D';
	}
	if (d)
		closedir(d);
	return yes;
}

static bool hangs(struct super *s)
{
	const char *env = getenv("SPILLFS_HANG_SEC"); /* tests */
	uint64_t limit = env ? strtoul(env, NULL, 10) : HANG_SEC, now = clock_mono_ns(), progress;
	unsigned conn;

	if (fs_state_watch(s->life.state_fd, &progress, &conn) < 0 || !conn)
		return false;
	if (progress != s->progress || !waiting(conn)) {
		s->progress = progress;
		s->since_ns = now;
		return false;
	}
	/* What takes long each time it is sent again gets longer each time. */
	return now - s->since_ns >= (limit << MIN(s->hangs, 6u)) * UINT64_C(1000000000);
}

/* How long until a new binary has shown that it can do it. */
static int trial_ms(const struct super *s)
{
	const char *env = getenv("SPILLFS_TRIAL_MS"); /* tests */
	uint64_t limit = env ? strtoul(env, NULL, 10) : TRIAL_MS;
	uint64_t lived = (clock_mono_ns() - s->ready_ns) / 1000000;

	return lived >= limit ? 0 : (int)(limit - lived);
}

/* A daemon at work: until it ends. */
static void watch(struct super *s)
{
	int pause = getenv("SPILLFS_HANG_SEC") ? 500 : LOOK_MS;

	s->since_ns = clock_mono_ns();
	while (attend(s, -1, s->trial && !s->asked ? MIN(pause, trial_ms(s) + 1) : pause) ==
	       EV_TIMEOUT) {
		if (s->trial && !s->asked && !trial_ms(s))
			upgrade_follow(s);
		if (!hangs(s)) {
			if (s->since_ns + UINT64_C(1000000000) > clock_mono_ns())
				s->told_stuck = false; /* it gets on again */
			continue;
		}
		if (stuck_in_kernel(s->child)) {
			if (!s->told_stuck)
				log_err("the daemon waits for a disk that does not answer: what "
					"needs it hangs, the rest goes on");
			s->told_stuck = true;
			continue;
		}
		s->told_stuck = false;
		log_err("the daemon does not get on with what the kernel asks: it is ended, the "
			"next "
			"one takes the mount over");
		s->hangs++;
		s->hung = true;
		kill(s->child, SIGKILL);
	}
}

/* How long a daemon may take until it serves, -1: as long as it likes. The first one has a
 * launcher, and an init system with limits of its own. */
static int ready_ms(const struct super *s)
{
	const char *env = getenv("SPILLFS_READY_MS"); /* tests */
	int limit = env ? atoi(env) : READY_MS;

	return s->life.resume ? limit << MIN(s->slow_starts, 5u) : -1;
}

/* The child's own words about its start; false: it died without any. */
static bool listen_to(struct super *s, int fd, bool upgrade, struct outcome *o)
{
	uint8_t buf[1 + OUTCOME_MSG_MAX];
	bool hello = !upgrade, killed = false;
	size_t len = 0;

	while (len < sizeof(buf) - 1) {
		/* After its hello it is bounded too: a mount that nobody serves hangs its users. */
		enum event e = attend(s, fd, killed ? -1 : hello ? ready_ms(s) : HELLO_MS);

		if (e == EV_TIMEOUT) { /* it may be waiting for the mount that it is to serve */
			log_err("the daemon does not get ready: it is ended");
			s->slow_starts += hello;
			kill(s->child, SIGKILL);
			killed = true;
			continue;
		}
		if (e == EV_CHILD_ENDED && len > 0)
			break;
		ssize_t n = read(fd, buf + len, hello ? sizeof(buf) - 1 - len : 1);

		if (n <= 0)
			break;
		if (!hello && buf[0] == HANDOVER_HELLO)
			hello = true;
		else
			len += (size_t)n;
	}
	if (!len)
		return false;
	o->code = buf[0];
	memcpy(o->msg, buf + 1, len - 1);
	o->msg[len - 1] = 0;
	return true;
}

/* Is there no mount any more that a daemon could serve? */
static bool connection_gone(const struct super *s)
{
	struct pollfd p = {.fd = s->life.dev_fd};

	return poll(&p, 1, 0) == 1 && p.revents & (POLLERR | POLLNVAL);
}

/* Before the next life; false: enough. */
static bool pause_between(struct super *s, uint64_t lived_ns)
{
	uint64_t refusals = fs_state_refusals(s->life.state_fd);

	/* A request that killed them was refused: that is getting on. */
	if (lived_ns >= SHORT_NS || refusals != s->refusals)
		s->short_lives = 0;
	else
		s->short_lives++;
	s->refusals = refusals;
	const char *env = getenv("SPILLFS_MAX_LIVES"); /* tests */

	if (s->short_lives >= (env ? strtoul(env, NULL, 10) : MAX_LIVES))
		return false;
	if (s->short_lives > QUICK_LIVES) {
		unsigned n = MIN(s->short_lives - QUICK_LIVES - 1, 10u);

		attend(s, -1, (int)MIN(PAUSE_MS << n, PAUSE_MAX));
	}
	return true;
}

/* Was it a fault of its own, or did somebody end it? What it was doing then is to blame for it. */
static void blame(struct super *s, int status)
{
	bool ended = WIFSIGNALED(status) &&
		     (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM ||
		      WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGHUP);

	if (s->hung || (WIFSIGNALED(status) && !ended))
		fs_state_fault(s->life.state_fd);
	s->hung = false;
}

static void say_end(int status)
{
	if (WIFSIGNALED(status))
		log_err("the daemon was killed by signal %d; the next one takes the mount over",
			WTERMSIG(status));
	else
		log_err("the daemon ended (exit code %d); the next one takes the mount over",
			WEXITSTATUS(status));
}

/* Why a daemon did not get ready, when it has not said so itself. */
static void say_start(struct outcome *o, int status)
{
	if (o->msg[0])
		return;
	outcome_set(o, o->code ? (enum spill_exit)o->code : EXIT_MOUNT,
		    WIFSIGNALED(status) ? "the daemon was killed by signal %d while it started"
					: "the daemon ended (%d) while it started",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Start a daemon; true: it serves. Else it is gone, *said tells why. */
static bool start(struct super *s, life_fn fn, void *ctx, bool upgrade, struct outcome *said)
{
	int fd = -1, r;

	*said = (struct outcome){.code = EXIT_MOUNT};
	if (upgrade)
		upgrade_begin(s);
	r = start_child(s, fn, ctx, upgrade, &fd);
	if (r < 0) {
		outcome_set(said, EXIT_SYSTEM, "cannot start the daemon: %s", strerror(-r));
		return false;
	}
	bool ready = listen_to(s, fd, upgrade, said) && said->code == EXIT_OK;

	close(fd);
	s->trial = ready && upgrade;
	if (ready)
		s->slow_starts = 0;
	s->ready_ns = clock_mono_ns();
	if (!ready) {
		int status = reap(s);

		blame(s, status);
		say_start(said, status);
	}
	return ready;
}

static int give_up(struct super *s, void *ctx, const struct outcome *said, struct outcome *o)
{
	uint64_t progress;
	unsigned conn = 0;

	fs_state_watch(s->life.state_fd, &progress, &conn);
	s->opts->give_up(ctx, conn);
	if (s->asked)
		return 0;
	return outcome_set(o, EXIT_MOUNT,
			   "%d daemons died one after the other: given up; see the log for the "
			   "cause, then mount again%s%s",
			   MAX_LIVES, said->msg[0] ? ": " : "", said->msg);
}

static int lives(struct super *s, life_fn fn, void *ctx, struct report *rep, struct outcome *o)
{
	bool upgrade = false, back = false;

	for (;;) {
		bool first = !s->life.resume;
		struct outcome said = {0};
		/* one that a binary before this one started, which became us, is at work */
		bool ready = s->child > 0 || start(s, fn, ctx, upgrade, &said);

		if (first && !ready) {
			*o = said;
			return -1;
		}
		/* What it has written, ready or not, may be beyond us should we have to go on as we
		 * are. */
		back = back || upgrade;
		if (upgrade && !ready) {
			upgrade_refused(s, said.msg);
			upgrade = false;
			if (connection_gone(s))
				return 0;
			continue;
		}
		upgrade = false;
		if (ready && first) {
			s->life.resume = true;
			prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
			report_ready(rep);
			s->launcher = -1;
		}
		if (ready && s->asked && s->asked_pid != s->child)
			pass_on(s);
		int status = 0;

		if (ready) {
			watch(s);
			status = reap(s);
			blame(s, status);
		}
		if (ready && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_AGAIN) {
			s->short_lives = 0;
			upgrade = true;
			continue;
		}
		/* With nobody who asked, and with a mount still there, an exit is a death too: a
		 * library's, or the loader's. */
		if (ready && WIFEXITED(status) && (s->asked || connection_gone(s))) {
			o->code = WEXITSTATUS(status);
			return o->code ? -1 : 0;
		}
		if (ready)
			say_end(status);
		else
			log_err("%s", said.msg);
		if (ready && s->trial)
			upgrade_refused(s, "its daemon died soon after its start");
		if (connection_gone(s))
			return 0;
		bool enough = !pause_between(s, ready ? clock_mono_ns() - s->ready_ns : 0);

		if (connection_gone(s))
			return 0;
		if (enough || (s->asked && !ready))
			return give_up(s, ctx, &said, o);
		upgrade = back && !ready && said.code == EXIT_STORE_FOREIGN;
	}
}

static int listen_for_signals(struct super *s)
{
	sigset_t set;

	end_signals(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	s->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signals < 0 ? -errno : 0;
}

int supervise(const struct supervise_opts *opts, life_fn fn, void *ctx, struct report *rep,
	      struct outcome *o)
{
	struct super s = {
		.opts = opts,
		.life = {.keeper_fd = -1, .main_pid = getpid()},
		.keeper = -1,
		.signals = -1,
		.child_fd = -1,
		.launcher = rep->fd,
	};
	bool again;
	int r = s.life.state_fd = fs_state_new();

	if (r < 0)
		return outcome_set(o, EXIT_SYSTEM, "cannot make a memfd: %s", strerror(-r));
	r = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	s.life.dev_fd = r < 0 ? -errno : r;
	if (!opts->on)
		return fn(ctx, &s.life, rep, o, &again);
	int sv[2];

	r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) ? -errno : 0;
	if (!r) {
		s.keeper = sv[0];
		s.life.keeper_fd = sv[1];
		r = listen_for_signals(&s);
	}
	if (r < 0)
		return outcome_set(o, EXIT_SYSTEM, "cannot set the supervisor up: %s",
				   strerror(-r));
	return lives(&s, fn, ctx, rep, o);
}

int supervise_on(const struct supervise_opts *opts, struct handover *h, life_fn fn, void *ctx,
		 struct outcome *o)
{
	struct report rep = {.fd = -1};
	struct super s = {
		.opts = opts,
		.life = {.dev_fd = h->dev_fd,
			 .state_fd = h->state_fd,
			 .keeper_fd = h->keeper_fd,
			 .resume = true,
			 .main_pid = getpid(),
			 .orphans = h->orphans,
			 .n_orphans = h->n_orphans},
		.keeper = h->keeper,
		.signals = -1,
		.launcher = -1,
		.child = h->child,
		.child_fd = (int)syscall(SYS_pidfd_open, h->child, 0),
		.hangs = h->hangs,
		.ready_ns = clock_mono_ns(),
	};
	h->orphans = NULL;
	h->n_orphans = 0;
	int r = s.child_fd < 0 ? -errno : listen_for_signals(&s);

	if (r < 0)
		return outcome_set(o, EXIT_SYSTEM,
				   "cannot go on as the supervisor (%s): the daemon serves on, "
				   "but none will follow it",
				   strerror(-r));
	log_info("the supervisor goes on as version %s", SPILLFS_VERSION);
	return lives(&s, fn, ctx, &rep, o);
}
