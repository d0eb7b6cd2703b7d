/* SPDX-License-Identifier: MIT
 * Findings about one of our mounts: what kubelet sees of it, its space, its daemon, its next boot.
 */
#include "judge.h"

#include <stdio.h>

#define NOFILE_ENOUGH 20000
#define SOON_SEC      86400.0 /* a forecast shorter than this is worth a word */

static void judge_seen(const struct doctor_facts *f, const struct doctor_mount *m,
		       struct doctor_report *r)
{
	const struct doctor_kubelet *k = &f->kubelet;

	if (!k->there)
		return;
	if (m->kubelet_off)
		found(r, "kubelet.sees-mount", DOCTOR_WARN,
		      "kubelet then judges the small disk alone: right only while spilling is "
		      "faster than every writer",
		      "mount it with -o kubelet=auto, and restart kubelet",
		      "%s: mounted with kubelet=off", m->dir);
	else if (strncmp(m->source, "/dev/", 5))
		found(r, "kubelet.sees-mount", DOCTOR_FAIL,
		      "kubelet accounts a mount to its source only if that is a device; for this "
		      "one "
		      "image GC fails and eviction stands still, also for memory",
		      "mount it with -o kubelet=anchor (needs loop devices), and restart kubelet",
		      "%s: the mount table's source is %s, not a device", m->dir, m->source);
	else if (m->anchor_gone)
		found(r, "kubelet.sees-mount", DOCTOR_FAIL,
		      "kubelet accounts the mount to that device, and systemd may unmount it",
		      "unmount, mount again, and restart kubelet",
		      "%s: its source %s has nothing attached any more", m->dir, m->source);
	else
		found(r, "kubelet.sees-mount", DOCTOR_OK, NULL, NULL,
		      "%s: kubelet finds it by its source %s", m->dir, m->source);
	if (!k->pid || !k->start_ticks || !m->start_ticks)
		return;
	if (k->start_ticks < m->start_ticks)
		found(r, "kubelet.started-before", DOCTOR_FAIL,
		      "kubelet reads the mount table once, at its start: it goes by the numbers of "
		      "the disk below and deletes images as before",
		      k->k3s ? "systemctl restart k3s (or k3s-agent)" : "systemctl restart kubelet",
		      "kubelet (pid %d) was started before %s was mounted", k->pid, m->dir);
	else
		found(r, "kubelet.started-before", DOCTOR_OK, NULL, NULL,
		      "kubelet was started after %s was mounted", m->dir);
}

static void judge_line(const struct doctor_facts *f, const struct doctor_mount *m,
		       struct doctor_report *r)
{
	const char *what = f->kubelet.there ? "kubelet" : "a kubelet with its defaults";
	struct doctor_line line;
	double rate = (double)MAX(m->bytes_per_hour, m->bytes_per_hour_now);
	double sec;

	doctor_line(&f->kubelet, m->seen_total, m->seen_available, &line);
	if (line.at_percent < 0 || !m->seen_total) {
		found(r, "mount.gc-line", DOCTOR_OK, NULL, NULL, "%s: %s deletes nothing for space",
		      m->dir, what);
		return;
	}
	sec = m->rates_known && rate > 0 ? (double)line.bytes_until / rate * 3600 : -1;
	if (!line.bytes_until)
		found(r, "mount.gc-line", f->kubelet.there ? DOCTOR_FAIL : DOCTOR_WARN,
		      "unused images are being deleted",
		      "give the store room (a larger disk, store-size=), or remove images yourself",
		      "%s: %u%% of both tiers are used, and %s deletes from %d%% on", m->dir,
		      line.used_percent, what, line.at_percent);
	else if (sec >= 0 && sec < SOON_SEC)
		found(r, "mount.gc-line", DOCTOR_WARN, "then unused images are deleted",
		      "give the store room (a larger disk, store-size=), or remove images yourself",
		      "%s: %u%% used; at the present rate %s deletes images in %.1f hours", m->dir,
		      line.used_percent, what, sec / 3600);
	else
		found(r, "mount.gc-line", DOCTOR_OK, NULL, NULL,
		      "%s: %u%% of both tiers used; %s deletes from %d%% on, after %s more", m->dir,
		      line.used_percent, what, line.at_percent, size_text(line.bytes_until));
}

