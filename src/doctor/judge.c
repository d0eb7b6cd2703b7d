/* SPDX-License-Identifier: MIT
 * The report, and the findings about the node as a whole.
 */
#include "judge.h"

#include <stdio.h>

void doctor_report_done(struct doctor_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].what);
		free(r->v[i].why);
		free(r->v[i].to_do);
	}
	free(r->v);
	*r = (struct doctor_report){0};
}

const char *doctor_level_name(enum doctor_level l)
{
	return l == DOCTOR_OK ? "OK" : l == DOCTOR_WARN ? "WARN" : "FAIL";
}

void found(struct doctor_report *r, const char *id, enum doctor_level l, const char *why,
	   const char *to_do, const char *what, ...)
{
	struct doctor_finding f = {.id = id, .level = l};
	va_list ap;

	va_start(ap, what);
	if (vasprintf(&f.what, what, ap) < 0)
		f.what = NULL;
	va_end(ap);
	f.why = why ? strdup(why) : NULL;
	f.to_do = to_do ? strdup(to_do) : NULL;
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 32;
		void *bigger = reallocarray(r->v, cap, sizeof(*r->v));

		if (bigger) {
			r->v = bigger;
			r->cap = cap;
		}
	}
	r->count[l]++;
	if (r->n < r->cap && f.what && !f.why == !why && !f.to_do == !to_do) {
		r->v[r->n++] = f;
		return;
	}
	r->no_memory = true;
	free(f.what);
	free(f.why);
	free(f.to_do);
}

const char *size_text_in(struct limbuf *b, uint64_t v)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double d = (double)v;
	size_t u = 0;

	for (; d >= 999.5 && u + 1 < ARRAY_SIZE(units); u++)
		d /= 1024;
	snprintf(b->s, sizeof(b->s), u && d < 9.95 ? "%.1f %s" : "%.0f %s", d, units[u]);
	return b->s;
}

const char *limit_text_in(struct limbuf *b, const struct doctor_limit *l)
{
	if (l->amount)
		return size_text_in(b, l->amount);
	if (l->percent > 0)
		snprintf(b->s, sizeof(b->s), "%g%%", l->percent);
	else
		snprintf(b->s, sizeof(b->s), "off");
	return b->s;
}

static bool kernel_from(const struct doctor_facts *f, unsigned major, unsigned minor)
{
	return f->kernel_major > major || (f->kernel_major == major && f->kernel_minor >= minor);
}

void judge_kernel(const struct doctor_facts *f, struct doctor_report *r)
{
	unsigned maj = f->kernel_major, min = f->kernel_minor;

	if (!maj)
		found(r, "kernel.version", DOCTOR_WARN, "what it can do is not known",
		      "look why /proc/sys/kernel/osrelease cannot be read", "unknown kernel");
	else if (!kernel_from(f, 5, 15))
		found(r, "kernel.version", DOCTOR_FAIL, "spillfs needs Linux 5.15 or later",
		      "install a newer kernel", "Linux %u.%u", maj, min);
	else if (!kernel_from(f, 6, 9))
		found(r, "kernel.version", DOCTOR_WARN,
		      "before 6.9 there is no FUSE passthrough (every read and write takes the way "
		      "through the daemon) and no resend: a request that the daemon had taken when "
		      "it "
		      "died waits until it is interrupted",
		      "a kernel from 6.9 on; on Debian 12 the one from backports",
		      "Linux %u.%u: works, slower, and a crash of the daemon can be noticed", maj,
		      min);
	else
		found(r, "kernel.version", DOCTOR_OK, NULL, NULL,
		      "Linux %u.%u has FUSE passthrough and resend", maj, min);
	if (!f->dev_fuse || !f->fuse_module)
		found(r, "kernel.fuse", DOCTOR_FAIL, "nothing can be mounted without it",
		      "modprobe fuse, and have it loaded at boot (/etc/modules-load.d)", "%s",
		      f->dev_fuse ? "the kernel's FUSE is not loaded" : "there is no /dev/fuse");
	else
		found(r, "kernel.fuse", DOCTOR_OK, NULL, NULL, "FUSE is there%s",
		      f->fuse_uring ? "; its io_uring transport is allowed, and not used" : "");
	if (!f->overlay_module)
		found(r, "kernel.overlay", DOCTOR_WARN,
		      "container engines load it when they start; if they cannot, they fall back "
		      "to "
		      "drivers that copy whole images",
		      "modprobe overlay", "overlayfs is not loaded");
	else
		found(r, "kernel.overlay", DOCTOR_OK, NULL, NULL, "overlayfs is there");
	if (!f->loop_control)
		found(r, "kernel.loop", DOCTOR_WARN,
		      "the guard is then a tmpfs, and kubelet finds no device to account the mount "
		      "to",
		      "modprobe loop, and have it loaded at boot (/etc/modules-load.d)",
		      "there are no loop devices");
	else
		found(r, "kernel.loop", DOCTOR_OK, NULL, NULL, "loop devices can be had");
	if (f->halts_at_once)
		found(r, "kernel.halt-poll", DOCTOR_WARN,
		      "handing a request to the daemon and back then waits for the host twice: "
		      "small "
		      "operations on names take about twice as long",
		      "now: echo 200000 >/sys/module/haltpoll/parameters/guest_halt_poll_ns; at "
		      "every "
		      "boot: the kernel parameter haltpoll.guest_halt_poll_ns=200000; an idle CPU "
		      "then "
		      "polls for up to 0.2 ms before it halts",
		      "the CPUs of this virtual machine are given back to the host whenever they "
		      "idle");
}

static void judge_broken(const struct doctor_facts *f, struct doctor_report *r)
{
	for (size_t i = 0; i < f->nbroken; i++) {
		const struct doctor_broken *b = &f->broken[i];
		char line[24] = "";

		if (b->line)
			snprintf(line, sizeof(line), ":%u", b->line);
		found(r, "config.broken", DOCTOR_WARN,
		      "what it says is not known here, and whoever reads it may refuse it at its "
		      "next start",
		      "correct or remove it", "%s%s: %s", b->file, line, b->why);
	}
}

void doctor_judge(const struct doctor_facts *f, const char *dir, struct doctor_report *ret)
{
	*ret = (struct doctor_report){0};
	judge_kernel(f, ret);
	judge_broken(f, ret);
	judge_kubelet(f, ret);
	for (size_t i = 0; i < f->nengines; i++) {
		const struct doctor_engine *e = &f->engines[i];

		if (!dir || !e->covered_by || !strcmp(e->covered_by, dir))
			judge_engine(f, e, ret);
	}
	for (size_t i = 0; i < f->nmounts; i++)
		if (!dir || !strcmp(f->mounts[i].dir, dir))
			judge_mount(f, &f->mounts[i], ret);
	if (!f->nmounts)
		found(ret, "mount.none", DOCTOR_WARN,
		      "images on a disk that is too small are deleted as before",
		      "mount one: spillfs STORE DIR, with DIR an image root named above",
		      "no spillfs is mounted");
}
