/* SPDX-License-Identifier: MIT
 * The server's side of one connection: one request in, events and one answer out.
 *
 * Handlers report progress from deep inside the spill engine, with its locks held, so a client that
 * does not read (a stopped spillctl) must not stop the handler: lines go to memory first and to the
 * socket as far as it takes them. Only a client that leaves OUT_MAX unread is waited for, and one
 * that then reads nothing for STALL_MS is gone, which the handler learns like any hang-up.
 */
#include "ctl_int.h"

#include <poll.h>

#define REQUEST_MS    10000
#define STALL_MS      10000
#define STALL_STOP_MS 500 /* when the server stops */
#define OUT_MAX       ((size_t)8 << 20)

bool conn_stopping(const struct ctl_conn *c)
{
	struct pollfd p = {.fd = c->stop_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* Wait until fd is ready for events, the server stops or at_ns has come. Readiness, or 0. */
static short wait_ready(const struct ctl_conn *c, short events, uint64_t at_ns)
{
	for (;;) {
		struct pollfd p[] = {{.fd = c->fd, .events = events},
				     {.fd = c->stop_fd, .events = POLLIN}};
		uint64_t now = clock_mono_ns();
		int n = poll(p, 2, now < at_ns ? (int)((at_ns - now) / 1000000 + 1) : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		return p[0].revents;
	}
}

int conn_request(struct ctl_conn *c, json_t **ret)
{
	cleanup_(ctl_reader_done) struct ctl_reader r;
	uint64_t until = clock_mono_ns() + REQUEST_MS * UINT64_C(1000000);
	char buf[16384];
	int err;

	ctl_reader_init(&r);
	for (;;) {
		ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n > 0) {
			err = ctl_reader_feed(&r, buf, (size_t)n);
			if (!err)
				err = ctl_reader_next(&r, ret);
			if (err)
				return err < 0 ? err : 0;
		} else if (!n) {
			return -ECONNRESET;
		} else if (errno == EAGAIN) {
			if (!wait_ready(c, POLLIN, until))
				return -ETIMEDOUT;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

static int out_append(struct ctl_conn *c, const char *line, size_t len)
{
	if (c->out_pos) {
		memmove(c->out, c->out + c->out_pos, c->out_len - c->out_pos);
		c->out_len -= c->out_pos;
		c->out_pos = 0;
	}
	if (c->out_cap - c->out_len < len) {
		size_t cap = MAX(2 * c->out_cap, c->out_len + len);
		char *bigger = realloc(c->out, cap);

		if (!bigger)
			return -ENOMEM;
		c->out = bigger;
		c->out_cap = cap;
	}
	memcpy(c->out + c->out_len, line, len);
	c->out_len += len;
	return 0;
}

/* Give the socket what it takes; wait while more than target bytes are left, up to stall_ms without
 * any progress (then the client is gone). */
static void out_flush(struct ctl_conn *c, size_t target, unsigned stall_ms)
{
	uint64_t until = 0;

	while (!c->gone && c->out_pos < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		struct pollfd p = {.fd = c->fd, .events = POLLOUT};

		if (n > 0) {
			c->out_pos += (size_t)n;
			until = 0;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			c->gone = true;
			break;
		}
		if (c->out_len - c->out_pos <= target)
			return;
		if (conn_stopping(c))
			stall_ms = MIN(stall_ms, STALL_STOP_MS);
		if (!until)
			until = clock_mono_ns() + stall_ms * UINT64_C(1000000);
		if (clock_mono_ns() >= until)
			c->gone = true;
		else
			poll(&p, 1, 100); /* short: the server may stop meanwhile */
	}
	if (c->gone || c->out_pos == c->out_len)
		c->out_pos = c->out_len = 0;
}

bool ctl_progress(struct ctl_conn *c, json_t *ev)
{
	const char *kind = json_string_value(json_object_get(ev, "event"));
	cleanup_free char *line = NULL;
	size_t len;

	out_flush(c, SIZE_MAX, 0);
	if (!c->gone) {
		bool droppable = kind && !strcmp(kind, "progress");

		if (!(droppable && c->out_len) && !ctl_line(ev, &line, &len) &&
		    !out_append(c, line, len))
			out_flush(c, OUT_MAX, STALL_MS);
	}
	json_decref(ev);
	return !ctl_interrupted(c);
}

bool ctl_interrupted(struct ctl_conn *c)
{
	/* Only a full close is POLLHUP: a client may shut down its sending half after the request.
	 */
	struct pollfd p[] = {{.fd = c->fd}, {.fd = c->stop_fd, .events = POLLIN}};

	if (!c->gone && poll(p, 2, 0) > 0 && (p[0].revents & (POLLHUP | POLLERR)))
		c->gone = true;
	return c->gone || p[1].revents;
}

void conn_finish(struct ctl_conn *c, json_t *last)
{
	cleanup_free char *line = NULL;
	size_t len;
	int err = ctl_line(last, &line, &len);

	json_decref(last);
	if (err == -EMSGSIZE)
		line = strdup("{\"error\":\"the answer is too long\",\"code\":24}\n");
	else if (err)
		line = strdup("{\"error\":\"out of memory\",\"code\":2}\n");
	if (line && !out_append(c, line, strlen(line)))
		out_flush(c, 0, STALL_MS);
	free(c->out);
	c->out = NULL;
	c->out_pos = c->out_len = c->out_cap = 0;
	close(c->fd);
	c->fd = -1;
}
