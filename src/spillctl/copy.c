/* SPDX-License-Identifier: MIT
 * Copy a tree: names, data with its holes, owners, modes, extended attributes, times, hard links,
 * symbolic links and special files.
 *
 * A file's data is hashed as it is written. Batches of files are synced, dropped from the page
 * cache, read back and compared; a copy counts only then. Inode flags (chattr) are not copied.
 */
#include "copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>

#define BUF_LEN     (1u << 20)
#define BATCH_FILES 200 /* descriptors held */
#define BATCH_BYTES (256ull << 20)
#define CHANGED_MAX 3 /* times a file may change while it is copied */
#define DEPTH_MAX   2048

struct written {
	int fd;
	char *path;
	uint8_t sha[SHA256_LEN];
	struct range *v; /* what was written, in order */
	size_t n, cap;
};

struct hard {
	ino_t ino;
	char *path; /* below dst */
};

struct run {
	struct copy *c;
	int dst;
	dev_t dev;
	uint8_t *buf;
	struct sha256 *sha;
	struct written batch[BATCH_FILES];
	size_t nbatch;
	uint64_t batch_bytes;
	struct hard *hard; /* open addressing by ino */
	size_t nhard, hard_cap;
};

static int note(struct run *r, const char *path, const char *what, int err)
{
	r->c->failed++;
	if (r->c->note)
		r->c->note(r->c->user, path, what, err);
	/* These fail every file that follows, too. */
	return err == -ENOSPC || err == -EDQUOT || err == -EROFS || err == -ENOMEM || err == -EINTR
		       ? err
		       : 0;
}

/* ---- hard links ---------------------------------------------------------------------------- */

static struct hard *hard_slot(struct run *r, ino_t ino)
{
	size_t i = hash64(&ino, sizeof(ino)) & (r->hard_cap - 1);

	while (r->hard[i].path && r->hard[i].ino != ino)
		i = (i + 1) & (r->hard_cap - 1);
	return &r->hard[i];
}

static int hard_grow(struct run *r)
{
	struct hard *old = r->hard;
	size_t cap = r->hard_cap;

	if (cap && r->nhard < cap / 2)
		return 0;
	r->hard_cap = cap ? 2 * cap : 1024;
	r->hard = calloc(r->hard_cap, sizeof(*r->hard));
	if (!r->hard) {
		r->hard = old;
		r->hard_cap = cap;
		return -ENOMEM;
	}
	for (size_t i = 0; i < cap; i++)
		if (old[i].path)
			*hard_slot(r, old[i].ino) = old[i];
	free(old);
	return 0;
}

/* 1: linked to what was copied before, 0: the first of its names. */
static int hard_link(struct run *r, int dst, const char *name, const char *path, ino_t ino)
{
	int e = hard_grow(r);

	if (e)
		return e;
	struct hard *h = hard_slot(r, ino);

	if (h->path)
		return linkat(r->dst, h->path, dst, name, 0) ? -errno : 1;
	*h = (struct hard){.ino = ino, .path = strdup(path)};
	r->nhard++;
	return h->path ? 0 : -ENOMEM;
}

/* ---- attributes ---------------------------------------------------------------------------- */

/* A path that does not follow name itself. */
static void fd_path(char buf[320], int dir, const char *name)
{
	snprintf(buf, 320, "/proc/self/fd/%d/%s", dir, name);
}

static int copy_xattrs(const struct copy *c, const char *from, const char *to)
{
	cleanup_free char *list = NULL, *value = NULL;
	ssize_t n = llistxattr(from, NULL, 0), len;

	if (n <= 0)
		return n < 0 && errno != ENOTSUP ? -errno : 0;
	list = malloc((size_t)n + 1);
	value = malloc(65536);
	if (!list || !value)
		return -ENOMEM;
	n = llistxattr(from, list, (size_t)n);
	if (n < 0)
		return -errno;
	for (char *x = list; x < list + n; x += strlen(x) + 1) {
		if (c->hidden && c->hidden(x))
			continue;
		len = lgetxattr(from, x, value, 65536);
		if (len < 0 && errno == ENODATA)
			continue;
		if (len < 0 || lsetxattr(to, x, value, (size_t)len, 0))
			return -errno;
	}
	return 0;
}

