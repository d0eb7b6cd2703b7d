/* SPDX-License-Identifier: MIT
 * semcheck DIR: does, one after the other, what container engines, package managers, databases and
 * compilers ask of a file system, in an empty DIR, and prints what happened: one line for each
 * fact. tests/mount/semantics.sh runs it on a plain directory and on the mount and compares the
 * output. Times, inode numbers and sizes of directories are printed only as relations, so that the
 * output is the same wherever it runs.
 */
#include "fsdiff/util.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *topic = "";

/* Print "topic: what = result" where a negative result shows errno. */
static long show(const char *what, long r)
{
	int err = errno;

	if (r < 0)
		printf("%s: %s = %s\n", topic, what, strerrorname_np(err));
	else
		printf("%s: %s = %ld\n", topic, what, r);
	errno = err;
	return r;
}

static int put(const char *name, const void *data, size_t len)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		show(name, -1);
	return fd;
}

static void put_close(const char *name, const char *text)
{
	close(put(name, text, strlen(text)));
}

static void show_mode(const char *name)
{
	struct stat st;

	if (lstat(name, &st) < 0)
		show(name, -1);
	else
		printf("%s: %s is %06o %u:%u links %lu size %lld\n", topic, name, st.st_mode,
		       st.st_uid, st.st_gid, (unsigned long)st.st_nlink,
		       S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size);
}

static void show_text(const char *name)
{
	char buf[200];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n < 0) {
		show(name, -1);
	} else {
		buf[n] = 0;
		printf("%s: %s holds '%s'\n", topic, name, buf);
	}
	if (fd >= 0)
		close(fd);
}

/* Run fn in a child as uid 1001, gid 1001. */
static void as_user(void (*fn)(void))
{
	pid_t pid;
	gid_t groups[] = {3000};

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (setgroups(1, groups) < 0 || setresgid(1001, 1001, 1001) < 0 ||
		    setresuid(1001, 1001, 1001) < 0)
			_exit(9);
		fn();
		fflush(stdout);
		_exit(0);
	}
	int status = -1;
	waitpid(pid, &status, 0);
	if (status)
		printf("%s: child status %d\n", topic, status);
}

/* ---- names ------------------------------------------------------------------------------- */

