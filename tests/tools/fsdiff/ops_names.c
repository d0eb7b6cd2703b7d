/* SPDX-License-Identifier: MIT
 * Part of fsdiff: operations on names: directories, links, special files, modes, owners, times,
 * listings.
 */
#include <sys/sysmacros.h>

static void op_mkdir(struct side *s, const struct op *o)
{
	call(s, "mkdir", o->p1);
	say(&s->out, " %04o", o->v[0] % 4 ? 0777u : o->v[1] & 07777u);
	say_ret(s, mkdir(o->p1, o->v[0] % 4 ? 0777 : o->v[1] & 07777));
}

static void op_rmdir(struct side *s, const struct op *o)
{
	call(s, "rmdir", o->p1);
	say_ret(s, rmdir(o->p1));
}

static void op_unlink(struct side *s, const struct op *o)
{
	call(s, "unlink", o->p1);
	say_ret(s, unlink(o->p1));
}

static void op_mknod(struct side *s, const struct op *o)
{
	static const struct {
		const char *name;
		mode_t type;
		unsigned major, minor;
	} kinds[] = {{"fifo", S_IFIFO, 0, 0},  {"sock", S_IFSOCK, 0, 0},    {"null", S_IFCHR, 1, 3},
		     {"blk", S_IFBLK, 120, 3}, {"whiteout", S_IFCHR, 0, 0}, {"file", S_IFREG, 0, 0},
		     {"dir", S_IFDIR, 0, 0}};
	unsigned k = o->v[0] % (sizeof(kinds) / sizeof(kinds[0]));
	mode_t mode = o->v[1] % 2 ? 0666 : o->v[2] & 07777;

	call(s, "mknod", o->p1);
	say(&s->out, " %s %04o", kinds[k].name, mode);
	say_ret(s, mknod(o->p1, kinds[k].type | mode, makedev(kinds[k].major, kinds[k].minor)));
}

static void op_symlink(struct side *s, const struct op *o)
{
	char lng[4200];
	const char *target = o->p2;

	if (o->v[0] % 32 == 0) {
		size_t n = o->v[1] % 2 ? 4095 : 4096;
		memset(lng, 'y', n);
		lng[n] = 0;
		target = lng;
	} else if (o->v[0] % 32 == 1) {
		target = "";
	}
	call(s, "symlink", o->p1);
	say(&s->out, " -> ");
	say_quoted(&s->out, target, strlen(target));
	say_ret(s, symlink(target, o->p1));
}

static void op_readlink(struct side *s, const struct op *o)
{
	char buf[4200];
	size_t size = o->v[0] % 4 ? sizeof(buf) : o->v[1] % 8;
	ssize_t n;

	call(s, "readlink", o->p1);
	n = readlink(o->p1, buf, size);
	say_ret(s, n);
	if (n > 0)
		say_quoted(&s->out, buf, (size_t)n);
}

static void op_link(struct side *s, const struct op *o)
{
	int flags = o->v[0] % 4 ? 0 : AT_SYMLINK_FOLLOW;

	call(s, "link", o->p1);
	say_quoted(&s->out, o->p2, strlen(o->p2));
	say(&s->out, flags ? " follow" : "");
	say_ret(s, linkat(AT_FDCWD, o->p1, AT_FDCWD, o->p2, flags));
}

/* Give an open (perhaps O_TMPFILE, perhaps unlinked) file a name. */
static void op_linkfd(struct side *s, const struct op *o)
{
	call(s, "linkat-slot", o->p1);
	say(&s->out, " slot %d", o->s1);
	say_ret(s, linkat(*slot(s, o->s1), "", AT_FDCWD, o->p1, AT_EMPTY_PATH));
}

static void op_rename(struct side *s, const struct op *o)
{
	static const unsigned flagv[] = {0, 0, 0, 0, 1, 1, 2, 2, 4, 4, 5, 3, 6, 8};
	unsigned flags = flagv[o->v[0] % (sizeof(flagv) / sizeof(flagv[0]))];

	call(s, "rename", o->p1);
	say_quoted(&s->out, o->p2, strlen(o->p2));
	say(&s->out, "%s%s%s", flags & 1 ? " NOREPLACE" : "", flags & 2 ? " EXCHANGE" : "",
	    flags & 4 ? " WHITEOUT" : "");
	say_ret(s, syscall(SYS_renameat2, AT_FDCWD, o->p1, AT_FDCWD, o->p2, flags));
}

