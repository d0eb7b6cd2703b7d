/* SPDX-License-Identifier: MIT
 * Process life.
 *
 * The fork comes before anything is opened: SQLite's locks do not survive one, and threads do not
 * either. The parent waits at a pipe for {exit code, line} and speaks for the child; an end of file
 * without a report is a child that died. Until the mount is made, the child dies with its parent: a
 * start that was given up must not finish behind the back of whoever gave it up.
 */
#include "launch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#ifndef PR_SET_IO_FLUSHER /* Linux 5.6 */
#define PR_SET_IO_FLUSHER 57
#endif

static bool write_proc(const char *path, const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool hardened;

void launch_warn(void)
{
	if (!hardened)
		log_warn("no CAP_SYS_RESOURCE: when memory is short, the kernel may end the daemon "
			 "(the next one takes over) or make it wait for its own writes");
}

/* Best effort all of it; a test or a container may not be allowed to. */
static void harden(void)
{
	struct rlimit rl;
	sigset_t io;

	sigemptyset(&io);
	sigaddset(&io, SIGIO); /* lease breaks; we ask instead of being told */
	sigprocmask(SIG_BLOCK, &io, NULL);
	signal(SIGPIPE, SIG_IGN);
	umask(077);
	(void)!chdir("/"); /* not on our own mount */
	/* Memory reclaim may need us to write: we must not wait for reclaim, nor be its victim. */
	bool flusher = !prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);

	hardened = write_proc("/proc/self/oom_score_adj", "-1000") && flusher;
	if (!getrlimit(RLIMIT_NOFILE, &rl)) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	rl.rlim_cur = rl.rlim_max = 0; /* a core could land on ourselves */
	setrlimit(RLIMIT_CORE, &rl);
}

void launch_again(bool foreground, bool debug)
{
	prctl(PR_SET_NAME, "spillfs"); /* execve of /proc/N/exe calls it "exe" */
	log_init("spillfs", debug ? LOG_L_DEBUG : LOG_L_INFO, !foreground);
	harden();
}

void launch_point_of_no_return(void)
{
	sigset_t s;

	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	sigemptyset(&s);
	sigaddset(&s, SIGTERM);
	sigaddset(&s, SIGINT);
	sigaddset(&s, SIGHUP);
	sigaddset(&s, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
}

/* sd_notify(3)'s protocol: one datagram. Nobody listening is normal. */
static void notify_manager(const char *text)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	cleanup_fd int fd = -1;
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(sa.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(sa.sun_path, path, len);
	if (*path == '@') /* abstract name space */
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sa,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

void report_outcome(struct report *rep, const struct outcome *o)
{
	uint8_t code = (uint8_t)o->code;

	if (rep->fd < 0)
		return;
	/* If the parent is gone, nobody is left to tell. */
	if (!write_full(rep->fd, &code, 1))
		write_full(rep->fd, o->msg, strlen(o->msg));
	close(steal_fd(&rep->fd));
}

void report_ready(struct report *rep)
{
	static const struct outcome good = {.code = EXIT_OK};
	cleanup_fd int null = -1;

	notify_manager("READY=1");
	if (rep->fd < 0)
		return;
	if (!rep->keep_stdio)
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	report_outcome(rep, &good);
}

static void receive_outcome(int fd, pid_t child, struct outcome *o)
{
	uint8_t buf[1 + OUTCOME_MSG_MAX];
	size_t len = 0;
	int status;

	while (len < sizeof(buf) - 1) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (len > 0) {
		o->code = buf[0];
		memcpy(o->msg, buf + 1, len - 1);
		o->msg[len - 1] = 0;
	} else if (waitpid(child, &status, 0) == child && WIFSIGNALED(status)) {
		outcome_set(o, EXIT_MOUNT, "the daemon was killed by signal %d while it started",
			    WTERMSIG(status));
	} else {
		outcome_set(o, EXIT_MOUNT, "the daemon ended while it started");
	}
}

static _Noreturn void child_main(int fd, pid_t parent, bool debug, launch_fn fn, void *ctx)
{
	struct report rep = {.fd = fd};
	struct outcome o = {0};
	cleanup_fd int null = -1;

	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != parent)
		_exit(EXIT_MOUNT);
	setsid();
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	log_init("spillfs", debug ? LOG_L_DEBUG : LOG_L_INFO, true);
	harden();
	if (fn(ctx, &rep, &o) < 0) {
		if (rep.fd < 0)
			log_err("%s", o.msg); /* the parent has left long ago */
		report_outcome(&rep, &o);
	}
	exit(o.code);
}

void launch(bool foreground, bool debug, launch_fn fn, void *ctx, struct outcome *o)
{
	pid_t parent = getpid(), child;
	int pipefd[2];

	if (foreground) {
		struct report rep = {.fd = -1};

		log_init("spillfs", debug ? LOG_L_DEBUG : LOG_L_INFO, false);
		harden();
		fn(ctx, &rep, o);
		return;
	}
	/* A descriptor that a script left open to us would be held as long as the mount: a lock, or
	 * a pipe whose reader waits for its end. */
	close_range(3, ~0U, 0);
	if (pipe2(pipefd, O_CLOEXEC) < 0) {
		outcome_set(o, EXIT_SYSTEM, "cannot make a pipe: %s", strerror(errno));
		return;
	}
	fflush(NULL);
	child = fork();
	if (child < 0) {
		outcome_set(o, EXIT_SYSTEM, "cannot fork: %s", strerror(errno));
	} else if (child == 0) {
		close(pipefd[0]);
		child_main(pipefd[1], parent, debug, fn, ctx);
	} else {
		close(steal_fd(&pipefd[1]));
		receive_outcome(pipefd[0], child, o);
	}
	close(pipefd[0]);
	if (pipefd[1] >= 0)
		close(pipefd[1]);
}
