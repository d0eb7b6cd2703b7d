/* SPDX-License-Identifier: MIT
 * Part of fsdiff: operations on open files: open itself, reads and writes of every kind, sizes,
 * holes, mappings.
 */
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define IO_MAX (512 * 1024)
static char iobuf[IO_MAX + 8192] __attribute__((aligned(4096)));

/* ---- open, close, descriptors ------------------------------------------------------------ */

static const struct flag_name {
	int bit;
	const char *name;
	unsigned one_in; /* how often it is set */
} open_flags[] = {
	{O_CREAT, "CREAT", 2},          {O_EXCL, "EXCL", 8},
	{O_TRUNC, "TRUNC", 8},          {O_APPEND, "APPEND", 8},
	{O_DIRECTORY, "DIRECTORY", 40}, {O_NOFOLLOW, "NOFOLLOW", 8},
	{O_DIRECT, "DIRECT", 10},       {O_SYNC, "SYNC", 24},
	{O_DSYNC, "DSYNC", 24},         {O_NOATIME, "NOATIME", 24},
	{O_PATH, "PATH", 40},
};

static int pick_open_flags(const struct op *o)
{
	struct rng r = {((uint64_t)o->v[0] << 32) | o->v[1]};
	uint32_t acc = rng_below(&r, 8);
	int flags = acc < 4 ? O_RDWR : acc < 6 ? O_RDONLY : O_WRONLY;

	for (size_t i = 0; i < sizeof(open_flags) / sizeof(open_flags[0]); i++)
		if (rng_one_in(&r, open_flags[i].one_in))
			flags |= open_flags[i].bit;
	if (rng_one_in(&r, 20))
		flags = O_RDONLY | O_DIRECTORY;
	if (rng_one_in(&r, 16))
		flags = (flags & ~(O_CREAT | O_PATH | O_DIRECTORY)) | O_TMPFILE;
	if (rng_one_in(&r, 200))
		flags |= O_ACCMODE;
	return flags;
}

static void say_open_flags(struct side *s, int flags)
{
	static const char *const acc[] = {"RDONLY", "WRONLY", "RDWR", "ACC3"};

	say(&s->out, " %s", acc[flags & O_ACCMODE]);
	if ((flags & O_TMPFILE) == O_TMPFILE)
		say(&s->out, "|TMPFILE");
	for (size_t i = 0; i < sizeof(open_flags) / sizeof(open_flags[0]); i++)
		if ((flags & open_flags[i].bit) == open_flags[i].bit)
			say(&s->out, "|%s", open_flags[i].name);
}

static void op_open(struct side *s, const struct op *o)
{
	int flags = pick_open_flags(o), fd;
	mode_t mode = o->v[2] % 4 ? 0666 : o->v[3] & 07777;
	struct stat st;

	call(s, "open", o->p1);
	say_open_flags(s, flags);
	say(&s->out, " %04o -> slot %d", mode, o->s1);
	/* A fifo would wait for its other end. */
	if (stat(o->p1, &st) < 0 || !S_ISREG(st.st_mode) || o->v[4] % 8 == 0)
		flags |= O_NONBLOCK;
	fd = open(o->p1, flags | O_CLOEXEC, mode);
	say_ok(s, fd);
	if (fd >= 0)
		slot_set(s, o->s1, fd);
}

static void op_close(struct side *s, const struct op *o)
{
	say(&s->out, "close slot %d", o->s1);
	slot_set(s, o->s1, -1);
}

static void op_dup(struct side *s, const struct op *o)
{
	int fd = *slot(s, o->s1) < 0 ? -1 : fcntl(*slot(s, o->s1), F_DUPFD_CLOEXEC, 20);

	say(&s->out, "dup slot %d -> slot %d", o->s1, o->s2);
	if (fd >= 0)
		slot_set(s, o->s2, fd);
}

