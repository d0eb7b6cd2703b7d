/* SPDX-License-Identifier: MIT
 * The start up to the mount, in this order (DESIGN.md section 3):
 *
 *	check	names, nesting, mounts					nothing changed yet
 *	guard	the read-only guard over DIR, the hot bind below it	before STORE is looked at
 *	tiers	hot tier, STORE (made when empty), index, tier		recovery happens here
 *	mount	FUSE over the guard
 *
 * Guard first, because whatever is wrong with STORE, nobody may read stubs as zeros meanwhile. Only
 *a DIR that never had a store (no ROOT_XATTR) is checked against STORE's place before, so that a
 *typing error does not cover a directory that has nothing to do with us.
 */
#include "start.h"

#include "paths.h"
#include "spill/mnt.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* One READ is two frames: with READAHEAD_KIB (serve.c) several are in flight, and as many cores
 * decode for one reader. */
#define MAX_READ          (256u << 10)
#define FRAME_CACHE_BYTES (32u << 20)
/* A daemon that was told to end writes out what it knows; systemd gives a start 90 s. */
#define ENDING_SEC 45

static const struct meaning store_meaning[] = {
	{ENOENT, EXIT_STORE_MISSING,
	 "does not exist; make the directory, or mount the disk it is on"},
	{ENOTDIR, EXIT_STORE_MISSING, "is not a directory"},
	{EMEDIUMTYPE, EXIT_STORE_FOREIGN,
	 "holds other files and no spillfs store; give an empty directory"},
	{ENOTEMPTY, EXIT_STORE_FOREIGN,
	 "is not empty and no spillfs store; give an empty directory"},
	{EPROTONOSUPPORT, EXIT_STORE_FOREIGN, "was written by a newer spillfs; upgrade this one"},
	{EUCLEAN, EXIT_STORE_CORRUPT,
	 "is damaged (malformed STORE file or packs); look with spillctl check"},
	{EBADMSG, EXIT_STORE_CORRUPT, "is damaged (checksum mismatch); look with spillctl check"},
	{EIO, EXIT_STORE_CORRUPT, "cannot be read (I/O error); look at its disk"},
	{EBUSY, EXIT_STORE_LOCKED, "is in use by another daemon or a spillctl command"},
	{EROFS, EXIT_STORE_READONLY, "is read-only; remount its disk read-write"},
	{ENOSPC, EXIT_STORE_FULL, "is full; make room on its disk"},
	{EDQUOT, EXIT_STORE_FULL, "is over quota; make room"},
	{ENOMEM, EXIT_SYSTEM, "cannot be opened: out of memory"},
	{0, EXIT_MOUNT, "cannot be used as a store"},
};
static const struct meaning index_meaning[] = {
	{ENOENT, EXIT_STORE_CORRUPT,
	 "has packs but no index.db; restore the whole store from a backup (an index cannot be "
	 "rebuilt yet)"},
	{EUCLEAN, EXIT_STORE_CORRUPT,
	 "has a damaged index.db; restore the whole store from a backup (an index cannot be "
	 "rebuilt yet)"},
	{EPROTONOSUPPORT, EXIT_STORE_FOREIGN, "has an index of a newer spillfs; upgrade this one"},
	{EROFS, EXIT_STORE_READONLY, "is read-only; remount its disk read-write"},
	{ENOSPC, EXIT_STORE_FULL, "is full: its index cannot be opened; make room on its disk"},
	{EDQUOT, EXIT_STORE_FULL, "is over quota: its index cannot be opened; make room"},
	{0, EXIT_MOUNT, "has an index that cannot be opened"},
};
static const struct meaning tier_meaning[] = {
	{EMEDIUMTYPE, EXIT_STORE_FOREIGN, ""},
	{EUCLEAN, EXIT_STORE_CORRUPT, ""},
	{EBADMSG, EXIT_STORE_CORRUPT, ""},
	{EIO, EXIT_STORE_CORRUPT, ""},
	{EROFS, EXIT_HOT_BAD, ""},
	{EOPNOTSUPP, EXIT_HOT_BAD, ""},
	{ENOMEM, EXIT_SYSTEM, ""},
	{0, EXIT_MOUNT, ""},
};
static const struct meaning dir_meaning[] = {
	{ENOENT, EXIT_DIR_BAD, "does not exist"},
	{ENOTDIR, EXIT_DIR_BAD, "is not a directory"},
	{ELOOP, EXIT_DIR_BAD,
	 "is a symbolic link; name the directory itself (kubelet would not find us)"},
	{0, EXIT_DIR_BAD, "cannot be opened"},
};

static enum spill_exit code_of(const struct meaning *m, int err)
{
	while (m->err && m->err != -err)
		m++;
	return m->code;
}

