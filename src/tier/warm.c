/* SPDX-License-Identifier: MIT
 * Directory readahead. Who walks through a tree that nobody has looked at since the start waits for
 * the hot tier's disk at each directory: its blocks, then its inodes, one place after the other.
 * While that reader works on a directory, a thread that has nothing else to do reads the
 * directories in it and looks at what is in those, so that the disk has several requests and the
 * reader finds them in memory.
 *
 * It begins where a listing had to read from the disk, goes on with the directories for which it
 * had to itself, and so ends where everything is in memory (or the kernel does not count: then it
 * never begins). One thread at a time, for WARM_NS at most. No use counts, no time changes.
 */
#include "tier_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define DIRS_MAX    64   /* of one directory */
#define ENTRIES_MAX 1024 /* of one of those */
#define READS_MAX   16   /* of a directory, of some hundred entries each */
#define WARM_NS     UINT64_C(100000000)

static _Atomic uint64_t *slot_of(struct tier *t, uint64_t ino)
{
	return &t->warmed[(ino * 0x9e3779b97f4a7c15ull >> 32) % WARMED];
}

long tier_disk_reads(void)
{
	struct rusage ru;

	return getrusage(RUSAGE_THREAD, &ru) ? 0 : ru.ru_inblock;
}

bool tier_walked(struct tier *t, struct node *n, bool read_disk)
{
	uint64_t ino = node_hot_id(t, n).ino;

	return (ino && atomic_compare_exchange_strong(slot_of(t, ino), &(uint64_t){ino}, 0)) ||
	       read_disk;
}

struct warm {
	struct tier *t;
	uint64_t until_ns;
};
typedef bool (*entry_fn)(const struct warm *w, int fd, const struct dirent64 *e);

/* fn says whether an entry counts, of which at most max are looked at. */
static void for_entries(const struct warm *w, int fd, unsigned max, entry_fn fn)
{
	union {
		struct dirent64 e;
		char bytes[16384];
	} buf;

	for (unsigned i = 0; i < READS_MAX && max; i++) {
		ssize_t got = getdents64(fd, &buf, sizeof(buf));

		if (got <= 0)
			return;
		for (ssize_t at = 0; at < got && max;) {
			const struct dirent64 *e = (const void *)(buf.bytes + at);

			if (clock_mono_ns() > w->until_ns)
				return;
			max -= !is_dot(e->d_name) && fn(w, fd, e);
			at += e->d_reclen;
		}
	}
}

static bool look(const struct warm *w, int fd, const struct dirent64 *e)
{
	struct stat st;

	(void)w;
	fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW); /* only to have it in memory */
	return true;
}

static bool warm_dir(const struct warm *w, int dirfd, const struct dirent64 *d)
{
	if (d->d_type != DT_DIR)
		return false;
	long before = tier_disk_reads();
	cleanup_fd int fd = openat(dirfd, d->d_name,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);

	if (fd < 0)
		return true;
	for_entries(w, fd, ENTRIES_MAX, look);
	if (tier_disk_reads() != before)
		atomic_store(slot_of(w->t, d->d_ino), d->d_ino);
	return true;
}

void tier_warm(struct tier *t, uint64_t nodeid)
{
	struct warm w = {.t = t, .until_ns = clock_mono_ns() + WARM_NS};

	if (atomic_exchange(&t->warming, true))
		return;
	struct node *n = node_find(t, nodeid);
	cleanup_fd int fd =
		n ? node_open(t, n, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME) : -ESTALE;

	if (fd >= 0)
		for_entries(&w, fd, DIRS_MAX, warm_dir);
	if (n)
		tier_put(t, n);
	atomic_store(&t->warming, false);
}