static void op_setfl(struct side *s, const struct op *o)
{
	static const int bits[] = {O_APPEND, O_DIRECT, O_NONBLOCK, O_NOATIME};
	int bit = bits[o->v[0] % 4];

	int fl = fcntl(*slot(s, o->s1), F_GETFL);

	if (g.passthrough && (bit == O_DIRECT || (bit == O_APPEND && fl & O_APPEND)))
		bit = O_NONBLOCK;

	say(&s->out, "fcntl slot %d toggle %#o", o->s1, bit);
	if (fl < 0) {
		say_ret(s, -1);
		return;
	}
	say_ret(s, fcntl(*slot(s, o->s1), F_SETFL, fl ^ bit));
	fl = fcntl(*slot(s, o->s1), F_GETFL);
	say(&s->out, " flags %#o", fl & ~O_NONBLOCK);
}

static void op_flock(struct side *s, const struct op *o)
{
	static const int ops[] = {LOCK_SH, LOCK_EX, LOCK_UN};

	say(&s->out, "flock slot %d %d", o->s1, ops[o->v[0] % 3]);
	say_ret(s, flock(*slot(s, o->s1), ops[o->v[0] % 3] | LOCK_NB));
}

static void op_ofdlock(struct side *s, const struct op *o)
{
	static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
	struct flock l = {.l_type = types[o->v[0] % 3],
			  .l_whence = SEEK_SET,
			  .l_start = o->v[1] % 64,
			  .l_len = o->v[2] % 64};

	say(&s->out, "ofdlock slot %d %d [%ld+%ld]", o->s1, l.l_type, (long)l.l_start,
	    (long)l.l_len);
	say_ret(s, fcntl(*slot(s, o->s1), F_OFD_SETLK, &l));
}

/* ---- read and write ---------------------------------------------------------------------- */

/* O_DIRECT mostly gets what it wants: aligned offset, length and memory. */
static void pick_io(const struct side *s, const struct op *o, off_t *off, size_t *len)
{
	int fl = fcntl(s->slot[o->s1], F_GETFL);

	*off = (off_t)o->off;
	*len = o->len < IO_MAX ? (size_t)o->len : IO_MAX;
	if (fl >= 0 && (fl & O_DIRECT) && o->v[5] % 16) {
		*off &= ~(off_t)4095;
		*len = (*len + 4095) & ~(size_t)4095;
	}
}