/* ---- check
 * ---------------------------------------------------------------------------------------------- */
static int inside(struct outcome *o, const struct config *c, bool store_in_dir)
{
	const char *a = store_in_dir ? c->store : c->dir, *b = store_in_dir ? c->dir : c->store;

	if (!strcmp(a, b))
		return outcome_set(o, EXIT_STORE_INSIDE, "STORE and DIR are the same directory, %s",
				   a);
	return outcome_set(o, EXIT_STORE_INSIDE,
			   "%s %s lies inside %s %s; use a directory on another disk",
			   store_in_dir ? "STORE" : "DIR", a, store_in_dir ? "DIR" : "STORE", b);
}

/* fd is the bare directory. */
static int check_nesting(const struct config *c, int fd, struct outcome *o)
{
	struct stat dir, store;

	if (fstat(fd, &dir) < 0)
		return outcome_errno(o, dir_meaning, -errno, c->dir);
	if (path_inside_dir(c->store, dir.st_dev, dir.st_ino) == 1)
		return inside(o, c, true);
	if (!stat(c->store, &store) && path_inside_dir(c->dir, store.st_dev, store.st_ino) == 1)
		return inside(o, c, false);
	return 0;
}

static int check_dir(const char *dir, struct outcome *o)
{
	cleanup_fd int fd = -1;
	char c;

	if (!strcmp(dir, "/"))
		return outcome_set(o, EXIT_DIR_BAD, "DIR must not be the root directory");
	/* Not lstat: what is mounted there may not answer. */
	if (readlink(dir, &c, 1) >= 0)
		return outcome_errno(o, dir_meaning, -ELOOP, dir);
	fd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? outcome_errno(o, dir_meaning, -errno, dir) : 0;
}

static int names(struct start *s, struct outcome *o)
{
	struct config *c = s->cfg;
	int r = path_mountpoint(s->args->dir, &c->dir);

	if (r < 0)
		return outcome_errno(o, dir_meaning, r, s->args->dir);
	r = path_absolute(s->args->store, &c->store);
	if (r < 0)
		return outcome_set(o, EXIT_SYSTEM, "%s: %s", s->args->store, strerror(-r));
	if (check_dir(c->dir, o) < 0)
		return -1;
	if (path_within(c->store, c->dir))
		return inside(o, c, true);
	return path_within(c->dir, c->store) ? inside(o, c, false) : 0;
}

static bool same_store(const char *a, const char *b)
{
	cleanup_free char *ra = realpath(a, NULL), *rb = realpath(b, NULL);

	return !strcmp(ra ? ra : a, rb ? rb : b);
}

static int check_live(struct start *s, const char *store, struct outcome *o)
{
	if (!store)
		return outcome_set(o, EXIT_MOUNTED, "%s is a spillfs mount already", s->cfg->dir);
	if (!same_store(store, s->cfg->store))
		return outcome_set(o, EXIT_MOUNTED,
				   "%s is mounted already, with the store %s; umount it first",
				   s->cfg->dir, store);
	outcome_set(o, s->args->helper ? EXIT_OK : EXIT_MOUNTED,
		    "%s is mounted already, with this store", s->cfg->dir);
	if (!s->args->helper)
		return -1;
	/* mount -a calls for what is mounted, too (the source in the table is not our fstab line's)
	 */
	s->already = true;
	return 0;
}

/* A DIR nothing of ours lies on. */
static int check_bare(struct start *s, struct outcome *o)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	const struct mnt_entry *e;
	cleanup_fd int fd = -1;
	int r = mnt_table_read(&t);

	if (r < 0)
		return outcome_set(o, EXIT_SYSTEM, "cannot read the mount table: %s", strerror(-r));
	e = mnt_below(&t, s->cfg->dir);
	if (e)
		return outcome_set(o, EXIT_DIR_BUSY, "%s is mounted below %s; unmount it first",
				   e->point, s->cfg->dir);
	fd = open(s->cfg->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return outcome_errno(o, dir_meaning, -errno, s->cfg->dir);
	if (fgetxattr(fd, ROOT_XATTR, NULL, 0) >= 0)
		return 0; /* may hold stubs: nothing may keep us from the guard, STORE's disk may
			     hang */
	return check_nesting(s->cfg, fd, o);
}

int start_check(struct start *s, struct outcome *o)
{
	cleanup_free char *store = NULL;
	enum mnt_state state;
	int r;

	if (geteuid() != 0)
		return outcome_set(o, EXIT_SYSTEM, "only root can mount spillfs");
	if (names(s, o) < 0)
		return -1;
	r = mnt_probe(s->cfg->dir, &state, &store);
	if (r == -ETIMEDOUT)
		return outcome_set(
			o, EXIT_MOUNTED,
			"the spillfs on %s does not answer; end its daemon, then try again",
			s->cfg->dir);
	if (r < 0)
		return outcome_set(o, EXIT_MOUNT, "%s: %s", s->cfg->dir, strerror(-r));
	if (state == MNT_LIVE)
		return check_live(s, store, o);
	return state == MNT_BARE ? check_bare(s, o) : 0;
}

