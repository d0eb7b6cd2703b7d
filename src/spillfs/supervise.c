/* SPDX-License-Identifier: MIT
 * See supervise.h. One thread, no allocation but the list of kept descriptors; the daemon is a
 * fork, so the configuration needs no second reading, and what it holds goes with it when it dies.
 */
#include "supervise.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>

#define EXIT_AGAIN  99                   /* between a daemon and us only */
#define SHORT_NS    UINT64_C(1000000000) /* a life that ends sooner says nothing good */
#define QUICK_LIVES 5  /* so many short lives in a row are followed by the next at once */
#define MAX_LIVES   50 /* so many: there is no point in going on */
#define PAUSE_MS    50 /* doubles with each */
#define PAUSE_MAX   5000

/* A daemon that gets nowhere for so long while somebody waits is replaced. Waiting for space ends
 * sooner (a minute), and a recall counts as getting on. */
#define HANG_SEC 180
#define LOOK_MS  5000

struct keep_msg {
	uint64_t nodeid;
	uint32_t drop;
};

struct super {
	const struct supervise_opts *opts;
	struct life life;
	int keeper, signals; /* our end of keeper_fd; signalfd */
	pid_t child;
	int child_fd; /* pidfd */
	int launcher; /* the pipe to whoever started us, until it has been told */
	unsigned short_lives;
	uint64_t progress, since_ns; /* as last seen, and since when it stands there */
	int asked;                   /* the last signal to end */
	pid_t asked_pid; /* the daemon that heard of it; the next one must hear of it too */
	unsigned hangs;
};

/* ---- descriptors that outlive a daemon --------------------------------------------------------
 */