/* A pipe would block and reading a device is no test of ours. */
static bool is_plain_slot(struct side *s, const struct op *o)
{
	struct stat st;

	if (fstat(s->slot[o->s1], &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		say(&s->out, " no regular file");
		return false;
	}
	return true;
}

static void op_read(struct side *s, const struct op *o)
{
	size_t len;
	off_t off;
	ssize_t n;
	int fd = s->slot[o->s1];

	pick_io(s, o, &off, &len);
	if (o->v[0] % 3 == 0) {
		say(&s->out, "read slot %d %zu", o->s1, len);
		if (!is_plain_slot(s, o))
			return;
		n = read(fd, iobuf, len);
	} else {
		say(&s->out, "pread slot %d %zu @%lld", o->s1, len, (long long)off);
		if (!is_plain_slot(s, o))
			return;
		n = pread(fd, iobuf, len, off);
	}
	say_ret(s, n);
	if (n > 0)
		say_data(s, iobuf, (size_t)n);
}

static void op_write(struct side *s, const struct op *o)
{
	size_t len;
	off_t off;
	ssize_t n;
	int fd = s->slot[o->s1];

	pick_io(s, o, &off, &len);
	/* xfs looks at where O_APPEND leads only after it has set mtime, and then fails. */
	struct stat st;
	int fl = fcntl(fd, F_GETFL);

	if (g.xfs && fl >= 0 && fl & O_DIRECT && fl & O_APPEND && !fstat(fd, &st) &&
	    st.st_size % 4096) {
		say(&s->out, "direct write to an end that is not aligned, slot %d", o->s1);
		return;
	}
	fill(iobuf, len, o->data);
	if (planted(s, "data") && len > 100000)
		iobuf[99999] ^= 1;
	if (o->v[0] % 3 == 0) {
		say(&s->out, "write slot %d %zu", o->s1, len);
		if (!is_plain_slot(s, o))
			return;
		n = write(fd, iobuf, len);
	} else if (o->v[0] % 3 == 1) {
		say(&s->out, "pwrite slot %d %zu @%lld", o->s1, len, (long long)off);
		if (!is_plain_slot(s, o))
			return;
		n = pwrite(fd, iobuf, len, off);
	} else {
		size_t cut = len ? o->v[1] % len & ~(size_t)511 : 0;
		struct iovec v[3] = {{iobuf, cut}, {iobuf + cut, 0}, {iobuf + cut, len - cut}};

		say(&s->out, "writev slot %d %zu+%zu @%lld", o->s1, cut, len - cut, (long long)off);
		if (!is_plain_slot(s, o))
			return;
		n = pwritev(fd, v, 3, off);
	}
	say_ret(s, n);
}

static void op_readv(struct side *s, const struct op *o)
{
	size_t len, cut;
	off_t off;
	ssize_t n;

	pick_io(s, o, &off, &len);
	cut = len ? o->v[1] % len & ~(size_t)511 : 0;
	struct iovec v[2] = {{iobuf, cut}, {iobuf + cut, len - cut}};
	say(&s->out, "preadv slot %d %zu+%zu @%lld", o->s1, cut, len - cut, (long long)off);
	if (!is_plain_slot(s, o))
		return;
	n = preadv(s->slot[o->s1], v, 2, off);
	say_ret(s, n);
	if (n > 0)
		say_data(s, iobuf, (size_t)n);
}

static void op_sync(struct side *s, const struct op *o)
{
	static const char *const names[] = {"fsync", "fdatasync", "sync_file_range", "fadvise"};
	int fd = s->slot[o->s1];
	unsigned k = o->v[0] % 4;
	int r;

	say(&s->out, "%s slot %d", names[k], o->s1);
	if (!is_plain_slot(s, o))
		return;
	if (k == 0)
		r = fsync(fd);
	else if (k == 1)
		r = fdatasync(fd);
	else if (k == 2)
		r = sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	else if ((r = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) > 0)
		errno = r, r = -1;
	say_ret(s, r);
}

/* ---- sizes and holes --------------------------------------------------------------------- */

static void op_truncate(struct side *s, const struct op *o)
{
	call(s, "truncate", o->p1);
	say(&s->out, " %lld", (long long)o->off);
	say_ret(s, truncate(o->p1, (off_t)o->off));
}

static void op_ftruncate(struct side *s, const struct op *o)
{
	say(&s->out, "ftruncate slot %d %lld", o->s1, (long long)o->off);
	say_ret(s, ftruncate(s->slot[o->s1], (off_t)o->off));
}

static void op_fallocate(struct side *s, const struct op *o)
{
	static const struct {
		const char *name;
		int mode;
		bool blocks;
	} modes[] = {
		{"ALLOC", 0, false},        {"KEEP_SIZE", 1, false},
		{"PUNCH", 3, false},        {"PUNCH", 3, true},
		{"ZERO", 0x10, false},      {"ZERO KEEP_SIZE", 0x11, true},
		{"COLLAPSE", 8, true},      {"INSERT", 0x20, true},
		{"COLLAPSE", 8, false},     {"PUNCH without KEEP_SIZE", 2, false},
		{"bad mode", 0x400, false},
	};
	unsigned k = o->v[0] % (sizeof(modes) / sizeof(modes[0]));
	off_t off = (off_t)o->off, len = (off_t)(o->v[1] % 16 ? o->len : 0);

	if (off > 16 << 20 && k < 6)
		off &= (4 << 20) - 1;
	if (modes[k].blocks) {
		off &= ~(off_t)4095;
		len = (len + 4095) & ~(off_t)4095;
	}
	say(&s->out, "fallocate %s slot %d %lld+%lld", modes[k].name, o->s1, (long long)off,
	    (long long)len);
	if (!is_plain_slot(s, o))
		return;
	/* btrfs clears setuid and setgid bits only when there is something to punch, past the end
	 * or in a hole; through FUSE they go before anybody knows (README). Where holes are is not
	 * for both sides to agree on. */
	struct stat st;

	if (modes[k].mode == 3 && !fstat(s->slot[o->s1], &st) && (g.btrfs || off >= st.st_size) &&
	    st.st_mode & (S_ISUID | S_ISGID)) {
		say(&s->out, " maybe nothing there");
		return;
	}
	say_ret(s, fallocate(s->slot[o->s1], modes[k].mode, off, len));
}

static void op_lseek(struct side *s, const struct op *o)
{
	static const int whence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
	int w = whence[o->v[0] % 3];
	off_t off = w == SEEK_SET ? (off_t)o->off : (off_t)(o->v[1] % 20000) - 10000;

	say(&s->out, "lseek slot %d %lld %d", o->s1, (long long)off, w);
	if (!is_plain_slot(s, o))
		return;
	/* On a directory the numbers are cookies of the file system. */
	struct stat st;
	if (fstat(s->slot[o->s1], &st) == 0 && S_ISDIR(st.st_mode))
		return;
	say_ret(s, lseek(s->slot[o->s1], off, w));
}

/* Holes. Preallocation, caching and how writeback was cut into pieces show in the numbers (ext4
 * writes zeros around a split unwritten extent), so only what POSIX promises is checked: a hole
 * reads as zeros, and what is not in a hole is found by SEEK_DATA. */
static void op_holes(struct side *s, const struct op *o)
{
	int fd = s->slot[o->s1];
	off_t pos = 0, old;
	struct stat st;

	say(&s->out, "holes slot %d", o->s1);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (old = lseek(fd, 0, SEEK_CUR)) < 0) {
		say(&s->out, " no regular file");
		return;
	}
	if (g.exact_layout)
		fsync(fd);
	for (int i = 0; i < 200 && pos < st.st_size; i++) {
		off_t data = lseek(fd, pos, SEEK_DATA);
		off_t end = data < 0 ? st.st_size : data;

		if (data < 0 && errno != ENXIO) {
			say(&s->out, " SEEK_DATA %s", strerrorname_np(errno));
			break;
		}
		for (off_t q = pos; q < end && q < pos + IO_MAX; q += 4096) {
			ssize_t n = pread(fd, iobuf, 4096, q);

			if (q + n > end)
				n = end - q;
			for (ssize_t j = 0; j < n; j++)
				if (iobuf[j]) {
					say(&s->out, " data in a hole at %lld", (long long)q);
					break;
				}
		}
		if (data < 0)
			break;
		pos = lseek(fd, data, SEEK_HOLE);
		if (pos <= data) {
			say(&s->out, " SEEK_HOLE %lld after SEEK_DATA %lld", (long long)pos,
			    (long long)data);
			break;
		}
	}
	if (lseek(fd, st.st_size, SEEK_DATA) >= 0 || errno != ENXIO)
		say(&s->out, " SEEK_DATA at the end is not ENXIO");
	lseek(fd, old, SEEK_SET);
}

