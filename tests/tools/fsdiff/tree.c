/* SPDX-License-Identifier: MIT
 * Part of fsdiff and treesum: everything a user can see of a tree, as text lines in a fixed order.
 *
 * One line for each file. Times from before `now_ns` are printed exactly; later ones only as
 * "now", since two trees are never written in the same nanosecond. The names of the marker xattrs
 * are not left out here: a mount has to hide them (treesum -x leaves them out, to look at a hot
 * directory itself).
 */
#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

struct tree_opts {
	int64_t now_ns;      /* mtimes at or after it are "now"; INT64_MAX: print all */
	bool no_mtime;       /* leave mtime out */
	bool no_marker;      /* leave trusted.spill* out */
	bool no_data;        /* leave the contents out */
	bool dir_times;      /* print mtimes of directories too */
	uint64_t full_bytes; /* larger files are read only around data and at samples; 0: all is
				read */
};

struct tree_links { /* inode -> number in order of appearance */
	uint64_t *ino;
	size_t n, cap;
};

static char type_letter(mode_t m)
{
	switch (m & S_IFMT) {
	case S_IFREG:
		return 'f';
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	}
	return '?';
}

static int64_t ts_ns(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

static void say_time(struct text *t, const char *what, const struct timespec *ts, int64_t now_ns)
{
	if (ts_ns(ts) >= now_ns)
		say(t, " %s=now", what);
	else
		say(t, " %s=%lld.%09ld", what, (long long)ts->tv_sec, ts->tv_nsec);
}

static int cmp_str(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All xattrs of an open file, or of a path (relative to the working directory, not followed). */
static void say_xattrs(struct text *t, const char *path, bool no_marker)
{
	static char list[65536], val[65536];
	char *names[512];
	size_t n = 0;
	ssize_t len = llistxattr(path, list, sizeof(list));

	if (len < 0) {
		say(t, " xattrs:%s", strerrorname_np(errno));
		return;
	}
	for (char *p = list; p < list + len && n < 512; p += strlen(p) + 1)
		names[n++] = p;
	qsort(names, n, sizeof(*names), cmp_str);
	for (size_t i = 0; i < n; i++) {
		if (no_marker && strncmp(names[i], "trusted.spill", 13) == 0)
			continue;
		ssize_t v = lgetxattr(path, names[i], val, sizeof(val));
		say(t, " ");
		say_quoted(t, names[i], strlen(names[i]));
		if (v < 0) {
			say(t, "=%s", strerrorname_np(errno));
		} else if (v <= 64) {
			say(t, "=");
			say_quoted(t, val, (size_t)v);
		} else {
			say(t, "=%zd:%016llx", v, (unsigned long long)XXH3_64bits(val, (size_t)v));
		}
	}
}

/* Hash [off, end); holes count as zeros. Short read: the rest is missing and the hash shows it. */
static int hash_span(int fd, XXH3_state_t *h, uint64_t off, uint64_t end)
{
	static char buf[1 << 20];

	while (off < end) {
		size_t want = end - off < sizeof(buf) ? (size_t)(end - off) : sizeof(buf);
		ssize_t n = pread(fd, buf, want, (off_t)off);

		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		XXH3_64bits_update(h, buf, (size_t)n);
		off += (uint64_t)n;
	}
	return 0;
}

/* Of a huge sparse file: both ends, the 64 KiB around each power of two and 4 GiB, 61 samples. */
static int hash_sampled(int fd, XXH3_state_t *h, uint64_t size)
{
	uint64_t span = 64 * 1024;
	int r = hash_span(fd, h, 0, 8 * span);

	for (uint64_t p = 1 << 20; r == 0 && p + span < size; p <<= 1)
		r = hash_span(fd, h, p - span, p + span);
	for (int i = 1; r == 0 && i < 61; i++)
		r = hash_span(fd, h, size / 61 * (uint64_t)i, size / 61 * (uint64_t)i + 4096);
	return r < 0 ? r : hash_span(fd, h, size - 8 * span, size);
}

static void say_content(struct text *t, const char *path, uint64_t size, uint64_t full_bytes)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
	XXH3_state_t *h;
	int r;

	if (fd < 0) {
		say(t, " open:%s", strerrorname_np(errno));
		return;
	}
	h = XXH3_createState();
	if (!h)
		abort();
	XXH3_64bits_reset(h);
	r = full_bytes && size > full_bytes ? hash_sampled(fd, h, size) : hash_span(fd, h, 0, size);
	if (r < 0)
		say(t, " read:%s", strerrorname_np(-r));
	else
		say(t, " data=%016llx", (unsigned long long)XXH3_64bits_digest(h));
	XXH3_freeState(h);
	close(fd);
}

static size_t link_number(struct tree_links *l, uint64_t ino)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->ino[i] == ino)
			return i;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->ino = realloc(l->ino, l->cap * sizeof(*l->ino));
		if (!l->ino)
			abort();
	}
	l->ino[l->n] = ino;
	return l->n++;
}