static int ren2(const char *a, const char *b, unsigned flags)
{
	return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void t_rename(void)
{
	put_close("a", "A");
	put_close("b", "B");
	show("NOREPLACE onto a file", ren2("a", "b", 1));
	show("EXCHANGE", ren2("a", "b", 2));
	show_text("a");
	show_text("b");
	mkdir("d", 0755);
	put_close("d/x", "X");
	show("EXCHANGE file and directory", ren2("a", "d", 2));
	show_mode("a");
	show_mode("d");
	show("EXCHANGE with nothing", ren2("a", "none", 2));
	show("WHITEOUT", ren2("d", "e", 4));
	show_mode("d");
	show("unknown flag", ren2("e", "f", 64));
	show("directory into itself", rename("a", "a/x"));
	show("directory onto file", rename("a", "b"));
	show("file onto directory", rename("b", "a"));
	mkdir("empty", 0755);
	show("directory onto an empty one", rename("a", "empty"));
	show("onto a full one", (mkdir("g", 0755), rename("g", "empty")));
	show("onto itself by hard link", (link("b", "b2"), rename("b", "b2")));
	show_mode("b");
}

static void t_names(void)
{
	char n[300], lng[4200];

	memset(n, 'n', sizeof(n));
	n[255] = 0;
	show("255 bytes", mkdir(n, 0755));
	show("again", mkdir(n, 0755));
	n[255] = 'n';
	n[256] = 0;
	show("256 bytes", mkdir(n, 0755));
	show("newline", mkdir("a\nb", 0755));
	show("not UTF-8", mkdir("\xff\xfe", 0755));
	memset(lng, 's', sizeof(lng));
	lng[4095] = 0;
	show("symlink of 4095 bytes", symlink(lng, "l"));
	show("through it", open("l", O_RDONLY));
	symlink("loop2", "loop1");
	symlink("loop1", "loop2");
	show("loop", open("loop1", O_RDONLY));
	show("NOFOLLOW", open("loop1", O_RDONLY | O_NOFOLLOW));
	show("rmdir .", rmdir("."));
	show("unlink a directory", unlink("a\nb"));
	show("rmdir a symlink", rmdir("loop1"));
	put_close("file", "");
	show("below a file", open("file/x", O_RDONLY));
	show("trailing slash", open("file/", O_RDONLY));
	show("O_DIRECTORY", open("file", O_RDONLY | O_DIRECTORY));
	show("write a directory", open("a\nb", O_RDWR));
	show("O_CREAT|O_DIRECTORY", open("new", O_CREAT | O_DIRECTORY | O_RDONLY, 0644));
}

static void t_links(void)
{
	struct stat a, b;

	put_close("a", "hello");
	show("link", link("a", "b"));
	stat("a", &a);
	stat("b", &b);
	show("same inode", a.st_ino == b.st_ino);
	show("unlink one", unlink("a"));
	show_mode("b");
	show("link a directory", (mkdir("d", 0755), link("d", "e")));
	show("link a symlink", (symlink("b", "s"), link("s", "s2")));
	show_mode("s2");
	int fd = open("b", O_RDWR | O_CLOEXEC);
	unlink("b");
	fstat(fd, &a);
	show("links of an unlinked open file", (long)a.st_nlink);
	show("write to it", pwrite(fd, "HELLO", 5, 0));
	char buf[6] = "";
	show("read from it", pread(fd, buf, 5, 0));
	printf("%s: '%s'\n", topic, buf);
	show("grow it", ftruncate(fd, 100000));
	show("bring it back", linkat(fd, "", AT_FDCWD, "c", AT_EMPTY_PATH));
	show("fchmod it", fchmod(fd, 0600));
	close(fd);
}

static void t_special(void)
{
	struct stat st;

	umask(0);
	show("fifo", mknod("fifo", S_IFIFO | 0640, 0));
	show("socket", mknod("sock", S_IFSOCK | 0755, 0));
	show("null", mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	show("block", mknod("blk", S_IFBLK | 0600, makedev(120, 300)));
	show("whiteout", mknod("wh", S_IFCHR, 0));
	umask(022);
	for (const char *const *p = (const char *[]){"fifo", "sock", "null", "blk", "wh", NULL}; *p;
	     p++) {
		show_mode(*p);
		lstat(*p, &st);
		printf("%s: rdev %u:%u\n", topic, major(st.st_rdev), minor(st.st_rdev));
	}
	int fd = open("null", O_RDWR);
	show("write to null", write(fd, "x", 1));
	show("open a socket", open("sock", O_RDWR));
	show("open a fifo for writing", open("fifo", O_WRONLY | O_NONBLOCK));
	int r = open("fifo", O_RDONLY | O_NONBLOCK), w = open("fifo", O_WRONLY | O_NONBLOCK);
	char buf[8] = "";
	show("through the fifo", write(w, "abc", 3));
	show("and out", read(r, buf, 3));
	show("open the whiteout", open("wh", O_RDONLY));

	struct sockaddr_un sa = {AF_UNIX, "bound"};
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
	show("bind", bind(s, (void *)&sa, sizeof(sa)));
	show("connect before listen", connect(c, (void *)&sa, sizeof(sa)));
	show("listen", listen(s, 1));
	show("connect", connect(c, (void *)&sa, sizeof(sa)));
	show("bind again", bind(c, (void *)&sa, sizeof(sa)));
}

static void t_tmpfile(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	struct stat st;

	show("open", fd < 0 ? -1 : 0);
	show("write", write(fd, "tmp", 3));
	fstat(fd, &st);
	printf("%s: mode %o links %lu\n", topic, st.st_mode, (unsigned long)st.st_nlink);
	show("name it", linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH));
	show_mode("named");
	show_text("named");
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640);
	show("name an O_EXCL one", linkat(fd, "", AT_FDCWD, "named2", AT_EMPTY_PATH));
	show("read-only", open(".", O_TMPFILE | O_RDONLY, 0640));
}

/* ---- data -------------------------------------------------------------------------------- */