static void op_copy(struct side *s, const struct op *o)
{
	off_t in = (off_t)o->off & 0xffffff, out = (off_t)(o->v[0] % 300000);
	size_t len = o->len < IO_MAX ? (size_t)o->len : IO_MAX;
	ssize_t n;

	if (o->v[2] % 2)
		in &= ~(off_t)4095, out &= ~(off_t)4095;
	say(&s->out, "copy_file_range slot %d @%lld -> slot %d @%lld %zu", o->s1, (long long)in,
	    o->s2, (long long)out, len);
	if (!is_plain_slot(s, o))
		return;
	/* Whether O_DIRECT was turned on after the open does not come with the request (README). */
	if ((fcntl(s->slot[o->s1], F_GETFL) | fcntl(s->slot[o->s2], F_GETFL)) & O_DIRECT) {
		say(&s->out, " direct");
		return;
	}
	n = copy_file_range(s->slot[o->s1], &in, s->slot[o->s2], &out, len, 0);
	say_ret(s, n);
	if (n >= 0)
		say(&s->out, " in=%lld out=%lld", (long long)in, (long long)out);
}

#define FICLONE_IOCTL                                                                              \
	_IOW(0x94, 9, int) /* linux/fs.h, which does not go with sys/mount.h everywhere */
static void op_ficlone(struct side *s, const struct op *o)
{
	say(&s->out, "ficlone slot %d -> slot %d", o->s1, o->s2);
	say_ret(s, ioctl(s->slot[o->s2], FICLONE_IOCTL, s->slot[o->s1]));
}

