/* SPDX-License-Identifier: MIT
 * k3s: its own configuration (https://docs.k3s.io/installation/configuration): config.yaml, then
 * config.yaml.d/ by name; a later list replaces an earlier one unless its key ends in '+'. Flags of
 * the running process come last.
 */
#include "doctor_int.h"

#define CONF_FILE "/etc/rancher/k3s/config.yaml"
#define CONF_DIR  "/etc/rancher/k3s/config.yaml.d"
#define DATA_DIR  "/var/lib/rancher/k3s"

void k3s_done(struct k3s *k)
{
	proc_done(&k->proc);
	free(k->data_dir);
	conf_done(&k->conf);
}

static void drop_list(struct conf *c, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < c->n; i++)
		if (!strncmp(c->v[i].key, key, len) && strchr("/+", c->v[i].key[len]))
			c->v[i].key[0] =
				0; /* also one without more letters: strchr finds the end */
}

static int take(struct look *l, struct conf *all, const char *file)
{
	cleanup_(conf_done) struct conf c = {0};
	int r = 0;

	if (!look_conf(l, &c, file, conf_yaml))
		return 0;
	if (conf_has(&c, "kubelet-arg"))
		drop_list(all, "kubelet-arg");
	for (size_t i = 0; i < c.n && !r; i++)
		r = conf_add(all, c.v[i].key, c.v[i].value, c.v[i].line);
	return r ? r : 1;
}

int k3s_find(struct look *l, struct k3s *ret)
{
	const char *dir, *config;
	char **v;
	size_t n;
	int r;

	*ret = (struct k3s){0};
	ret->there = proc_find(l, "k3s", &ret->proc);
	config = proc_flag(&ret->proc, "config");
	r = take(l, &ret->conf, config ? config : CONF_FILE);
	if (r < 0)
		return r;
	ret->there |= r;
	if (!look_list(l, CONF_DIR, &v, &n)) {
		for (size_t i = 0; i < n && r >= 0; i++) {
			cleanup_free char *file = NULL;
			size_t len = strlen(v[i]);

			if (len > 5 && !strcmp(v[i] + len - 5, ".yaml") &&
			    asprintf(&file, CONF_DIR "/%s", v[i]) >= 0)
				r = take(l, &ret->conf, file);
			ret->there |= r > 0;
		}
		look_list_done(v, n);
	}
	dir = proc_flag(&ret->proc, "data-dir");
	if (!dir)
		dir = conf_get(&ret->conf, "data-dir");
	ret->data_dir = strdup(dir ? dir : DATA_DIR);
	ret->docker = conf_true(conf_get(&ret->conf, "docker")) ||
		      (proc_flag(&ret->proc, "docker") != NULL);
	if (!ret->data_dir || r == -ENOMEM)
		return -ENOMEM;
	if (!ret->there) {
		cleanup_free char *agent = NULL;

		if (asprintf(&agent, "%s/agent/containerd", ret->data_dir) < 0)
			return -ENOMEM;
		ret->there = look_exists(l, agent);
	}
	return 0;
}