static void tree_entry(struct text *t, const char *path, const struct tree_opts *o,
		       struct tree_links *links)
{
	struct stat st;

	say_quoted(t, path, strlen(path));
	if (lstat(path, &st) < 0) {
		say(t, " lstat:%s\n", strerrorname_np(errno));
		return;
	}
	say(t, " %c %04o %u:%u nlink=%lu", type_letter(st.st_mode), st.st_mode & 07777u, st.st_uid,
	    st.st_gid, (unsigned long)st.st_nlink);
	/* The size of a directory is the file system's affair: it depends on its history. */
	if (!S_ISDIR(st.st_mode))
		say(t, " size=%lld", (long long)st.st_size);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		say(t, " rdev=%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (!o->no_mtime && (!S_ISDIR(st.st_mode) || o->dir_times))
		say_time(t, "mtime", &st.st_mtim, o->now_ns);
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1)
		say(t, " link#%zu", link_number(links, st.st_ino));
	if (S_ISLNK(st.st_mode)) {
		char target[PATH_MAX];
		ssize_t n = readlink(path, target, sizeof(target));

		say(t, " -> ");
		say_quoted(t, target, n < 0 ? 0 : (size_t)n);
	}
	if (S_ISREG(st.st_mode) && !o->no_data)
		say_content(t, path, (uint64_t)st.st_size, o->full_bytes);
	say_xattrs(t, path, o->no_marker);
	say(t, "\n");
}

/* Names of a directory, sorted; *ret_n. NULL with errno. */
static char **dir_names(const char *path, size_t *ret_n)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char **v = NULL;
	size_t n = 0, cap = 0;

	*ret_n = 0;
	if (!d)
		return NULL;
	errno = 0;
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (n == cap) {
			cap = cap ? cap * 2 : 64;
			v = realloc(v, cap * sizeof(*v));
			if (!v)
				abort();
		}
		v[n++] = strdup(e->d_name);
	}
	int err = errno;
	closedir(d);
	if (!v)
		v = calloc(1, sizeof(*v));
	qsort(v, n, sizeof(*v), cmp_str);
	*ret_n = n;
	errno = err;
	return v;
}

/* Everything below and including path. cb, when given, gets each path first (for the choice of a
 * file). */
static void tree_walk(struct text *t, const char *path, const struct tree_opts *o,
		      struct tree_links *links)
{
	struct stat st;
	char **names;
	size_t n;

	tree_entry(t, path, o, links);
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	names = dir_names(path, &n);
	if (!names || errno)
		say(t, "\"%s\" readdir:%s\n", path, strerrorname_np(errno));
	for (size_t i = 0; i < n; i++) {
		char *sub = NULL;

		if (asprintf(&sub, "%s/%s", path, names[i]) < 0)
			abort();
		if (strlen(sub) < PATH_MAX)
			tree_walk(t, sub, o, links);
		free(sub);
		free(names[i]);
	}
	free(names);
}

/* The tree at the working directory, as text. */
__attribute__((unused)) static void tree_text(struct text *t, const struct tree_opts *o)
{
	struct tree_links links = {0};

	text_clear(t);
	tree_walk(t, ".", o, &links);
	free(links.ino);
}
