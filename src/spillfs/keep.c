/* SPDX-License-Identifier: MIT
 * Descriptors that outlive a daemon: it sends them (life_keep), the supervisor keeps them for the
 * next one. What was sent stays in the socket's queue whoever dies.
 */
#include "supervise_int.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

struct keep_msg {
	uint64_t nodeid;
	uint32_t drop;
};

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
	ssize_t n = sendmsg(l->keeper_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	/* The supervisor waits for nobody, but it may not have come to it yet. */
	for (int i = 0; n < 0 && errno == EAGAIN && i < 10; i++) {
		poll(&(struct pollfd){.fd = l->keeper_fd, .events = POLLOUT}, 1, 100);
		n = sendmsg(l->keeper_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	if (n < 0)
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

void keep_receive(struct super *s)
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
		if (fd < 0 && !m.drop && !s->life.told)
			log_warn("too many open files without a name (RLIMIT_NOFILE): node %llx "
				 "would not survive the daemon",
				 (unsigned long long)m.nodeid);
		s->life.told |= fd < 0 && !m.drop;
		keep_put(&s->life, m.nodeid, m.drop ? -1 : fd);
	}
}