void life_keep(void *ctx, uint64_t nodeid, int fd)
{
	const struct life *l = ctx;
	struct keep_msg m = {.nodeid = nodeid, .drop = fd < 0};
	struct iovec iov = {&m, sizeof(m)};
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (l->keeper_fd < 0)
		return;
	if (fd >= 0) {
		msg.msg_control = &c;
		msg.msg_controllen = sizeof(c.room);
		c.h = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
				       .cmsg_level = SOL_SOCKET,
				       .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&c.h), &fd, sizeof(int));
	}
	if (sendmsg(l->keeper_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_warn("an open file without a name would not survive the daemon: %s",
			 strerror(errno));
}

static void keep_put(struct life *l, uint64_t nodeid, int fd)
{
	size_t i = 0;

	while (i < l->n_orphans && l->orphans[i].nodeid != nodeid)
		i++;
	if (i < l->n_orphans) {
		close(l->orphans[i].fd);
		l->orphans[i] = l->orphans[--l->n_orphans];
	}
	if (fd < 0)
		return;
	struct fs_orphan *v = reallocarray(l->orphans, l->n_orphans + 1, sizeof(*v));

	if (!v) {
		close(fd);
		return;
	}
	l->orphans = v;
	v[l->n_orphans++] = (struct fs_orphan){nodeid, fd};
}

static void keep_receive(struct super *s)
{
	struct keep_msg m;
	struct iovec iov = {&m, sizeof(m)};
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c;

	for (;;) {
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = &c,
				     .msg_controllen = sizeof(c.room)};
		int fd = -1;

		if (recvmsg(s->keeper, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(m))
			return;
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

		if (h && h->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(h), sizeof(int));
		keep_put(&s->life, m.nodeid, m.drop ? -1 : fd);
	}
}

/* ---- one life ---------------------------------------------------------------------------------
 */

static void end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static _Noreturn void child_main(struct super *s, life_fn fn, void *ctx, int report_fd)
{
	struct report rep = {.fd = report_fd, .keep_stdio = s->opts->foreground};
	struct outcome o = {0};
	bool again = false;
	sigset_t ours;

	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != s->life.main_pid)
		_exit(EXIT_MOUNT);
	setpgid(0, 0);      /* Ctrl-C goes to the supervisor alone */
	end_signals(&ours); /* only these: SIGIO stays blocked, it comes with broken leases */
	sigprocmask(SIG_UNBLOCK, &ours, NULL);
	unsetenv("NOTIFY_SOCKET"); /* the supervisor's */
	close(s->keeper);
	close(s->signals);
	if (s->launcher >= 0)
		close(s->launcher); /* its end is what the launcher waits for */
	if (fn(ctx, &s->life, &rep, &o, &again) < 0) {
		if (rep.fd < 0)
			log_err("%s", o.msg);
		report_outcome(&rep, &o);
	}
	exit(again ? EXIT_AGAIN : o.code);
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

static int start_child(struct super *s, life_fn fn, void *ctx, int *ret_report)
{
	int pipefd[2];

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	s->child = fork();
	if (s->child == 0) {
		close(pipefd[0]);
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
	struct pollfd p[4] = {{.fd = fd, .events = POLLIN},
			      {.fd = s->child_fd, .events = POLLIN},
			      {.fd = s->signals, .events = POLLIN},
			      {.fd = s->keeper, .events = POLLIN}};

	for (;;) {
		int n = poll(p, ARRAY_SIZE(p), timeout_ms);

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

/* A daemon at work: until it ends. */
static void watch(struct super *s)
{
	int pause = getenv("SPILLFS_HANG_SEC") ? 500 : LOOK_MS;

	s->since_ns = clock_mono_ns();
	while (attend(s, -1, pause) == EV_TIMEOUT) {
		if (!hangs(s))
			continue;
		log_err("the daemon does not get on with what the kernel asks: it is ended, the "
			"next "
			"one takes the mount over");
		s->hangs++;
		kill(s->child, SIGKILL);
	}
}

/* The child's own words about its start; false: it died without any. */
static bool listen_to(struct super *s, int fd, struct outcome *o)
{
	uint8_t buf[1 + OUTCOME_MSG_MAX];
	size_t len = 0;

	while (len < sizeof(buf) - 1 && (attend(s, fd, -1) == EV_FD || len == 0)) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);

		if (n <= 0)
			break;
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
	s->short_lives = lived_ns < SHORT_NS ? s->short_lives + 1 : 0;
	if (s->short_lives >= MAX_LIVES)
		return false;
	if (s->short_lives > QUICK_LIVES) {
		unsigned n = MIN(s->short_lives - QUICK_LIVES - 1, 10u);

		attend(s, -1, (int)MIN(PAUSE_MS << n, PAUSE_MAX));
	}
	return true;
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

static int lives(struct super *s, life_fn fn, void *ctx, struct report *rep, struct outcome *o)
{
	for (;;) {
		uint64_t ready_ns = 0;
		bool first = !s->life.resume;
		struct outcome said = {.code = EXIT_MOUNT};
		int fd = -1, r = start_child(s, fn, ctx, &fd);

		if (r < 0 && first)
			return outcome_set(o, EXIT_SYSTEM, "cannot start the daemon: %s",
					   strerror(-r));
		bool ready = false;

		if (!r) {
			ready = listen_to(s, fd, &said) && said.code == EXIT_OK;
			close(fd);
		}
		if (ready && first) {
			s->life.resume = true;
			prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
			report_ready(rep);
			s->launcher = -1;
		}
		if (ready && s->asked && s->asked_pid != s->child)
			pass_on(s);
		if (ready) {
			ready_ns = clock_mono_ns();
			watch(s);
		}
		int status = r ? 0 : reap(s);

		if (first && !ready) {
			*o = said;
			if (!o->msg[0])
				outcome_set(o, EXIT_MOUNT,
					    WIFSIGNALED(status)
						    ? "the daemon was killed by signal %d while it "
						      "started"
						    : "the daemon ended (%d) while it started",
					    WIFSIGNALED(status) ? WTERMSIG(status)
								: WEXITSTATUS(status));
			return -1;
		}
		if (ready && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_AGAIN) {
			s->short_lives = 0;
			continue;
		}
		if (ready && WIFEXITED(status)) {
			o->code = WEXITSTATUS(status);
			return o->code ? -1 : 0;
		}
		if (!r)
			say_end(status);
		if (connection_gone(s))
			return 0;
		bool enough = !pause_between(s, ready ? clock_mono_ns() - ready_ns : 0);

		if (connection_gone(s))
			return 0;
		if (enough || (s->asked && !ready)) {
			uint64_t progress;
			unsigned conn = 0;

			fs_state_watch(s->life.state_fd, &progress, &conn);
			s->opts->give_up(ctx, conn);
			if (!enough)
				return 0;
			return outcome_set(o, EXIT_MOUNT,
					   "%d daemons died one after the other: given up; see the "
					   "log for the cause, then mount again%s%s",
					   MAX_LIVES, said.msg[0] ? ": " : "", said.msg);
		}
	}
}

static int set_up(struct super *s)
{
	int sv[2];
	sigset_t set;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	s->keeper = sv[0];
	s->life.keeper_fd = sv[1];
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
	r = set_up(&s);
	if (r < 0)
		return outcome_set(o, EXIT_SYSTEM, "cannot set the supervisor up: %s",
				   strerror(-r));
	return lives(&s, fn, ctx, rep, o);
}
