/* SPDX-License-Identifier: MIT
 * What the verbs of spillctl share. Each verb is a function that returns the exit code.
 */
#ifndef SPILLCTL_H
#define SPILLCTL_H

#include "spill/base.h"
#include "spill/ctl.h"
#include "spill/exit.h"
#include <stdio.h>

#define EXIT_INTERRUPTED 130 /* 128 + SIGINT, as shells say it */

struct verb;

/* The command line, parsed. */
struct cli {
	const struct verb *verb;
	const char *mount; /* -m */
	const char *store, *hot;
	bool json, quiet, quick, expose;
	bool layer, image, no_recall, yes, probe;
	const char *for_time, *below, *timeout;
	const char *root; /* doctor: look below it instead of / */
	int argc;         /* what follows the verb, without options */
	char **argv;
};

/* Options of single verbs, for struct verb. */
enum {
	V_QUICK = 1,
	V_OFFLINE = 2,
	V_EXPOSE = 4,
	V_WHAT = 8, /* --layer, --image */
	V_NO_RECALL = 16,
	V_FOR = 32,
	V_BELOW = 64,
	V_TIMEOUT = 128,
	V_YES = 256,
	V_STORE = 512,   /* --store alone */
	V_DOCTOR = 1024, /* --probe, --root */
};
struct verb {
	const char *name;
	int (*fn)(const struct cli *c);
	int min_args, max_args; /* max -1: any number */
	unsigned options;
	const char *args; /* for the usage line */
	const char *help; /* one line */
	const char *text; /* what `help VERB` adds */
};

int do_status(const struct cli *c);
int do_ls(const struct cli *c);
int do_info(const struct cli *c);
int do_spill(const struct cli *c);
int do_premigrate(const struct cli *c);
int do_recall(const struct cli *c);
int do_layers(const struct cli *c);
int do_check(const struct cli *c);
int do_version(const struct cli *c);
int do_unguard(const struct cli *c);
int do_restart(const struct cli *c);
int do_why(const struct cli *c);
int do_pin(const struct cli *c);
int do_unpin(const struct cli *c);
int do_pins(const struct cli *c);
int do_pause(const struct cli *c);
int do_resume(const struct cli *c);
int do_wait(const struct cli *c);
int do_drain(const struct cli *c);
int do_export(const struct cli *c);
int do_plan(const struct cli *c);
int do_protect(const struct cli *c);
int do_doctor(const struct cli *c);

/* ---- out.c: text ----------------------------------------------------------------------------- */
/* Print "spillctl: ..." on stderr, escaped, and with --json also {"error", "code"} on stdout, as
 * the only output. Returns code. */
int fail(const struct cli *c, int code, const char *fmt, ...) printf_like(3, 4);
/* Only the line on stderr. */
void warn(const char *fmt, ...) printf_like(1, 2);
/* Print o (takes the reference) on stdout. Pure ASCII: safe on any terminal. */
void print_json(json_t *o);
/* Print text from elsewhere, escaped. */
void put_safe(FILE *f, const char *s);

/* Formatted numbers; buf is returned. */
struct numbuf {
	char s[32];
};
#define fmt_size(v)  fmt_size_in(&(struct numbuf){{0}}, (v))  /* "1.2 GiB" */
#define fmt_count(v) fmt_count_in(&(struct numbuf){{0}}, (v)) /* "1,234" */
#define fmt_span(v)  fmt_span_in(&(struct numbuf){{0}}, (v))  /* seconds: "3 d 4 h" */
const char *fmt_size_in(struct numbuf *b, uint64_t v);
const char *fmt_count_in(struct numbuf *b, uint64_t v);
const char *fmt_span_in(struct numbuf *b, uint64_t sec);

/* A table whose columns line up; align has one character a column: '<' or '>'. */
struct table {
	const char *align;
	char **cells; /* row by row, strlen(align) a row */
	size_t n, cap;
};
/* Add the next cell (copied and escaped). */
void table_add(struct table *t, const char *cell);
void table_print(const struct table *t, FILE *f);
void table_done(struct table *t);

/* ---- reading answers (out.c) ----------------------------------------------------------------- */
/* o[key] or o[key][sub] as a number; 0 when absent or null. */
uint64_t jnum(const json_t *o, const char *key);
uint64_t jnum2(const json_t *o, const char *key, const char *sub);
/* o[key] as a string, "" when absent. */
const char *jstr(const json_t *o, const char *key);
/* kubelet.c: the line of status about kubelet. */
void anchor_print(const json_t *status);

