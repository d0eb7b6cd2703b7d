/* SPDX-License-Identifier: MIT
 * The control server: accepts, gives each connection a thread, stops them all.
 *
 * At most CTL_MAX_CLIENTS connections are served; the others wait, not accepted, in the socket's
 * backlog. A slot is FREE -> BUSY (its thread runs) -> DONE (its thread has only to be joined) ->
 * FREE. Threads are made on demand: an idle daemon with locked memory pays for no stacks.
 *
 * Lock: s->lock guards the slots' states; never held over a handler or I/O.
 */
#include "ctl_int.h"
#include "spill/exit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_DONE };

struct slot {
	struct ctl_server *s;
	struct ctl_conn conn;
	pthread_t thread;
	enum slot_state state;
};

struct ctl_server {
	int fd, stop_fd;
	const struct ctl_verb *verbs;
	void *ctx;
	char *path;
	dev_t dev; /* of the socket we made: only that one is removed */
	ino_t ino;
	pthread_t accepter;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop;
	struct slot slots[CTL_MAX_CLIENTS];
};

json_t *ctl_error(char **ret_err, int *ret_code, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_err, fmt, ap) < 0)
		*ret_err = NULL;
	va_end(ap);
	*ret_code = code;
	return NULL;
}

int ctl_address(const char *path, struct sockaddr_un *ret, int *ret_dirfd)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir = NULL;
	int n;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	*ret_dirfd = -1;
	if (strlen(path) < sizeof(ret->sun_path)) {
		strcpy(ret->sun_path, path);
		return 0;
	}
	if (!slash)
		return -ENAMETOOLONG;
	dir = strndup(path, (size_t)(slash - path) + 1);
	if (!dir)
		return -ENOMEM;
	*ret_dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dirfd < 0)
		return -errno;
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d%s", *ret_dirfd, slash);
	if (n >= (int)sizeof(ret->sun_path)) {
		close(*ret_dirfd);
		*ret_dirfd = -1;
		return -ENAMETOOLONG;
	}
	return 0;
}

/* The answer of the verb's handler, as the last line. */
static json_t *answer(struct ctl_server *s, struct ctl_conn *c, const json_t *req)
{
	const char *name = json_string_value(json_object_get(req, "verb"));
	const struct ctl_verb *v = s->verbs;
	cleanup_free char *err = NULL;
	int code = EXIT_SYSTEM;
	json_t *result = NULL;

	while (name && v->name && strcmp(v->name, name))
		v++;
	if (!name)
		ctl_error(&err, &code, EXIT_USAGE, "the request names no verb");
	else if (!v->name)
		ctl_error(&err, &code, EXIT_USAGE, "the daemon does not know the verb '%s'", name);
	else
		result = v->fn(s->ctx, c, req, &err, &code);
	if (result)
		return json_pack("{s:o}", "result", result);
	return json_pack("{s:s, s:i}", "error", err ? err : "out of memory", "code", code);
}

static bool peer_allowed(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) &&
	       (u.uid == 0 || u.uid == geteuid());
}