static void t_fallocate(void)
{
	char buf[65536];
	struct stat st;

	fill(buf, sizeof(buf), 1);
	int fd = put("f", buf, sizeof(buf));
	show("punch", fallocate(fd, 3, 8192, 8192));
	show("hole reads", pread(fd, buf, 1, 8192) == 1 && buf[0] == 0);
	show("zero", fallocate(fd, 0x10, 20000, 3000));
	show("zero reads", pread(fd, buf, 1, 22999) == 1 && buf[0] == 0);
	show("zero beyond", fallocate(fd, 0x10, 65536, 4096));
	show_mode("f");
	show("keep size", fallocate(fd, 1, 1 << 20, 1 << 20));
	show_mode("f");
	fstat(fd, &st);
	show("has room beyond", st.st_blocks >= (1 << 20) / 512);
	show("allocate", fallocate(fd, 0, 0, 2 << 20));
	show_mode("f");
	show("negative", fallocate(fd, 0, -1, 10));
	show("no length", fallocate(fd, 0, 0, 0));
	show("punch without keep size", fallocate(fd, 2, 0, 4096));
	show("read-only fd", fallocate(open("f", O_RDONLY), 0, 0, 4096));
	show("posix", posix_fallocate(fd, 3 << 20, 1));
	show_mode("f");
}

static void t_seek(void)
{
	int fd = open("f", O_RDWR | O_CREAT, 0644);

	ftruncate(fd, 1 << 20);
	show("all hole: data", lseek(fd, 0, SEEK_DATA));
	show("all hole: hole", lseek(fd, 0, SEEK_HOLE));
	pwrite(fd, "x", 1, 256 * 1024);
	fsync(fd);
	show("data", lseek(fd, 0, SEEK_DATA));
	show("hole after it", lseek(fd, 256 * 1024, SEEK_HOLE));
	show("hole in the hole", lseek(fd, 5, SEEK_HOLE));
	show("data after the last", lseek(fd, 600 * 1024, SEEK_DATA));
	show("beyond the end", lseek(fd, 1 << 20, SEEK_HOLE));
	show("negative", lseek(fd, -1, SEEK_DATA));
}

static void t_copy(void)
{
	char buf[50000];
	off_t in = 100, out = 7;

	fill(buf, sizeof(buf), 2);
	int a = put("a", buf, sizeof(buf)), b = put("b", "0123456789", 10);
	show("copy", copy_file_range(a, &in, b, &out, 20000, 0));
	printf("%s: offsets %lld %lld\n", topic, (long long)in, (long long)out);
	show_mode("b");
	char got[20000];
	show("read", pread(b, got, sizeof(got), 7));
	show("same", memcmp(got, buf + 100, sizeof(got)) == 0);
	in = 60000;
	show("beyond the end", copy_file_range(a, &in, b, &out, 10, 0));
	in = 0, out = 10;
	show("overlapping", copy_file_range(a, &in, a, &out, 100, 0));
	show("flags", copy_file_range(a, &in, b, &out, 10, 1));
	show("to a read-only fd", copy_file_range(a, NULL, open("b", O_RDONLY), NULL, 10, 0));
	show("to an append fd",
	     copy_file_range(a, NULL, open("b", O_WRONLY | O_APPEND), NULL, 10, 0));
}

static void t_direct(void)
{
	static char buf[262144] __attribute__((aligned(4096))),
		got[262144] __attribute__((aligned(4096)));
	int fd = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644), plain = open("f", O_RDWR);

	fill(buf, sizeof(buf), 3);
	show("write", pwrite(fd, buf, sizeof(buf), 0));
	show("buffered read", pread(plain, got, sizeof(got), 0));
	show("same", memcmp(buf, got, sizeof(buf)) == 0);
	show("buffered write", pwrite(plain, "hello", 5, 5000));
	show("direct read", pread(fd, got, 8192, 4096));
	show("sees it", memcmp(got + 904, "hello", 5) == 0);
	show("at the end", pread(fd, got, 8192, 262144 - 4096));
	show("beyond", pread(fd, got, 4096, 262144));
	show("truncate", ftruncate(plain, 262144 - 100));
	show("short tail", pread(fd, got, 4096, 262144 - 4096));
}