/* ---- target.c: which mount, which path ------------------------------------------------------ */
struct target {
	char *mount; /* absolute */
	char *rel;   /* below it, "" for the mount point itself */
	char *path;  /* both together */
};
/* Where PATH lies: the innermost spillfs mount above it, or -m's. The last component is not
 * followed. An exit code; on failure *ret_err (caller frees). */
int target_of_path(const struct cli *c, const char *path, struct target *ret, char **ret_err);
/* The mount of -m, or the only one there is. */
int target_mount(const struct cli *c, struct target *ret, char **ret_err);
/* -m's mount and argv[0] as one: verbs with [DIR]. */
int target_dir(const struct cli *c, struct target *ret, char **ret_err);
/* As target_of_path for a PATH that need not exist: by its words, which must be absolute or below
 * the working directory. */
int target_of_words(const struct cli *c, const char *path, struct target *ret, char **ret_err);
void target_done(struct target *t);
/* dir with symbolic links resolved (caller frees); NULL and errno. */
char *target_resolve(const char *dir);
/* mount + "/" + rel; caller frees. */
char *path_of(const char *mount, const char *rel);

/* ---- request.c: asking the daemon ------------------------------------------------------------ */
/* Send req (takes the reference) to the daemon of mount. EXIT_OK and *ret, or an exit code and
 * *ret_err (caller frees), or EXIT_INTERRUPTED. */
int request(const char *mount, json_t *req, ctl_progress_fn fn, void *ctx, json_t **ret,
	    char **ret_err);
/* EXIT_OK, also when nobody listens (request says that better); EXIT_NO_DAEMON and *ret_err when
 * the daemon is there but stopped or stuck. Long verbs have no limit of their own: one huge file
 * may take minutes between two lines. */
int request_ping(const char *mount, char **ret_err);
/* {"verb": verb, "path": rel}. */
json_t *request_new(const char *verb, const char *rel);
/* Make Ctrl-C interrupt the request instead of killing us; the second one kills. */
void interrupt_catch(void);
bool interrupted(void);
/* Collect the entries of "entries" events into *(json_t **)ctx, an array. */
bool collect_entries(void *ctx, const json_t *ev);

/* The same by the name of the socket, for what is not at its usual place. */
int request_at(const char *sock, json_t *req, json_t **ret);

/* ---- kubelet.c: status as kubelet sees it ------------------------------------------------------
 */
/* Add "kubelet" to a status answer, and to its "forecast" when images would be deleted. */
void kubelet_add(json_t *status);
void kubelet_print(const json_t *status);

/* ---- progress.c: one line on a terminal -------------------------------------------------------
 */
struct progress {
	bool on; /* stderr is a terminal, and nobody said -q */
	bool shown;
	const char *what;
	uint64_t start_ns;
};
void progress_init(struct progress *p, const struct cli *c, const char *what);
void progress_show(struct progress *p, uint64_t files, uint64_t bytes, const char *current);
void progress_clear(struct progress *p); /* before anything else is printed */

/* ---- pin.c: what `pin` and `protect` are about ----------------------------------------------- */
struct pin_req {
	struct target t; /* its mount */
	json_t *items;   /* [{"path"}...] below the mount */
	char *owner;     /* the image's full name, or NULL */
	int engine;      /* enum layer_engine, of an image */
	bool in_kubernetes;
};
/* arg as a path, or with --layer or --image what that is. gone: a PATH need not exist. An exit code
 * and *ret_err (caller frees). */
int pin_resolve(const struct cli *c, const char *arg, bool gone, struct pin_req *r, char **ret_err);
/* Send it as "pin" or "unpin", with progress. */
int pin_ask(const struct cli *c, const char *verb, const struct pin_req *r, bool recall,
	    json_t **ret, char **ret_err);
void pin_req_done(struct pin_req *r);

/* ---- check -------------------------------------------------------------------------------------
 */
/* What a check found, online or offline. */
struct check_report {
	const struct cli *c;
	const char *mount; /* for paths, or NULL */
	struct progress progress;
	json_t *found; /* array of {what, path} */
};
void check_report_problem(struct check_report *r, const char *what, const char *rel);
/* Print the sums (takes the reference) and return the exit code. */
int check_report_finish(struct check_report *r, json_t *sums, const char *mode, const char *store);
int check_offline(const struct cli *c, const char *store, const char *hot);

#endif
