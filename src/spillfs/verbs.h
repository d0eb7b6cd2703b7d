/* SPDX-License-Identifier: MIT
 * The daemon's side of the control verbs: JSON in, calls of the tier, JSON out. Paths are relative
 * to the mount point, names are exact bytes (ctl_name_put). Lists go out as events in batches, so
 * that no line grows with the tree:
 *
 *   {"event": "progress", files_seen, files_done, bytes_done, ...}    long verbs, about 5 a second
 *   {"event": "note", "path", "errno", "error"}                       a file that was busy or
 * failed
 *   {"event": "entries", "entries": [...]}                            ls, layers
 *   {"event": "problem", "what", "path"}                              check
 */
#ifndef SPILLFS_VERBS_H
#define SPILLFS_VERBS_H

#include "daemon.h"
#include "spill/exit.h"

#define VERB(name)                                                                                 \
	json_t *verb_##name(void *ctx, struct ctl_conn *c, const json_t *req, char **ret_err,      \
			    int *ret_code)
VERB(status);
VERB(ls);
VERB(info);
VERB(spill);
VERB(premigrate);
VERB(recall);
VERB(layers);
VERB(check);
VERB(version);
VERB(restart);
VERB(pin);
VERB(unpin);
VERB(pins);
VERB(pause);
VERB(resume);
VERB(drain);
VERB(why);

/* A byte count or other number as JSON, which has only signed 64 bits. */
json_t *verb_num(uint64_t v);
/* o[key] = v; o may be NULL (an earlier failure). */
void verb_set_num(json_t *o, const char *key, uint64_t v);
/* What kubelet makes of the mount, for status; NULL: no memory. */
json_t *verb_kubelet_json(const struct config *cfg);
/* "path" of a request, "" when it has none, without leading and trailing slashes (caller frees).
 * NULL with the error set. */
char *verb_path(const json_t *req, char **ret_err, int *ret_code);
/* What -errno means to a person; NULL always. */
json_t *verb_errno(char **ret_err, int *ret_code, int err);
const char *verb_strerror(int err);
const char *verb_state_name(enum residency r);

/* Entries on their way out, in batches. A failure (client gone, no memory) shows in `failed`. */
struct verb_batch {
	struct ctl_conn *c;
	json_t *entries;
	uint64_t sent;
	bool failed;
};
bool verb_batch_add(struct verb_batch *b, json_t *entry); /* takes the reference; false: stop */
/* The answer of a verb that sent entries: their number, or err. */
json_t *verb_batch_end(struct verb_batch *b, int err, char **ret_err, int *ret_code);

/* Progress events of tier_progress_fn work, no more than about five a second. */
struct verb_work {
	struct ctl_conn *c;
	uint64_t last_ns;
};
bool verb_progress(void *work, const struct tier_work *w);
void verb_note(void *work, const char *path, int err);
json_t *verb_work_json(const struct tier_work *w);

#endif
