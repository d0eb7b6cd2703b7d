/* SPDX-License-Identifier: MIT
 * Which layer an inode lies in, and when each layer was last used.
 *
 * The layer is found while names are looked up: a directory entry's class follows from its parent's
 * class and its name (layers.h), so no path is ever needed on the request path. Only where a layer
 * begins is its key (the path below the root) read once from /proc. Times are kept in memory and
 * written to the index lazily by the janitor; losing some costs a worse choice, nothing else.
 */
#include "tier_int.h"

#include <stdio.h>

int layerrefs_init(struct tier *t)
{
	char buf[4096], p[32];

	pthread_rwlock_init(&t->layer_lock, NULL);
	t->layers_cap = 64;
	t->nlayers = 1;
	t->layers = calloc(t->layers_cap, sizeof(*t->layers));
	ssize_t n = readlink(hot_fd_path(hot_root_fd(t->hot), p), buf, sizeof(buf) - 1);

	if (!t->layers || n < 0)
		return n < 0 ? -errno : -ENOMEM;
	buf[n] = 0;
	t->root_path = strdup(buf);
	return t->root_path ? 0 : -ENOMEM;
}

void layerrefs_done(struct tier *t)
{
	for (uint32_t i = 1; i < t->nlayers; i++)
		free(t->layers[i].key);
	free(t->layers);
	free(t->root_path);
	pthread_rwlock_destroy(&t->layer_lock);
}

static uint32_t find_locked(const struct tier *t, const char *key)
{
	for (uint32_t i = 1; i < t->nlayers; i++)
		if (!strcmp(t->layers[i].key, key))
			return i;
	return 0;
}

uint32_t layer_by_key(struct tier *t, const char *key, bool create)
{
	int64_t used = 0;
	uint32_t score = 0;

	pthread_rwlock_rdlock(&t->layer_lock);
	uint32_t i = find_locked(t, key);

	pthread_rwlock_unlock(&t->layer_lock);
	if (i || !create)
		return i;
	index_layer_used_get(t->ix, key, &used); /* absent: 0 */
	index_layer_score_get(t->ix, key, &score);
	char *k = strdup(key);

	pthread_rwlock_wrlock(&t->layer_lock);
	i = find_locked(t, key);
	if (!i && k) {
		if (t->nlayers == t->layers_cap) {
			struct layer_ref *v =
				realloc(t->layers, 2 * t->layers_cap * sizeof(*t->layers));

			if (v) {
				t->layers = v;
				t->layers_cap *= 2;
			}
		}
		if (t->nlayers < t->layers_cap) {
			i = t->nlayers++;
			t->layers[i] = (struct layer_ref){
				.key = steal_ptr(k),
				.last_used_ns = used,
				.heat = {(float)score / 1000,
					 score ? (uint32_t)(used / 1000000000) : 0},
			};
		}
	}
	pthread_rwlock_unlock(&t->layer_lock);
	free(k);
	return i;
}

void node_set_layer(struct tier *t, struct node *n, layer_class cls, uint32_t layer)
{
	node_lock(t, n);
	n->cls = cls;
	n->layer = layer;
	node_flag(n, NODE_CLASSED, 0);
	node_unlock(t, n);
}

/* The path of a directory below the root, in buf; NULL: renamed or deleted under us. */
static char *path_of(const struct tier *t, int dirfd, char *buf, size_t len)
{
	char p[32];
	ssize_t n = readlink(hot_fd_path(dirfd, p), buf, len - 1);
	size_t rl = strlen(t->root_path);

	if (n < 0)
		return NULL;
	buf[n] = 0;
	if (strncmp(buf, t->root_path, rl) || (buf[rl] != '/' && buf[rl] != 0 && rl > 1))
		return NULL;
	buf += rl;
	while (*buf == '/')
		buf++;
	return buf;
}

/* A directory that was not looked up by name: known from before a takeover, say. */
static void learn_dir(struct tier *t, struct node *dir, int dirfd)
{
	char buf[4096], *path = path_of(t, dirfd, buf, sizeof(buf));
	layer_class cls = t->root->cls;
	uint32_t layer = 0;

	for (char *name = path; name && *name;) {
		char *end = strchrnul(name, '/'), slash = *end;

		*end = 0;
		cls = layers_class(cls, name);
		if (layers_class_entry(cls))
			layer = layer_by_key(t, path, true);
		*end = slash;
		name = slash ? end + 1 : end;
	}
	if (path)
		node_set_layer(t, dir, cls, layer);
}

void layer_of_child(struct tier *t, struct node *dir, int dirfd, const char *name, layer_class *cls,
		    uint32_t *layer)
{
	char buf[4096], key[4400];

	if (dir != t->root && !node_has(dir, NODE_CLASSED))
		learn_dir(t, dir, dirfd);
	*cls = layers_class(dir->cls, name);
	*layer = dir->layer;
	if (!layers_class_entry(*cls))
		return;
	const char *rel = path_of(t, dirfd, buf, sizeof(buf));

	*layer = 0;
	if (!rel) /* not worth more */
		return;
	snprintf(key, sizeof(key), "%s%s%s", rel, *rel ? "/" : "", name);
	*layer = layer_by_key(t, key, true);
}

void layer_used_at(struct tier *t, uint32_t layer, uint32_t now_sec)
{
	int64_t now = (int64_t)now_sec * 1000000000;

	if (!layer)
		return;
	pthread_rwlock_wrlock(&t->layer_lock);
	struct layer_ref *l = &t->layers[layer];

	if (now > l->last_used_ns)
		l->last_used_ns = now;
	heat_use(&l->heat, now_sec, t->cfg->half_life_sec);
	l->dirty = true;
	pthread_rwlock_unlock(&t->layer_lock);
}

/* Written to: that is no scan. */
void layer_used(struct tier *t, const struct node *n)
{
	if (!n->layer)
		return;
	int64_t now = clock_wall_ns();

	pthread_rwlock_rdlock(&t->layer_lock);
	struct layer_ref *l = &t->layers[n->layer];

	/* Racing stores of nearly the same time: any of them is right. */
	if (now - __atomic_load_n(&l->last_used_ns, __ATOMIC_RELAXED) > 1000000000) {
		__atomic_store_n(&l->last_used_ns, now, __ATOMIC_RELAXED);
		__atomic_store_n(&l->dirty, true, __ATOMIC_RELAXED);
	}
	pthread_rwlock_unlock(&t->layer_lock);
}

int64_t layer_last_used(struct tier *t, const struct layer *l)
{
	uint32_t i = layer_by_key(t, l->key, true);
	int64_t used = 0;

	pthread_rwlock_rdlock(&t->layer_lock);
	if (i)
		used = __atomic_load_n(&t->layers[i].last_used_ns, __ATOMIC_RELAXED);
	pthread_rwlock_unlock(&t->layer_lock);
	return used ? used : l->born_ns;
}

int layers_flush(struct tier *t)
{
	int r = 0;

	pthread_rwlock_rdlock(&t->layer_lock);
	for (uint32_t i = 1; i < t->nlayers && !r; i++) {
		struct layer_ref *l = &t->layers[i];

		if (__atomic_exchange_n(&l->dirty, false, __ATOMIC_RELAXED))
			r = index_layer_used_set(t->ix, l->key, l->last_used_ns);
		else
			continue;
		if (!r && l->heat.used_sec)
			r = index_layer_score_set(t->ix, l->key,
						  (uint32_t)MIN(l->heat.score * 1000, 4e9f));
	}
	pthread_rwlock_unlock(&t->layer_lock);
	return r;
}
