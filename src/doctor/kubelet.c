/* SPDX-License-Identifier: MIT
 * What kubelet will do: its defaults, its configuration file, drop-ins, flags; the same for the one
 * inside k3s. Later ones override, in this order
 * (https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/). An evictionHard that
 * names one signal turns the others off, unless mergeDefaultEvictionSettings is set.
 */
#include "doctor_int.h"

void doctor_kubelet_defaults(struct doctor_kubelet *k)
{
	/* pkg/kubelet/apis/config/v1beta1/defaults.go and .../eviction/defaults_linux.go */
	k->gc_high = 85;
	k->gc_low = 80;
	k->max_age_sec = 0;
	k->hard = (struct doctor_eviction){{15, 0}, {10, 0}, {5, 0}, {5, 0}};
	k->soft = (struct doctor_eviction){0};
}

static struct doctor_limit *signal_of(struct doctor_eviction *e, const char *name, size_t len)
{
	static const char *const names[] = {"imagefs.available", "nodefs.available",
					    "imagefs.inodesFree", "nodefs.inodesFree"};
	struct doctor_limit *const v[] = {&e->imagefs, &e->nodefs, &e->imagefs_inodes,
					  &e->nodefs_inodes};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == len && !strncmp(names[i], name, len))
			return v[i];
	return NULL;
}

static void say_bad(struct look *l, const char *file, unsigned line, const char *key,
		    const char *value)
{
	cleanup_free char *why = NULL;

	if (asprintf(&why, "%s: '%s' is not a value for it", key, value) >= 0)
		look_broken(l, file, line, why);
}

static void eviction_conf(struct look *l, const struct conf *c, const char *file, const char *map,
			  bool merge, struct doctor_eviction *e)
{
	size_t n = strlen(map);

	if (!conf_has(c, map))
		return;
	if (!merge)
		*e = (struct doctor_eviction){0};
	for (size_t i = 0; i < c->n; i++) {
		const struct conf_item *it = &c->v[i];
		struct doctor_limit *lim;

		if (strncmp(it->key, map, n) || it->key[n] != '/')
			continue;
		lim = signal_of(e, it->key + n + 1, strlen(it->key + n + 1));
		if (lim && !limit_parse(it->value, lim))
			say_bad(l, file, it->line, it->key, it->value);
	}
}

static void percent_conf(struct look *l, const struct conf *c, const char *file, const char *key,
			 int *v)
{
	const struct conf_item *it = conf_find(c, key);

	if (it && !percent_parse(it->value, v)) {
		say_bad(l, file, it->line, key, it->value);
		*v = -1;
	}
}

/* One file; those after it override it. 1: it was there. */
static int conf_apply(struct look *l, struct doctor_kubelet *k, const char *file)
{
	cleanup_(conf_done) struct conf c = {0};
	const struct conf_item *it;
	const char *kind;
	bool merge;

	if (!look_conf(l, &c, file, conf_yaml))
		return 0;
	kind = conf_get(&c, "kind");
	if (kind && strcmp(kind, "KubeletConfiguration")) /* a kubeconfig */
		return 0;
	merge = conf_true(conf_get(&c, "mergeDefaultEvictionSettings"));
	percent_conf(l, &c, file, "imageGCHighThresholdPercent", &k->gc_high);
	percent_conf(l, &c, file, "imageGCLowThresholdPercent", &k->gc_low);
	eviction_conf(l, &c, file, "evictionHard", merge, &k->hard);
	eviction_conf(l, &c, file, "evictionSoft", true, &k->soft);
	it = conf_find(&c, "imageMaximumGCAge");
	if (it && !duration_parse(it->value, &k->max_age_sec))
		say_bad(l, file, it->line, it->key, it->value);
	return 1;
}

