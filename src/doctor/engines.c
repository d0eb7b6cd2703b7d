/* SPDX-License-Identifier: MIT
 * The container engines of the node: where each has its images and what of its configuration
 * matters to us.
 */
#include "doctor_int.h"

#include <fnmatch.h>

#define IMPORTS_DEEP 4

/* An engine whose root is root (copied). NULL: no memory. */
static struct doctor_engine *engine_add(struct look *l, enum doctor_engine_kind kind,
					const char *config, const char *root, const char *driver)
{
	struct doctor_facts *f = l->f;
	struct doctor_engine *v = reallocarray(f->engines, f->nengines + 1, sizeof(*v)), *e;
	size_t len = strlen(root);
	int r;

	if (!v)
		return NULL;
	f->engines = v;
	e = &v[f->nengines++];
	*e = (struct doctor_engine){.kind = kind};
	e->config = config ? strdup(config) : NULL;
	while (len > 1 && root[len - 1] == '/')
		len--;
	e->root = strndup(root, len);
	e->driver = strdup(driver);
	if (!e->root || !e->driver)
		return NULL;
	r = look_resolve(l, e->root, &e->real);
	e->silent = r == -ETIMEDOUT;
	return e;
}

/* ---- containerd */

static int import(struct look *l, struct conf *c, const char *file, unsigned deep);

/* A pattern like "conf.d/\*.toml": only its last component may be one. */
static int import_glob(struct look *l, struct conf *c, const char *from, const char *pattern,
		       unsigned deep)
{
	const char *slash = strrchr(from, '/');
	cleanup_free char *full = NULL;
	char *last, **v;
	size_t n;
	int r = 0;

	if (asprintf(&full, "%.*s%s%s", *pattern == '/' ? 0 : (int)(slash - from), from,
		     *pattern == '/' ? "" : "/", pattern) < 0)
		return -ENOMEM;
	if (!strpbrk(full, "*?["))
		return import(l, c, full, deep);
	last = strrchr(full, '/');
	*last++ = 0;
	if (look_list(l, full, &v, &n))
		return 0;
	for (size_t i = 0; i < n && !r; i++) {
		cleanup_free char *file = NULL;

		if (fnmatch(last, v[i], FNM_PERIOD))
			continue;
		r = asprintf(&file, "%s/%s", full, v[i]) < 0 ? -ENOMEM : import(l, c, file, deep);
	}
	look_list_done(v, n);
	return r;
}

/* A file, then what it imports, which overrides it. */
static int import(struct look *l, struct conf *c, const char *file, unsigned deep)
{
	cleanup_(conf_done) struct conf own = {0};
	int r = 0;

	look_conf(l, &own, file, conf_toml);
	for (size_t i = 0; i < own.n && !r; i++)
		r = conf_add(c, own.v[i].key, own.v[i].value, own.v[i].line);
	for (size_t i = 0; i < own.n && !r; i++)
		if (!strncmp(own.v[i].key, "imports/", 8)) {
			if (deep == IMPORTS_DEEP)
				look_broken(l, file, own.v[i].line, "imports that never end");
			else
				r = import_glob(l, c, file, own.v[i].value, deep + 1);
		}
	return r;
}

/* A setting of the CRI plugin, in the tables of configuration versions 3, 2 and 1. */
static const char *cri_get(const struct conf *c, const char *key)
{
	static const char *const tables[] = {"plugins/io.containerd.cri.v1.images",
					     "plugins/io.containerd.grpc.v1.cri/containerd",
					     "plugins/cri/containerd"};
	const char *v = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(tables) && !v; i++) {
		cleanup_free char *full = NULL;

		if (asprintf(&full, "%s/%s", tables[i], key) >= 0)
			v = conf_get(c, full);
	}
	return v;
}

static bool cri_disabled(const struct conf *c)
{
	static const char *const names[] = {"cri", "io.containerd.grpc.v1.cri",
					    "io.containerd.cri.v1.images"};

	for (size_t i = 0; i < c->n; i++)
		for (size_t j = 0; j < ARRAY_SIZE(names); j++)
			if (!strncmp(c->v[i].key, "disabled_plugins/", 17) &&
			    !strcmp(c->v[i].value, names[j]))
				return true;
	return false;
}

static int containerd_add(struct look *l, enum doctor_engine_kind kind, const char *config,
			  const char *root_flag, const char *root_default, const char *snapshotter)
{
	cleanup_(conf_done) struct conf c = {0};
	const char *root, *driver, *elsewhere;
	struct doctor_engine *e;
	int r = import(l, &c, config, 0);

	if (r == -ENOMEM)
		return r;
	root = root_flag ? root_flag : conf_get(&c, "root");
	driver = cri_get(&c, "snapshotter");
	if (!driver)
		driver = snapshotter ? snapshotter : "overlayfs";
	e = engine_add(l, kind, c.n ? config : NULL, root && *root ? root : root_default, driver);
	if (!e)
		return -ENOMEM;
	e->cri = !cri_disabled(&c);
	e->discard_unpacked = conf_true(cri_get(&c, "discard_unpacked_layers"));
	elsewhere = conf_get(&c, "plugins/io.containerd.snapshotter.v1.overlayfs/root_path");
	if (!elsewhere || !*elsewhere)
		return 0;
	e = engine_add(l, kind, config, elsewhere, driver);
	if (e)
		e->discard_unpacked = true; /* said once, for the root itself */
	return e ? 0 : -ENOMEM;
}

