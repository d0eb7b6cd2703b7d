/* SPDX-License-Identifier: MIT
 * `why`: a file's state, and everything that speaks for or against spilling it, in sentences.
 */
#include "verbs.h"

#include <stdio.h>
#include <sys/stat.h>

struct answer {
	json_t *reasons;
	bool failed;
};

static void add(struct answer *a, const char *key, const char *fmt, ...) printf_like(3, 4);
static void add(struct answer *a, const char *key, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	json_t *o = json_pack("{s:s}", "reason", key);
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!o || !text || ctl_name_put(o, "text", text) ||
	    json_array_append_new(a->reasons, json_incref(o)))
		a->failed = true;
	json_decref(o);
}

/* "5 min": one unit says enough here. */
static const char *span(int64_t ns, char buf[32])
{
	long long s = ns / 1000000000;

	if (s < 120)
		snprintf(buf, 32, "%lld s", s);
	else if (s < 7200)
		snprintf(buf, 32, "%lld min", s / 60);
	else if (s < 172800)
		snprintf(buf, 32, "%lld h", s / 3600);
	else
		snprintf(buf, 32, "%lld d", s / 86400);
	return buf;
}

static void say_pin(struct answer *a, struct daemon *d, const char *path)
{
	cleanup_free char *by = NULL, *owner = NULL;

	if (tier_pin_of(d->tier, path, &by, &owner))
		add(a, "pinned", "pinned by another name of it (hard link)");
	else if (*owner)
		add(a, "pinned", "pinned with the image %s", owner);
	else if (!strcmp(by, path))
		add(a, "pinned", "pinned");
	else
		add(a, "pinned", "pinned through %s", *by ? by : "the mount point");
}

/* What keeps it, in the order in which it matters. */
static void say_keeps(struct answer *a, struct daemon *d, const char *path,
		      const struct tier_why *w)
{
	const struct config *cfg = d->cfg;
	char s[2][32];

	if (w->keeps & WHY_DAMAGED)
		add(a, "damaged",
		    "its data cannot be proved right: reads fail; run spillctl "
		    "check");
	if (w->keeps & WHY_NO_FILE)
		add(a, "no-file",
		    "only the data of regular files moves; names and everything else "
		    "stay");
	if (w->keeps & WHY_PINNED)
		say_pin(a, d, path);
	if (w->keeps & WHY_NO_FILE)
		return;
	if (w->keeps & WHY_NO_LAYER)
		add(a, "no-layer", "it lies in no image layer, and spill=layers");
	if (w->keeps & WHY_EMPTY)
		add(a, "empty", "it has no data in the hot tier");
	if (w->keeps & WHY_SMALL)
		add(a, "small", "%llu bytes; min-size is %llu",
		    (unsigned long long)w->info.size_bytes,
		    (unsigned long long)cfg->min_size_bytes);
	if (w->keeps & WHY_OPEN)
		add(a, "in-use", "open (%u)", w->info.opens);
	if (w->keeps & WHY_YOUNG)
		add(a, "young",
		    "changed %s ago; min-age is %s (which does not count at the "
		    "critical mark, or when a writer waits)",
		    span(w->age_ns, s[0]), span((int64_t)cfg->min_age_sec * 1000000000, s[1]));
	if (w->keeps & WHY_RECALLED)
		add(a, "recalled",
		    "recalled %s ago; retain is %s (which does not count at the "
		    "critical mark, or when a writer waits)",
		    span((clock_wall_ns() / 1000000000 - w->recalled_sec) * 1000000000, s[0]),
		    span((int64_t)cfg->retain_sec * 1000000000, s[1]));
	if (w->keeps & WHY_EXCLUDED)
		add(a, "excluded", "exclude=%s", cfg->exclude);
	if (w->keeps & WHY_CAPABILITY)
		add(a, "capability", "it has file capabilities, which a punch would drop");
	if (w->keeps & WHY_IMMUTABLE)
		add(a, "immutable", "it is immutable or append-only");
	if (w->keeps & WHY_TIMES)
		add(a, "times", "its times are beyond what can be kept");
	if (w->keeps & WHY_NO_ID)
		add(a, "subvolume", "it is in another btrfs subvolume");
}

static bool is_spilled(const struct tier_why *w)
{
	return w->info.state == RES_SPILLED || w->info.state == RES_SPILLING ||
	       w->info.state == RES_RECALLING;
}

