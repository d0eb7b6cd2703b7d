/* SPDX-License-Identifier: MIT
 * Looking at files without getting stuck: a child process looks, and one that does not answer in
 * time is left behind and replaced. (A thread would not do: a request that a FUSE daemon has taken
 * cannot be interrupted, and would keep the whole process from ending; see src/mnt/probe.c.)
 */
#include "doctor_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LINKS_MAX    40
#define TIMEOUTS_MAX 5 /* then the node is ill enough to say so */
#define NAMES_MAX    4096

/* ---- the child's side: one question at a time, for as long as there are any */

enum op { OP_READ, OP_EXISTS, OP_RESOLVE, OP_LIST, OP_COMM };
struct question {
	enum op op;
	size_t max, len; /* len bytes follow: a path, or two strings with a NUL between */
};
struct answer {
	int r;
	size_t len; /* bytes that follow */
};

/* What an operation has to say: text grows by say(). */
struct text {
	char *s;
	size_t n, cap;
};
static int say(struct text *t, const char *s, size_t n)
{
	if (!n)
		return 0;
	if (t->n + n > t->cap) {
		size_t cap = MAX(t->n + n, 2 * t->cap);
		char *bigger = realloc(t->s, cap);

		if (!bigger)
			return -ENOMEM;
		t->s = bigger;
		t->cap = cap;
	}
	memcpy(t->s + t->n, s, n);
	t->n += n;
	return 0;
}

static int do_read(const char *path, size_t max, struct text *t)
{
	cleanup_free char *text = NULL;
	struct stat st;
	size_t len;
	int r;

	/* A FIFO would wait for a writer, a device may do anything. */
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	r = read_file(AT_FDCWD, path, max, &text, &len);
	return r ? r : say(t, text, len);
}

static int do_list(const char *path, struct text *t)
{
	struct dirent **v;
	int n = scandir(path, &v, NULL, alphasort), r = 0;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (!r && i < NAMES_MAX && strcmp(v[i]->d_name, ".") && strcmp(v[i]->d_name, ".."))
			r = say(t, v[i]->d_name, strlen(v[i]->d_name) + 1);
		free(v[i]);
	}
	free(v);
	return r;
}

/* The names in /proc of the processes called that. k3s calls itself k3s-server or k3s-agent. */
static int do_comm(const char *proc, const char *name, struct text *t)
{
	struct dirent *e;
	DIR *d = opendir(proc);
	char want[16];
	int r = 0;

	if (!d)
		return -errno;
	snprintf(want, sizeof(want), "%.15s", name); /* the kernel keeps 15 */
	while (!r && (e = readdir(d))) {
		cleanup_free char *comm = NULL;
		char path[NAME_MAX + 8];
		size_t len;

		if (*e->d_name < '0' || *e->d_name > '9')
			continue;
		snprintf(path, sizeof(path), "%s/comm", e->d_name);
		if (read_file(dirfd(d), path, 64, &comm, &len) || !len)
			continue;
		comm[strcspn(comm, "\n")] = 0;
		if (!strcmp(comm, want) || (!strcmp(want, "k3s") && (!strcmp(comm, "k3s-server") ||
								     !strcmp(comm, "k3s-agent"))))
			r = say(t, e->d_name, strlen(e->d_name) + 1);
	}
	closedir(d);
	return r;
}