/* The marks are of the hot tier alone; kubelet's line must not come before them. */
static void judge_marks(const struct doctor_facts *f, const struct doctor_mount *m,
			struct doctor_report *r)
{
	const struct doctor_kubelet *k = &f->kubelet;
	struct doctor_line line;
	int at;

	if (!m->auto_spill) {
		found(r, "hot.watermarks", DOCTOR_WARN,
		      "nothing is spilled by itself: the hot tier fills up, and writers get ENOSPC",
		      "mount it without auto=off", "%s: automatic spilling is off", m->dir);
		return;
	}
	doctor_line(k, m->hot_total ? m->hot_total : 1, 0, &line);
	at = line.at_percent < 0 ? 100 : line.at_percent;
	if ((int)m->high >= at)
		found(r, "hot.watermarks", DOCTOR_WARN,
		      "when only the small disk's numbers count (before the mount, with "
		      "kubelet=off, "
		      "for a kubelet that does not find it) images are deleted before anything "
		      "spills",
		      "set high= well below kubelet's line (75 is the default)",
		      "%s: spilling begins at %u%%, and kubelet deletes from %d%% on", m->dir,
		      m->high, at);
	else if ((int)m->critical >= at)
		found(r, "hot.watermarks", DOCTOR_WARN,
		      "writers are slowed down only when kubelet would already delete",
		      "set critical= below kubelet's line (82 is the default)",
		      "%s: the critical mark is %u%%, and kubelet deletes from %d%% on", m->dir,
		      m->critical, at);
	else
		found(r, "hot.watermarks", DOCTOR_OK, NULL, NULL,
		      "%s: spilling begins at %u%%, below kubelet's %d%%", m->dir, m->high, at);
}

static void judge_hot(const struct doctor_facts *f, const struct doctor_mount *m,
		      struct doctor_report *r)
{
	const struct doctor_limit *a = &f->kubelet.hard.imagefs_inodes,
				  *b = &f->kubelet.hard.nodefs_inodes;
	double total = (double)m->inodes_total, free_pc, limit, sec = -1;
	unsigned used = m->used_percent;

	if (used >= m->critical && m->critical)
		found(r, "hot.space", DOCTOR_WARN,
		      "writers are slowed down until something is freed",
		      "see what stands still with `spillctl status`, and why a file stays with "
		      "`spillctl why PATH`",
		      "%s: the hot tier is %u%% full, above the critical %u%%", m->dir, used,
		      m->critical);
	else
		found(r, "hot.space", DOCTOR_OK, NULL, NULL, "%s: the hot tier is %u%% full",
		      m->dir, used);
	if (!m->inodes_total) /* btrfs makes them as it goes */
		return;
	free_pc = (double)m->inodes_free * 100 / total;
	limit = MAX(a->amount ? (double)a->amount * 100 / total : a->percent,
		    b->amount ? (double)b->amount * 100 / total : b->percent);
	if (m->rates_known && m->inodes_per_hour > 0)
		sec = MAX((free_pc - limit) / 100 * total, 0) / (double)m->inodes_per_hour * 3600;
	if (free_pc < limit || !m->inodes_free)
		found(r, "hot.inodes", DOCTOR_FAIL,
		      "kubelet deletes all unused images for it; spilling frees no inodes",
		      "remove images that are not needed, or make the hot file system anew with "
		      "more "
		      "inodes (mkfs.ext4 -i 4096; xfs takes what it needs)",
		      "%s: %.1f%% of the hot tier's inodes are free, and kubelet's line is %g%%",
		      m->dir, free_pc, limit);
	else if (free_pc < 2 * limit || free_pc < 10 || (sec >= 0 && sec < SOON_SEC)) {
		char when[48] = "";

		if (sec >= 0)
			snprintf(when, sizeof(when), "; at the present rate in %.1f hours",
				 sec / 3600);
		found(r, "hot.inodes", DOCTOR_WARN,
		      "spilling frees no inodes: at its line kubelet deletes all unused images",
		      "remove images that are not needed, or make the hot file system anew with "
		      "more "
		      "inodes (mkfs.ext4 -i 4096; xfs takes what it needs)",
		      "%s: %.1f%% of the hot tier's inodes are free, and kubelet's line is %g%%%s",
		      m->dir, free_pc, limit, when);
	} else {
		found(r, "hot.inodes", DOCTOR_OK, NULL, NULL,
		      "%s: %.0f%% of the hot tier's inodes are free", m->dir, free_pc);
	}
}

