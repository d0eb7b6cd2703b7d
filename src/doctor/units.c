/* SPDX-License-Identifier: MIT
 * What happens at boot: who mounts, and whether the engines wait for it. By the files of fstab and
 * systemd, not by asking systemd: it need not run (chroots, images being built).
 */
#include "doctor_int.h"

static const char *const unit_dirs[] = {"/etc/systemd/system", "/run/systemd/system",
					"/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
					"/lib/systemd/system"};

/* What fstab says about one mount point. */
struct fstab_line {
	bool there, noauto, nofail;
	char *before, *required_by; /* values of x-systemd.*, joined by blanks */
};
static void fstab_done(struct fstab_line *f)
{
	free(f->before);
	free(f->required_by);
}

static void unescape(char *s)
{
	char *out = s;

	for (; *s; out++) {
		unsigned v;

		if (*s == '\\' && sscanf(s + 1, "%3o", &v) == 1 && strspn(s + 1, "01234567") >= 3) {
			*out = (char)v;
			s += 4;
		} else {
			*out = *s++;
		}
	}
	*out = 0;
}

static void join(char **list, const char *word)
{
	char *all;

	if (asprintf(&all, "%s%s%s", *list ? *list : "", *list ? " " : "", word) < 0)
		return;
	free(*list);
	*list = all;
}

static void fstab_options(struct fstab_line *f, char *opts)
{
	char *o;

	while ((o = strsep(&opts, ","))) {
		if (!strcmp(o, "noauto"))
			f->noauto = true;
		else if (!strcmp(o, "nofail"))
			f->nofail = true;
		else if (!strncmp(o, "x-systemd.before=", 17))
			join(&f->before, o + 17);
		else if (!strncmp(o, "x-systemd.required-by=", 22))
			join(&f->required_by, o + 22);
	}
}

static void fstab_find(struct look *l, const char *dir, struct fstab_line *ret)
{
	cleanup_free char *text = NULL;
	char *rest, *line;
	size_t len;

	*ret = (struct fstab_line){0};
	if (look_read(l, "/etc/fstab", CONF_FILE_MAX, &text, &len))
		return;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		char *f[4] = {0}, *word;
		int n = 0;

		while (n < 4 && (word = strsep(&line, " \t")))
			if (*word)
				f[n++] = word;
		if (n < 3 || *f[0] == '#')
			continue;
		unescape(f[1]);
		if (strcmp(f[1], dir) ||
		    (strcmp(f[2], "spillfs") && strcmp(f[2], SPILLFS_FSTYPE) &&
		     !(!strcmp(f[2], "fuse") && !strncmp(f[0], "spillfs#", 8))))
			continue;
		ret->there = true;
		if (f[3])
			fstab_options(ret, f[3]);
	}
}

/* Is word one of the blank-separated words of list? */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p && (p = strstr(p, word)); p += n)
		if ((p == list || strchr(" \t,=\"", p[-1])) && strchr(" \t,\n\"\r", p[n]))
			return true;
	return false;
}

/* A unit's file and its drop-ins, in one text; NULL: there is no such unit. Caller frees. */
static char *unit_text(struct look *l, const char *unit)
{
	char *all = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(unit_dirs); i++) {
		cleanup_free char *path = NULL, *text = NULL;
		size_t len;

		if (!all && asprintf(&path, "%s/%s", unit_dirs[i], unit) >= 0 &&
		    !look_read(l, path, CONF_FILE_MAX, &text, &len))
			join(&all, text);
	}
	for (size_t i = 0; all && i < ARRAY_SIZE(unit_dirs); i++) {
		cleanup_free char *dir = NULL;
		char **v;
		size_t n;

		if (asprintf(&dir, "%s/%s.d", unit_dirs[i], unit) < 0 || look_list(l, dir, &v, &n))
			continue;
		for (size_t j = 0; j < n; j++) {
			cleanup_free char *path = NULL, *text = NULL;
			size_t len;

			if (asprintf(&path, "%s/%s", dir, v[j]) >= 0 &&
			    !look_read(l, path, CONF_FILE_MAX, &text, &len))
				join(&all, text);
		}
		look_list_done(v, n);
	}
	return all;
}

/* Does a line KEY=... of text have that word? */
static bool unit_says(const char *text, const char *key, const char *word)
{
	size_t n = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		cleanup_free char *line = NULL;

		p += strspn(p, " \t\n");
		if (strncmp(p, key, n) || p[n] != '=')
			continue;
		line = strndup(p + n + 1, strcspn(p + n + 1, "\n"));
		if (line && has_word(line, word))
			return true;
	}
	return false;
}

