/* SPDX-License-Identifier: MIT
 * Private declarations of src/doctor.
 */
#ifndef SPILL_DOCTOR_INT_H
#define SPILL_DOCTOR_INT_H

#include "conf.h"
#include "spill/doctor.h"
#include "spill/mnt.h"

#include <stdio.h>

#define CONF_FILE_MAX (1u << 20)

/* ---- look.c: looking at files below a root, never for long --------------------------------------
 */
struct look_helper {
	pid_t pid; /* 0: none */
	int fd;
};
struct look {
	const char *root; /* "" for "/", else without a final slash */
	struct doctor_facts *f;
	struct mnt_table mounts; /* of root/proc/self/mountinfo */
	struct look_helper helper;
	unsigned timeouts; /* so far; after some nothing is asked any more */
};
void look_done(struct look *l);
/* The text of a regular file (also of /proc and /sys), at most max bytes. -ETIMEDOUT, -EFBIG, ...
 */
int look_read(struct look *l, const char *path, size_t max, char **ret, size_t *ret_len);
bool look_exists(struct look *l, const char *path);
/* path with every symbolic link resolved as if root were "/" (caller frees); -ENOENT, -ETIMEDOUT.
 */
int look_resolve(struct look *l, const char *path, char **ret);
/* Pids, each ended by a NUL, of the processes of that name. Caller frees. */
int look_comm(struct look *l, const char *name, char **ret, size_t *ret_len);
/* Names in a directory, sorted; caller frees each and the array. -errno. */
int look_list(struct look *l, const char *path, char ***ret, size_t *ret_n);
void look_list_done(char **v, size_t n);
/* Append the configuration in a file to c. 1 there, 0 not there (or broken: noted in the facts). */
typedef int (*look_parser)(struct conf *, const char *, size_t, struct conf_error *);
int look_conf(struct look *l, struct conf *c, const char *path, look_parser parse);
void look_broken(struct look *l, const char *file, unsigned line, const char *why);

/* ---- procs.c ------------------------------------------------------------------------------------
 */
struct proc {
	int pid;
	uint64_t start_ticks;
	char **argv; /* NULL-terminated; may be empty */
	char *args;  /* what argv points into */
};
/* The running program of that name (of its executable's last component in argv[0], or "kubelet" for
 * kube's own). 1 found, 0 not. */
int proc_find(struct look *l, const char *name, struct proc *ret);
void proc_done(struct proc *p);
/* The value of --name=V or --name V, the last one that stands there; NULL. Borrowed. */
const char *proc_flag(const struct proc *p, const char *name);
uint64_t proc_start(struct look *l, int pid); /* 0: not known */

/* ---- the parts of the facts
 * ---------------------------------------------------------------------- */
int collect_kubelet(struct look *l);
int collect_engines(struct look *l);
int collect_mounts(struct look *l, const char *run_dir);
void collect_units(struct look *l); /* after engines and mounts */
void collect_kernel(struct look *l);

/* k3s: where it keeps its data, its own configuration. ret_args: kubelet-arg entries. */
struct k3s {
	bool there;
	struct proc proc;
	char *data_dir;
	struct conf conf;
	bool docker; /* --docker */
};
int k3s_find(struct look *l, struct k3s *ret);
void k3s_done(struct k3s *k);

/* ---- quantities.c: Kubernetes' ways to write numbers; false: not one
 * ------------------------------ */
bool limit_parse(const char *s, struct doctor_limit *ret); /* "15%", "1Gi", "500M" */
bool duration_parse(const char *s, double *ret_sec);       /* "1h30m", "0s", "0" */
bool percent_parse(const char *s, int *ret);               /* "85" */

#endif
