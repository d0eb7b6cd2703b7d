/* SPDX-License-Identifier: MIT
 * `doctor`: the facts of src/doctor, what the daemons say, the judgement, printed.
 */
#include "spillctl.h"

#include "spill/doctor.h"
#include "spill/mnt.h"
#include <sys/stat.h>

#define RUN_DIR "/run/spillfs"

static int64_t jint(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* Is NAME=VALUE one of the comma-separated options? */
static bool option_is(const char *options, const char *want)
{
	const char *p = options;
	size_t n = strlen(want);

	while ((p = strstr(p, want))) {
		if ((p == options || p[-1] == ',') && (!p[n] || p[n] == ','))
			return true;
		p += n;
	}
	return false;
}

static void take_status(struct doctor_mount *m, const json_t *o)
{
	const json_t *hot = json_object_get(o, "hot"), *wm = json_object_get(o, "watermarks");
	const json_t *fc = json_object_get(o, "forecast");

	m->answers = true;
	m->auto_spill = json_is_true(json_object_get(o, "auto_spill"));
	m->frozen = json_is_true(json_object_get(o, "frozen"));
	m->passthrough = json_is_true(json_object_get(o, "passthrough"));
	m->kubelet_off = option_is(jstr(o, "options"), "kubelet=off");
	if (*jstr(o, "parked"))
		m->parked = strdup(jstr(o, "parked"));
	m->high = (unsigned)jnum(wm, "high");
	m->critical = (unsigned)jnum(wm, "critical");
	m->errors = jnum(o, "errors");
	m->hot_total = jnum(hot, "total_bytes");
	m->used_percent = (unsigned)jnum(o, "used_percent");
	m->inodes_total = jnum(hot, "inodes_total");
	m->inodes_free = jnum(hot, "inodes_free");
	m->store_total = jnum2(o, "backing", "total_bytes");
	m->store_free = jnum2(o, "backing", "free_bytes");
	m->seen_total = jnum2(o, "statfs", "total_bytes");
	m->seen_available = jnum2(o, "statfs", "available_bytes");
	m->rates_known = json_is_integer(json_object_get(fc, "bytes_per_hour"));
	m->bytes_per_hour = jint(fc, "bytes_per_hour");
	m->bytes_per_hour_now = jint(fc, "bytes_per_hour_now");
	m->inodes_per_hour = jint(fc, "inodes_per_hour");
}

/* A mount of another root has no daemon here: nothing listens, and nothing is said about it. */
static void ask_daemon(const char *root, const char *run_dir, struct doctor_mount *m)
{
	cleanup_free char *esc = mnt_escape(m->dir), *sock = NULL, *run = NULL;
	bool here = !strcmp(root, "/");
	json_t *o = NULL;
	int err;

	if (!esc || asprintf(&run, "%s%s/%s", here ? "" : root, run_dir, esc) < 0 ||
	    asprintf(&sock, "%s/sock", run) < 0 || (!here && access(sock, F_OK)))
		return;
	m->asked = true;
	err = request_at(sock, request_new("status", ""), &o);
	if (!err)
		take_status(m, o);
	json_decref(o);
}

static void probe(struct doctor_mount *m)
{
	int err = m->answers ? doctor_probe_overlay(m->dir, &m->overlay_lacks) : -ENOTCONN;

	if (err && m->answers && asprintf(&m->overlay_lacks, "an answer (%s)", strerror(-err)) < 0)
		m->overlay_lacks = NULL;
}

static json_t *finding_json(const struct doctor_finding *f)
{
	json_t *o = json_pack("{s:s, s:s}", "id", f->id, "level", doctor_level_name(f->level));

	if (!o)
		return NULL;
	ctl_name_put(o, "what", f->what);
	if (f->why)
		ctl_name_put(o, "why", f->why);
	if (f->to_do)
		ctl_name_put(o, "do", f->to_do);
	return o;
}

static void report_json(const struct doctor_report *r)
{
	json_t *all = json_array();

	for (size_t i = 0; i < r->n; i++)
		json_array_append_new(all, finding_json(&r->v[i]));
	print_json(json_pack("{s:i, s:i, s:i, s:o}", "ok", (int)r->count[DOCTOR_OK], "warnings",
			     (int)r->count[DOCTOR_WARN], "failures", (int)r->count[DOCTOR_FAIL],
			     "findings", all));
}

static void report_text(const struct cli *c, const struct doctor_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct doctor_finding *f = &r->v[i];

		if (c->quiet && f->level == DOCTOR_OK)
			continue;
		printf("%-4s  ", doctor_level_name(f->level));
		put_safe(stdout, f->what);
		printf("  [%s]\n", f->id);
		if (f->why) {
			printf("        why: ");
			put_safe(stdout, f->why);
			printf("\n        do:  ");
			put_safe(stdout, f->to_do ? f->to_do : "");
			putchar('\n');
		}
	}
	if (!c->quiet)
		printf("%u ok, %u warnings, %u wrong\n", r->count[DOCTOR_OK], r->count[DOCTOR_WARN],
		       r->count[DOCTOR_FAIL]);
}

