/* SPDX-License-Identifier: MIT
 * The walk of a tree: which files, in which order, and that walk_after knows that order.
 */
#include "../../src/tier/tier_int.h"

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

TEST_MAIN

#define FILES_MAX 64

struct seen {
	char *path[FILES_MAX];
	int n, stop_at;
};

static int see(void *ctx, int dirfd, const char *name, const struct stat *st, const char *path)
{
	struct seen *s = ctx;
	struct stat again;

	if (s->n == FILES_MAX)
		return -E2BIG;
	if (fstatat(dirfd, name, &again, AT_SYMLINK_NOFOLLOW) || again.st_ino != st->st_ino)
		return -EIO;
	s->path[s->n++] = strdup(path);
	return s->n == s->stop_at ? 7 : 0;
}

static void forget(struct seen *s)
{
	while (s->n)
		free(s->path[--s->n]);
}

/* Names on both sides of '/' in the alphabet, directories beside files that begin alike. */
static const char *const files[] = {
	"a/x",    "a/x.y", "a-b/x",  "a.c",   "a0",    "a/",         "b",     "b.d/1",
	"b.d/10", "b.d/2", "b.d!/1", "z/z/z", "z/z-z", "z/\xc3\xa9", "z/a b",
};

static void make_tree(int root)
{
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s", files[i]);
		for (char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
			*p = 0;
			mkdirat(root, path, 0755);
			*p = '/';
		}
		if (path[strlen(path) - 1] == '/')
			continue;
		int fd = openat(root, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd >= 0)
			close(fd);
	}
	symlinkat("b", root, "c");
	mkfifoat(root, "d", 0600);
}

TEST(order)
{
	struct seen s = {.n = 0};
	int root = open(test_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), unread = 0;

	CHECK(root >= 0);
	make_tree(root);
	CHECK_EQ(walk_tree(root, "/", see, &s, &unread), 0);
	CHECK_EQ(unread, 0);
	CHECK(s.n >= 12);
	for (int i = 0; i < s.n; i++) {
		CHECK(strcmp(s.path[i], "c") != 0 && strcmp(s.path[i], "d") != 0);
		for (int k = 0; k < s.n; k++)
			if (walk_after(s.path[i], s.path[k]) != (i > k))
				TEST_FAIL("%s after %s", s.path[i], s.path[k]);
	}
	forget(&s);
	close(root);
}

TEST(one_file_and_an_early_end)
{
	struct seen s = {.n = 0};
	int root = open(test_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(root >= 0);
	make_tree(root);
	CHECK_EQ(walk_tree(root, "/b.d/10", see, &s, NULL), 0);
	CHECK_EQ(s.n, 1);
	CHECK_STR(s.path[0], "b.d/10");
	forget(&s);
	CHECK_EQ(walk_tree(root, "nothing/there", see, &s, NULL), -ENOENT);
	s.stop_at = 2;
	CHECK_EQ(walk_tree(root, "z", see, &s, NULL), 7);
	CHECK_EQ(s.n, 2);
	forget(&s);
	close(root);
}