static void t_mmap(void)
{
	char buf[16384];
	static char big[300000];

	fill(buf, sizeof(buf), 4);
	int fd = put("f", buf, sizeof(buf));
	char *sh = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *pr = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	show("mapped", sh != MAP_FAILED && pr != MAP_FAILED);
	sh[5000] = 'S';
	pr[6000] = 'P';
	pread(fd, buf, sizeof(buf), 0);
	show("store is seen by read", buf[5000] == 'S');
	show("private store is not", buf[6000] != 'P');
	pwrite(fd, "W", 1, 7000);
	show("write is seen by the mapping", sh[7000] == 'W');
	int other = open("f", O_RDONLY);
	pread(other, buf, sizeof(buf), 0);
	show("by another fd", buf[5000] == 'S' && buf[7000] == 'W');
	close(fd);
	unlink("f");
	sh[1] = 'U';
	show("msync of an unlinked file", msync(sh, 16384, MS_SYNC));
	pread(other, buf, 2, 0);
	show("still there", buf[1] == 'U');
	show("write needs O_RDWR",
	     mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, other, 0) == MAP_FAILED ? -1 : 0);
	fill(big, sizeof(big), 5);
	fd = put("g", big, sizeof(big));
	char *m = mmap(NULL, sizeof(big), PROT_READ, MAP_SHARED, fd, 0);
	show("big mapping equal", memcmp(m, big, sizeof(big)) == 0);
}

static void t_append(void)
{
	int fd = open("f", O_WRONLY | O_CREAT | O_APPEND, 0644),
	    two = open("f", O_WRONLY | O_APPEND);

	write(fd, "one ", 4);
	write(two, "two ", 4);
	write(fd, "three", 5);
	show_text("f");
	show("pwrite appends", pwrite(fd, "!", 1, 0));
	show_text("f");
	fflush(stdout);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			int mine = open("g", O_WRONLY | O_CREAT | O_APPEND, 0644);
			for (int k = 0; k < 200; k++)
				write(mine, "0123456789abcdef", 16);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	show_mode("g");
}

static void t_big(void)
{
	int fd = open("f", O_RDWR | O_CREAT, 0644);
	char buf[8] = "";
	struct stat st;

	show("truncate to 5 GiB", ftruncate(fd, 5ll << 30));
	show("write beyond 4 GiB", pwrite(fd, "far", 3, (4ll << 30) + 12345));
	show("read", pread(fd, buf, 3, (4ll << 30) + 12345));
	show("right", strcmp(buf, "far") == 0);
	show("append", (lseek(fd, 0, SEEK_END), write(fd, "end", 3)));
	show_mode("f");
	fsync(fd);
	fstat(fd, &st);
	show("sparse", st.st_blocks < 1000);
	show("data", lseek(fd, 0, SEEK_DATA));
	/* Some can (xfs): what is compared is that the mount says the same. */
	show("as far as it goes", ftruncate(fd, INT64_MAX));
	show("and back", ftruncate(fd, (1 << 20) + 3));
}

/* ---- owners, modes, times ---------------------------------------------------------------- */

static void user_in_sticky(void)
{
	show("remove another's file from a sticky directory", unlink("sticky/root"));
	show("create", open("sticky/mine", O_CREAT | O_WRONLY, 0666));
	show("remove mine", unlink("sticky/mine"));
	show("create in a setgid directory", open("sgid/mine", O_CREAT | O_WRONLY, 02775));
	show("mkdir there", mkdir("sgid/dir", 0777));
	show("read another's", open("secret", O_RDONLY));
	show("chmod another's", chmod("secret", 0777));
	show("chown mine away", chown("sgid/mine", 0, (gid_t)-1));
	show("chgrp mine to my group", chown("sgid/mine", (uid_t)-1, 3000));
	show("chgrp mine to another", chown("sgid/mine", (uid_t)-1, 2000));
	show("mknod", mknod("sgid/dev", S_IFCHR | 0666, makedev(1, 3)));
	show("whiteout", mknod("sgid/wh", S_IFCHR, 0));
	show("trusted xattr", setxattr("sgid/mine", "trusted.x", "1", 1, 0));
	show("read trusted", getxattr("secret", "trusted.x", NULL, 0));
	show("list without trusted", listxattr("open", NULL, 0));
	show("user xattr", setxattr("sgid/mine", "user.x", "1", 1, 0));
	show("O_NOATIME on another's", open("open", O_RDONLY | O_NOATIME));
	show("write a setuid file", pwrite(open("suid", O_WRONLY), "x", 1, 0));
	show("open for writing by group", open("group", O_RDWR));
	show("search a closed directory", access("closed/x", F_OK));
}