static void op_chmod(struct side *s, const struct op *o)
{
	mode_t mode = o->v[0] % 2 ? (o->v[1] & 07777) : (0700 | (o->v[1] & 07077));

	call(s, "chmod", o->p1);
	say(&s->out, " %04o", mode);
	say_ret(s, chmod(o->p1, mode));
}

static void op_fchmod(struct side *s, const struct op *o)
{
	mode_t mode = (o->v[1] & 07777) | (o->v[0] % 2 ? 0600 : 0);

	say(&s->out, "fchmod slot %d %04o", o->s1, mode);
	say_ret(s, fchmod(*slot(s, o->s1), mode));
}

static void pick_owner(const struct op *o, uid_t *u, gid_t *g_)
{
	static const uid_t us[] = {(uid_t)-1, 0, 1001, 1002, 1001, 70000};
	static const gid_t gs[] = {(gid_t)-1, 0, 1001, 1002, 3000, 3001};

	*u = us[o->v[0] % 6];
	*g_ = gs[o->v[1] % 6];
}

/* -1:-1 by somebody else on a file with setuid or setgid bits: EPERM, but 0 through FUSE, which
 * does not say who asks for what (README). The bits must stay all the same. */
static void say_chown(struct side *s, uid_t u, gid_t gr, int r)
{
	say_ret(s, r < 0 && errno == EPERM && u == (uid_t)-1 && gr == (gid_t)-1 ? 0 : r);
}

static void op_chown(struct side *s, const struct op *o)
{
	int flags = o->v[2] % 3 ? 0 : AT_SYMLINK_NOFOLLOW;
	uid_t u;
	gid_t gr;

	pick_owner(o, &u, &gr);
	call(s, flags ? "lchown" : "chown", o->p1);
	say(&s->out, " %d:%d", (int)u, (int)gr);
	say_chown(s, u, gr, fchownat(AT_FDCWD, o->p1, u, gr, flags));
}

static void op_fchown(struct side *s, const struct op *o)
{
	uid_t u;
	gid_t gr;

	pick_owner(o, &u, &gr);
	say(&s->out, "fchown slot %d %d:%d", o->s1, (int)u, (int)gr);
	say_chown(s, u, gr, fchown(*slot(s, o->s1), u, gr));
}

/* Old, explicit times make every later change of mtime visible, however coarse the clock is. */
static void pick_times(struct side *s, const struct op *o, struct timespec ts[2])
{
	static const long special[] = {UTIME_NOW, UTIME_OMIT};

	for (int i = 0; i < 2; i++) {
		uint32_t v = o->v[i];

		ts[i].tv_sec =
			v % 8 == 2 ? -(time_t)(v % 100000) : 900000000 + (v >> 4) % 100000000;
		ts[i].tv_nsec = v % 8 < 2 ? special[v % 8] : v % 8 == 3 ? 0 : v % 1000000000;
		if (v % 64 == 63)
			ts[i].tv_nsec = 1000000000; /* EINVAL */
		if (ts[i].tv_nsec == UTIME_NOW || ts[i].tv_nsec == UTIME_OMIT)
			say(&s->out, " %s", ts[i].tv_nsec == UTIME_NOW ? "NOW" : "OMIT");
		else
			say(&s->out, " %lld.%09ld", (long long)ts[i].tv_sec, ts[i].tv_nsec);
	}
}

/* atime is compared only here: afterwards relatime, and who reads what from which cache, decide. */
static void say_atime(struct side *s, int r, const struct timespec *asked, const struct stat *st)
{
	if (r == 0 && asked->tv_nsec != UTIME_OMIT)
		say_time(&s->out, "atime", &st->st_atim, g.now_ns);
}

static void op_utimens(struct side *s, const struct op *o)
{
	int flags = o->v[2] % 3 ? 0 : AT_SYMLINK_NOFOLLOW, r;
	struct timespec ts[2];
	struct stat st = {0};

	call(s, flags ? "lutimens" : "utimens", o->p1);
	pick_times(s, o, ts);
	r = utimensat(AT_FDCWD, o->p1, ts, flags);
	say_ret(s, r);
	if (r == 0 && fstatat(AT_FDCWD, o->p1, &st, flags) == 0) {
		say_stat(s, &st);
		say_atime(s, r, &ts[0], &st);
	}
}