static void *conn_main(void *arg)
{
	struct slot *slot = arg;
	struct ctl_server *s = slot->s;
	struct ctl_conn *c = &slot->conn;
	json_t *req = NULL, *last = NULL;
	int err = peer_allowed(c->fd) ? conn_request(c, &req) : -EPERM;

	if (!err)
		last = answer(s, c, req);
	else if (err == -EBADMSG || err == -EMSGSIZE || err == -EPERM)
		last = json_pack("{s:s, s:i}", "error",
				 err == -EPERM ? "permission denied" : "not a request", "code",
				 err == -EPERM ? EXIT_SYSTEM : EXIT_USAGE);
	else
		c->gone = true; /* nobody to answer */
	json_decref(req);
	conn_finish(c, last);

	pthread_mutex_lock(&s->lock);
	slot->state = SLOT_DONE;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void reap_locked(struct ctl_server *s)
{
	for (size_t i = 0; i < CTL_MAX_CLIENTS; i++)
		if (s->slots[i].state == SLOT_DONE) {
			pthread_join(s->slots[i].thread, NULL); /* past its unlock: at once */
			s->slots[i].state = SLOT_FREE;
		}
}

/* A free slot, or NULL when the server stops. */
static struct slot *slot_wait(struct ctl_server *s)
{
	struct slot *free_slot = NULL;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && !free_slot) {
		reap_locked(s);
		for (size_t i = 0; i < CTL_MAX_CLIENTS && !free_slot; i++)
			if (s->slots[i].state == SLOT_FREE)
				free_slot = &s->slots[i];
		if (!free_slot)
			pthread_cond_wait(&s->changed, &s->lock);
	}
	if (s->stop)
		free_slot = NULL;
	pthread_mutex_unlock(&s->lock);
	return free_slot;
}

/* The next connection, or -1 when the server stops. */
static int accept_wait(struct ctl_server *s)
{
	for (;;) {
		struct pollfd p[] = {{.fd = s->stop_fd, .events = POLLIN},
				     {.fd = s->fd, .events = POLLIN}};
		int fd;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -1;
		if (p[0].revents)
			return -1;
		fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			return fd;
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			poll(p, 1, 100); /* the connection stays queued: do not spin */
	}
}

static void *accept_main(void *arg)
{
	struct ctl_server *s = arg;
	struct slot *slot;
	int fd;

	while ((slot = slot_wait(s)) && (fd = accept_wait(s)) >= 0) {
		slot->conn = (struct ctl_conn){.fd = fd, .stop_fd = s->stop_fd};
		pthread_mutex_lock(&s->lock);
		if (thread_start(&slot->thread, "ctl", conn_main, slot) < 0)
			close(fd);
		else
			slot->state = SLOT_BUSY;
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static int listen_at(struct ctl_server *s)
{
	cleanup_fd int dirfd = -1;
	struct sockaddr_un addr;
	struct stat st;
	int err = ctl_address(s->path, &addr, &dirfd);

	if (err)
		return err;
	if (unlink(addr.sun_path) && errno != ENOENT)
		return -errno;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	/* On Linux bind(2) takes the mode from the socket, so that it is never open to others. */
	if (fchmod(s->fd, 0600) || bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(s->fd, 64) || lstat(addr.sun_path, &st))
		return -errno;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

static void server_free(struct ctl_server *s)
{
	struct stat st;

	if (s->fd >= 0)
		close(s->fd);
	if (s->stop_fd >= 0)
		close(s->stop_fd);
	if (s->ino && !lstat(s->path, &st) && st.st_ino == s->ino && st.st_dev == s->dev)
		unlink(s->path);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s->path);
	free(s);
}

int ctl_server_start(struct ctl_server **ret, const char *path, const struct ctl_verb *verbs,
		     void *ctx)
{
	struct ctl_server *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->fd = -1;
	s->verbs = verbs;
	s->ctx = ctx;
	for (size_t i = 0; i < CTL_MAX_CLIENTS; i++)
		s->slots[i].s = s;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	err = s->stop_fd < 0 ? -errno : 0;
	s->path = strdup(path);
	if (!err)
		err = s->path ? listen_at(s) : -ENOMEM;
	if (!err)
		err = thread_start(&s->accepter, "ctl-accept", accept_main, s);
	if (err) {
		server_free(s);
		return err;
	}
	*ret = s;
	return 0;
}

void ctl_server_stop(struct ctl_server *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	eventfd_write(s->stop_fd, 1);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->accepter, NULL);

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < CTL_MAX_CLIENTS; i++)
		while (s->slots[i].state == SLOT_BUSY)
			pthread_cond_wait(&s->changed, &s->lock);
	reap_locked(s);
	pthread_mutex_unlock(&s->lock);
	server_free(s);
}
