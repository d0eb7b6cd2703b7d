/* SPDX-License-Identifier: MIT
 * Contract of src/policy: what is cold, when to move it, and in which order (DESIGN.md section 8).
 *
 * Pure functions: no I/O, no clock, no locks, no allocation but the plan's. The daemon and the
 * simulator (tests/tools/policysim.c) run the same code. Times are seconds, sizes bytes, marks
 * percent of what ordinary users can have of the hot tier.
 */
#ifndef SPILL_POLICY_H
#define SPILL_POLICY_H

#include "spill/base.h"

#include <sys/statvfs.h>

/* ---- heat: how often a file or layer was used lately. Uses nearer than HEAT_GAP_SEC are one; each
 * use counts 1 and is worth half of that after a half-life. Fits into eight bytes. */
#define HEAT_GAP_SEC 30
struct heat {
	float score;       /* as of used_sec */
	uint32_t used_sec; /* wall clock, seconds since 1970; 0: never used */
};
/* The score as of now. A clock that was set back makes nothing hotter. */
float heat_at(const struct heat *h, uint32_t now_sec, unsigned half_life_sec);
/* A use. False: too near to the one before to count. */
bool heat_use(struct heat *h, uint32_t now_sec, unsigned half_life_sec);

/* ---- scanners: one process that opens very many different files is no use of any of them. */
struct heat_use_rec {
	uint64_t node; /* whatever names the file */
	uint32_t pid;
	uint32_t layer; /* the caller's; not looked at */
};
/* How many different files one process may open in a batch and still be a user: 4096, or half of a
 * small tree of `files` regular files, but never fewer than 256. */
size_t heat_scan_limit(uint64_t files);
/* Order v by process and file, one record for each pair, without those of scanners. Returns how
 * many are left, at the front. */
size_t heat_judge(struct heat_use_rec *v, size_t n, size_t scan_limit);

/* ---- when */
/* Percent of the space that ordinary users can have which is in use, as df(1) rounds it: up. */
unsigned policy_used_percent(const struct statvfs *sv);
/* Bytes that can be written until the mark is reached. */
uint64_t policy_room(const struct statvfs *sv, unsigned mark);
/* One file will hardly outgrow what is left below the mark: 512 MiB, which spilling can begin to
 * give back while they are filled, or a quarter of a small disk. gated: who writes it can be made
 * to wait for spilling; then it is enough that a GiB is left in all. */
bool policy_roomy(const struct statvfs *sv, unsigned mark, bool gated);
/* Only what names and attributes may need is left. */
bool policy_at_brim(const struct statvfs *sv);

struct policy_rules {
	unsigned premigrate; /* copy ahead of need from here on; 0: never */
	unsigned low, high, critical;
	unsigned min_age_sec, retain_sec, half_life_sec;
	uint64_t min_size_bytes;
	bool spill_all; /* also files in no layer */
};
enum policy_act {
	POLICY_REST,
	POLICY_PREMIGRATE, /* from the premigrate mark on */
	POLICY_SPILL,      /* from the high mark down to the low one */
};
/* running: a round down to the low mark is under way. */
enum policy_act policy_decide(const struct policy_rules *r, unsigned used, bool running);
/* Young and retained files are taken too: a writer waits for space, or the critical mark is
 * reached. Not at the low mark: there it is a quota that is full, not the disk. */
bool policy_urgent(const struct policy_rules *r, unsigned used, unsigned waiters);
/* Pause until the next look at the disk: shorter the nearer the high mark. Milliseconds, 200..max.
 */
unsigned policy_pause_ms(unsigned used, unsigned high, unsigned max_ms);

/* ---- what */
enum policy_class { POLICY_BLOB, POLICY_LAYER, POLICY_WRITABLE, POLICY_OTHER };
enum {
	POLICY_PINNED = 1,
	POLICY_OPEN = 2,
	POLICY_COPIED = 4, /* premigrated */
	POLICY_ASLEEP = 8, /* its layer is: see layers.h */
};
struct policy_file {
	uint64_t bytes;        /* it takes in the hot tier */
	uint64_t size;         /* logical */
	float heat;            /* as of now */
	uint32_t idle_sec;     /* since it, or else its layer, was last used or changed */
	uint32_t age_sec;      /* since it was changed */
	uint32_t recalled_sec; /* since it was recalled; UINT32_MAX: it was not */
	uint8_t cls, flags;
};
/* May it be moved by itself? */
bool policy_eligible(const struct policy_rules *r, const struct policy_file *f, bool urgent);
/* Is a goes-before b: blobs nobody reads, then layers, containers' own files, others; the coldest
 * first (heat counts a tenth in a layer that is asleep); of equally cold ones those that have their
 * copy, then the one idle longest. */
uint64_t policy_key(const struct policy_file *f);

struct policy_plan {
	uint32_t *v; /* indexes of files, coldest first; free with policy_plan_done */
	size_t n;
	uint64_t want_bytes, got_bytes;
};
/* SPILL: enough to come from used_bytes down to the low mark. PREMIGRATE: enough that what has a
 * copy, once freed, would bring the hot tier down to the premigrate mark; only files without one.
 * -ENOMEM. O(n log n); a million files take less than a second. */
int policy_plan(const struct policy_rules *r, enum policy_act act, bool urgent, uint64_t used_bytes,
		uint64_t all_bytes, const struct policy_file *f, size_t n, struct policy_plan *ret);
void policy_plan_done(struct policy_plan *p);

/* Bring a stub back that is read: it was used repeatedly, and there is room below the high mark.
 * heat: with the present use. */
bool policy_recall_heat(float heat); /* the first half of it */
bool policy_recall(const struct policy_rules *r, float heat, uint64_t bytes, uint64_t used_bytes,
		   uint64_t all_bytes);

#endif