/* realpath(3), but absolute links start at root. */
static int do_resolve(const char *root, const char *path, struct text *t)
{
	char todo[2 * PATH_MAX + 2], done[PATH_MAX] = "", full[2 * PATH_MAX], link[PATH_MAX];
	unsigned links = 0;
	struct stat st;

	if (snprintf(todo, sizeof(todo), "%s", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	while (*todo) {
		char part[NAME_MAX + 1], rest[2 * PATH_MAX + 2];
		size_t skip = strspn(todo, "/"), n = strcspn(todo + skip, "/"), had = strlen(done);
		ssize_t got;

		if (n > NAME_MAX || had + n + 2 > sizeof(done))
			return -ENAMETOOLONG;
		memcpy(part, todo + skip, n);
		part[n] = 0;
		memmove(todo, todo + skip + n, strlen(todo + skip + n) + 1);
		if (!n || !strcmp(part, "."))
			continue;
		if (!strcmp(part, "..")) {
			char *slash = strrchr(done, '/');

			if (slash)
				*slash = 0;
			continue;
		}
		snprintf(done + had, sizeof(done) - had, "/%s", part);
		snprintf(full, sizeof(full), "%s%s", root, done);
		got = readlink(full, link, sizeof(link) - 1);
		if (got < 0 && errno != EINVAL)
			return -errno;
		if (got < 0)
			continue;
		if (++links > LINKS_MAX)
			return -ELOOP;
		link[got] = 0;
		done[*link == '/' ? 0 : had] = 0;
		if (snprintf(rest, sizeof(rest), "%s%s", link, todo) >= 2 * PATH_MAX)
			return -ENAMETOOLONG;
		strcpy(todo, rest);
	}
	snprintf(full, sizeof(full), "%s%s", root, *done ? done : "/");
	if (lstat(full, &st) < 0)
		return -errno;
	return say(t, *done ? done : "/", *done ? strlen(done) : 1);
}

static int answer_to(const struct question *q, char *arg, struct text *t)
{
	const char *second = arg + MIN(strlen(arg) + 1, q->len);

	switch (q->op) {
	case OP_READ:
		return do_read(arg, q->max, t);
	case OP_EXISTS:
		return access(arg, F_OK) < 0 ? -errno : 0;
	case OP_RESOLVE:
		return do_resolve(arg, second, t);
	case OP_LIST:
		return do_list(arg, t);
	case OP_COMM:
		return do_comm(arg, second, t);
	}
	return -EINVAL;
}

static bool get_all(int fd, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

__attribute__((noreturn)) static void serve(int fd)
{
	struct question q;

	signal(SIGINT, SIG_DFL);
	while (get_all(fd, &q, sizeof(q))) {
		cleanup_free char *arg = calloc(1, q.len + 1);
		struct text t = {0};
		struct answer a;

		if (!arg || !get_all(fd, arg, q.len))
			break;
		a.r = answer_to(&q, arg, &t);
		a.len = a.r ? 0 : t.n;
		if (write_full(fd, &a, sizeof(a)) || write_full(fd, t.s, a.len))
			break;
		free(t.s);
	}
	_exit(0);
}

/* ---- our side */

static void helper_end(struct look_helper *h, bool stuck)
{
	if (!h->pid)
		return;
	close(h->fd);
	kill(h->pid, SIGKILL);
	/* One that is stuck ends when its file system does; init reaps it. */
	waitpid(h->pid, NULL, stuck ? WNOHANG : 0);
	*h = (struct look_helper){0};
}

void look_done(struct look *l)
{
	helper_end(&l->helper, false);
	mnt_table_done(&l->mounts);
}

static int helper_start(struct look_helper *h)
{
	int p[2];
	pid_t pid;

	if (h->pid)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		close(p[0]);
		close(p[1]);
		return r;
	}
	if (!pid) {
		close(p[0]);
		serve(p[1]);
	}
	close(p[1]);
	*h = (struct look_helper){.pid = pid, .fd = p[0]};
	return 0;
}

/* len bytes from fd until the time is over. */
static int get_until(int fd, void *buf, size_t len, uint64_t until_ns)
{
	for (size_t done = 0; done < len;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_mono_ns();
		ssize_t n;

		if (now >= until_ns || poll(&pfd, 1, (int)((until_ns - now) / 1000000) + 1) == 0)
			return -ETIMEDOUT;
		n = recv(fd, (char *)buf + done, len - done, MSG_DONTWAIT);
		if (n == 0)
			return -EIO;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* 0 when the helper answered; what it answered is *ret_r. */
static int get_answer(struct look_helper *h, uint64_t until, int *ret_r, char **ret,
		      size_t *ret_len)
{
	struct answer a;
	int r = get_until(h->fd, &a, sizeof(a), until);
	cleanup_free char *text = NULL;

	if (r)
		return r;
	text = calloc(1, a.len + 1);
	if (!text)
		return -ENOMEM;
	r = get_until(h->fd, text, a.len, until);
	if (r)
		return r;
	*ret_r = a.r;
	if (a.r)
		return 0;
	*ret = steal_ptr(text);
	if (ret_len)
		*ret_len = a.len;
	return 0;
}

static int ask(struct look *l, enum op op, const char *arg, size_t len, size_t max, char **ret,
	       size_t *ret_len)
{
	uint64_t until = clock_mono_ns() + DOCTOR_WAIT_MS * UINT64_C(1000000);
	struct question q = {.op = op, .max = max, .len = len};
	int answer = 0, r;

	if (l->timeouts == TIMEOUTS_MAX)
		return -ETIMEDOUT;
	r = helper_start(&l->helper);

	if (r)
		return r;
	/* both fit into the socket's buffer: nobody waits here */
	if (send(l->helper.fd, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q) ||
	    send(l->helper.fd, arg, len, MSG_NOSIGNAL) != (ssize_t)len)
		r = -EIO;
	else
		r = get_answer(&l->helper, until, &answer, ret, ret_len);
	l->timeouts += r == -ETIMEDOUT;
	if (r)
		helper_end(&l->helper, r == -ETIMEDOUT);
	return r ? r : answer;
}

static int ask_path(struct look *l, enum op op, const char *path, size_t max, char **ret,
		    size_t *ret_len)
{
	cleanup_free char *full = NULL;
	int n = asprintf(&full, "%s%s", l->root, path);

	if (n < 0) {
		full = NULL;
		return -ENOMEM;
	}
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	return ask(l, op, full, (size_t)n, max, ret, ret_len);
}

int look_read(struct look *l, const char *path, size_t max, char **ret, size_t *ret_len)
{
	return ask_path(l, OP_READ, path, max, ret, ret_len);
}

bool look_exists(struct look *l, const char *path)
{
	cleanup_free char *none = NULL;

	return !ask_path(l, OP_EXISTS, path, 0, &none, NULL);
}

/* Two strings in one question. */
static int ask_two(struct look *l, enum op op, const char *a, const char *b, char **ret,
		   size_t *ret_len)
{
	size_t n = strlen(a) + 1, m = strlen(b);
	char both[2 * PATH_MAX];

	if (n >= PATH_MAX || m >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(both, a, n);
	memcpy(both + n, b, m);
	return ask(l, op, both, n + m, 0, ret, ret_len);
}

int look_resolve(struct look *l, const char *path, char **ret)
{
	return ask_two(l, OP_RESOLVE, l->root, path, ret, NULL);
}

int look_comm(struct look *l, const char *name, char **ret, size_t *ret_len)
{
	cleanup_free char *proc = NULL;

	if (asprintf(&proc, "%s/proc", l->root) < 0) {
		proc = NULL;
		return -ENOMEM;
	}
	return ask_two(l, OP_COMM, proc, name, ret, ret_len);
}

void look_list_done(char **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i]);
	free(v);
}

int look_list(struct look *l, const char *path, char ***ret, size_t *ret_n)
{
	cleanup_free char *names = NULL;
	size_t len = 0, n = 0;
	char **v;
	int r = ask_path(l, OP_LIST, path, 0, &names, &len);

	*ret = NULL;
	*ret_n = 0;
	if (r)
		return r;
	v = calloc(len / 2 + 1, sizeof(*v)); /* a name and its end take two bytes at least */
	if (!v)
		return -ENOMEM;
	for (const char *p = names; p < names + len && !r; p += strlen(p) + 1) {
		v[n] = strdup(p);
		r = v[n] ? 0 : -ENOMEM;
		n += !r;
	}
	if (r) {
		look_list_done(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void look_broken(struct look *l, const char *file, unsigned line, const char *why)
{
	struct doctor_facts *f = l->f;
	struct doctor_broken *v;

	for (size_t i = 0; i < f->nbroken; i++)
		if (!strcmp(f->broken[i].file, file)) /* read twice: said once */
			return;
	v = reallocarray(f->broken, f->nbroken + 1, sizeof(*v));
	if (!v)
		return;
	f->broken = v;
	v[f->nbroken] = (struct doctor_broken){strdup(file), line, strdup(why)};
	if (v[f->nbroken].file && v[f->nbroken].why) {
		f->nbroken++;
	} else {
		free(v[f->nbroken].file);
		free(v[f->nbroken].why);
	}
}

int look_conf(struct look *l, struct conf *c, const char *path, look_parser parse)
{
	cleanup_free char *text = NULL;
	struct conf_error e;
	size_t len = 0;
	int r = look_read(l, path, CONF_FILE_MAX, &text, &len);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r == -ETIMEDOUT)
		look_broken(l, path, 0, "cannot be read: its file system does not answer");
	else if (r == -EFBIG)
		look_broken(l, path, 0, "larger than a configuration file can be (1 MiB)");
	else if (r)
		look_broken(l, path, 0, strerrordesc_np(-r));
	if (r)
		return 0;
	if (strlen(text) != len) {
		look_broken(l, path, 0, "not a text");
		return 0;
	}
	r = parse(c, text, len, &e);
	if (r == -EUCLEAN)
		look_broken(l, path, e.line, e.why);
	else if (r)
		look_broken(l, path, 0, r == -E2BIG ? "too long" : strerrordesc_np(-r));
	return 1;
}
