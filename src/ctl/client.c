/* SPDX-License-Identifier: MIT
 * The control client: one request, its events, one answer. Interrupting is closing, which is what
 * returning early does.
 */
#include "ctl_int.h"

/* The server may answer and close before it has read all (it refuses us, say): that is no error
 * here, the answer tells. */
static int send_request(int fd, const json_t *req)
{
	cleanup_free char *line = NULL;
	size_t len, done = 0;
	int err = ctl_line(req, &line, &len);

	while (!err && done < len) {
		ssize_t n = send(fd, line + done, len - done, MSG_NOSIGNAL);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EPIPE || errno == ECONNRESET)
			break;
		else
			err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
	return err;
}

/* One line from the server: 1 it was the last, 0 it was an event, -errno. */
static int take_line(const json_t *o, ctl_progress_fn fn, void *ctx, json_t **ret, char **ret_err,
		     int *ret_code)
{
	json_t *v;

	if (json_object_get(o, "event"))
		return fn && !fn(ctx, o) ? -EINTR : 0;
	v = json_object_get(o, "result");
	if (v) {
		*ret = json_incref(v);
		return 1;
	}
	v = json_object_get(o, "error");
	if (!json_is_string(v))
		return -EBADMSG;
	*ret_err = strdup(json_string_value(v));
	*ret_code = (int)json_integer_value(json_object_get(o, "code"));
	return *ret_err ? -EREMOTEIO : -ENOMEM;
}

static int receive(int fd, ctl_progress_fn fn, void *ctx, json_t **ret, char **ret_err,
		   int *ret_code)
{
	cleanup_(ctl_reader_done) struct ctl_reader r;
	char buf[65536];

	ctl_reader_init(&r);
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		json_t *o;
		int err;

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return -ETIMEDOUT;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		err = ctl_reader_feed(&r, buf, (size_t)n);
		if (err)
			return err == -EMSGSIZE ? -EBADMSG : err;
		while ((err = ctl_reader_next(&r, &o)) > 0) {
			err = take_line(o, fn, ctx, ret, ret_err, ret_code);
			json_decref(o);
			if (err)
				return err > 0 ? 0 : err;
		}
		if (err < 0)
			return err;
	}
}

int ctl_call(const char *sock_path, const json_t *req, unsigned timeout_sec, ctl_progress_fn fn,
	     void *ctx, json_t **ret, char **ret_err, int *ret_code)
{
	const struct timeval limit = {.tv_sec = timeout_sec};
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dirfd = -1;
	struct sockaddr_un addr;
	int err;

	if (fd < 0)
		return -errno;
	err = ctl_address(sock_path, &addr, &dirfd);
	/* The limit for sending is connect(2)'s, too: it waits while the server's backlog is full.
	 */
	if (!err && timeout_sec &&
	    (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	     setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit))))
		err = -errno;
	if (!err && connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (!err)
		err = send_request(fd, req);
	return err ? err : receive(fd, fn, ctx, ret, ret_err, ret_code);
}
