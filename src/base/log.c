/* SPDX-License-Identifier: MIT
 * The log: one line per message, to stderr or to the system log. The only global of spillfs.
 *
 * Why not syslog(3): the daemon may be serving the very disk the log daemon writes to. syslog(3)
 * sends in blocking mode, so a log daemon that waits for us would make us wait for it, for ever.
 * Here the datagram is sent without waiting; a line that does not fit is dropped, and the next one
 * that gets through says how many were.
 *
 * Messages carry file names out of untrusted images: control characters are replaced, so that a
 * name cannot forge a log line.
 */
#include "spill/base.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#define LINE_MAX_LEN 1024

static struct {
	const char *ident;
	enum log_level max;
	bool use_syslog;
	pthread_mutex_t lock; /* guards fd and dropped */
	int fd;               /* connected to /dev/log, or -1 */
	unsigned dropped;
} sink = {"spillfs", LOG_L_INFO, false, PTHREAD_MUTEX_INITIALIZER, -1, 0};

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_L_ERR] = {"error: ", LOG_ERR},
	[LOG_L_WARN] = {"warning: ", LOG_WARNING},
	[LOG_L_INFO] = {"", LOG_INFO},
	[LOG_L_DEBUG] = {"debug: ", LOG_DEBUG},
};

void log_init(const char *ident, enum log_level max, bool use_syslog)
{
	sink.ident = ident;
	sink.max = max;
	sink.use_syslog = use_syslog;
	tzset(); /* reads the time zone file now, not in a request */
}

static int connect_locked(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	sink.fd = fd;
	return 0;
}

/* One datagram; connects, and connects again after the log daemon was restarted. */
static int send_locked(const char *buf, size_t len)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		if (sink.fd < 0) {
			int r = connect_locked();

			if (r < 0)
				return r;
		}
		if (send(sink.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EAGAIN || errno == ENOBUFS)
			return -EAGAIN;
		close(sink.fd);
		sink.fd = -1;
	}
	return -ENOTCONN;
}

/* Frame of RFC 3164, which every log daemon reads. False: there is no log daemon. */
static bool to_syslog(enum log_level lvl, const char *msg)
{
	char buf[LINE_MAX_LEN + 128], when[32], lost[48] = "";
	time_t now = time(NULL);
	struct tm tm;
	int len, r;

	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%b %e %T", &tm);
	pthread_mutex_lock(&sink.lock);
	if (sink.dropped)
		snprintf(lost, sizeof(lost), "(%u lines lost) ", sink.dropped);
	len = snprintf(buf, sizeof(buf), "<%d>%s %.32s[%d]: %s%s%s",
		       LOG_DAEMON | levels[lvl].priority, when, sink.ident, (int)getpid(), lost,
		       levels[lvl].name, msg);
	r = send_locked(buf, MIN((size_t)len, sizeof(buf) - 1));
	if (!r)
		sink.dropped = 0;
	else if (r == -EAGAIN)
		sink.dropped++;
	pthread_mutex_unlock(&sink.lock);
	return !r || r == -EAGAIN;
}

static void to_stderr(enum log_level lvl, const char *msg)
{
	char buf[LINE_MAX_LEN + 128];
	int len = snprintf(buf, sizeof(buf), "%.32s: %s%s\n", sink.ident, levels[lvl].name, msg);

	/* One write: lines of two threads do not mix. There is nobody to tell if it fails. */
	(void)!write(STDERR_FILENO, buf, (size_t)len);
}

void log_msg(enum log_level lvl, const char *fmt, ...)
{
	char msg[LINE_MAX_LEN];
	int saved = errno;
	va_list ap;

	if (lvl > sink.max)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	for (char *p = msg; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (!sink.use_syslog || !to_syslog(lvl, msg))
		to_stderr(lvl, msg);
	errno = saved;
}