static void t_owners(void)
{
	umask(0);
	mkdir("sticky", 01777);
	put_close("sticky/root", "");
	mkdir("sgid", 0777);
	chown("sgid", 0, 3001);
	chmod("sgid", 02777);
	put_close("secret", "s");
	chmod("secret", 0600);
	setxattr("secret", "trusted.x", "1", 1, 0);
	put_close("open", "s");
	setxattr("open", "trusted.x", "1", 1, 0);
	put_close("suid", "s");
	chmod("suid", 06777);
	put_close("group", "g");
	chown("group", 0, 3000);
	chmod("group", 0660);
	mkdir("closed", 0700);
	put_close("closed/x", "");
	umask(022);
	as_user(user_in_sticky);
	for (const char *const *p = (const char *[]){"sgid/mine", "sgid/dir", "suid", NULL}; *p;
	     p++)
		show_mode(*p);
	chmod("suid", 06777);
	show("chown clears", chown("suid", 1001, 1001));
	show_mode("suid");
	chmod("suid", 06777);
	show("truncate by root", truncate("suid", 0));
	show_mode("suid");
}

static void t_caps(void)
{
	static const unsigned char cap[20] = {1, 0, 0, 2, 0, 4};
	static const char *const how[] = {"write", "truncate", "chown", "chmod", "mmap"};
	char buf[64];

	for (int i = 0; i < 5; i++) {
		int fd = put("f", "prog", 4);

		show("set", fsetxattr(fd, "security.capability", cap, sizeof(cap), 0));
		if (i == 0)
			pwrite(fd, "P", 1, 0);
		else if (i == 1)
			ftruncate(fd, 2);
		else if (i == 2)
			fchown(fd, 1, 1);
		else if (i == 3)
			fchmod(fd, 0755);
		else
			mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);
		printf("%s: after %s\n", topic, how[i]);
		show("get", fgetxattr(fd, "security.capability", buf, sizeof(buf)));
		close(fd);
		unlink("f");
	}
	/* That one chown took the capability does not let the next one, of nothing, pass unseen. */
	int fd = put("f", "prog", 4);

	fsetxattr(fd, "security.capability", cap, sizeof(cap), 0);
	fchown(fd, 1, 1);
	fchmod(fd, 04755);
	show("chown of nothing", fchown(fd, (uid_t)-1, (gid_t)-1));
	show_mode("f");
	close(fd);
	put_close("g", "");
	show("broken value", setxattr("g", "security.capability", "xx", 2, 0));
}

static void t_times(void)
{
	struct timespec ts[2] = {{1000000001, 123456789}, {1000000002, 987654321}};
	struct stat a, b;

	int fd = put("f", "x", 1);
	show("set", futimens(fd, ts));
	fstat(fd, &a);
	printf("%s: %lld.%09ld %lld.%09ld\n", topic, (long long)a.st_atime, a.st_atim.tv_nsec,
	       (long long)a.st_mtime, a.st_mtim.tv_nsec);
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_sec = -5;
	show("omit and before 1970", futimens(fd, ts));
	fstat(fd, &a);
	printf("%s: %lld %lld\n", topic, (long long)a.st_atime, (long long)a.st_mtime);
	show("read keeps mtime", (pread(fd, &b, 1, 0), fstat(fd, &b), a.st_mtime == b.st_mtime));
	show("chmod keeps mtime", (fchmod(fd, 0600), fstat(fd, &b), a.st_mtime == b.st_mtime));
	show("write changes it", (pwrite(fd, "y", 1, 0), fstat(fd, &b), a.st_mtime != b.st_mtime));
	futimens(fd, ts);
	show("same-size truncate changes it", (ftruncate(fd, 1), fstat(fd, &b), b.st_mtime > 0));
	futimens(fd, ts);
	show("truncate(2) to the same size", (truncate("f", 1), fstat(fd, &b), b.st_mtime > 0));
	futimens(fd, ts);
	show("link keeps it", (link("f", "g"), fstat(fd, &b), b.st_mtime < 0));
	show("and rename", (rename("g", "h"), fstat(fd, &b), b.st_mtime < 0));
	utimensat(AT_FDCWD, ".", ts, 0);
	show("create changes the directory", (put_close("new", ""), stat(".", &b), b.st_mtime > 0));
	symlink("f", "s");
	show("of a symlink", utimensat(AT_FDCWD, "s", ts, AT_SYMLINK_NOFOLLOW));
	lstat("s", &b);
	show("is set", b.st_mtime == -5);
	ts[1].tv_nsec = 1000000000;
	show("bad nanoseconds", futimens(fd, ts));
}