/* ---- guard
 * ---------------------------------------------------------------------------------------------- */
static enum spill_exit guard_code(int err)
{
	switch (-err) {
	case EBUSY:
		return EXIT_DIR_BUSY;
	case EALREADY:
	case ETIMEDOUT:
		return EXIT_MOUNTED;
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
		return EXIT_DIR_BAD;
	case EPERM:
	case EACCES:
	case ENOMEM:
		return EXIT_SYSTEM;
	}
	return EXIT_MOUNT;
}

/* Another start with another STORE must not bind the directory meanwhile: the lock is held until
 * the daemon ends. umount(8) returns before that, and systemd mounts again at once: it is waited
 * for. */
static int hot_lock(struct start *s, struct outcome *o, bool *ret_waited)
{
	uint64_t end = clock_mono_ns() + ENDING_SEC * UINT64_C(1000000000);
	enum mnt_state state;

	for (unsigned i = 0; flock(s->hot_fd, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK)
			return outcome_set(o, EXIT_MOUNT, "%s: flock: %s", s->cfg->dir,
					   strerror(errno));
		if (!i)
			log_info("%s: waiting for another spillfs that starts or ends",
				 s->cfg->dir);
		if (!mnt_probe(s->cfg->dir, &state, NULL) && state == MNT_LIVE)
			return outcome_set(o, EXIT_MOUNTED, "a spillfs was mounted on %s meanwhile",
					   s->cfg->dir);
		if (clock_mono_ns() > end)
			return outcome_set(o, EXIT_MOUNTED,
					   "another spillfs has been starting or ending on %s for "
					   "%d seconds; see its log",
					   s->cfg->dir, ENDING_SEC);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
		*ret_waited = true;
	}
	return 0;
}

int start_guard(struct start *s, struct outcome *o)
{
	bool waited;

	do { /* while we waited, the guard may have been taken away */
		cleanup_free char *msg = NULL;
		int r = mnt_guard_up(s->cfg->dir, &msg);

		if (r < 0)
			return outcome_set(o, guard_code(r), "%s", msg ? msg : strerror(-r));
		spill_closep(&s->hot_fd);
		s->hot_fd = r;
		waited = false;
		if (hot_lock(s, o, &waited) < 0)
			return -1;
	} while (waited);
	s->guarded = true;
	if (start_source(s, o) < 0)
		return -1;
	/* For what the check before the guard had to leave out. */
	return check_nesting(s->cfg, s->hot_fd, o);
}

int start_below(struct start *s, struct outcome *o)
{
	int r = mnt_hot_fd(s->cfg->dir);

	if (r < 0)
		return outcome_set(o, EXIT_MOUNT, "the directory below %s is out of reach: %s",
				   s->cfg->dir, strerror(-r));
	s->hot_fd = r;
	if (flock(s->hot_fd, LOCK_EX | LOCK_NB))
		return outcome_set(o, EXIT_MOUNTED, "another spillfs is at work on %s",
				   s->cfg->dir);
	s->guarded = true;
	return 0;
}

/* ---- tiers
 * ------------------------------------------------------------------------------------------------
 */
static int open_hot(struct start *s, struct outcome *o)
{
	const char *why = NULL;
	int r = mnt_hot_noatime(s->cfg->dir, s->cfg->noatime);

	if (r < 0)
		log_warn("%s: noatime cannot be set for passthrough reads: %s", s->cfg->dir,
			 strerror(-r));
	r = hot_open(&s->hot, s->hot_fd, &why);

	if (r == -EOPNOTSUPP && why)
		return outcome_set(o, EXIT_HOT_BAD, "the file system of %s cannot be used: %s",
				   s->cfg->dir, why);
	if (r < 0)
		return outcome_set(o, EXIT_HOT_BAD, "the file system of %s cannot be used: %s",
				   s->cfg->dir, strerror(-r));
	return 0;
}

static int new_store(struct start *s, struct outcome *o)
{
	struct store_id id;
	struct hot_root root;
	uint8_t uuid[16];
	int r = hot_root_get(s->hot, &root);

	if (r == 0 || r == -EUCLEAN)
		return outcome_set(o, EXIT_STORE_MISSING,
				   "%s is empty, but %s has spilled to a store before; mount the "
				   "disk that store "
				   "is on, or give its directory",
				   s->cfg->store, s->cfg->dir);
	if (r != -ENODATA)
		return outcome_set(o, EXIT_HOT_BAD, "%s: the root record cannot be read: %s",
				   s->cfg->dir, strerror(-r));
	if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		return outcome_set(o, EXIT_SYSTEM, "no random numbers: %s", strerror(errno));
	r = store_create(s->cfg->store, uuid, &id);
	return r < 0 ? outcome_errno(o, store_meaning, r, s->cfg->store) : 0;
}

