/* SPDX-License-Identifier: MIT
 * `ls` and `info`. The daemon knows where the data is; owner, time and link target are looked up
 * through the mount, as ls(1) would.
 */
#include "spillctl.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>

/* o (takes the reference) with its absolute path in front. */
static json_t *with_path(json_t *o, const char *path)
{
	json_t *front = json_object();

	json_object_del(o, "path");
	json_object_del(o, "path_hex");
	ctl_name_put(front, "path", path);
	json_object_update(front, o);
	json_decref(o);
	return front;
}

static const char *mode_text(mode_t m, char buf[11])
{
	static const char types[] = "?pc?d?b?-?l?s???";

	buf[0] = types[(m & S_IFMT) >> 12];
	for (int i = 0; i < 9; i++)
		buf[1 + i] = m & (0400u >> i) ? "rwx"[i % 3] : '-';
	if (m & S_ISUID)
		buf[3] = m & S_IXUSR ? 's' : 'S';
	if (m & S_ISGID)
		buf[6] = m & S_IXGRP ? 's' : 'S';
	if (m & S_ISVTX)
		buf[9] = m & S_IXOTH ? 't' : 'T';
	buf[10] = 0;
	return buf;
}

static void add_owner(struct table *t, const struct stat *st)
{
	const struct passwd *pw = getpwuid(st->st_uid);
	const struct group *gr;
	char buf[16];

	snprintf(buf, sizeof(buf), "%u", st->st_uid);
	table_add(t, pw ? pw->pw_name : buf);
	gr = getgrgid(st->st_gid);
	snprintf(buf, sizeof(buf), "%u", st->st_gid);
	table_add(t, gr ? gr->gr_name : buf);
}

/* As ls -l: the year instead of the time when it is more than half a year away. */
static void add_time(struct table *t, time_t when)
{
	time_t now = time(NULL), half_year = 365 * 86400 / 2;
	bool near = when <= now + 3600 && when > now - half_year;
	char buf[64] = "?";
	struct tm tm;

	if (localtime_r(&when, &tm))
		strftime(buf, sizeof(buf), near ? "%b %e %H:%M" : "%b %e  %Y", &tm);
	table_add(t, buf);
}

static void add_name(struct table *t, const char *path, const char *name, bool link)
{
	char dest[PATH_MAX];
	ssize_t n = link ? readlink(path, dest, sizeof(dest) - 1) : -1;
	cleanup_free char *both = NULL;

	if (n >= 0) {
		dest[n] = 0;
		if (asprintf(&both, "%s -> %s", name, dest) < 0)
			both = NULL;
	}
	table_add(t, both ? both : name);
}

static void add_row(struct table *t, const json_t *e, const char *path, const char *name)
{
	bool file = !strcmp(jstr(e, "type"), "file");
	struct stat st = {0};
	char mode[11], links[24];

	table_add(t, file ? jstr(e, "state") : "-");
	table_add(t, mode_text((mode_t)jnum(e, "mode"), mode));
	snprintf(links, sizeof(links), "%llu", (unsigned long long)jnum(e, "nlink"));
	table_add(t, links);
	if (lstat(path, &st)) {
		table_add(t, "?");
		table_add(t, "?");
	} else {
		add_owner(t, &st);
	}
	table_add(t, fmt_size(jnum(e, "size_bytes")));
	table_add(t, file ? fmt_size(jnum(e, "hot_bytes")) : "-");
	add_time(t, st.st_mtime);
	add_name(t, path, name, S_ISLNK(jnum(e, "mode")));
}

/* Absolute path of what is called name in the list of t; a PATH that is no directory lists itself.
 */
static char *entry_path(const struct target *t, const char *name)
{
	struct stat st;
	bool dir = lstat(t->path, &st) || S_ISDIR(st.st_mode);

	return dir ? path_of(t->path, name) : strdup(t->path);
}

static void ls_print(const struct cli *c, const struct target *t, const json_t *entries)
{
	static const char *const heads[] = {"STATE", "MODE", "LINKS", "OWNER", "GROUP",
					    "SIZE",  "HOT",  "DATE",  "NAME"};
	cleanup_(table_done) struct table tab = {.align = "<<><<>><<"};
	size_t i;
	json_t *e;

	for (i = 0; i < ARRAY_SIZE(heads) && !c->quiet; i++)
		table_add(&tab, heads[i]);
	json_array_foreach (entries, i, e) {
		cleanup_free char *name = NULL, *path = NULL;

		if (ctl_name_get(e, "name", &name))
			continue;
		path = entry_path(t, name);
		if (path)
			add_row(&tab, e, path, name);
	}
	table_print(&tab, stdout);
}

