/* SPDX-License-Identifier: MIT
 * Our mounts, by the mount table and the run directories.
 */
#include "doctor_int.h"

static struct doctor_mount *mount_add(struct look *l, const char *dir, const char *source)
{
	struct doctor_facts *f = l->f;
	struct doctor_mount *v = reallocarray(f->mounts, f->nmounts + 1, sizeof(*v)), *m;

	if (!v)
		return NULL;
	f->mounts = v;
	m = &v[f->nmounts++];
	*m = (struct doctor_mount){.dir = strdup(dir), .source = strdup(source)};
	return m->dir && m->source ? m : NULL;
}

static int run_number(struct look *l, const char *run, const char *name)
{
	cleanup_free char *path = NULL, *text = NULL;
	size_t len;

	if (asprintf(&path, "%s/%s", run, name) < 0)
		return 0;
	return look_read(l, path, 64, &text, &len) ? 0 : atoi(text);
}

/* "Max open files            1048576              1048576              files" */
static uint64_t nofile_of(struct look *l, int pid)
{
	cleanup_free char *text = NULL;
	char path[64], *p;
	unsigned long long v;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	if (pid <= 0 || look_read(l, path, 16384, &text, &len))
		return 0;
	p = strstr(text, "Max open files");
	if (!p)
		return 0;
	p += strlen("Max open files");
	p += strspn(p, " ");
	if (!strncmp(p, "unlimited", 9))
		return UINT64_MAX;
	return sscanf(p, "%llu", &v) == 1 ? v : 0;
}

static void processes(struct look *l, const char *run_dir, struct doctor_mount *m)
{
	cleanup_free char *name = mnt_escape(m->dir), *run = NULL;
	int pid;

	if (!name || asprintf(&run, "%s/%s", run_dir, name) < 0)
		return;
	pid = run_number(l, run, "pid"); /* the supervisor's, or the only one */
	m->start_ticks = pid > 0 ? proc_start(l, pid) : 0;
	pid = run_number(l, run, "daemon");
	m->nofile = nofile_of(l, pid > 0 ? pid : run_number(l, run, "pid"));
}

static bool anchor_gone(struct look *l, const char *source)
{
	cleanup_free char *path = NULL;

	if (strncmp(source, "/dev/loop", 9) || strchr(source + 5, '/') ||
	    !look_exists(l, "/sys/block"))
		return false;
	if (asprintf(&path, "/sys/block/%s/loop/backing_file", source + 5) < 0)
		return false;
	return !look_exists(l, path);
}

/* As guard_is() of mnt, on what was read below the root. name: of the run directory. */
static bool is_guard(struct look *l, const struct mnt_entry *e, const char *name)
{
	cleanup_free char *path = NULL, *file = NULL, *image = NULL;
	size_t len;

	if (!strcmp(e->fstype, "tmpfs"))
		return !strcmp(e->source, GUARD_TMPFS_SOURCE);
	if (strncmp(e->fstype, "ext", 3) || strncmp(e->source, "/dev/loop", 9) ||
	    strchr(e->source + 5, '/') ||
	    asprintf(&path, "/sys/block/%s/loop/backing_file", e->source + 5) < 0 ||
	    look_read(l, path, 8192, &file, &len) || asprintf(&image, "/%s/" RUN_IMAGE, name) < 0)
		return false;
	return strstr(file, image) != NULL;
}

static bool hot_bind_there(const struct look *l, const char *run_dir, const char *name)
{
	cleanup_free char *path = NULL;

	return asprintf(&path, "%s/%s/" RUN_HOT, run_dir, name) >= 0 && mnt_top(&l->mounts, path);
}

/* Directories that were started on and have no spillfs now. */
static int guards(struct look *l, const char *run_dir)
{
	char **v;
	size_t n;
	int r = 0;

	if (look_list(l, run_dir, &v, &n))
		return 0;
	for (size_t i = 0; i < n && !r; i++) {
		cleanup_free char *path = NULL, *dir = NULL;
		const struct mnt_entry *e;
		struct doctor_mount *m;
		size_t len;

		if (asprintf(&path, "%s/%s/dir", run_dir, v[i]) < 0)
			continue;
		if (look_read(l, path, 8192, &dir, &len))
			continue;
		dir[strcspn(dir, "\n")] = 0;
		e = mnt_top(&l->mounts, dir);
		if (e && !strcmp(e->fstype, SPILLFS_FSTYPE))
			continue;
		bool guard = e && is_guard(l, e, v[i]);

		if (!guard && !hot_bind_there(l, run_dir, v[i]))
			continue;
		m = mount_add(l, dir, e ? e->source : "");
		r = m ? 0 : -ENOMEM;
		if (m) {
			m->guard_only = guard;
			m->guard_lost = !guard;
		}
	}
	look_list_done(v, n);
	return r;
}

int collect_mounts(struct look *l, const char *run_dir)
{
	for (size_t i = 0; i < l->mounts.n; i++) {
		const struct mnt_entry *e = &l->mounts.v[i];
		struct doctor_mount *m;

		/* as mnt_list: an engine's bind of a part of it is no mount of ours */
		if (strcmp(e->fstype, SPILLFS_FSTYPE) || strcmp(e->root, "/") ||
		    mnt_top(&l->mounts, e->point) != e)
			continue;
		m = mount_add(l, e->point, e->source);
		if (!m)
			return -ENOMEM;
		processes(l, run_dir, m);
		m->anchor_gone = anchor_gone(l, e->source);
	}
	return guards(l, run_dir);
}
