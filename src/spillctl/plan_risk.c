/* SPDX-License-Identifier: MIT
 * The risks that `plan` names: what would make a mount fail, or do less than hoped for.
 */
#include "plan.h"

#include "spill/mnt.h"
#include "spill/store.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static void add(json_t *out, const char *level, const char *what, const char *fmt, ...)
	printf_like(4, 5);
static void add(json_t *out, const char *level, const char *what, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	json_t *o = json_pack("{s:s, s:s}", "level", level, "what", what);
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	ctl_name_put(o, "text", text ? text : "?");
	json_array_append_new(out, o);
}

static void look_at_fs(const struct plan *p, json_t *out)
{
	struct statfs sf;

	if (fstatfs(p->fd, &sf))
		return;
	switch ((unsigned long)sf.f_type) {
	case EXT4_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
		add(out, "OK", "filesystem", "%s",
		    sf.f_type == EXT4_SUPER_MAGIC    ? "ext4"
		    : sf.f_type == BTRFS_SUPER_MAGIC ? "btrfs"
						     : "xfs");
		return;
	}
	add(out, "FAIL", "filesystem",
	    "neither ext4, xfs nor btrfs (type 0x%lx): it may lack what is needed, and is not "
	    "tested",
	    (unsigned long)sf.f_type);
}

static void look_at_mounts(const struct plan *p, json_t *out)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	const struct mnt_entry *e;
	enum mnt_state state;

	if (!mnt_probe(p->dir, &state, NULL) && state != MNT_BARE)
		add(out, "FAIL", "mounted",
		    "a spillfs or its guard is there already; spillctl status");
	if (mnt_table_read(&t))
		return;
	e = mnt_below(&t, p->dir);
	if (e)
		add(out, "FAIL", "submounts",
		    "%s is mounted below it, so the mount would be refused (exit code 18): stop "
		    "the "
		    "engine and its containers first",
		    e->point);
	else
		add(out, "OK", "submounts", "nothing is mounted below it");
}

/* Engines by the names of their processes. */
static void look_for_engines(json_t *out)
{
	static const char *const names[] = {"dockerd",   "containerd", "crio",    "k3s-server",
					    "k3s-agent", "rke2",       "kubelet", "podman"};
	char found[256] = "";
	DIR *d = opendir("/proc");
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		cleanup_free char *comm = NULL;
		char path[300];
		size_t len;

		if (*e->d_name < '1' || *e->d_name > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		if (read_file(AT_FDCWD, path, 64, &comm, &len))
			continue;
		comm[strcspn(comm, "\n")] = 0;
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (!strcmp(comm, names[i]) && !strstr(found, comm))
				snprintf(found + strlen(found), sizeof(found) - strlen(found),
					 "%s%s", *found ? ", " : "", comm);
	}
	if (d)
		closedir(d);
	if (*found)
		add(out, "WARN", "engine",
		    "running: %s; stop what uses the directory before mounting", found);
	else
		add(out, "OK", "engine", "no container engine is running");
}

static void look_at_files(const struct plan *p, json_t *out)
{
	struct statvfs sv;

	if (!p->layers.n)
		add(out, "WARN", "layers",
		    "no layers of a container engine found: with spill=layers nothing would move");
	if (p->capabilities)
		add(out, "OK", "capabilities", "%llu files have file capabilities and stay",
		    (unsigned long long)p->capabilities);
	if (p->immutable)
		add(out, "OK", "immutable", "%llu files are immutable or append-only and stay",
		    (unsigned long long)p->immutable);
	if (p->unreadable)
		add(out, "WARN", "unreadable", "%llu directories cannot be read",
		    (unsigned long long)p->unreadable);
	if (fstatvfs(p->fd, &sv) || !sv.f_files)
		return;
	unsigned used = (unsigned)((sv.f_files - sv.f_ffree) * 100 / sv.f_files);

	add(out, used > 80 ? "WARN" : "OK", "inodes",
	    "%u%% of %llu are used; spilling frees bytes, not inodes", used,
	    (unsigned long long)sv.f_files);
}

static void look_at_kernel(json_t *out)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (access("/dev/fuse", F_OK))
		add(out, "FAIL", "fuse", "no /dev/fuse");
	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return;
	if (major < 5 || (major == 5 && minor < 15))
		add(out, "FAIL", "kernel", "Linux %s; 5.15 is needed", u.release);
	else if (major < 6 || (major == 6 && minor < 9))
		add(out, "WARN", "kernel",
		    "Linux %s has no FUSE passthrough (6.9): reads and writes go through the "
		    "daemon",
		    u.release);
	else
		add(out, "OK", "kernel", "Linux %s", u.release);
}

static void look_at_store(const struct plan *p, const char *store, json_t *out)
{
	cleanup_free char *real = realpath(store, NULL);
	struct stat a, b;
	struct statvfs sv;
	struct store_id id;
	size_t n = strlen(p->dir);

	if (!real || stat(real, &b) || !S_ISDIR(b.st_mode)) {
		add(out, "FAIL", "store", "%s: %s", store, real ? "no directory" : strerror(errno));
		return;
	}
	if (!strncmp(real, p->dir, n) && (!real[n] || real[n] == '/')) {
		add(out, "FAIL", "store", "lies inside the directory (exit code 16)");
		return;
	}
	if (!fstat(p->fd, &a) && a.st_dev == b.st_dev)
		add(out, "WARN", "store", "on the same file system: only compression would be won");
	int r = store_identify(real, &id);

	if (!r)
		add(out, "WARN", "store",
		    "a spillfs store already; it fits only the directory it was "
		    "made for");
	else if (r != -ENODATA && r != -ENOENT)
		add(out, "FAIL", "store", "not an empty directory");
	if (statvfs(real, &sv))
		return;
	uint64_t room = (uint64_t)sv.f_bavail * sv.f_frsize;

	add(out, room < p->stored_bytes + p->stored_bytes / 8 ? "WARN" : "OK", "store-room",
	    "%s free there", fmt_size(room));
}

json_t *plan_risks(struct plan *p, const char *given, const char *store)
{
	json_t *out = json_array();
	struct stat st;

	if (!lstat(given, &st) && S_ISLNK(st.st_mode))
		add(out, "FAIL", "symlink",
		    "%s is a symbolic link: kubelet and the mount want the directory itself, %s",
		    given, p->dir);
	look_at_fs(p, out);
	look_at_mounts(p, out);
	look_for_engines(out);
	look_at_files(p, out);
	look_at_kernel(out);
	if (store)
		look_at_store(p, store, out);
	return out;
}