/* Wanted or required by a target or another unit? */
static bool enabled(struct look *l, const char *unit)
{
	char **v;
	size_t n;
	bool yes = false;

	if (look_list(l, "/etc/systemd/system", &v, &n))
		return false;
	for (size_t i = 0; i < n && !yes; i++) {
		cleanup_free char *path = NULL;
		const char *end = strrchr(v[i], '.');

		if (!end || (strcmp(end, ".wants") && strcmp(end, ".requires")) ||
		    asprintf(&path, "%s/etc/systemd/system/%s/%s", l->root, v[i], unit) < 0)
			continue;
		/* A link into /lib, which below another root leads elsewhere: it counts that it is
		 * there. /etc is not ours to hang on; look_list has just read it. */
		char buf[1];

		yes = readlink(path, buf, 1) >= 0 || access(path, F_OK) == 0;
	}
	look_list_done(v, n);
	return yes;
}

/* Names of the units that may mount m: the service and the mount unit. */
struct mounter {
	char *service, *mount;
	char *mount_text, *service_text;
	struct fstab_line fstab;
};
static void mounter_done(struct mounter *m)
{
	free(m->service);
	free(m->mount);
	free(m->mount_text);
	free(m->service_text);
	fstab_done(&m->fstab);
}

static void mounter_find(struct look *l, struct doctor_mount *dm, struct mounter *m)
{
	cleanup_free char *esc = mnt_escape(dm->dir);

	*m = (struct mounter){0};
	if (!esc || asprintf(&m->service, "spillfs@%s.service", esc) < 0 ||
	    asprintf(&m->mount, "%s.mount", esc) < 0)
		return;
	fstab_find(l, dm->dir, &m->fstab);
	if (m->fstab.there && !m->fstab.noauto) {
		dm->at_boot = true;
		dm->at_boot_by = strdup("/etc/fstab");
		dm->nofail_alone = m->fstab.nofail && !m->fstab.before;
	} else if (enabled(l, m->service)) {
		m->service_text = unit_text(l, m->service);
		if (!m->service_text)
			m->service_text = unit_text(l, "spillfs@.service");
		dm->at_boot = true;
		dm->at_boot_by = strdup(m->service);
	} else if (enabled(l, m->mount)) {
		m->mount_text = unit_text(l, m->mount);
		dm->at_boot = true;
		dm->at_boot_by = strdup(m->mount);
	}
}

static void unit_judge(struct look *l, struct doctor_engine *e, const char *unit,
		       const struct mounter *m)
{
	cleanup_free char *text = unit_text(l, unit);
	const char *dir = e->covered_by;

	if (!text || !m->service || e->unit)
		return;
	e->unit = strdup(unit);
	e->unit_asserts =
		unit_says(text, "AssertPathIsMountPoint", dir) ||
		unit_says(text, "ConditionPathIsMountPoint", dir) ||
		unit_says(text, "Requires", m->service) || unit_says(text, "BindsTo", m->service) ||
		unit_says(text, "Requires", m->mount) || unit_says(text, "BindsTo", m->mount) ||
		unit_says(text, "RequiresMountsFor", dir) || has_word(m->fstab.required_by, unit);
	e->unit_ordered =
		unit_says(text, "After", m->service) || unit_says(text, "After", m->mount) ||
		unit_says(text, "RequiresMountsFor", dir) || has_word(m->fstab.before, unit) ||
		(m->service_text && unit_says(m->service_text, "Before", unit)) ||
		(m->mount_text && unit_says(m->mount_text, "Before", unit)) ||
		/* systemd orders what fstab mounts before all services, unless nofail */
		(m->fstab.there && !m->fstab.noauto && !m->fstab.nofail);
}

void collect_units(struct look *l)
{
	static const char *const units[][2] = {
		[ENGINE_CONTAINERD] = {"containerd.service"},
		[ENGINE_K3S] = {"k3s.service", "k3s-agent.service"},
		[ENGINE_DOCKER] = {"docker.service"},
		[ENGINE_CRIO] = {"crio.service"},
		[ENGINE_PODMAN] = {NULL},
	};

	for (size_t i = 0; i < l->f->nmounts; i++) {
		struct doctor_mount *dm = &l->f->mounts[i];
		cleanup_(mounter_done) struct mounter m;

		mounter_find(l, dm, &m);
		for (size_t j = 0; j < l->f->nengines; j++) {
			struct doctor_engine *e = &l->f->engines[j];

			if (!e->covered_by || strcmp(e->covered_by, dm->dir))
				continue;
			for (size_t k = 0; k < 2; k++)
				if (units[e->kind][k])
					unit_judge(l, e, units[e->kind][k], &m);
		}
	}
}