/* *.conf of a directory, in the order of their names. */
static void dropins_apply(struct look *l, struct doctor_kubelet *k, const char *dir)
{
	char **v;
	size_t n;

	if (look_list(l, dir, &v, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *file = NULL;
		size_t len = strlen(v[i]);

		if (len > 5 && !strcmp(v[i] + len - 5, ".conf") &&
		    asprintf(&file, "%s/%s", dir, v[i]) >= 0)
			conf_apply(l, k, file);
	}
	look_list_done(v, n);
}

/* "imagefs.available<15%,nodefs.available<10%" */
static void eviction_flag(struct look *l, const char *from, const char *flag, const char *value,
			  struct doctor_eviction *e)
{
	cleanup_free char *copy = strdup(value);
	char *rest = copy, *one;

	*e = (struct doctor_eviction){0};
	while (copy && (one = strsep(&rest, ","))) {
		char *less = strchr(one, '<');
		struct doctor_limit *lim;

		if (!*one)
			continue;
		if (!less) {
			say_bad(l, from, 0, flag, one);
			continue;
		}
		*less = 0;
		lim = signal_of(e, one, (size_t)(less - one));
		if (lim && !limit_parse(less + 1, lim))
			say_bad(l, from, 0, flag, less + 1);
	}
}

static void flags_apply(struct look *l, struct doctor_kubelet *k, const struct proc *p,
			const char *from)
{
	const char *v;

	if ((v = proc_flag(p, "image-gc-high-threshold")) && !percent_parse(v, &k->gc_high))
		say_bad(l, from, 0, "--image-gc-high-threshold", v);
	if ((v = proc_flag(p, "image-gc-low-threshold")) && !percent_parse(v, &k->gc_low))
		say_bad(l, from, 0, "--image-gc-low-threshold", v);
	if ((v = proc_flag(p, "eviction-hard")))
		eviction_flag(l, from, "--eviction-hard", v, &k->hard);
	if ((v = proc_flag(p, "eviction-soft")))
		eviction_flag(l, from, "--eviction-soft", v, &k->soft);
}

/* What is said by flags comes last, but says where the files are. */
static bool kubelet_apply(struct look *l, struct doctor_kubelet *k, const struct proc *flags,
			  const char *from, const char *const *files, const char *dropins)
{
	const char *config = proc_flag(flags, "config"), *dir = proc_flag(flags, "config-dir");
	bool there = false;

	if (config) {
		there = true;
		if (!conf_apply(l, k, config) && !look_exists(l, config))
			look_broken(l, config, 0, "does not exist, and kubelet is told to use it");
	} else {
		for (; files && *files && !there; files++) {
			there = conf_apply(l, k, *files);
			if (there)
				config = *files;
		}
	}
	if (dir || dropins)
		dropins_apply(l, k, dir ? dir : dropins);
	flags_apply(l, k, flags, from);
	free(k->from);
	if (asprintf(&k->from, "%s%s%s", from, config ? ", " : "", config ? config : "") < 0)
		k->from = NULL;
	return there;
}

/* Words of NAME="--flag=value ..." files, as if they were a command line. */
static void words_of_file(struct look *l, const char *path, struct proc *p)
{
	size_t len, n = 0;

	if (look_read(l, path, CONF_FILE_MAX, &p->args, &len))
		return;
	p->argv = calloc(len / 2 + 2, sizeof(*p->argv));
	for (char *rest = p->args, *w; p->argv && (w = strsep(&rest, " \t\r\n\"'"));) {
		char *flag = strstr(w, "--"); /* also behind NAME= */

		if (flag)
			p->argv[n++] = flag;
	}
}

/* kubeadm's file and Debian's; neither need be there. */
static bool kubelet_idle(struct look *l, struct doctor_kubelet *k)
{
	static const char *const files[] = {
		"/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet/kubelet-config.json",
		"/etc/kubernetes/kubelet-config.yaml", "/etc/kubernetes/kubelet.conf", NULL};
	static const char *const flags[] = {"/var/lib/kubelet/kubeadm-flags.env",
					    "/etc/default/kubelet", "/etc/sysconfig/kubelet"};
	struct proc none = {0};
	bool there =
		kubelet_apply(l, k, &none, "not running", files, "/etc/kubernetes/kubelet.conf.d");

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct proc p = {0};

		words_of_file(l, flags[i], &p);
		flags_apply(l, k, &p, flags[i]);
		proc_done(&p);
	}
	return there;
}

