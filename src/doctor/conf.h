/* SPDX-License-Identifier: MIT
 * Configuration of others, whatever its syntax: a flat list of KEY -> VALUE with where it stands.
 *
 * A key is the path to the value, joined by '/': "evictionHard/imagefs.available", "imports/0",
 * "plugins/io.containerd.grpc.v1.cri/containerd/snapshotter". (Dots are part of many names.) A
 * later item overrides an earlier one. Values are the text as written, without quotes.
 */
#ifndef SPILL_DOCTOR_CONF_H
#define SPILL_DOCTOR_CONF_H

#include "spill/base.h"

#define CONF_DEPTH_MAX 64
#define CONF_ITEMS_MAX 65536
#define CONF_KEY_MAX   1024

struct conf_item {
	char *key, *value;
	unsigned line;
};
struct conf {
	struct conf_item *v;
	size_t n, cap;
};
void conf_done(struct conf *c);
/* Copies both. -ENOMEM; -E2BIG too many. */
int conf_add(struct conf *c, const char *key, const char *value, unsigned line);
/* The last item of that key, or NULL. */
const struct conf_item *conf_find(const struct conf *c, const char *key);
const char *conf_get(const struct conf *c, const char *key); /* its value, or NULL */
/* Is there anything at key or below it? */
bool conf_has(const struct conf *c, const char *key);
/* "true" in any of the ways they write it. */
bool conf_true(const char *value);

/* Where and why a text is broken. */
struct conf_error {
	unsigned line;
	char why[160];
};
/* Append what text says. 0, or -EUCLEAN with *ret_err (what came before the error was appended),
 * -ENOMEM, -E2BIG. */
int conf_yaml(struct conf *c, const char *text, size_t len, struct conf_error *ret_err);
int conf_toml(struct conf *c, const char *text, size_t len, struct conf_error *ret_err);
int conf_json(struct conf *c, const char *text, size_t len, struct conf_error *ret_err);

/* A path of names being walked, for the parsers. */
struct conf_path {
	char *s;
	size_t len, cap;
};
/* Append "/name"; *ret_old is what conf_path_cut takes to undo it. -E2BIG: longer than
 * CONF_KEY_MAX. */
int conf_path_push(struct conf_path *p, const char *name, size_t *ret_old);
void conf_path_cut(struct conf_path *p, size_t old);
void conf_path_done(struct conf_path *p);

#endif
