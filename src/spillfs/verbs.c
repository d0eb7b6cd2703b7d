/* SPDX-License-Identifier: MIT
 * The table of control verbs, and what they share.
 */
#include "verbs.h"

#include "spill/version.h"

#define BATCH       128 /* entries; each is below 4 KiB, names in hex included */
#define PROGRESS_NS UINT64_C(200000000)

const struct ctl_verb *daemon_verbs(void)
{
	static const struct ctl_verb verbs[] = {
		{"status", verb_status},
		{"ls", verb_ls},
		{"info", verb_info},
		{"spill", verb_spill},
		{"premigrate", verb_premigrate},
		{"recall", verb_recall},
		{"layers", verb_layers},
		{"check", verb_check},
		{"version", verb_version},
		{"restart", verb_restart},
		{"pin", verb_pin},
		{"unpin", verb_unpin},
		{"pins", verb_pins},
		{"pause", verb_pause},
		{"resume", verb_resume},
		{"drain", verb_drain},
		{"why", verb_why},
		{NULL, NULL},
	};

	return verbs;
}

VERB(version)
{
	(void)ctx, (void)c, (void)req, (void)ret_err, (void)ret_code;
	return json_pack("{s:s, s:i}", "version", SPILLFS_VERSION, "protocol",
			 SPILLFS_CTL_PROTOCOL);
}

VERB(restart)
{
	struct daemon *d = ctx;

	(void)c, (void)req;
	if (!d->restart(d)) {
		ctl_error(
			ret_err, ret_code, EXIT_USAGE,
			"this daemon has no supervisor (supervisor=off): umount, and mount again");
		return NULL;
	}
	return json_object();
}

json_t *verb_num(uint64_t v)
{
	return json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX));
}

void verb_set_num(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, verb_num(v));
}

char *verb_path(const json_t *req, char **ret_err, int *ret_code)
{
	char *path;
	size_t len;
	int err = ctl_name_get(req, "path", &path);

	if (err == -ENOENT)
		path = strdup("");
	else if (err) {
		ctl_error(ret_err, ret_code, EXIT_USAGE, "the request has a malformed path");
		return NULL;
	}
	if (!path) {
		verb_errno(ret_err, ret_code, -ENOMEM);
		return NULL;
	}
	len = strspn(path, "/");
	memmove(path, path + len, strlen(path + len) + 1);
	for (len = strlen(path); len && path[len - 1] == '/'; len--)
		path[len - 1] = 0;
	return path;
}

const char *verb_strerror(int err)
{
	const char *text;

	switch (-err) {
	case EBADMSG:
		return "checksum mismatch";
	case EUCLEAN:
		return "malformed structure";
	case EINTR:
		return "interrupted";
	case EBUSY:
		return "in use";
	}
	text = strerrordesc_np(-err); /* strerror(3) without its shared buffer */
	return text ? text : "unknown error";
}

json_t *verb_errno(char **ret_err, int *ret_code, int err)
{
	return ctl_error(ret_err, ret_code, err == -ENOMEM ? EXIT_SYSTEM : EXIT_FAILED, "%s",
			 verb_strerror(err));
}

const char *verb_state_name(enum residency r)
{
	static const char *const names[] = {
		[RES_RESIDENT] = "resident",   [RES_PREMIGRATED] = "premigrated",
		[RES_SPILLING] = "spilling",   [RES_SPILLED] = "spilled",
		[RES_RECALLING] = "recalling", [RES_PARTIAL] = "partial",
	};

	return (size_t)r < ARRAY_SIZE(names) ? names[r] : "unknown";
}

static bool batch_flush(struct verb_batch *b)
{
	if (b->entries) {
		b->sent += json_array_size(b->entries);
		if (!ctl_progress(b->c, json_pack("{s:s, s:o}", "event", "entries", "entries",
						  steal_ptr(b->entries))))
			b->failed = true;
	}
	return !b->failed;
}

bool verb_batch_add(struct verb_batch *b, json_t *entry)
{
	if (!b->entries)
		b->entries = json_array();
	if (json_array_append_new(b->entries, entry))
		b->failed = true;
	if (json_array_size(b->entries) >= BATCH)
		batch_flush(b);
	return !b->failed;
}

json_t *verb_batch_end(struct verb_batch *b, int err, char **ret_err, int *ret_code)
{
	if (!batch_flush(b))
		return verb_errno(ret_err, ret_code, -EINTR);
	if (err)
		return verb_errno(ret_err, ret_code, err);
	return json_pack("{s:o}", "entries", verb_num(b->sent));
}

json_t *verb_work_json(const struct tier_work *w)
{
	json_t *o = json_object();

	verb_set_num(o, "files_seen", w->files_seen);
	verb_set_num(o, "files_done", w->files_done);
	verb_set_num(o, "files_skipped", w->files_skipped);
	verb_set_num(o, "files_busy", w->files_busy);
	verb_set_num(o, "files_failed", w->files_failed);
	verb_set_num(o, "files_pinned", w->files_pinned);
	verb_set_num(o, "bytes_done", w->bytes_done);
	verb_set_num(o, "bytes_stored", w->bytes_stored);
	verb_set_num(o, "bytes_freed", w->freed_bytes);
	return o;
}

bool verb_progress(void *work, const struct tier_work *w)
{
	struct verb_work *p = work;
	uint64_t now = clock_mono_ns();
	json_t *ev;

	if (now - p->last_ns < PROGRESS_NS)
		return !ctl_interrupted(p->c);
	p->last_ns = now;
	ev = verb_work_json(w);
	json_object_set_new(ev, "event", json_string("progress"));
	if (w->current)
		ctl_name_put(ev, "current", w->current);
	return ctl_progress(p->c, ev);
}

void verb_note(void *work, const char *path, int err)
{
	struct verb_work *p = work;
	const char *name = strerrorname_np(-err);
	json_t *ev = json_pack("{s:s, s:s, s:s}", "event", "note", "errno", name ? name : "?",
			       "error", verb_strerror(err));

	if (ev && !ctl_name_put(ev, "path", path))
		ctl_progress(p->c, ev);
	else
		json_decref(ev);
}