static int collect_containerd(struct look *l)
{
	cleanup_(proc_done) struct proc p = {0};
	const char *config = NULL, *root = NULL;
	bool running = proc_find(l, "containerd", &p);

	if (running) {
		config = proc_flag(&p, "config");
		if (!config)
			config = proc_flag(&p, "c");
		root = proc_flag(&p, "root");
		/* k3s' and Docker's own are not the system's */
		if (config && (strstr(config, "/rancher/") || strstr(config, "/docker/"))) {
			running = false;
			config = root = NULL;
		}
	}
	if (!config)
		config = "/etc/containerd/config.toml";
	if (!running && !look_exists(l, config) && !look_exists(l, "/var/lib/containerd"))
		return 0;
	return containerd_add(l, ENGINE_CONTAINERD, config, root, "/var/lib/containerd", NULL);
}

static int collect_k3s(struct look *l)
{
	cleanup_(k3s_done) struct k3s k = {0};
	cleanup_free char *config = NULL, *root = NULL;
	const char *snapshotter;
	int r = k3s_find(l, &k);

	if (r || !k.there || k.docker)
		return r;
	if (asprintf(&config, "%s/agent/etc/containerd/config.toml", k.data_dir) < 0 ||
	    asprintf(&root, "%s/agent/containerd", k.data_dir) < 0)
		return -ENOMEM;
	snapshotter = proc_flag(&k.proc, "snapshotter");
	if (!snapshotter)
		snapshotter = conf_get(&k.conf, "snapshotter");
	return containerd_add(l, ENGINE_K3S, config, NULL, root, snapshotter);
}

/* ---- Docker */

static int collect_docker(struct look *l)
{
	cleanup_(proc_done) struct proc p = {0};
	cleanup_(conf_done) struct conf c = {0};
	bool running = proc_find(l, "dockerd", &p);
	const char *config = proc_flag(&p, "config-file"), *root, *driver;
	bool there;

	if (!config)
		config = "/etc/docker/daemon.json";
	there = look_conf(l, &c, config, conf_json);
	if (!running && !there && !look_exists(l, "/var/lib/docker"))
		return 0;
	root = proc_flag(&p, "data-root");
	if (!root)
		root = conf_get(&c, "data-root");
	if (!root)
		root = conf_get(&c, "graph"); /* before 17.05 */
	driver = proc_flag(&p, "storage-driver");
	if (!driver)
		driver = conf_get(&c, "storage-driver");
	if (!driver)
		driver = conf_true(conf_get(&c, "features/containerd-snapshotter")) ? "overlayfs"
										    : "overlay2";
	return engine_add(l, ENGINE_DOCKER, there ? config : NULL,
			  root && *root ? root : "/var/lib/docker", driver)
		       ? 0
		       : -ENOMEM;
}

/* ---- CRI-O, podman */

static void crio_conf(struct look *l, struct conf *c, bool *there)
{
	char **v;
	size_t n;

	*there = look_conf(l, c, "/etc/crio/crio.conf", conf_toml);
	if (look_list(l, "/etc/crio/crio.conf.d", &v, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *file = NULL;

		if (*v[i] != '.' && asprintf(&file, "/etc/crio/crio.conf.d/%s", v[i]) >= 0)
			*there |= look_conf(l, c, file, conf_toml);
	}
	look_list_done(v, n);
}

static int collect_crio(struct look *l)
{
	static const char storage_conf[] = "/etc/containers/storage.conf";
	cleanup_(proc_done) struct proc p = {0};
	cleanup_(conf_done) struct conf c = {0};
	bool running = proc_find(l, "crio", &p), there, storage;
	const char *root, *driver;
	enum doctor_engine_kind kind;

	storage = look_conf(l, &c, storage_conf, conf_toml) ||
		  look_conf(l, &c, "/usr/share/containers/storage.conf", conf_toml);
	crio_conf(l, &c, &there);
	kind = running || there ? ENGINE_CRIO : ENGINE_PODMAN;
	root = proc_flag(&p, "root");
	if (!root)
		root = conf_get(&c, "crio/root");
	if (!root || !*root)
		root = conf_get(&c, "storage/graphroot");
	if (!root || !*root)
		root = "/var/lib/containers/storage";
	if (kind == ENGINE_PODMAN && !look_exists(l, root))
		return 0;
	driver = conf_get(&c, "crio/storage_driver");
	if (!driver || !*driver)
		driver = conf_get(&c, "storage/driver");
	return engine_add(l, kind,
			  there     ? "/etc/crio/crio.conf"
			  : storage ? storage_conf
				    : NULL,
			  root, driver && *driver ? driver : "overlay")
		       ? 0
		       : -ENOMEM;
}

/* The spillfs that path lies on. By the mount table alone. */
static char *covered_by(struct look *l, const char *path)
{
	cleanup_free char *p = strdup(path);

	while (p && *p) {
		const struct mnt_entry *e = mnt_top(&l->mounts, p);
		char *slash = strrchr(p, '/');

		if (e)
			return strcmp(e->fstype, SPILLFS_FSTYPE) ? NULL : strdup(p);
		if (!slash || !p[1])
			break;
		slash[slash == p] = 0;
	}
	return NULL;
}

int collect_engines(struct look *l)
{
	int (*const parts[])(struct look *) = {collect_containerd, collect_k3s, collect_docker,
					       collect_crio};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = parts[i](l);

		if (r)
			return r;
	}
	for (size_t i = 0; i < l->f->nengines; i++) {
		struct doctor_engine *e = &l->f->engines[i];

		e->covered_by = covered_by(l, e->real ? e->real : e->root);
	}
	return 0;
}