static void t_xattr(void)
{
	static char big[70000];
	char list[1000], buf[100];
	ssize_t n;

	put_close("f", "");
	symlink("f", "s");
	show("user", setxattr("f", "user.a", "1", 1, 0));
	show("CREATE again", setxattr("f", "user.a", "1", 1, XATTR_CREATE));
	show("REPLACE nothing", setxattr("f", "user.b", "1", 1, XATTR_REPLACE));
	show("empty value", setxattr("f", "user.e", "", 0, 0));
	show("trusted", setxattr("f", "trusted.overlay.opaque", "y", 1, 0));
	show("security", setxattr("f", "security.selftest", "z", 1, 0));
	show("user on a symlink", lsetxattr("s", "user.a", "1", 1, 0));
	show("trusted on a symlink", lsetxattr("s", "trusted.a", "1", 1, 0));
	show("unknown namespace", setxattr("f", "bogus.a", "1", 1, 0));
	show("no name", setxattr("f", "user.", "1", 1, 0));
	show("too big", setxattr("f", "user.big", big, sizeof(big), 0));
	show("size", getxattr("f", "user.a", NULL, 0));
	show("short buffer",
	     (setxattr("f", "user.l", "12345", 5, 0), getxattr("f", "user.l", buf, 2)));
	show("none", getxattr("f", "user.none", buf, 2));
	n = show("list", listxattr("f", list, sizeof(list)));
	show("short list", listxattr("f", list, 3));
	show("remove", removexattr("f", "user.a"));
	show("remove again", removexattr("f", "user.a"));
	show("after", listxattr("f", list, sizeof(list)) < n);
	show("on a directory",
	     (mkdir("d", 0755), setxattr("d", "trusted.overlay.opaque", "y", 1, 0)));
	show("spillfs' own is not there", getxattr("f", "trusted.spill", buf, 2));
}

/* ---- processes --------------------------------------------------------------------------- */

static void t_locks(void)
{
	int fd = put("f", "0123456789", 10), pipefd[2], child[2];
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3};
	char c;

	show("flock", flock(fd, LOCK_EX));
	show("range", fcntl(fd, F_SETLK, &l));
	fflush(stdout);
	if (pipe(pipefd) < 0 || pipe(child) < 0)
		return;
	if (fork() == 0) {
		int mine = open("f", O_RDWR);
		struct flock q = l;

		show("child: flock", flock(mine, LOCK_SH | LOCK_NB));
		show("child: range", fcntl(mine, F_SETLK, &q));
		q.l_start = 6;
		show("child: other range", fcntl(mine, F_SETLK, &q));
		q = l;
		show("child: who has it", (fcntl(mine, F_GETLK, &q), q.l_pid == getppid()));
		fflush(stdout);
		write(child[1], "x", 1);
		q = l;
		show("child: wait", fcntl(mine, F_SETLKW, &q));
		fflush(stdout);
		_exit(0);
	}
	read(child[0], &c, 1);
	usleep(50000);
	l.l_type = F_UNLCK;
	fcntl(fd, F_SETLK, &l);
	wait(NULL);
}

static void t_exec(void)
{
	char buf[65536];
	int in = open("/bin/true", O_RDONLY), out = open("prog", O_WRONLY | O_CREAT, 0755),
	    status = -1;
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		write(out, buf, (size_t)n);
	fflush(stdout);
	if (fork() == 0) {
		execl("./prog", "prog", NULL);
		_exit(errno == ETXTBSY ? 26 : 99);
	}
	wait(&status);
	show("exec while open for writing", WEXITSTATUS(status));
	close(out);
	pid_t pid = fork();
	if (pid == 0) {
		execl("./prog", "prog", NULL);
		_exit(99);
	}
	wait(&status);
	show("exec", WEXITSTATUS(status));
	put_close("script", "#!/bin/sh\nexit 7\n");
	chmod("script", 0755);
	pid = fork();
	if (pid == 0) {
		execl("./script", "script", NULL);
		_exit(99);
	}
	wait(&status);
	show("script", WEXITSTATUS(status));
	chmod("prog", 0644);
	show("not executable", access("prog", X_OK));
}