static void op_futimens(struct side *s, const struct op *o)
{
	struct timespec ts[2];
	struct stat st = {0};
	int r;

	say(&s->out, "futimens slot %d", o->s1);
	pick_times(s, o, ts);
	r = futimens(*slot(s, o->s1), ts);
	say_ret(s, r);
	if (r == 0 && fstat(*slot(s, o->s1), &st) == 0)
		say_atime(s, r, &ts[0], &st);
}

static void op_stat(struct side *s, const struct op *o)
{
	bool follow = o->v[0] % 2;
	struct stat st;
	int r;

	call(s, follow ? "stat" : "lstat", o->p1);
	r = follow ? stat(o->p1, &st) : lstat(o->p1, &st);
	say_ret(s, r);
	if (r == 0)
		say_stat(s, &st);
}

static void op_fstat(struct side *s, const struct op *o)
{
	struct stat st;
	int r = fstat(*slot(s, o->s1), &st);

	say(&s->out, "fstat slot %d", o->s1);
	say_ret(s, r);
	if (r == 0)
		say_stat(s, &st);
}

static void op_statx(struct side *s, const struct op *o)
{
	static const int sync[] = {AT_STATX_SYNC_AS_STAT, AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC};
	struct statx x;
	int r;

	call(s, "statx", o->p1);
	r = statx(AT_FDCWD, o->p1, AT_SYMLINK_NOFOLLOW | sync[o->v[0] % 3], STATX_BASIC_STATS, &x);
	say_ret(s, r);
	if (r == 0)
		say(&s->out, " mask=%x mode=%o %u:%u nlink=%u size=%llu",
		    x.stx_mask & STATX_BASIC_STATS, x.stx_mode, x.stx_uid, x.stx_gid, x.stx_nlink,
		    (unsigned long long)x.stx_size);
}

static void op_access(struct side *s, const struct op *o)
{
	int mode = o->v[0] % 8, flags = o->v[1] % 2 ? AT_EACCESS : 0;

	call(s, "access", o->p1);
	say(&s->out, " %d flags %x", mode, flags);
	say_ret(s, syscall(SYS_faccessat2, AT_FDCWD, o->p1, mode, flags));
}

/* ---- listings ---------------------------------------------------------------------------- */

struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	unsigned short d_reclen;
	unsigned char d_type;
	char d_name[];
};

/* All entries of an open directory, sorted; an inode number that lstat does not confirm is told.
 * Small buffers make the kernel come back many times. */
static void say_listing(struct side *s, int fd, size_t bufsize)
{
	_Alignas(8) char buf[32768];
	char *lines[4096];
	size_t n = 0;
	long r;

	if (bufsize > sizeof(buf))
		bufsize = sizeof(buf);
	while ((r = syscall(SYS_getdents64, fd, buf, bufsize)) > 0) {
		for (long p = 0; p < r;) {
			struct linux_dirent64 *d = (void *)(buf + p);
			struct stat st;
			bool dot = strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0;
			struct text t = {0};

			say_quoted(&t, d->d_name, strlen(d->d_name));
			say(&t, ":%u", d->d_type);
			if (!dot && fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			    st.st_ino != d->d_ino)
				say(&t, ":d_ino-differs");
			if (n < sizeof(lines) / sizeof(lines[0]))
				lines[n++] = t.s;
			else
				free(t.s);
			p += d->d_reclen;
		}
	}
	say_ret(s, r < 0 ? -1 : (long)n);
	qsort(lines, n, sizeof(lines[0]), cmp_str);
	for (size_t i = 0; i < n; i++) {
		if (!(planted(s, "list") && i == 3))
			say(&s->out, " %s", lines[i]);
		free(lines[i]);
	}
}

static size_t pick_dirbuf(const struct op *o)
{
	return o->v[1] % 4 ? 32768 : 300 + o->v[2] % 1000;
}

static void op_list(struct side *s, const struct op *o)
{
	int fd = open(o->p1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	call(s, "list", o->p1);
	if (fd < 0) {
		say_ret(s, -1);
		return;
	}
	say_listing(s, fd, pick_dirbuf(o));
	close(fd);
}

/* From the start again, on a directory that was opened earlier and has changed since. */
static void op_listfd(struct side *s, const struct op *o)
{
	struct stat st;
	int fd = *slot(s, o->s1);

	say(&s->out, "list slot %d", o->s1);
	if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode)) {
		say(&s->out, " no directory");
		return;
	}
	if (lseek(fd, 0, SEEK_SET) < 0) {
		say_ret(s, -1);
		return;
	}
	say_listing(s, fd, pick_dirbuf(o));
}
