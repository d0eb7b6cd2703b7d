/* SPDX-License-Identifier: MIT
 * What lies on top of DIR: nothing of ours, the guard, a live or a dead spillfs.
 *
 * Must never hang: the daemon of a mount may be stopped or stuck. So the mount is found without
 * asking the file system (an O_PATH open sends no FUSE request), and the one question that is
 * asked, a statfs, is asked by a child process that can be left behind. A request which the daemon
 * has already read cannot be interrupted by any signal; a thread stuck in it would keep the whole
 * process from ending.
 */
#include "mnt_int.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#define ANSWER_MS 2000

int mnt_id_at(const char *path)
{
	cleanup_fd int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	cleanup_free char *text = NULL;
	char info[64], *p;
	size_t len;
	int r, id;

	if (fd < 0)
		return -errno;
	snprintf(info, sizeof(info), "/proc/self/fdinfo/%d", fd);
	r = read_file(AT_FDCWD, info, 4096, &text, &len);
	if (r < 0)
		return r;
	p = strstr(text, "mnt_id:");
	return p && sscanf(p, "mnt_id: %d", &id) == 1 ? id : -EUCLEAN;
}

bool guard_is(const struct mnt_entry *e, const char *dir)
{
	cleanup_free char *backing = NULL, *run = NULL, *real = NULL, *image = NULL;

	if (!strcmp(e->fstype, "tmpfs"))
		return !strcmp(e->source, GUARD_TMPFS_SOURCE);
	if (strncmp(e->fstype, "ext", 3) || loop_backing(e->dev_major, e->dev_minor, &backing) < 0)
		return false;
	run = mnt_run_dir(dir);
	real = run ? realpath(run, NULL) : NULL;
	image = real ? path_join(real, RUN_IMAGE) : NULL;
	return image && !strcmp(backing, image);
}

/* 0: it answers. -ENOTCONN, -ECONNABORTED: nobody is behind it. -ETIMEDOUT. */
static int ask(const char *dir)
{
	int pipefd[2], err = -EIO;
	struct pollfd pfd;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		err = -errno;
		close(pipefd[0]);
		close(pipefd[1]);
		return err;
	}
	if (pid == 0) {
		struct statfs st;

		err = statfs(dir, &st) < 0 ? -errno : 0;
		_exit(write(pipefd[1], &err, sizeof(err)) == sizeof(err) ? 0 : 1);
	}
	close(pipefd[1]);
	pfd = (struct pollfd){.fd = pipefd[0], .events = POLLIN};
	if (poll(&pfd, 1, ANSWER_MS) == 0)
		err = -ETIMEDOUT;
	else if (read(pipefd[0], &err, sizeof(err)) != sizeof(err))
		err = -EIO;
	close(pipefd[0]);
	kill(pid, SIGKILL);
	/* A stuck child ends when its request is answered or the connection aborted; init reaps it.
	 */
	waitpid(pid, NULL, err == -ETIMEDOUT ? WNOHANG : 0);
	return err;
}

/* The entry of the mount that lies on dir; NULL when dir is no mount point. */
static int find_top(const struct mnt_table *t, const char *dir, const struct mnt_entry **ret)
{
	int id = mnt_id_at(dir);

	*ret = NULL;
	if (id < 0)
		return id;
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].id == id && !strcmp(t->v[i].point, dir))
			*ret = &t->v[i];
	return 0;
}

static int probe_spillfs(const char *dir, enum mnt_state *ret, char **ret_store)
{
	int r = ask(dir);

	if (r == -ENOTCONN || r == -ECONNABORTED) {
		*ret = MNT_DEAD;
		return 0;
	}
	if (r < 0)
		return r;
	*ret = MNT_LIVE;
	if (ret_store) {
		cleanup_free char *run = mnt_run_dir(dir);

		if (run)
			run_get(run, "store", ret_store);
	}
	return 0;
}

int mnt_probe(const char *dir, enum mnt_state *ret, char **ret_store)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	const struct mnt_entry *e = NULL;
	int r;

	if (ret_store)
		*ret_store = NULL;
	r = mnt_table_read(&t);
	if (!r)
		r = find_top(&t, dir, &e);
	if (r < 0)
		return r;
	if (e && !strcmp(e->fstype, SPILLFS_FSTYPE))
		return probe_spillfs(dir, ret, ret_store);
	*ret = e && guard_is(e, dir) ? MNT_GUARDED : MNT_BARE;
	return 0;
}
