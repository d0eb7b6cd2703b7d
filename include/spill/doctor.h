/* SPDX-License-Identifier: MIT
 * Contract of src/doctor: what kubelet and the container engines of this node are told to do, and
 * whether that goes well with spillfs. Only looks; changes nothing; asks no daemon.
 *
 * Collect, then judge: doctor_collect reads configuration, /proc and the mount table below a root
 * directory into facts; the caller adds what the daemons of the mounts say (struct doctor_mount);
 * doctor_judge is a pure function from facts to findings.
 *
 * Nothing here hangs: whatever may lie on a file system that does not answer is read by a child
 * process that is given two seconds (DOCTOR_WAIT_MS) and left behind; after five such, nothing more
 * is asked.
 */
#ifndef SPILL_DOCTOR_H
#define SPILL_DOCTOR_H

#include "spill/base.h"

/* ---- findings ----------------------------------------------------------------------------------
 */
enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };
struct doctor_finding {
	const char *id; /* "kubelet.image-gc"; never renamed */
	enum doctor_level level;
	char *what;  /* one sentence with the facts */
	char *why;   /* what it leads to, or NULL (OK) */
	char *to_do; /* or NULL (OK) */
};
struct doctor_report {
	struct doctor_finding *v;
	size_t n, cap;
	unsigned count[3]; /* by level */
	bool no_memory;    /* findings are missing */
};
void doctor_report_done(struct doctor_report *r);
const char *doctor_level_name(enum doctor_level l); /* "OK", "WARN", "FAIL" */

/* ---- facts -------------------------------------------------------------------------------------
 */
/* A threshold as kubelet takes it: a part of the whole or an amount; both 0: off. */
struct doctor_limit {
	double percent;
	uint64_t amount; /* bytes or inodes */
};
struct doctor_eviction {
	struct doctor_limit imagefs, nodefs, imagefs_inodes, nodefs_inodes;
};
struct doctor_kubelet {
	bool there;           /* running, or configured */
	bool k3s;             /* as part of k3s */
	int pid;              /* 0: not running */
	uint64_t start_ticks; /* since boot, of the process */
	char *from;           /* what was read, for people */
	int gc_high, gc_low;  /* percent of usage; -1: not a number */
	struct doctor_eviction hard, soft;
	double max_age_sec; /* imageMaximumGCAge; 0: off */
	bool configured;    /* gc_high or hard.imagefs is not what kubelet has by itself */
};

enum doctor_engine_kind {
	ENGINE_CONTAINERD,
	ENGINE_K3S,
	ENGINE_DOCKER,
	ENGINE_CRIO,
	ENGINE_PODMAN
};
struct doctor_engine {
	enum doctor_engine_kind kind;
	char *config; /* the file that decides, or NULL: defaults */
	char *root;   /* image root, as configured */
	char *real;  /* with symbolic links resolved; NULL: does not exist or cannot be looked at */
	bool silent; /* the file system of root does not answer */
	char *driver; /* snapshotter or storage driver */
	bool cri;     /* containerd: serves kubelet */
	bool discard_unpacked;
	char *covered_by;  /* mount point of the spillfs that root is on, or NULL */
	char *unit;        /* name of its systemd unit if there is one, or NULL */
	bool unit_asserts; /* it does not start unless covered_by is a mount point */
	bool unit_ordered; /* it waits for covered_by to be mounted */
};

struct doctor_mount {
	char *dir;
	char *source;         /* of the mount table */
	bool guard_only;      /* only the guard is there */
	bool guard_lost;      /* nor is that, although nobody ran spillctl unguard */
	bool anchor_gone;     /* source is a loop device that has nothing attached */
	uint64_t start_ticks; /* of the process that mounted it; 0: not known */
	uint64_t nofile;      /* the daemon's soft limit of open files; 0: not known */
	bool at_boot;         /* a line in fstab or an enabled unit mounts it */
	char *at_boot_by;
	bool nofail_alone; /* in fstab with nofail and without x-systemd.before= */
	/* What the daemon says; filled in by the caller. */
	bool asked, answers;
	bool auto_spill, frozen, passthrough, kubelet_off;
	char *parked;                          /* or NULL */
	unsigned high, critical, used_percent; /* of the hot tier, as df(1) rounds it */
	uint64_t errors;
	uint64_t hot_total, inodes_total, inodes_free;
	uint64_t store_total, store_free, seen_total, seen_available;
	bool rates_known;
	int64_t bytes_per_hour, bytes_per_hour_now, inodes_per_hour;
	/* --probe: NULL not tried, "" everything is there, else what is missing */
	char *overlay_lacks;
};

/* A configuration file that cannot be read or understood. */
struct doctor_broken {
	char *file;
	unsigned line; /* 0: not known */
	char *why;
};

struct doctor_facts {
	unsigned kernel_major, kernel_minor; /* 0: not known */
	bool dev_fuse, fuse_module, overlay_module, loop_control, fuse_uring;
	bool halts_at_once; /* a guest's CPU is given back to the host whenever it idles */
	struct doctor_kubelet kubelet;
	struct doctor_engine *engines;
	size_t nengines;
	struct doctor_mount *mounts;
	size_t nmounts;
	struct doctor_broken *broken;
	size_t nbroken;
};

#define DOCTOR_WAIT_MS 2000

/* Look below root ("/" for this machine). run_dir: where run directories of mounts are, as named
 * below root ("/run/spillfs"). 0 or -ENOMEM; what cannot be looked at is a fact. Forks; call it
 * with one thread. May take a few seconds. */
int doctor_collect(const char *root, const char *run_dir, struct doctor_facts *ret);
/* Only the kubelet part (and what is broken there). */
int doctor_collect_kubelet(const char *root, struct doctor_facts *ret);
void doctor_facts_done(struct doctor_facts *f);

/* Pure. dir: only findings about that mount and about what concerns all; NULL: everything. */
void doctor_judge(const struct doctor_facts *f, const char *dir, struct doctor_report *ret);

/* ---- when does kubelet begin to delete? --------------------------------------------------------
 */
struct doctor_line {
	unsigned used_percent; /* as kubelet counts it */
	uint64_t bytes_until;  /* written until it deletes; 0: it does so now */
	int at_percent;        /* of usage, rounded; -1: never */
	bool by_eviction;      /* the eviction manager comes before image GC */
};
/* Pure. Capacity and available bytes as statfs tells them. */
void doctor_line(const struct doctor_kubelet *k, uint64_t capacity, uint64_t available,
		 struct doctor_line *ret);
/* kubelet's own defaults. */
void doctor_kubelet_defaults(struct doctor_kubelet *k);

/* Try in dir, which is on the mount, what an overlayfs needs of its upper layer. Makes and removes
 * a directory of its own there. *ret (caller frees): "" everything is there, else what is missing.
 * -ETIMEDOUT, -errno. Forks. */
int doctor_probe_overlay(const char *dir, char **ret);

#endif