static void judge_store(const struct doctor_mount *m, struct doctor_report *r)
{
	if (m->store_total < m->hot_total)
		found(r, "store.space", DOCTOR_WARN,
		      "it cannot take what the hot tier holds: little is won",
		      "a larger disk for the store, or a larger store-size=",
		      "%s: the store (%s) is smaller than the hot tier (%s)", m->dir,
		      size_text(m->store_total), size_text(m->hot_total));
	else if (m->store_free < m->hot_total / 10)
		found(r, "store.space", DOCTOR_WARN, "when it is full, nothing more is spilled",
		      "give it room (a larger disk, store-size=)", "%s: %s are left in the store",
		      m->dir, size_text(m->store_free));
	else
		found(r, "store.space", DOCTOR_OK, NULL, NULL, "%s: %s are free in the store",
		      m->dir, size_text(m->store_free));
}

static void judge_daemon(const struct doctor_facts *f, const struct doctor_mount *m,
			 struct doctor_report *r)
{
	if (m->errors)
		found(r, "mount.errors", DOCTOR_FAIL,
		      "their data could not be proved right; the log names the objects",
		      "spillctl check, and the health of both disks", "%s: %llu reads were refused",
		      m->dir, (unsigned long long)m->errors);
	if (m->frozen)
		found(r, "mount.state", DOCTOR_FAIL,
		      "one tier was restored or rolled back: nothing is spilled or freed",
		      "spillctl check", "%s: frozen", m->dir);
	else if (m->parked)
		found(r, "mount.state", DOCTOR_WARN,
		      "nothing is spilled, and the hot tier fills up",
		      "remove that reason; it goes on by itself", "%s: spilling stands still: %s",
		      m->dir, m->parked);
	else
		found(r, "mount.state", DOCTOR_OK, NULL, NULL,
		      "%s: mounted, and its daemon answers", m->dir);
	if (!m->passthrough &&
	    (f->kernel_major > 6 || (f->kernel_major == 6 && f->kernel_minor >= 9)))
		found(r, "mount.passthrough", DOCTOR_WARN,
		      "reads and writes of files that are not spilled go through the daemon",
		      "mount it without passthrough=off; the log says why the kernel refuses it",
		      "%s: passthrough is off, though the kernel has it", m->dir);
	if (m->nofile && m->nofile < NOFILE_ENOUGH)
		found(r, "mount.nofile", DOCTOR_WARN,
		      "files that the daemon cannot open are EMFILE for whoever uses them",
		      "LimitNOFILE=1048576 in the unit that starts it, or ulimit -n before "
		      "mounting",
		      "%s: its daemon may open %llu files at a time", m->dir,
		      (unsigned long long)m->nofile);
	else if (m->nofile)
		found(r, "mount.nofile", DOCTOR_OK, NULL, NULL,
		      "%s: its daemon may open enough files", m->dir);
}