/* arg made absolute, without ".", ".." and needless slashes, by its words alone: doctor is called
 * because a mount does not answer. Caller frees. */
static char *absolute(const char *arg)
{
	cleanup_free char *cwd = *arg == '/' ? NULL : getcwd(NULL, 0), *all = NULL;
	char *out, *save = NULL;
	size_t len = 0;

	if ((*arg != '/' && !cwd) || asprintf(&all, "%s/%s", cwd ? cwd : "", arg) < 0)
		return NULL;
	out = malloc(strlen(all) + 2);
	if (!out)
		return NULL;
	for (char *w = strtok_r(all, "/", &save); w; w = strtok_r(NULL, "/", &save)) {
		if (!strcmp(w, "."))
			continue;
		if (!strcmp(w, "..")) {
			while (len && out[--len] != '/')
				;
			continue;
		}
		out[len++] = '/';
		memcpy(out + len, w, strlen(w));
		len += strlen(w);
	}
	if (!len)
		out[len++] = '/';
	out[len] = 0;
	return out;
}

/* DIR of the command line as the facts name it; NULL: there is none such. */
static const char *find_dir(const struct doctor_facts *f, const char *arg)
{
	cleanup_free char *dir = absolute(arg);

	for (size_t i = 0; dir && i < f->nmounts; i++)
		if (!strcmp(f->mounts[i].dir, dir))
			return f->mounts[i].dir;
	return NULL;
}

int do_doctor(const struct cli *c)
{
	const char *root = c->root ? c->root : "/", *env = getenv("SPILLFS_RUN_DIR");
	const char *run_dir = env && !c->root ? env : RUN_DIR, *dir = NULL;
	const char *arg = c->argc ? c->argv[0] : c->mount;
	cleanup_(doctor_facts_done) struct doctor_facts f = {0};
	cleanup_(doctor_report_done) struct doctor_report r = {0};
	cleanup_free char *real = NULL;
	struct stat st;
	int err;

	if (c->argc && c->mount)
		return fail(c, EXIT_USAGE, "-m and %s: one of the two, please", c->argv[0]);
	if (c->root && (stat(c->root, &st) || !S_ISDIR(st.st_mode)))
		return fail(c, EXIT_USAGE, "--root %s: not a directory", c->root);
	if (c->root) {
		real = realpath(c->root, NULL);
		root = real ? real : c->root;
	}
	err = doctor_collect(root, run_dir, &f);
	if (err)
		return fail(c, EXIT_SYSTEM, "%s", strerror(-err));
	if (arg) {
		dir = find_dir(&f, arg);
		if (!dir)
			return fail(c, EXIT_NO_DAEMON,
				    "%s: not a spillfs mount, nor a guard that one left", arg);
	}
	for (size_t i = 0; i < f.nmounts; i++) {
		struct doctor_mount *m = &f.mounts[i];

		if (m->guard_only || m->guard_lost || (dir && strcmp(dir, m->dir)))
			continue;
		ask_daemon(root, run_dir, m);
		if (c->probe)
			probe(m);
	}
	doctor_judge(&f, dir, &r);
	if (r.no_memory)
		return fail(c, EXIT_SYSTEM, "out of memory");
	if (c->json)
		report_json(&r);
	else
		report_text(c, &r);
	return r.count[DOCTOR_FAIL] ? EXIT_UNFIT : EXIT_OK;
}