/* k3s hands its own defaults, then the kubelet-arg entries of its file and command line, over as
 * flags (k3s pkg/daemons/agent/agent_linux.go); the last of a name counts. */
static void kubelet_in_k3s(struct look *l, struct doctor_kubelet *k, struct k3s *s)
{
	static const char eviction[] = "--eviction-hard=imagefs.available<5%,nodefs.available<5%";
	cleanup_free char *from = NULL, *dir = NULL;
	cleanup_free char **made = NULL;
	struct proc flags = {0};
	size_t n = 0, max = s->conf.n + 4, nmade = 0;

	for (char **a = s->proc.argv; a && *a; a++)
		max++;
	flags.argv = calloc(max, sizeof(*flags.argv));
	made = calloc(max, sizeof(*made));
	if (!flags.argv || !made ||
	    asprintf(&from, s->proc.pid ? "k3s, pid %d" : "k3s, not running", s->proc.pid) < 0 ||
	    asprintf(&dir, "%s/agent/etc/kubelet.conf.d", s->data_dir) < 0) {
		proc_done(&flags);
		return;
	}
	flags.argv[n++] = (char *)eviction;
	for (size_t i = 0; i < s->conf.n; i++) {
		const char *key = s->conf.v[i].key;

		if (strncmp(key, "kubelet-arg", 11) || (key[11] && !strchr("/+", key[11])))
			continue;
		if (asprintf(&made[nmade], "--%s", s->conf.v[i].value) >= 0)
			flags.argv[n++] = made[nmade++];
	}
	for (char **a = s->proc.argv; a && *a; a++) {
		const char *v = NULL;

		if (!strncmp(*a, "--kubelet-arg=", 14))
			v = *a + 14;
		else if (!strcmp(*a, "--kubelet-arg") && a[1])
			v = a[1];
		if (v && asprintf(&made[nmade], "--%s", v) >= 0)
			flags.argv[n++] = made[nmade++];
	}
	k->k3s = k->there = true;
	k->pid = s->proc.pid;
	k->start_ticks = s->proc.start_ticks;
	kubelet_apply(l, k, &flags, from, NULL, dir);
	for (size_t i = 0; i < nmade; i++)
		free(made[i]);
	proc_done(&flags);
}

static bool same_limit(const struct doctor_limit *a, const struct doctor_limit *b)
{
	return a->amount == b->amount && (int)(a->percent * 1000) == (int)(b->percent * 1000);
}

int collect_kubelet(struct look *l)
{
	struct doctor_kubelet *k = &l->f->kubelet, own;
	cleanup_(proc_done) struct proc p = {0};
	cleanup_(k3s_done) struct k3s s = {0};
	cleanup_free char *from = NULL;
	int r;

	doctor_kubelet_defaults(k);
	if (proc_find(l, "kubelet", &p)) {
		k->there = true;
		k->pid = p.pid;
		k->start_ticks = p.start_ticks;
		if (asprintf(&from, "pid %d", p.pid) < 0)
			return -ENOMEM;
		kubelet_apply(l, k, &p, from, NULL, NULL);
	} else {
		r = k3s_find(l, &s);
		if (r)
			return r;
		if (s.there)
			kubelet_in_k3s(l, k, &s);
		else
			k->there = kubelet_idle(l, k);
	}
	doctor_kubelet_defaults(&own);
	k->configured = k->gc_high != own.gc_high || k->gc_low != own.gc_low ||
			!same_limit(&k->hard.imagefs, &own.hard.imagefs);
	return 0;
}
