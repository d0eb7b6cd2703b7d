/* SPDX-License-Identifier: MIT
 * See handover.h. The record: "key=value" strings, each ended by a zero byte, as an environment is;
 * the first is "handover=VERSION".
 */
#include "handover.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define OPTION     "--take-over="
#define RECORD_MAX (16u << 20)

static int stay_open(int fd, bool stay)
{
	return fd < 0 || !fcntl(fd, F_SETFD, stay ? 0 : FD_CLOEXEC) ? 0 : -errno;
}

static int all_stay_open(const struct handover *h, bool stay)
{
	const int fds[] = {h->dev_fd, h->state_fd, h->keeper_fd, h->report_fd, h->keeper};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds) && !r; i++)
		r = stay_open(fds[i], stay);
	for (size_t i = 0; i < h->n_orphans && !r; i++)
		r = stay_open(h->orphans[i].fd, stay);
	return r;
}

void handover_close_on_exec(const struct handover *h, int fd)
{
	all_stay_open(h, false);
	if (fd >= 0)
		close(fd);
}

static void put_text(FILE *f, const char *key, const char *val)
{
	if (val)
		fprintf(f, "%s=%s%c", key, val, 0);
}

static void put_num(FILE *f, const char *key, long long val)
{
	fprintf(f, "%s=%lld%c", key, val, 0);
}

int handover_write(const struct handover *h)
{
	cleanup_fd int fd = memfd_create("spillfs-handover", 0);
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	FILE *f = copy < 0 ? NULL : fdopen(copy, "w");

	if (!f) {
		int err = errno;

		if (copy >= 0)
			close(copy);
		return -err;
	}
	put_num(f, "handover", HANDOVER_VERSION);
	put_text(f, "role", h->role == HANDOVER_DAEMON ? "daemon" : "supervisor");
	put_num(f, "dev", h->dev_fd);
	put_num(f, "state", h->state_fd);
	put_num(f, "keeper-daemon", h->keeper_fd);
	put_num(f, "keeper", h->keeper);
	put_num(f, "report", h->report_fd);
	put_num(f, "main-pid", h->main_pid);
	put_num(f, "child", h->child);
	put_num(f, "hangs", h->hangs);
	put_text(f, "exe", h->exe);
	put_text(f, "dir", h->dir);
	put_text(f, "store", h->store);
	for (size_t i = 0; i < h->n_orphans; i++)
		fprintf(f, "orphan=%llx:%d%c", (unsigned long long)h->orphans[i].nodeid,
			h->orphans[i].fd, 0);
	bool bad = ferror(f);

	if (fclose(f) || bad)
		return -EIO;
	int r = all_stay_open(h, true);

	return r ? r : steal_fd(&fd);
}

int handover_wanted(int *argc, char **argv)
{
	if (*argc < 2 || strncmp(argv[1], OPTION, strlen(OPTION)) != 0)
		return -1;
	int fd = atoi(argv[1] + strlen(OPTION));

	memmove(argv + 1, argv + 2, (size_t)(*argc - 1) * sizeof(*argv));
	--*argc;
	return fd > 2 ? fd : -1;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static int add_orphan(struct handover *h, const char *val)
{
	unsigned long long nodeid;
	int fd;

	if (sscanf(val, "%llx:%d", &nodeid, &fd) != 2 || fd < 3)
		return -EUCLEAN;
	struct fs_orphan *v = reallocarray(h->orphans, h->n_orphans + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	h->orphans = v;
	v[h->n_orphans++] = (struct fs_orphan){nodeid, fd};
	return 0;
}

static int take(struct handover *h, const char *key, const char *val)
{
	const struct {
		const char *key;
		int *num;
		char **text;
	} fields[] = {
		{"dev", &h->dev_fd, NULL},
		{"state", &h->state_fd, NULL},
		{"keeper-daemon", &h->keeper_fd, NULL},
		{"keeper", &h->keeper, NULL},
		{"report", &h->report_fd, NULL},
		{"main-pid", &h->main_pid, NULL},
		{"child", &h->child, NULL},
		{"hangs", (int *)&h->hangs, NULL},
		{"exe", NULL, &h->exe},
		{"dir", NULL, &h->dir},
		{"store", NULL, &h->store},
	};

	if (!strcmp(key, "orphan"))
		return add_orphan(h, val);
	if (!strcmp(key, "role"))
		h->role = strcmp(val, "daemon") ? HANDOVER_SUPERVISOR : HANDOVER_DAEMON;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (strcmp(key, fields[i].key))
			continue;
		if (fields[i].num) {
			*fields[i].num = atoi(val);
			return 0;
		}
		free(*fields[i].text);
		*fields[i].text = strdup(val);
		return *fields[i].text ? 0 : -ENOMEM;
	}
	return 0; /* of a newer version, which can do without */
}

static int parse(char *p, const char *end, struct handover *h)
{
	bool first = true;

	for (int r; p < end; p += strlen(p) + 1) {
		char *eq = strchr(p, '=');

		if (!eq)
			return -EUCLEAN;
		if (first && strncmp(p, "handover=", 9) != 0)
			return -EUCLEAN;
		if (first && atoi(eq + 1) != HANDOVER_VERSION)
			return -EPROTONOSUPPORT;
		first = false;
		*eq = 0;
		r = take(h, p, eq + 1);
		*eq = '=';
		if (r)
			return r;
	}
	return first || h->dev_fd < 3 || h->state_fd < 3 || h->keeper_fd < 3 || h->main_pid < 1 ||
			       !h->exe || !h->dir || !h->store ||
			       (h->role == HANDOVER_DAEMON ? h->report_fd < 3
							   : h->keeper < 3 || h->child < 1)
		       ? -EUCLEAN
		       : 0;
}

int handover_read(int fd, struct handover *ret)
{
	struct handover h = {
		.dev_fd = -1, .state_fd = -1, .keeper_fd = -1, .report_fd = -1, .keeper = -1};
	cleanup_fd int own = fd;
	cleanup_free char *buf = NULL;
	struct stat st;

	if (fstat(own, &st) || !S_ISREG(st.st_mode) || st.st_size < 1 || st.st_size > RECORD_MAX)
		return -EUCLEAN;
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return -ENOMEM;
	if (pread_full(own, buf, (size_t)st.st_size, 0) != st.st_size)
		return -EUCLEAN;
	buf[st.st_size] = 0;
	int r = parse(buf, buf + st.st_size, &h);

	if (!r)
		r = all_stay_open(&h, false);
	if (r)
		handover_done(&h);
	else
		*ret = h;
	return r;
}

void handover_done(struct handover *h)
{
	free(h->orphans);
	free(h->exe);
	free(h->dir);
	free(h->store);
	*h = (struct handover){.dev_fd = -1};
}

int handover_exec(const char *path, char *const *argv, int fd)
{
	size_t n = 0;

	while (argv[n])
		n++;
	cleanup_free char **v = calloc(n + 3, sizeof(*v));
	cleanup_free char *opt = NULL;

	if (!v || asprintf(&opt, OPTION "%d", fd) < 0) {
		opt = NULL;
		return -ENOMEM;
	}
	v[0] = n ? argv[0] : (char *)path;
	v[1] = opt;
	for (size_t i = 1; i < n; i++)
		v[i + 1] = argv[i];
	execv(path, v);
	return -errno;
}
