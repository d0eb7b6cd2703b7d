/* SPDX-License-Identifier: MIT
 * Directory readahead. Who walks through a tree that nobody has looked at since the start waits for
 * the hot tier's disk at each directory: its blocks, then its inodes, one place after the other.
 * While that reader works on a directory, a thread that has nothing else to do reads the
 * directories in it and looks at what is in those, so that the disk has several requests and the
 * reader finds them in memory.
 *
 * It begins where a listing took as long as a disk takes, goes on with the directories whose
 * reading it found slow itself, and so ends where everything is in memory. No use counts, no time
 * changes.
 */
#include "tier_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DIRS_MAX    64   /* of one directory */
#define ENTRIES_MAX 1024 /* of one of those */
#define READS_MAX   16   /* of a directory, of some hundred entries each */
#define SLOW_NS     100000u
/* A listing with attributes from memory: less than this for an entry (of 160 bytes and more). */
#define ENTRY_NS    20000u
#define ENTRY_BYTES 160u

static _Atomic uint64_t *slot_of(struct tier *t, uint64_t ino)
{
	return &t->warmed[(ino * 0x9e3779b97f4a7c15ull >> 32) % WARMED];
}

bool tier_walked(struct tier *t, struct node *n, uint64_t took_ns, size_t reply_bytes)
{
	uint64_t ino = node_hot_id(t, n).ino;

	if (ino && atomic_compare_exchange_strong(slot_of(t, ino), &(uint64_t){ino}, 0))
		return true;
	return took_ns > 2 * SLOW_NS + reply_bytes / ENTRY_BYTES * ENTRY_NS;
}

static bool dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

typedef bool (*entry_fn)(struct tier *t, int fd, const struct dirent64 *e);

/* fn says whether an entry counts, of which at most max are looked at. */
static void for_entries(struct tier *t, int fd, unsigned max, entry_fn fn)
{
	union {
		struct dirent64 e;
		char bytes[16384];
	} buf;

	for (unsigned i = 0; i < READS_MAX && max && !atomic_load(&t->stop); i++) {
		ssize_t got = getdents64(fd, &buf, sizeof(buf));

		if (got <= 0)
			return;
		for (ssize_t at = 0; at < got && max;) {
			const struct dirent64 *e = (const void *)(buf.bytes + at);

			max -= !dot(e->d_name) && fn(t, fd, e);
			at += e->d_reclen;
		}
	}
}

static bool look(struct tier *t, int fd, const struct dirent64 *e)
{
	struct stat st;

	(void)t;
	fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW); /* only to have it in memory */
	return true;
}

static bool warm_dir(struct tier *t, int dirfd, const struct dirent64 *d)
{
	if (d->d_type != DT_DIR)
		return false;
	uint64_t t0 = clock_mono_ns();
	cleanup_fd int fd = openat(dirfd, d->d_name,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);

	if (fd < 0)
		return true;
	for_entries(t, fd, ENTRIES_MAX, look);
	if (clock_mono_ns() - t0 > SLOW_NS)
		atomic_store(slot_of(t, d->d_ino), d->d_ino);
	return true;
}

void tier_warm(struct tier *t, uint64_t nodeid)
{
	struct node *n = node_find(t, nodeid);

	if (!n)
		return;
	cleanup_fd int fd =
		node_open(t, n, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);

	if (fd >= 0)
		for_entries(t, fd, DIRS_MAX, warm_dir);
	tier_put(t, n);
}