static int resolve_store(struct start *s, struct outcome *o)
{
	char *real = realpath(s->cfg->store, NULL);
	int r = real ? 0 : -errno;
	struct hot_root root;

	if (r == -ENOENT && !hot_root_get(s->hot, &root)) /* an empty one would not do */
		return outcome_set(
			o, EXIT_STORE_MISSING,
			"%s does not exist; mount the disk it is on, or name it where it is "
			"now (files of %s may be in it)",
			s->cfg->store, s->cfg->dir);
	if (r)
		return outcome_errno(o, store_meaning, r, s->cfg->store);
	free(s->cfg->store);
	s->cfg->store = real;
	return 0;
}

static int open_store(struct start *s, struct outcome *o)
{
	struct config *c = s->cfg;
	struct store_opts opts = {
		.level = c->level,
		.pack_bytes = c->pack_size_bytes,
		.threads = c->threads,
		.cache_bytes = FRAME_CACHE_BYTES,
		.max_bytes = c->store_size_bytes,
	};
	struct store_id id;
	int r = store_identify(c->store, &id);

	if (r == -ENODATA) {
		if (new_store(s, o) < 0)
			return -1;
	} else if (r < 0) {
		return outcome_errno(o, store_meaning, r, c->store);
	}
	r = store_open(&s->store, c->store, &opts, false);
	return r < 0 ? outcome_errno(o, store_meaning, r, c->store) : 0;
}

static int open_index(struct start *s, struct outcome *o)
{
	cleanup_free uint32_t *packs = NULL;
	size_t n = 0;
	int r = store_list_packs(s->store, &packs, &n);

	if (r < 0)
		return outcome_errno(o, store_meaning, r, s->cfg->store);
	/* Without packs there is nothing an index could have told: a start that was cut short, or
	 * the first. */
	r = index_open(&s->ix, s->cfg->store, n == 0, false);
	return r < 0 ? outcome_errno(o, index_meaning, r, s->cfg->store) : 0;
}

int start_tiers(struct start *s, struct outcome *o)
{
	cleanup_free char *msg = NULL;
	int r;

	if (open_hot(s, o) < 0 || resolve_store(s, o) < 0 || open_store(s, o) < 0 ||
	    open_index(s, o) < 0)
		return -1;
	r = tier_open(&s->tier, s->cfg, s->hot, s->store, s->ix, &msg);
	if (r < 0)
		return outcome_set(o, code_of(tier_meaning, r), "%s and %s: %s", s->cfg->dir,
				   s->cfg->store, msg ? msg : strerror(-r));
	return 0;
}

/* ---- mount
 * --------------------------------------------------------------------------------------------------
 */
int start_mount(struct start *s, int dev_fd, struct outcome *o)
{
	const struct config *c = s->cfg;
	unsigned long flags = (c->allow_dev ? 0 : MS_NODEV) | (c->allow_suid ? 0 : MS_NOSUID) |
			      (c->allow_exec ? 0 : MS_NOEXEC) | (c->read_only ? MS_RDONLY : 0) |
			      (c->noatime ? MS_NOATIME : 0);
	int r = dev_fd < 0 ? dev_fd : mnt_fuse(c->dir, s->source, flags, MAX_READ, dev_fd);

	if (r == -ENODEV || r == -ENOENT)
		return outcome_set(o, EXIT_SYSTEM,
				   "the kernel has no FUSE (/dev/fuse); load the fuse module");
	if (r == -EPERM || r == -EACCES)
		return outcome_set(o, EXIT_SYSTEM, "no permission to mount on %s", c->dir);
	if (r == -EALREADY)
		return outcome_set(o, EXIT_MOUNTED, "a spillfs was mounted on %s meanwhile",
				   c->dir);
	if (r == -ESTALE)
		return outcome_set(o, EXIT_MOUNT,
				   "the guard on %s was taken away meanwhile; start again", c->dir);
	if (r < 0)
		return outcome_set(o, EXIT_MOUNT, "cannot mount on %s: %s", c->dir, strerror(-r));
	return 0;
}

void start_done(struct start *s)
{
	if (s->tier)
		tier_close(s->tier);
	if (s->ix)
		index_close(s->ix);
	if (s->store)
		store_close(s->store);
	if (s->hot)
		hot_close(s->hot);
	if (s->hot_fd >= 0)
		close(s->hot_fd);
	free(s->source);
	*s = (struct start){.hot_fd = -1};
}
