/* SPDX-License-Identifier: MIT
 * Contract of src/mnt: mount table, the guard, and the run directory. Linux mount plumbing only;
 * knows neither FUSE's protocol nor the store.
 *
 *   /run/spillfs/<escaped DIR>/hot    root-only private bind of the hot directory, made before the
 * guard /run/spillfs/<escaped DIR>/sock   control socket       .../pid     the daemon's pid
 *   /run/spillfs/<escaped DIR>/guard.img  64 KiB ext2 image (on the tmpfs /run)
 *   /run/spillfs/<escaped DIR>/store  STORE of the live mount    .../dir     DIR itself (for shell
 * scripts)
 */
#ifndef SPILL_MNT_H
#define SPILL_MNT_H

#include "spill/base.h"

/* One line of /proc/self/mountinfo; strings unescaped, owned by the entry. */
struct mnt_entry {
	int id, parent;
	char *root, *point, *fstype, *source;
	unsigned dev_major, dev_minor;
};
struct mnt_table {
	struct mnt_entry *v; /* in mount order */
	size_t n;
};
int mnt_table_read(struct mnt_table *ret);
int mnt_table_parse(const char *text, struct mnt_table *ret); /* pure, for tests; -EUCLEAN */
void mnt_table_done(struct mnt_table *t);
/* Topmost mount at exactly this path, or NULL. */
const struct mnt_entry *mnt_top(const struct mnt_table *t, const char *path);
/* First mount strictly below path, or NULL. */
const struct mnt_entry *mnt_below(const struct mnt_table *t, const char *path);

#define SPILLFS_FSTYPE "fuse.spillfs"
/* What a guard is to be known by: a tmpfs of this source (it is the ext2's volume label too), or an
 * ext2 on a loop device of RUN_IMAGE in the run directory. */
#define GUARD_TMPFS_SOURCE "spillfs-guard"
#define RUN_IMAGE          "guard.img"
#define RUN_HOT            "hot" /* there: the hot bind, under a mount and under a guard */

/* systemd-escape like: "/var/lib/docker" -> "var-lib-docker". Caller frees. */
char *mnt_escape(const char *dir);
/* "/run/spillfs/<escaped>" ($SPILLFS_RUN_DIR replaces /run/spillfs, for tests). Caller frees. */
char *mnt_run_dir(const char *dir);
/* Write (text plus a newline, atomically) or with NULL remove a small file in DIR's run directory,
 * which exists (mnt_guard_up made it). */
int mnt_run_put(const char *dir, const char *name, const char *text);

/* The kernel's own reads of the hot tier (passthrough) leave atime alone, or (false) no longer do.
 */
int mnt_hot_noatime(const char *dir, bool on);

enum mnt_state {
	MNT_BARE,    /* nothing of ours at DIR */
	MNT_GUARDED, /* our guard on top */
	MNT_LIVE,    /* a spillfs mount that answers on top */
	MNT_DEAD,    /* a spillfs mount whose daemon is gone (ENOTCONN) */
};
/* What lies on top of dir (absolute, resolved). *ret_store (may be NULL; caller frees): the store a
 * live mount uses, NULL if unknown. -ETIMEDOUT: a spillfs which does not answer within 2 s; treat
 * it as somebody else's. Never hangs; forks. */
int mnt_probe(const char *dir, enum mnt_state *ret, char **ret_store);

/* Put the guard over dir unless it is there: makes the run directory (0700) and hot bind first (a
 * non-recursive open_tree clone, made private), then the read-only guard. Returns an
 * O_RDONLY|O_DIRECTORY fd of the hot directory, or -errno: -EBUSY a submount exists below dir,
 * -EALREADY a live spillfs is there, -ETIMEDOUT a stuck one, -ENOENT, -ENOTDIR, -ELOOP, -EPERM.
 * *ret_msg (caller frees): on failure one line, or NULL. A dead spillfs mount on top is cleared
 * first (with everything mounted on it). Idempotent: with the guard there it only opens the hot
 * directory again. */
int mnt_guard_up(const char *dir, char **ret_msg);
/* Take the guard and the hot bind away. The caller has made sure that no stub would show.
 * -EBUSY: a spillfs lies on top. */
int mnt_guard_down(const char *dir);
/* Make sure that the guard on top of dir is the one on a loop device, kubelet's anchor; over a
 * tmpfs guard one is mounted. *ret_dev: "/dev/loopN", what the source of our mount has to be.
 * -errno with *ret_why, what could not be done (both caller frees), and the guard as it was;
 * -ESTALE: no guard of ours is on top. */
int mnt_anchor(const char *dir, char **ret_dev, char **ret_why);
/* Instead of the anchor: the disk whose own mount point dir is, as far as kubelet can tell.
 * -ENODEV, -ENOMEM; *ret_dev: caller frees. */
int mnt_partition(const struct mnt_table *t, const char *dir, char **ret_dev);
/* Open the hot directory behind a guard or a live mount, by its bind; -ENOENT when there is none.
 */
int mnt_hot_fd(const char *dir);

/* Mount FUSE over dir, on the open /dev/fuse fd: mount(2) with fsname=source, subtype spillfs.
 * Mount flags from the caller (MS_NOSUID, ...). The guard must be on top: -EALREADY there is a
 * spillfs by now, -ESTALE the guard is gone. */
int mnt_fuse(const char *dir, const char *source, unsigned long flags, unsigned max_read, int fd);
/* Readahead window of a mounted FUSE file system, by its device number; after INIT, which only
 * lowers the kernel's default of 128 KiB (include/linux/mm.h, VM_READAHEAD_PAGES). -errno: no sysfs
 * here, or read-only; everything works without it, slower. */
int mnt_readahead(unsigned dev_major, unsigned dev_minor, unsigned kib);

/* What kubelet takes for the numbers of a directory on our mount, by the mount table. */
enum mnt_seen {
	MNT_SEEN_ANCHOR,    /* ours, by the guard's loop device */
	MNT_SEEN_PARTITION, /* ours, by the disk's own device */
	MNT_SEEN_ELSEWHERE, /* what another mount of our source shows, at point */
	MNT_SEEN_NOT,       /* it does not find the mount */
};
struct mnt_view {
	enum mnt_seen seen;
	char *source; /* of our mount */
	char *point;  /* where kubelet asks, NULL: nowhere */
};
/* -ENOENT: no spillfs is on top of dir; -ENOMEM. The mount itself is not asked. */
int mnt_view(const struct mnt_table *t, const char *dir, struct mnt_view *ret);
void mnt_view_done(struct mnt_view *v);

/* All spillfs mount points that are not covered by another mount, from the mount table alone (a
 * dead one counts); caller frees each and the array. */
int mnt_list(char ***ret, size_t *ret_n);

#endif