/* Owner first, as it clears set-id bits and capabilities; times last. */
static int copy_attrs(const struct copy *c, int src, int dst, const char *name,
		      const struct stat *st)
{
	char from[320], to[320];
	struct timespec ts[2] = {st->st_atim, st->st_mtim};
	int r;

	fd_path(from, src, name);
	fd_path(to, dst, name);
	if (fchownat(dst, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISLNK(st->st_mode) && fchmodat(dst, name, st->st_mode & 07777, 0))
		return -errno;
	r = copy_xattrs(c, from, to);
	if (r)
		return r;
	return utimensat(dst, name, ts, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/* ---- data ---------------------------------------------------------------------------------- */

struct sink {
	struct run *r;
	struct written *w;
};

static int sink(void *ctx, const void *data, size_t len, uint64_t off)
{
	struct sink *s = ctx;
	struct written *w = s->w;
	const uint8_t *p = data;

	sha256_update(s->r->sha, data, len);
	if (w->n && w->v[w->n - 1].off + w->v[w->n - 1].len == off) {
		w->v[w->n - 1].len += len;
	} else {
		if (w->n == w->cap) {
			size_t cap = w->cap ? 2 * w->cap : 1;
			struct range *v = reallocarray(w->v, cap, sizeof(*v));

			if (!v)
				return -ENOMEM;
			w->v = v;
			w->cap = cap;
		}
		w->v[w->n++] = (struct range){off, len};
	}
	while (len) {
		ssize_t n = pwrite(w->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static bool go_on(struct run *r, const char *path)
{
	return !r->c->progress || r->c->progress(r->c->user, r->c, path);
}

/* The data ranges of fd as the file system tells them. */
static int read_ranges(struct run *r, int fd, const char *path, copy_sink_fn fn, void *ctx)
{
	off_t at = 0, end;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		while (at < end) {
			ssize_t n = pread_full(fd, r->buf, MIN((size_t)(end - at), BUF_LEN), at);
			int e = n < 0 ? (int)n : n ? fn(ctx, r->buf, (size_t)n, (uint64_t)at) : 0;

			if (e)
				return e;
			if (!n) /* cut meanwhile; the caller sees it */
				return 0;
			at += n;
			if (!go_on(r, path))
				return -EINTR;
		}
	}
	return errno == ENXIO ? 0 : -errno;
}

static void written_done(struct written *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->path);
	free(w->v);
}

/* Read one file back and compare; its pages are gone, so this is what the disk has. */
static int verify_one(struct run *r, const struct written *w)
{
	uint8_t sha[SHA256_LEN];

	posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
	sha256_reset(r->sha);
	for (size_t i = 0; i < w->n; i++)
		for (uint64_t at = 0; at < w->v[i].len;) {
			size_t want = (size_t)MIN(w->v[i].len - at, BUF_LEN);
			ssize_t n = pread_full(w->fd, r->buf, want, (off_t)(w->v[i].off + at));

			if (n != (ssize_t)want)
				return n < 0 ? (int)n : -EBADMSG;
			sha256_update(r->sha, r->buf, want);
			at += want;
		}
	sha256_final(r->sha, sha);
	return memcmp(sha, w->sha, sizeof(sha)) ? -EBADMSG : 0;
}

static int verify_batch(struct run *r)
{
	int e = r->nbatch && syncfs(r->dst) ? -errno : 0;

	for (size_t i = 0; i < r->nbatch; i++) {
		struct written *w = &r->batch[i];
		int v = e ? 0 : verify_one(r, w);

		if (v)
			e = note(r, w->path, "the copy does not read back as it was written", v);
		else if (!e)
			r->c->files++;
		written_done(w);
	}
	r->nbatch = 0;
	r->batch_bytes = 0;
	return e;
}

/* One attempt: 0, -EAGAIN the file changed meanwhile, -errno. */
static int copy_data(struct run *r, int fd, struct written *w, const char *path, struct stat *st)
{
	struct sink s = {.r = r, .w = w};
	struct stat after;
	int e = 0;

	w->n = 0;
	sha256_reset(r->sha);
	if (fstat(fd, st))
		return -errno;
	if (ftruncate(w->fd, 0) || ftruncate(w->fd, st->st_size))
		return -errno;
	if (r->c->data)
		e = r->c->data(r->c->ctx, fd, st, sink, &s);
	if (!e && st->st_size)
		e = read_ranges(r, fd, path, sink, &s);
	if (e < 0)
		return e;
	sha256_final(r->sha, w->sha);
	/* A hole at the end may have been written over if the file grew meanwhile. */
	if (fstat(fd, &after))
		return -errno;
	return e == 1 || (after.st_size == st->st_size &&
			  after.st_mtim.tv_sec == st->st_mtim.tv_sec &&
			  after.st_mtim.tv_nsec == st->st_mtim.tv_nsec)
		       ? 0
		       : -EAGAIN;
}

static int copy_file(struct run *r, int src, int dst, const char *name, const char *path)
{
	struct written *w = &r->batch[r->nbatch];
	const char *what = "cannot be read";
	struct stat st;
	int e = -EAGAIN;
	cleanup_fd int fd =
		openat(src, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : note(r, path, what, -errno);
	*w = (struct written){
		.fd = openat(dst, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600),
		.path = strdup(path)};
	if (w->fd < 0 || !w->path) {
		e = w->fd < 0 ? -errno : -ENOMEM;
		written_done(w);
		return note(r, path, "cannot be created", e);
	}
	for (int i = 0; i < CHANGED_MAX && e == -EAGAIN; i++)
		e = copy_data(r, fd, w, path, &st);
	if (e == -EAGAIN)
		what = "changes while it is copied; the copy is not consistent";
	else if (!e) {
		e = copy_attrs(r->c, src, dst, name, &st);
		what = "attributes cannot be copied";
	}
	if (e) {
		written_done(w);
		return note(r, path, what, e);
	}
	for (size_t i = 0; i < w->n; i++)
		r->batch_bytes += w->v[i].len;
	r->c->bytes += (uint64_t)st.st_size;
	r->nbatch++;
	return r->nbatch == BATCH_FILES || r->batch_bytes >= BATCH_BYTES ? verify_batch(r) : 0;
}

/* ---- names --------------------------------------------------------------------------------- */

static int copy_other(struct run *r, int src, int dst, const char *name, const char *path,
		      const struct stat *st)
{
	char target[4097];
	ssize_t n;
	int e;

	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(src, name, target, sizeof(target) - 1);
		if (n >= 0)
			target[n] = 0;
		e = n < 0 || symlinkat(target, dst, name) ? -errno : 0;
	} else {
		e = mknodat(dst, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) ? -errno : 0;
	}
	if (!e)
		e = copy_attrs(r->c, src, dst, name, st);
	if (e)
		return note(r, path, "cannot be created", e);
	r->c->others++;
	return 0;
}

static int copy_dir(struct run *r, int src, int dst, const char *path, unsigned depth);

static int copy_sub(struct run *r, int src, int dst, const char *name, const char *path,
		    const struct stat *st, unsigned depth)
{
	cleanup_fd int s = openat(src, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int d = -1;
	int e;

	if (s < 0)
		return errno == ENOENT ? 0 : note(r, path, "cannot be read", -errno);
	if (depth == DEPTH_MAX)
		return note(r, path, "too deep", -ELOOP);
	if (mkdirat(dst, name, 0700))
		return note(r, path, "cannot be created", -errno);
	d = openat(dst, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d < 0)
		return note(r, path, "cannot be created", -errno);
	e = copy_dir(r, s, d, path, depth + 1);
	if (e)
		return e;
	e = copy_attrs(r->c, src, dst, name, st);
	if (e)
		return note(r, path, "attributes cannot be copied", e);
	r->c->dirs++;
	return 0;
}

static int copy_entry(struct run *r, int src, int dst, const char *name, const char *path,
		      unsigned depth)
{
	struct stat st;
	int e;

	if (!go_on(r, path))
		return -EINTR;
	if (fstatat(src, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : note(r, path, "cannot be read", -errno);
	if (st.st_dev != r->dev) {
		r->c->left_out++;
		if (r->c->note)
			r->c->note(r->c->user, path,
				   "another file system is mounted there; left "
				   "out",
				   0);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return copy_sub(r, src, dst, name, path, &st, depth);
	if (st.st_nlink > 1) {
		e = hard_link(r, dst, name, path, st.st_ino);
		if (e < 0)
			return note(r, path, "cannot be linked", e);
		r->c->links += e == 1;
		if (e)
			return 0;
	}
	return S_ISREG(st.st_mode) ? copy_file(r, src, dst, name, path)
				   : copy_other(r, src, dst, name, path, &st);
}

static int copy_dir(struct run *r, int src, int dst, const char *path, unsigned depth)
{
	int fd = openat(src, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		e = -errno;
		if (fd >= 0)
			close(fd);
		return note(r, path, "cannot be read", e);
	}
	while (!e && (errno = 0, de = readdir(d))) {
		cleanup_free char *sub = NULL;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (asprintf(&sub, "%s%s%s", path, *path ? "/" : "", de->d_name) < 0) {
			sub = NULL;
			e = -ENOMEM;
			break;
		}
		e = copy_entry(r, src, dst, de->d_name, sub, depth);
	}
	if (!e && errno)
		e = note(r, path, "cannot be read", -errno);
	closedir(d);
	return e;
}

int copy_tree(struct copy *c, int src, int dst)
{
	struct run *r = calloc(1, sizeof(*r));
	struct stat st;
	int e = r ? 0 : -ENOMEM;

	if (!e) {
		r->c = c;
		r->dst = dst;
		r->buf = malloc(BUF_LEN);
		e = r->buf ? sha256_new(&r->sha) : -ENOMEM;
	}
	if (!e && fstat(src, &st))
		e = -errno;
	if (!e) {
		r->dev = st.st_dev;
		e = copy_dir(r, src, dst, "", 0);
		int v = verify_batch(r);

		e = e ? e : v;
	}
	if (!e)
		e = copy_attrs(c, src, dst, ".", &st);
	if (!e && syncfs(dst))
		e = -errno;
	if (r) {
		for (size_t i = 0; i < r->hard_cap; i++)
			free(r->hard[i].path);
		free(r->hard);
		free(r->buf);
		if (r->sha)
			sha256_free(r->sha);
	}
	free(r);
	return e;
}