/* ---- mappings ---------------------------------------------------------------------------- */

static void op_mmap(struct side *s, const struct op *o)
{
	struct mapping *m = &s->map[o->v[0] % NMAPS];
	bool shared = o->v[1] % 3;
	int prot = PROT_READ | (o->v[2] % 2 ? PROT_WRITE : 0);
	off_t off = (off_t)(o->off & 0x3ffff & ~(uint64_t)4095);
	char *p;

	say(&s->out, "mmap %d slot %d %s%s @%lld", (int)(m - s->map), o->s1,
	    shared ? "shared" : "private", prot & PROT_WRITE ? " rw" : " r", (long long)off);
	if (!is_plain_slot(s, o))
		return;
	p = mmap(NULL, 65536, prot, shared ? MAP_SHARED : MAP_PRIVATE, s->slot[o->s1], off);
	if (p == MAP_FAILED) {
		say_ret(s, -1);
		return;
	}
	if (m->p)
		munmap(m->p, m->len);
	m->p = p;
	m->len = 65536;
	say_ret(s, 0);
}

static void op_mread(struct side *s, const struct op *o)
{
	struct mapping *m = &s->map[o->v[0] % NMAPS];
	size_t off = o->v[1] % 65536, len = 1 + o->v[2] % (65536 - off);

	say(&s->out, "mread %d %zu @%zu", (int)(m - s->map), len, off);
	if (!m->p)
		say(&s->out, " none");
	else if (copy_faults(iobuf, m->p + off, len))
		say(&s->out, " SIGBUS");
	else
		say_data(s, iobuf, len);
}

/* A store is always followed by msync: otherwise it is up to the flusher whether a later store
 * moves the mtime again. In between the bytes must be seen by read(2). */
static void op_mwrite(struct side *s, const struct op *o)
{
	struct mapping *m = &s->map[o->v[0] % NMAPS];
	size_t off = o->v[1] % 65536, len = 1 + o->v[2] % 5000;
	ssize_t n;

	if (len > 65536 - off)
		len = 65536 - off;
	say(&s->out, "mwrite %d %zu @%zu", (int)(m - s->map), len, off);
	fill(iobuf, len, o->data);
	if (!m->p) {
		say(&s->out, " none");
		return;
	}
	if (copy_faults(m->p + off, iobuf, len)) {
		say(&s->out, " SIGBUS");
	} else if (o->v[3] % 2 && (n = pread(s->slot[o->s1], iobuf, 65536, 0)) > 0 &&
		   !(fcntl(s->slot[o->s1], F_GETFL) & O_DIRECT)) {
		say_data(s, iobuf, (size_t)n);
	}
	say_ret(s, msync(m->p, m->len, MS_SYNC));
}

static void op_munmap(struct side *s, const struct op *o)
{
	struct mapping *m = &s->map[o->v[0] % NMAPS];

	say(&s->out, "munmap %d", (int)(m - s->map));
	if (m->p)
		say_ret(s, munmap(m->p, m->len));
	m->p = NULL;
}
