/* SPDX-License-Identifier: MIT
 * Part of fsdiff: the two sides, the operation record, and how an operation is done on one side.
 *
 * Each side is a directory into which the process changes its root before every operation, so that
 * no symbolic link or ".." leads out and absolute paths work. Operations run under one of three
 * credentials, real and effective ids alike, and give back one text: the call, its result, and
 * what it showed. Two sides agree when the texts are equal.
 */
#include <sys/file.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NSLOTS 5 /* open files */
#define NMAPS  3 /* mappings that live across operations */

struct mapping {
	char *p; /* NULL: none */
	size_t len;
};

struct side {
	const char *dir; /* as given */
	int root;        /* fd of the directory that plays "/" during a run */
	int slot[NSLOTS];
	struct mapping map[NMAPS];
	struct text out;
	bool is_b; /* the side under test */
};

/* One operation: everything drawn from the seed, whether the kind uses it or not. */
struct op {
	unsigned index;
	const struct op_kind *kind;
	unsigned cred;
	mode_t umask;
	char p1[1400], p2[1400];
	int s1, s2;    /* slots */
	uint32_t v[6]; /* raw random numbers */
	uint64_t off;
	uint64_t len;
	uint64_t data; /* seed of contents */
	bool around;   /* look at p1 and s1 before and after */
};

struct op_kind {
	const char *name;
	unsigned weight;
	void (*run)(struct side *s, const struct op *o);
};

/* ---- options that every part sees -------------------------------------------------------- */

static struct {
	int64_t now_ns; /* start of the program: later times are "now" */
	bool spill;     /* files may be spilled and recalled between operations */
	bool btrfs, xfs;
	bool exact_layout; /* SEEK_HOLE and st_blocks must agree exactly (ext4, nothing spilled) */
	bool ctime;        /* the kernel has fine-grained change times: compare "changed" */
	const char *plant; /* kind of a planted difference, or NULL */
	bool passthrough;  /* see fsdiff.c */
	bool coarse;       /* the same */
	int home;          /* fd of the real root */
	int cwd;           /* fd of the working directory */
} g = {.home = -1, .cwd = -1};

