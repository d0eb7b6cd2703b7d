/* SPDX-License-Identifier: MIT
 * openmany DIR COUNT MODE [PLUSES]: COUNT files of DIR (those of `fileop fill DIR 0 COUNT`, "0" to
 *"COUNT-1", each holding its own name) open at once; all are used and compared, twice, in an order
 *that no cache likes.
 *
 *	r	read
 *	w	read, written (a plus sign more each time: PLUSES are there before) and synced
 *	a	appended to
 *	d	deleted while they are open, then as w
 *
 * Prints what failed, one line for each call and error: "CALL ERRNO TIMES". Exit 1 when something
 *did, 2 when a file held something else than it should.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STEP 7919 /* prime */

static struct failed {
	const char *call;
	int err;
	unsigned times;
} failures[32];
static unsigned nfailures;

static void failed(const char *call)
{
	int err = errno;
	unsigned i = 0;

	while (i < nfailures && (strcmp(failures[i].call, call) != 0 || failures[i].err != err))
		i++;
	if (i == sizeof(failures) / sizeof(failures[0]))
		return;
	if (i == nfailures)
		failures[nfailures++] = (struct failed){call, err, 0};
	failures[i].times++;
}

struct one {
	int fd;
	char text[32];
};

static void use(struct one *f, unsigned i, char mode)
{
	char buf[64];
	size_t len = strlen(f->text);
	ssize_t n = 0;

	if (mode == 'w' || mode == 'd') {
		if (pread(f->fd, buf, sizeof(buf), 0) != (ssize_t)len ||
		    memcmp(buf, f->text, len) != 0)
			failed("read");
		len = (size_t)snprintf(buf, sizeof(buf), "%s+", f->text);
		n = pwrite(f->fd, buf, len, 0);
	} else if (mode == 'a') {
		n = write(f->fd, "+", 1);
	}
	if (n < 0) {
		failed("write");
	} else if (n) {
		strcat(f->text, "+");
		if (i % 97 == 0 && fsync(f->fd))
			failed("fsync");
	}
}

static int compare(const struct one *f, unsigned i, int dirfd, char mode)
{
	char buf[64], name[16];
	int fd = f->fd;

	snprintf(name, sizeof(name), "%u", i);
	if (mode == 'a')
		fd = openat(dirfd, name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : pread(fd, buf, sizeof(buf), 0);

	if (n < 0)
		failed(fd < 0 ? "open" : "read");
	if (fd >= 0 && fd != f->fd)
		close(fd);
	if (n < 0 || ((size_t)n == strlen(f->text) && !memcmp(buf, f->text, (size_t)n)))
		return 0;
	fprintf(stderr, "openmany: %u holds '%.*s', not '%s'\n", i, (int)n, buf, f->text);
	return 1;
}

int main(int argc, char **argv)
{
	char mode = argc == 4 || argc == 5 ? argv[3][0] : 0;
	unsigned n = mode ? (unsigned)atoi(argv[2]) : 0, wrong = 0;
	int dirfd = mode ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
	struct one *v = calloc(n + 1, sizeof(*v));
	const char *pluses = argc == 5 ? argv[4] : "";
	struct rlimit rl;

	if (!n || !v || dirfd < 0 || strlen(pluses) > 16 || !strchr("rwad", mode)) {
		fprintf(stderr, "usage: openmany DIR COUNT r|w|a|d [PLUSES]\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	for (unsigned i = 0; i < n; i++) {
		snprintf(v[i].text, sizeof(v[i].text), "%u", i);
		v[i].fd = openat(dirfd, v[i].text,
				 mode == 'r'   ? O_RDONLY
				 : mode == 'a' ? O_WRONLY | O_APPEND
					       : O_RDWR);
		if (v[i].fd < 0)
			failed("open");
		strcat(v[i].text, pluses);
	}
	for (unsigned i = 0; mode == 'd' && i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		if (v[i].fd >= 0 && unlinkat(dirfd, name, 0))
			failed("unlink");
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < n; i++) {
			unsigned k = (unsigned)((unsigned long)i * STEP % n);

			if (v[k].fd >= 0)
				use(&v[k], k, mode);
		}
		for (unsigned i = 0; i < n; i++)
			if (v[i].fd >= 0)
				wrong += (unsigned)compare(&v[i], i, dirfd, mode);
	}
	for (unsigned i = 0; i < n; i++)
		if (v[i].fd >= 0 && close(v[i].fd))
			failed("close");
	for (unsigned i = 0; i < nfailures; i++)
		printf("%s %s %u\n", failures[i].call, strerrorname_np(failures[i].err),
		       failures[i].times);
	free(v);
	return wrong ? 2 : nfailures ? 1 : 0;
}