static void t_dirs(void)
{
	char n[32];
	DIR *d;
	struct dirent *e;
	long seen = 0, types = 0, pos = -1;
	char at[300] = "";

	mkdir("d", 0755);
	for (int i = 0; i < 3000; i++) {
		snprintf(n, sizeof(n), "d/%d", i);
		close(open(n, O_CREAT | O_WRONLY, 0644));
	}
	d = opendir("d");
	while ((e = readdir(d))) {
		seen++;
		types += e->d_type == DT_REG;
		if (seen == 1500)
			pos = telldir(d);
		else if (seen == 1501)
			strcpy(at, e->d_name);
	}
	show("entries", seen);
	show("regular", types);
	seekdir(d, pos);
	e = readdir(d);
	show("seekdir comes back", e && strcmp(e->d_name, at) == 0);
	/* rm -r: delete while reading; all must go */
	rewinddir(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	show("rmdir after deleting while reading", rmdir("d"));
	mkdir("w", 0755);
	chdir("w");
	show("remove the working directory", rmdir("../w"));
	show("create in it", open("x", O_CREAT | O_WRONLY, 0644));
	chdir("..");
	chdir(".");
}

static void t_notify(void)
{
	_Alignas(8) char buf[4096];
	int in = inotify_init1(IN_NONBLOCK);
	ssize_t n;

	inotify_add_watch(in, ".", IN_ALL_EVENTS);
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	write(fd, "x", 1);
	close(fd);
	rename("f", "g");
	unlink("g");
	n = read(in, buf, sizeof(buf));
	for (ssize_t p = 0; p < n;) {
		struct inotify_event *e = (void *)(buf + p);

		printf("%s: %x %s\n", topic, e->mask, e->len ? e->name : "");
		p += (ssize_t)(sizeof(*e) + e->len);
	}
}

static void t_handles(void)
{
	struct {
		struct file_handle h;
		unsigned char room[128];
	} fh = {.h = {.handle_bytes = 128}};
	int id, dir = open(".", O_RDONLY | O_DIRECTORY), fd;

	put_close("f", "by handle");
	show("name_to_handle_at", name_to_handle_at(AT_FDCWD, "f", &fh.h, &id, 0));
	fd = open_by_handle_at(dir, &fh.h, O_RDONLY);
	show("open_by_handle_at", fd < 0 ? -1 : 0);
	char buf[10] = "";
	show("read", read(fd, buf, 9));
	close(fd);
	unlink("f");
	show("after unlink", open_by_handle_at(dir, &fh.h, O_RDONLY) < 0);
}

static void t_statfs(void)
{
	struct statfs s;

	show("statfs", statfs(".", &s));
	show("name length", s.f_namelen);
	show("sane",
	     s.f_blocks > 0 && s.f_bavail <= s.f_bfree && s.f_bfree <= s.f_blocks && s.f_bsize > 0);
	show("syncfs", syncfs(open(".", O_RDONLY)));
	show("fsync of a directory", fsync(open(".", O_RDONLY)));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} topics[] = {
		{"rename", t_rename},   {"names", t_names},     {"links", t_links},
		{"special", t_special}, {"tmpfile", t_tmpfile}, {"falloc", t_fallocate},
		{"seek", t_seek},       {"copy", t_copy},       {"direct", t_direct},
		{"mmap", t_mmap},       {"append", t_append},   {"big", t_big},
		{"owners", t_owners},   {"caps", t_caps},       {"times", t_times},
		{"xattr", t_xattr},     {"locks", t_locks},     {"exec", t_exec},
		{"dirs", t_dirs},       {"notify", t_notify},   {"handles", t_handles},
		{"statfs", t_statfs},
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
		topic = topics[i].name;
		umask(022);
		if (argc != 2 || chdir(argv[1]) < 0 || mkdir(topic, 0755) < 0 ||
		    chmod(topic, 0777) < 0 || chdir(topic) < 0) {
			fprintf(stderr, "semcheck: %s: %s\n",
				argc == 2 ? argv[1] : "usage: semcheck DIR", strerror(errno));
			return 2;
		}
		topics[i].fn();
	}
	return 0;
}