static bool planted(const struct side *s, const char *kind)
{
	return g.plant && s->is_b && strcmp(g.plant, kind) == 0;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("fsdiff: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* ---- root directory and credentials ------------------------------------------------------ */

static void enter_side(const struct side *s)
{
	if (fchdir(s->root) < 0 || chroot(".") < 0)
		die("enter %s: %s", s->dir, strerror(errno));
}

static void go_home(void)
{
	if (fchdir(g.home) < 0 || chroot(".") < 0 || fchdir(g.cwd) < 0)
		die("leave the test root: %s", strerror(errno));
}

#define NCREDS 3
static const struct cred_set {
	uid_t uid;
	gid_t gid, groups[2];
} creds[NCREDS] = {
	{0, 0, {0, 0}},
	{1001, 1001, {1001, 3000}},
	{1002, 1002, {3000, 3001}},
};

/* The raw calls: no broadcast to other threads, no NSS. The saved uid stays 0, for the way back. */
static void become(unsigned c)
{
	if (c == 0)
		return;
	if (syscall(SYS_setgroups, 2, creds[c].groups) < 0 ||
	    syscall(SYS_setresgid, creds[c].gid, creds[c].gid, 0) < 0 ||
	    syscall(SYS_setresuid, creds[c].uid, creds[c].uid, 0) < 0)
		die("change to uid %u: %s", creds[c].uid, strerror(errno));
}

static void become_root(void)
{
	gid_t none = 0;

	if (syscall(SYS_setresuid, 0, 0, 0) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    syscall(SYS_setgroups, 1, &none) < 0)
		die("change back to root: %s", strerror(errno));
}

/* ---- memory faults ----------------------------------------------------------------------- */

static sigjmp_buf fault_jump;
static volatile sig_atomic_t fault_armed;

static void on_fault(int sig)
{
	if (fault_armed)
		siglongjmp(fault_jump, sig);
	signal(sig, SIG_DFL);
}

/* True when copying faults (beyond the end of the file, or an I/O error). */
static bool copy_faults(void *to, const void *from, size_t n)
{
	if (sigsetjmp(fault_jump, 1)) {
		fault_armed = 0;
		return true;
	}
	fault_armed = 1;
	memcpy(to, from, n);
	fault_armed = 0;
	return false;
}

/* ---- words of a result ------------------------------------------------------------------- */

static void say_ret(struct side *s, long ret)
{
	int err = errno;

	if (planted(s, "errno") && ret < 0 && err == ENOTEMPTY)
		err = EEXIST;
	if (ret < 0)
		say(&s->out, " = -1 %s", strerrorname_np(err));
	else
		say(&s->out, " = %ld", ret);
}

static void say_ok(struct side *s, int ret)
{
	say_ret(s, ret < 0 ? -1 : 0);
}

static void say_data(struct side *s, const void *buf, size_t len)
{
	say(&s->out, " %016llx ", (unsigned long long)XXH3_64bits(buf, len));
	say_quoted(&s->out, buf, len < 16 ? len : 16);
}

static void say_stat(struct side *s, const struct stat *st)
{
	mode_t m = st->st_mode;

	if (planted(s, "mode") && S_ISREG(m) && (m & 0111))
		m ^= 1;
	say(&s->out, " {%c %04o %u:%u nlink=%lu size=%lld", type_letter(m), m & 07777u, st->st_uid,
	    st->st_gid, (unsigned long)st->st_nlink, (long long)st->st_size);
	if (S_ISCHR(m) || S_ISBLK(m))
		say(&s->out, " rdev=%llx", (unsigned long long)st->st_rdev);
	say_time(&s->out, "mtime", &st->st_mtim, g.now_ns);
	say(&s->out, "}");
}

/* Paths are printed quoted; fds by slot. */
static void call(struct side *s, const char *name, const char *path)
{
	say(&s->out, "%s ", name);
	say_quoted(&s->out, path, strlen(path));
}

static int *slot(struct side *s, int n)
{
	return &s->slot[n];
}

static void slot_set(struct side *s, int n, int fd)
{
	if (s->slot[n] >= 0) {
		if (g.passthrough) /* a mapping does not keep it */
			flock(s->slot[n], LOCK_UN);
		close(s->slot[n]);
	}
	s->slot[n] = fd;
}

static void side_close(struct side *s)
{
	for (int i = 0; i < NMAPS; i++) {
		if (s->map[i].p)
			munmap(s->map[i].p, s->map[i].len);
		s->map[i].p = NULL;
	}
	for (int i = 0; i < NSLOTS; i++)
		slot_set(s, i, -1);
}

/* ---- one operation on one side ----------------------------------------------------------- */

static void say_around(struct side *s, const struct op *o, const struct stat *before,
		       const bool had[2])
{
	for (int i = 0; i < 2; i++) {
		struct stat st;
		int r = i == 0 ? lstat(o->p1, &st) : fstat(s->slot[o->s1], &st);

		say(&s->out, i == 0 ? "\n    path:" : "\n    slot %d:", o->s1);
		if (r < 0) {
			say(&s->out, " %s", strerrorname_np(errno));
			continue;
		}
		say_stat(s, &st);
		if (g.ctime && had[i] && before[i].st_ino == st.st_ino)
			say(&s->out, " ctime %s",
			    ts_ns(&before[i].st_ctim) == ts_ns(&st.st_ctim) ? "same" : "changed");
	}
}

static void run_op(struct side *s, const struct op *o)
{
	struct stat before[2];
	bool had[2];
	mode_t old;

	text_clear(&s->out);
	enter_side(s);
	had[0] = o->around && lstat(o->p1, &before[0]) == 0;
	had[1] = o->around && fstat(s->slot[o->s1], &before[1]) == 0;
	old = umask(o->umask);
	become(o->cred);
	o->kind->run(s, o);
	become_root();
	umask(old);
	if (o->around)
		say_around(s, o, before, had);
	go_home();
}