static void not_at_boot(const struct doctor_mount *m, bool held, bool any, struct doctor_report *r)
{
	cleanup_free char *way = NULL;

	if (asprintf(&way,
		     "a line in /etc/fstab (README); or n=$(systemd-escape --path '%s'), STORE=... "
		     "and "
		     "OPTIONS=... in /etc/spillfs/$n.conf, and systemctl enable "
		     "\"spillfs@$n.service\"",
		     m->dir) < 0)
		way = NULL;
	found(r, "boot.mount", held ? DOCTOR_WARN : DOCTOR_FAIL,
	      !any   ? "whoever uses it then finds the bare directory, where spilled files read as "
		       "zeros"
	      : held ? "the engines do not start then"
		     : "the engines start without it then, and spilled files read as zeros",
	      way ? way : "a line in /etc/fstab (README)", "%s is not mounted at the next boot",
	      m->dir);
}

static void judge_boot(const struct doctor_facts *f, const struct doctor_mount *m,
		       struct doctor_report *r)
{
	bool held = true, any = false; /* no engine gets at the bare directory; has one there */

	for (size_t i = 0; i < f->nengines; i++) {
		if (f->engines[i].covered_by && !strcmp(f->engines[i].covered_by, m->dir)) {
			held &= f->engines[i].unit_asserts;
			any = true;
		}
	}
	if (!m->at_boot)
		not_at_boot(m, held, any, r);
	else if (m->nofail_alone)
		found(r, "boot.mount", DOCTOR_WARN,
		      "with nofail systemd orders nothing after it, and at shutdown unmounts it "
		      "before the engines have stopped",
		      "x-systemd.before=ENGINE.service,x-systemd.required-by=ENGINE.service in its "
		      "options",
		      "%s: nofail without x-systemd.before= in /etc/fstab", m->dir);
	else
		found(r, "boot.mount", DOCTOR_OK, NULL, NULL, "%s is mounted at boot by %s", m->dir,
		      m->at_boot_by ? m->at_boot_by : "systemd");
}

static void judge_overlay(const struct doctor_mount *m, struct doctor_report *r)
{
	if (!m->overlay_lacks)
		return;
	if (*m->overlay_lacks)
		found(r, "mount.overlay", DOCTOR_FAIL,
		      "overlayfs refuses it as upper layer or falls back to read-only",
		      "another hot file system (ext4, xfs with ftype=1), mounted dev and suid",
		      "%s: an overlayfs upper layer lacks %s", m->dir, m->overlay_lacks);
	else
		found(r, "mount.overlay", DOCTOR_OK, NULL, NULL,
		      "%s: everything an overlayfs upper layer needs was tried", m->dir);
}

void judge_mount(const struct doctor_facts *f, const struct doctor_mount *m,
		 struct doctor_report *r)
{
	if (m->guard_only) {
		found(r, "mount.state", DOCTOR_FAIL,
		      "the read-only guard keeps the engines out, as files may be spilled",
		      "mount it again; the log says why it ended or did not come up",
		      "%s: only the guard is there, no spillfs", m->dir);
		judge_boot(f, m, r);
		return;
	}
	if (m->guard_lost) {
		found(r, "mount.state", DOCTOR_FAIL,
		      "files that are spilled read as zeros there, and engines start on them",
		      "stop what uses it and mount it again; spillctl unguard, if nothing is "
		      "spilled",
		      "%s: neither spillfs nor its guard is there", m->dir);
		judge_boot(f, m, r);
		return;
	}
	judge_seen(f, m, r);
	if (m->asked && !m->answers) {
		found(r, "mount.state", DOCTOR_FAIL,
		      "whoever uses files there waits or gets ENOTCONN",
		      "spillctl restart, or mount it again with the same arguments",
		      "%s: its daemon does not answer", m->dir);
	} else if (m->answers) {
		judge_daemon(f, m, r);
		judge_line(f, m, r);
		judge_marks(f, m, r);
		judge_hot(f, m, r);
		judge_store(m, r);
	}
	judge_overlay(m, r);
	judge_boot(f, m, r);
}
