/* SPDX-License-Identifier: MIT
 * `status`: one look at both tiers, from memory and two statfs calls.
 */
#include "verbs.h"

#include "spill/version.h"
#include <sys/statvfs.h>

static json_t *num_or_null(uint64_t v)
{
	return v == UINT64_MAX ? json_null() : verb_num(v);
}

static json_t *tiers_json(struct daemon *d, const struct tier_status *st)
{
	struct statvfs seen = {0};

	tier_statfs(d->tier, &seen);
	return json_pack(
		"{s:{s:o,s:o,s:o,s:o,s:o}, s:{s:o,s:o,s:o,s:o,s:o}, s:{s:o,s:o,s:o}}", "hot",
		"total_bytes", verb_num(st->hot.total_bytes), "used_bytes",
		verb_num(st->hot.used_bytes), "free_bytes", verb_num(st->hot.free_bytes),
		"inodes_total", verb_num(st->hot.inodes_total), "inodes_free",
		verb_num(st->hot.inodes_free), "backing", "total_bytes",
		verb_num(st->backing.total_bytes), "free_bytes", verb_num(st->backing.free_bytes),
		"stored_bytes", verb_num(st->backing.stored_bytes), "index_bytes",
		verb_num(st->backing.index_bytes), "silent_sec", verb_num(st->backing.silent_sec),
		"statfs", "total_bytes", verb_num(seen.f_blocks * seen.f_frsize), "free_bytes",
		verb_num(seen.f_bfree * seen.f_frsize), "available_bytes",
		verb_num(seen.f_bavail * seen.f_frsize));
}

static json_t *counts_json(const struct tier_status *st)
{
	return json_pack("{s:{s:o,s:o,s:o,s:o}, s:{s:o,s:o,s:o,s:o}, s:o, s:o, s:o, s:o}", "files",
			 "resident", num_or_null(st->files_resident), "premigrated",
			 verb_num(st->files_premigrated), "spilled", verb_num(st->files_spilled),
			 "partial", verb_num(st->files_partial), "bytes", "premigrated",
			 verb_num(st->premigrated_bytes), "spilled_logical",
			 verb_num(st->spilled_logical_bytes), "spilled_since_mount",
			 verb_num(st->spilled_bytes_total), "recalled_since_mount",
			 verb_num(st->recalled_bytes_total), "objects", verb_num(st->objects),
			 "nodes_known", verb_num(st->nodes_known), "files_open",
			 verb_num(st->files_open), "errors", verb_num(st->errors));
}

/* {"LOOKUP": 12, ...}, what never came left out; NULL: no memory. */
static json_t *requests_json(const struct fs *f)
{
	json_t *o = json_object();

	for (unsigned i = 0; o && i < FS_OPCODES; i++) {
		const char *name;
		uint64_t n = fs_requests(f, i, &name);

		if (name && n && json_object_set_new(o, name, verb_num(n)) < 0) {
			json_decref(o);
			o = NULL;
		}
	}
	return o;
}

/* Spilling cannot reach the low mark, as too much of the hot tier is pinned. */
static bool pinned_above_low(const struct config *cfg, const struct tier_status *st)
{
	uint64_t all = st->hot.used_bytes + st->hot.free_bytes;

	return st->pins && st->pinned_bytes != UINT64_MAX &&
	       st->pinned_bytes > all / 100 * cfg->low;
}

/* Rates are null until they have been watched for a while. */
static json_t *trend_json(const struct tier_trend *t)
{
	if (!t->known)
		return json_pack("{s:o, s:n, s:n, s:n}", "watched_sec", verb_num(t->watched_sec),
				 "bytes_per_hour", "bytes_per_hour_now", "inodes_per_hour");
	return json_pack("{s:o, s:I, s:I, s:I}", "watched_sec", verb_num(t->watched_sec),
			 "bytes_per_hour", (json_int_t)t->bytes_per_hour, "bytes_per_hour_now",
			 (json_int_t)t->bytes_per_hour_now, "inodes_per_hour",
			 (json_int_t)t->inodes_per_hour);
}

VERB(status)
{
	struct daemon *d = ctx;
	const struct config *cfg = d->cfg;
	struct tier_status st;
	cleanup_free char *options = NULL;
	json_t *o, *part;
	int err = tier_status(d->tier, &st);

	(void)c, (void)req;
	if (err)
		return verb_errno(ret_err, ret_code, err);
	options = config_format(cfg);
	o = json_pack("{s:b, s:b, s:n, s:{s:i, s:i, s:i}, s:s, s:s, s:i, s:o}", "auto_spill",
		      (int)st.auto_spill, "frozen", (int)st.frozen, "parked", "watermarks", "high",
		      (int)cfg->high, "low", (int)cfg->low, "critical", (int)cfg->critical,
		      "options", options ? options : "", "version", SPILLFS_VERSION, "pid",
		      (int)getpid(), "uptime_sec",
		      verb_num((clock_mono_ns() - d->start_mono_ns) / 1000000000));
	part = tiers_json(d, &st);
	if (json_object_update(o, part) < 0)
		goto no_memory;
	json_decref(part);
	part = counts_json(&st);
	if (json_object_update(o, part) < 0)
		goto no_memory;
	json_decref(part);
	part = NULL;
	if (json_object_set_new(o, "passthrough",
				json_boolean(st.passthrough && fs_passthrough(d->fs))) < 0 ||
	    json_object_set_new(o, "gate",
				json_string(!st.gate         ? "none"
					    : st.gate_closed ? "closed"
							     : "open")) < 0 ||
	    json_object_set_new(o, "writeback", json_boolean(fs_writeback(d->fs))) < 0 ||
	    json_object_set_new(o, "forecast", trend_json(&st.trend)) < 0 ||
	    json_object_set_new(o, "requests", requests_json(d->fs)) < 0 ||
	    json_object_set_new(o, "kubelet", verb_kubelet_json(cfg)) < 0)
		goto no_memory;
	part = json_pack("{s:b, s:b, s:o, s:i, s:{s:o, s:o, s:b}}", "busy", (int)st.busy, "paused",
			 st.paused_until_ns != 0, "paused_until",
			 st.paused_until_ns && st.paused_until_ns != INT64_MAX
				 ? json_integer(st.paused_until_ns / 1000000000)
				 : json_null(),
			 "used_percent", (int)st.used_percent, "pins", "count", verb_num(st.pins),
			 "hot_bytes", num_or_null(st.pinned_bytes), "above_low",
			 (int)pinned_above_low(cfg, &st));
	if (json_object_update(o, part) < 0)
		goto no_memory;
	json_decref(part);
	part = NULL;
	uint64_t lives, again;

	fs_lives(d->fs, &lives, &again);
	verb_set_num(o, "daemons", lives);
	verb_set_num(o, "requests_again", again);
	verb_set_num(o, "requests_refused", fs_refusals(d->fs));
	verb_set_num(o, "files_lost", fs_lost(d->fs));
	char refused[FS_REFUSED_MAX];

	fs_refused(d->fs, refused);
	if (refused[0] && ctl_name_put(o, "upgrade_refused", refused))
		goto no_memory;
	if (ctl_name_put(o, "mount", cfg->dir) || ctl_name_put(o, "store", cfg->store) ||
	    (st.parked[0] && ctl_name_put(o, "parked", st.parked)))
		goto no_memory;
	return o;

no_memory:
	json_decref(part);
	json_decref(o);
	return verb_errno(ret_err, ret_code, -ENOMEM);
}