static int ls_one(const struct cli *c, const char *arg, json_t *all)
{
	cleanup_(target_done) struct target t = {0};
	cleanup_free char *err = NULL;
	json_t *entries = json_array(), *sum = NULL, *e;
	size_t i;
	int code = arg ? target_of_path(c, arg, &t, &err) : target_mount(c, &t, &err);

	if (!code)
		code = request(t.mount, request_new("ls", t.rel), collect_entries, &entries, &sum,
			       &err);
	json_decref(sum);
	if (code) {
		json_decref(entries);
		if (t.path)
			warn("%s: %s", t.path, err ? err : "out of memory");
		else
			warn("%s", err ? err : "out of memory");
		return code;
	}
	if (!c->json && c->argc > 1) {
		put_safe(stdout, t.path);
		puts(":");
	}
	if (!c->json)
		ls_print(c, &t, entries);
	json_array_foreach (entries, i, e) {
		cleanup_free char *name = NULL, *path = NULL;

		if (ctl_name_get(e, "name", &name))
			continue;
		path = entry_path(&t, name);
		if (path)
			json_array_append_new(all, with_path(json_incref(e), path));
	}
	json_decref(entries);
	return EXIT_OK;
}

/* The exit code of n things of which bad failed, the last with code. */
static int combine(int n, int bad, int code)
{
	return !bad ? EXIT_OK : bad == n ? code : EXIT_PARTIAL;
}

int do_ls(const struct cli *c)
{
	json_t *all = json_array();
	int bad = 0, last = EXIT_OK, n = MAX(c->argc, 1);

	for (int i = 0; i < n; i++) {
		int code = ls_one(c, c->argc ? c->argv[i] : NULL, all);

		if (code) {
			bad++;
			last = code;
		}
	}
	if (c->json)
		print_json(all);
	else
		json_decref(all);
	return combine(n, bad, last);
}

static void info_print(const json_t *o, const char *path)
{
	uint64_t size = jnum(o, "size_bytes");
	bool file = !strcmp(jstr(o, "type"), "file");

	put_safe(stdout, path);
	printf("\n  type     %s\n", jstr(o, "type"));
	if (file)
		printf("  state    %s\n", jstr(o, "state"));
	printf("  size     %s (%s bytes)\n", fmt_size(size), fmt_count(size));
	printf("  hot      %s\n", fmt_size(jnum(o, "hot_bytes")));
	if (jnum(o, "object")) {
		printf("  stored   %s\n", fmt_size(jnum(o, "stored_bytes")));
		printf("  object   %llu, of %s %s\n", (unsigned long long)jnum(o, "object"),
		       fmt_count(jnum(o, "refs")), jnum(o, "refs") == 1 ? "file" : "files");
		printf("  sha256   %s...\n", jstr(o, "sha256_prefix"));
	}
	if (*jstr(o, "layer")) {
		printf("  layer    ");
		put_safe(stdout, jstr(o, "layer"));
		putchar('\n');
	}
	printf("  inode    %llu, links %s\n", (unsigned long long)jnum(o, "ino"),
	       fmt_count(jnum(o, "nlink")));
	if (file)
		printf("  opens    %s\n", fmt_count(jnum(o, "opens")));
}

int do_info(const struct cli *c)
{
	json_t *all = json_array();
	int bad = 0, last = EXIT_OK;

	for (int i = 0; i < c->argc; i++) {
		cleanup_(target_done) struct target t = {0};
		cleanup_free char *err = NULL;
		json_t *o = NULL;
		int code = target_of_path(c, c->argv[i], &t, &err);

		if (!code) {
			code = request(t.mount, request_new("info", t.rel), NULL, NULL, &o, &err);
			if (code)
				warn("%s: %s", t.path, err ? err : "out of memory");
		} else {
			warn("%s", err ? err : "out of memory");
		}
		if (code) {
			bad++;
			last = code;
			o = json_pack("{s:i}", "code", code);
			ctl_name_put(o, "error", err ? err : "out of memory");
		} else if (!c->json) {
			info_print(o, t.path);
		}
		json_array_append_new(all, with_path(o, t.path ? t.path : c->argv[i]));
	}
	if (c->json)
		print_json(json_incref(c->argc == 1 ? json_array_get(all, 0) : all));
	json_decref(all);
	return combine(c->argc, bad, last);
}
