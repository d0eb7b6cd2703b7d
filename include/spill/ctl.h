/* SPDX-License-Identifier: MIT
 * Contract of src/ctl: the control protocol, its server (in the daemon) and its client (spillctl).
 *
 * A root-only AF_UNIX stream socket. Client and server send JSON objects, one per line, at most
 * CTL_LINE_MAX bytes. The client sends one request {"verb": "...", ...}; the server answers with any number
 * of {"event": "progress", ...} lines and then exactly one {"result": {...}} or
 * {"error": "text", "code": <enum spill_exit>} line, and closes. The client interrupts by closing.
 */
#ifndef SPILL_CTL_H
#define SPILL_CTL_H

#include "spill/base.h"
#include <jansson.h>

#define CTL_LINE_MAX (1u << 20)

/* ---- codec (pure): accumulates bytes, yields lines as JSON ----------------------------------------- */
struct ctl_reader {
	char *buf;
	size_t len, cap;
};
void ctl_reader_init(struct ctl_reader *r);
void ctl_reader_done(struct ctl_reader *r);
/* Add bytes. -EMSGSIZE: a line is longer than CTL_LINE_MAX. */
int ctl_reader_feed(struct ctl_reader *r, const void *data, size_t len);
/* Next complete line as a JSON object (caller json_decrefs): 1, 0 none yet, -EBADMSG not a JSON object. */
int ctl_reader_next(struct ctl_reader *r, json_t **ret);

/* ---- server ------------------------------------------------------------------------------------------ */
struct ctl_conn; /* one request being answered */
/* Handler of one verb, on a thread of its own (one per connection, at most 16; more wait). Returns a new
 * reference as the result, or NULL with *ret_err (static or from ctl_error) and *ret_code set. */
typedef json_t *(*ctl_handler_fn)(void *ctx, struct ctl_conn *c, const json_t *req, char **ret_err,
				  int *ret_code);
struct ctl_verb {
	const char *name;
	ctl_handler_fn fn;
};
struct ctl_server;
/* Listen on path (removed first, mode 0600). verbs ends with a NULL name. */
int ctl_server_start(struct ctl_server **ret, const char *path, const struct ctl_verb *verbs, void *ctx);
/* Stops accepting, interrupts running handlers (ctl_interrupted becomes true), joins. Removes the socket. */
void ctl_server_stop(struct ctl_server *s);
/* Send a progress event (takes the reference). False: the client is gone. */
bool ctl_progress(struct ctl_conn *c, json_t *ev);
/* The client hung up or the server stops: give up soon. Cheap. */
bool ctl_interrupted(struct ctl_conn *c);

/* ---- client ------------------------------------------------------------------------------------------- */
typedef void (*ctl_progress_fn)(void *ctx, const json_t *ev);
/* One request. 0: *ret is the result. -ECONNREFUSED / -ENOENT: no daemon. -EREMOTEIO: the server answered
 * with an error: *ret_err (caller frees) and *ret_code. -EBADMSG. */
int ctl_call(const char *sock_path, const json_t *req, ctl_progress_fn fn, void *ctx, json_t **ret,
	     char **ret_err, int *ret_code);

#endif
