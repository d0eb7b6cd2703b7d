/* SPDX-License-Identifier: MIT
 * Contract of src/ctl: the control protocol, its server (in the daemon) and its client (spillctl).
 *
 * A root-only AF_UNIX stream socket. Client and server send JSON objects, one per line, at most
 * CTL_LINE_MAX bytes. The client sends one request {"verb": "...", ...}; the server answers with
 * any number of {"event": "progress", ...} lines and then exactly one {"result": {...}} or
 * {"error": "text", "code": <enum spill_exit>} line, and closes. The client interrupts by closing.
 */
#ifndef SPILL_CTL_H
#define SPILL_CTL_H

#include "spill/base.h"
#include <jansson.h>

#define CTL_LINE_MAX (1u << 20)

/* ---- codec (pure): accumulates bytes, yields lines as JSON
 * ----------------------------------------- */
struct ctl_reader {
	char *buf;
	size_t len, cap;
	size_t pos;  /* lines before it were handed out */
	size_t line; /* where the last, unfinished line begins */
};
void ctl_reader_init(struct ctl_reader *r);
void ctl_reader_done(struct ctl_reader *r);
/* Add bytes. -EMSGSIZE: a line is longer than CTL_LINE_MAX. */
int ctl_reader_feed(struct ctl_reader *r, const void *data, size_t len);
/* Next complete line as a JSON object (caller json_decrefs): 1, 0 none yet, -EBADMSG not a JSON
 * object (the line is passed over). */
int ctl_reader_next(struct ctl_reader *r, json_t **ret);
/* o as one line with its newline (caller frees): -EMSGSIZE longer than CTL_LINE_MAX, -ENOMEM. */
int ctl_line(const json_t *o, char **ret, size_t *ret_len);

/* ---- names: bytes of a file system in JSON, which has only UTF-8
 * ------------------------------------- */
/* Set o[key] to name with each byte that is not UTF-8 replaced by U+FFFD, and then also o[key
 * "_hex"] to the exact bytes. 0 or -ENOMEM. */
int ctl_name_put(json_t *o, const char *key, const char *name);
/* The exact bytes back (caller frees). -ENOENT: no such key. -EINVAL: not a string, bad hex, or a
 * NUL. */
int ctl_name_get(const json_t *o, const char *key, char **ret);
/* s fit for a terminal: control characters, bytes that are not UTF-8, invisible and
 * direction-changing characters and the backslash are escaped. Caller frees; NULL: out of memory.
 */
char *ctl_escape(const char *s);

/* ---- server
 * ------------------------------------------------------------------------------------------ */
struct ctl_conn; /* one request being answered */
/* Handler of one verb, on a thread of its own (one per connection, at most 16; more wait). Returns
 * a new reference as the result, or NULL with *ret_err (heap, the server frees it) and *ret_code
 * set, which is what ctl_error does. */
typedef json_t *(*ctl_handler_fn)(void *ctx, struct ctl_conn *c, const json_t *req, char **ret_err,
				  int *ret_code);
json_t *ctl_error(char **ret_err, int *ret_code, int code, const char *fmt, ...)
	printf_like(4, 5); /* NULL always */
struct ctl_verb {
	const char *name;
	ctl_handler_fn fn;
};
struct ctl_server;
#define CTL_MAX_CLIENTS 16
/* Listen on path (removed first, mode 0600; only root and our own user are answered). verbs ends
 * with a NULL name. A client must have sent its request within 10 s. */
int ctl_server_start(struct ctl_server **ret, const char *path, const struct ctl_verb *verbs,
		     void *ctx);
/* Stops accepting, interrupts running handlers (ctl_interrupted becomes true), joins. Removes the
 * socket. */
void ctl_server_stop(struct ctl_server *s);
/* Send an event (takes the reference). False: the client is gone. Never waits for the client, so
 * that it may be called with locks held, until 8 MiB are unread: then up to 10 s, after which it
 * counts as gone. From the handler's thread only. */
bool ctl_progress(struct ctl_conn *c, json_t *ev);
/* The client hung up or the server stops: give up soon. Cheap. */
bool ctl_interrupted(struct ctl_conn *c);

/* ---- client
 * ------------------------------------------------------------------------------------------- */
/* Called for each event; false interrupts. */
typedef bool (*ctl_progress_fn)(void *ctx, const json_t *ev);
/* One request. 0: *ret is the result. -ECONNREFUSED / -ENOENT: no daemon. -EREMOTEIO: the server
 * answered with an error: *ret_err (caller frees) and *ret_code. -ECONNRESET: it went away before
 * it had answered. -EINTR: fn said so, or a signal handler without SA_RESTART ran. -EBADMSG: not
 * our protocol. -EMSGSIZE: the request is too long. Waits as long as the daemon works; with
 * timeout_sec not 0 for that long at most between two lines, then -ETIMEDOUT. */
int ctl_call(const char *sock_path, const json_t *req, unsigned timeout_sec, ctl_progress_fn fn,
	     void *ctx, json_t **ret, char **ret_err, int *ret_code);

#endif