/* What the policy would do with a file that nothing keeps. */
static const char *say_policy(struct answer *a, struct daemon *d, const struct tier_why *w,
			      const struct tier_status *st)
{
	char s[32];

	if (w->in_layer)
		add(a, "layer", "its layer was used %s ago; %llu of %llu layers longer ago",
		    span(MAX(clock_wall_ns() - w->layer_used_ns, 0), s),
		    (unsigned long long)w->layers_colder, (unsigned long long)w->layers_total);
	if (w->used_sec)
		add(a, "heat", "its heat is %.2f uses; it was used %s ago", (double)w->heat,
		    span(MAX(clock_wall_ns() / 1000000000 - w->used_sec, 0) * 1000000000, s));
	if (w->asleep)
		add(a, "asleep",
		    "no mounted overlay has its layer, though others of its engine are mounted, "
		    "and it was not used for %s: its heat counts a tenth",
		    span((int64_t)d->cfg->retain_sec * 1000000000, s));
	if (!st->auto_spill)
		add(a, "auto-off", "automatic spilling is off (auto=off); spillctl spill does it");
	else if (st->frozen)
		add(a, "frozen",
		    "one tier is an older copy; nothing is spilled until a check has "
		    "passed");
	else if (st->paused_until_ns)
		add(a, "paused", "automatic spilling is paused; spillctl resume ends it");
	else if (st->used_percent < d->cfg->high)
		add(a, "room", "the hot tier is at %u%%; spilling begins at %u%%", st->used_percent,
		    d->cfg->high);
	else if (st->parked[0])
		add(a, "parked", "spilling stands still: %s", st->parked);
	else {
		add(a, "due", "the hot tier is at %u%%: it is spilled when its turn comes",
		    st->used_percent);
		return "spill-now";
	}
	return "spill-later";
}

VERB(why)
{
	struct daemon *d = ctx;
	cleanup_free char *path = verb_path(req, ret_err, ret_code);
	struct answer a = {.reasons = json_array()};
	const char *decision = "stay";
	struct tier_status st;
	struct tier_why w;
	json_t *o = NULL;
	int err;

	(void)c;
	if (!path || !a.reasons) {
		json_decref(a.reasons);
		return path ? verb_errno(ret_err, ret_code, -ENOMEM) : NULL;
	}
	err = tier_why(d->tier, path, &w);
	if (!err)
		err = tier_status(d->tier, &st);
	if (err) {
		json_decref(a.reasons);
		return verb_errno(ret_err, ret_code, err);
	}
	if (is_spilled(&w)) {
		decision = "spilled";
		add(&a, "spilled",
		    "its data is in the store; an open for writing recalls it, "
		    "reads do not");
		if (w.keeps & WHY_PINNED)
			say_pin(&a, d, path);
	} else {
		if (w.info.state == RES_PARTIAL)
			add(&a, "partial",
			    "%llu MiB of it are in the store (overflow=): the hot tier was nearly "
			    "full when it was written",
			    (unsigned long long)(w.info.stored_bytes + (1 << 19)) >> 20);
		say_keeps(&a, d, path, &w);
		if (!w.keeps)
			decision = say_policy(&a, d, &w, &st);
	}
	o = json_pack("{s:s, s:b, s:s, s:o, s:o, s:i, s:b, s:O}", "state",
		      S_ISREG(w.info.mode) ? verb_state_name(w.info.state) : "none", "file",
		      (int)S_ISREG(w.info.mode), "decision", decision, "size_bytes",
		      verb_num(w.info.size_bytes), "hot_bytes", verb_num(w.info.hot_blocks * 512),
		      "opens", (int)w.info.opens, "pinned", (w.keeps & WHY_PINNED) != 0, "reasons",
		      a.reasons);
	json_decref(a.reasons);
	if (o)
		json_object_update_new(o, json_pack("{s:f, s:I}", "heat", (double)w.heat, "used",
						    (json_int_t)w.used_sec));
	err = !o || a.failed || ctl_name_put(o, "path", path);
	if (!err)
		err = w.info.layer[0] ? ctl_name_put(o, "layer", w.info.layer)
				      : json_object_set_new(o, "layer", json_null());
	if (!err)
		err = json_object_set_new(o, "layer_used",
					  w.in_layer ? json_integer(w.layer_used_ns / 1000000000)
						     : json_null());
	if (!err)
		return o;
	json_decref(o);
	return verb_errno(ret_err, ret_code, -ENOMEM);
}
