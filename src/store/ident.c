/* SPDX-License-Identifier: MIT
 * The file STORE/STORE: what the directory is, and to which hot tier it belongs. Text, so that an
 * administrator can read it; with a checksum, so that a damaged one is told from a foreign one.
 *
 * It is the last thing store_create makes, by rename: without it there is no store, and what a
 * create that was interrupted left behind counts as an empty directory.
 */
#include "ident.h"
#include "spill/durable.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#define FIRST_LINE "spillfs store\n"
#define TMP_NAME   "STORE.tmp"
#define TEXT_MAX   4096

static int make_text(const struct store_id *id, char *out, size_t cap)
{
	char uuid[33], hot[33];
	int n;

	hex_encode(id->uuid, 16, uuid);
	hex_encode(id->hot_uuid, 16, hot);
	n = snprintf(out, cap, FIRST_LINE "format %d\nuuid %s\nhot %s\n", STORE_FORMAT, uuid, hot);
	return n + snprintf(out + n, cap - (size_t)n, "sum %016llx\n",
			    (unsigned long long)hash64(out, (size_t)n));
}

static bool hex16(const char *s, uint8_t out[16])
{
	for (int i = 0; i < 32; i++) {
		int c = s[i], v = c >= '0' && c <= '9'   ? c - '0'
				  : c >= 'a' && c <= 'f' ? c - 'a' + 10
							 : -1;

		if (v < 0)
			return false;
		out[i / 2] = (uint8_t)(i & 1 ? out[i / 2] | v : v << 4);
	}
	return true;
}

int ident_parse(const char *text, size_t len, struct store_id *ret)
{
	size_t skip = strlen(FIRST_LINE);
	struct store_id id;
	char uuid[33], hot[33], again[512];
	unsigned long format;
	char *end;
	int n;

	if (len < skip || memcmp(text, FIRST_LINE, skip))
		return -EMEDIUMTYPE;
	if (memchr(text, 0, len) || strncmp(text + skip, "format ", 7))
		return -EUCLEAN;
	format = strtoul(text + skip + 7, &end, 10);
	if (*end != '\n' || format == 0)
		return -EUCLEAN;
	if (format > STORE_FORMAT)
		return -EPROTONOSUPPORT;
	if (sscanf(end, "\nuuid %32[0-9a-f]\nhot %32[0-9a-f]\n", uuid, hot) != 2 ||
	    !hex16(uuid, id.uuid) || !hex16(hot, id.hot_uuid))
		return -EUCLEAN;
	/* There is one way to write it: compare with that, and the checksum is checked too. */
	n = make_text(&id, again, sizeof(again));
	if ((size_t)n != len || memcmp(again, text, len))
		return -EUCLEAN;
	*ret = id;
	return 0;
}

/* 1: nothing in it that matters, 0: something, or -errno. */
static int dir_is_empty(int dirfd, bool sub)
{
	static const char *const ours[] = {"lost+found", TMP_NAME, "LOCK", "packs"};
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 1;
	struct dirent *de;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 1 && (errno = 0, de = readdir(d))) {
		bool known = !strcmp(de->d_name, ".") || !strcmp(de->d_name, "..");

		for (size_t i = 0; !sub && !known && i < ARRAY_SIZE(ours); i++)
			known = !strcmp(de->d_name, ours[i]);
		if (!known)
			r = 0;
		if (!sub && !strcmp(de->d_name, "packs")) {
			cleanup_fd int p =
				openat(dirfd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			r = p < 0 ? 0 : dir_is_empty(p, true);
		}
	}
	if (!de && errno)
		r = -errno;
	closedir(d);
	return r;
}

int ident_read(int dirfd, struct store_id *ret)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r = read_file(dirfd, "STORE", TEXT_MAX, &text, &len);

	if (r == -ENOENT) {
		r = dir_is_empty(dirfd, false);
		return r < 0 ? r : r ? -ENODATA : -EMEDIUMTYPE;
	}
	if (r == -EFBIG || r == -EISDIR)
		return -EMEDIUMTYPE;
	return r ?: ident_parse(text, len, ret);
}

int store_identify(const char *path, struct store_id *ret)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : ident_read(fd, ret);
}

static int write_ident(int dirfd, const struct store_id *id)
{
	cleanup_fd int fd = openat(dirfd, TMP_NAME,
				   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	char text[512];
	int n = make_text(id, text, sizeof(text)), r;

	if (fd < 0)
		return -errno;
	r = d_pwrite(fd, text, (size_t)n, 0);
	if (!r)
		r = d_fsync(fd);
	if (!r)
		r = d_rename(dirfd, TMP_NAME, dirfd, "STORE");
	return r ?: d_fsync(dirfd);
}

int store_create(const char *path, const uint8_t hot_uuid[16], struct store_id *ret)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), lock = -1;
	struct store_id id;
	int r;

	if (fd < 0)
		return -errno;
	r = ident_read(fd, &id);
	if (r != -ENODATA)
		return r == 0 || r == -EMEDIUMTYPE || r == -EUCLEAN || r == -EPROTONOSUPPORT
			       ? -ENOTEMPTY
			       : r;
	memcpy(id.hot_uuid, hot_uuid, 16);
	if (getrandom(id.uuid, 16, 0) != 16)
		return -EIO;
	if (mkdirat(fd, "packs", 0700) && errno != EEXIST)
		return -errno;
	lock = openat(fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return -errno;
	r = write_ident(fd, &id);
	if (!r)
		*ret = id;
	return r;
}
