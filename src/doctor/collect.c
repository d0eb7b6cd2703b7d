/* SPDX-License-Identifier: MIT
 * The facts, put together; the kernel's part of them.
 */
#include "doctor_int.h"

#include <fcntl.h>

#define MOUNTINFO_MAX (16u << 20)

static bool has_line(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = text; p && (p = strstr(p, word)); p += n)
		if ((p == text || strchr("\t\n", p[-1])) && (!p[n] || p[n] == '\n'))
			return true;
	return false;
}

/* The governor of a guest polls for so long before it halts (the kernel's
 * Documentation/virt/guest-halt-polling.rst). */
static bool halts_at_once(struct look *l)
{
	cleanup_free char *driver = NULL, *governor = NULL, *ns = NULL;
	size_t len;

	return !look_read(l, "/sys/devices/system/cpu/cpuidle/current_driver", 64, &driver, &len) &&
	       !has_line(driver, "none") &&
	       !look_read(l, "/sys/devices/system/cpu/cpuidle/current_governor", 64, &governor,
			  &len) &&
	       has_line(governor, "haltpoll") &&
	       !look_read(l, "/sys/module/haltpoll/parameters/guest_halt_poll_ns", 32, &ns, &len) &&
	       has_line(ns, "0");
}

void collect_kernel(struct look *l)
{
	cleanup_free char *release = NULL, *fs = NULL, *uring = NULL;
	struct doctor_facts *f = l->f;
	size_t len;

	if (look_read(l, "/proc/sys/kernel/osrelease", 256, &release, &len) ||
	    sscanf(release, "%u.%u", &f->kernel_major, &f->kernel_minor) != 2)
		f->kernel_major = f->kernel_minor = 0;
	if (!look_read(l, "/proc/filesystems", 65536, &fs, &len)) {
		f->fuse_module = has_line(fs, "fuse");
		f->overlay_module = has_line(fs, "overlay");
	}
	f->dev_fuse = look_exists(l, "/dev/fuse");
	f->loop_control = look_exists(l, "/dev/loop-control");
	f->fuse_uring =
		!look_read(l, "/sys/module/fuse/parameters/enable_uring", 16, &uring, &len) &&
		*uring == 'Y';
	f->halts_at_once = halts_at_once(l);
}

static int look_init(struct look *l, const char *root, struct doctor_facts *f)
{
	cleanup_free char *text = NULL;
	size_t len;

	*f = (struct doctor_facts){0};
	*l = (struct look){.root = strcmp(root, "/") ? root : "", .f = f};
	if (look_read(l, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, &len)) {
		/* in a child of ours it is the same table; another root may have none */
		look_broken(l, "/proc/self/mountinfo", 0, "cannot be read: no mount is seen");
		return 0;
	}
	if (mnt_table_parse(text, &l->mounts) == -EUCLEAN)
		look_broken(l, "/proc/self/mountinfo", 0, "malformed: no mount is seen");
	return 0;
}

int doctor_collect(const char *root, const char *run_dir, struct doctor_facts *ret)
{
	struct look l;
	int r = look_init(&l, root, ret);

	if (!r) {
		collect_kernel(&l);
		r = collect_kubelet(&l);
	}
	if (!r)
		r = collect_engines(&l);
	if (!r)
		r = collect_mounts(&l, run_dir);
	if (!r)
		collect_units(&l);
	look_done(&l);
	if (r)
		doctor_facts_done(ret);
	return r;
}

int doctor_collect_kubelet(const char *root, struct doctor_facts *ret)
{
	struct look l;
	int r = look_init(&l, root, ret);

	if (!r)
		r = collect_kubelet(&l);
	look_done(&l);
	if (r)
		doctor_facts_done(ret);
	return r;
}

void doctor_facts_done(struct doctor_facts *f)
{
	free(f->kubelet.from);
	for (size_t i = 0; i < f->nengines; i++) {
		free(f->engines[i].config);
		free(f->engines[i].root);
		free(f->engines[i].real);
		free(f->engines[i].driver);
		free(f->engines[i].covered_by);
		free(f->engines[i].unit);
	}
	free(f->engines);
	for (size_t i = 0; i < f->nmounts; i++) {
		free(f->mounts[i].dir);
		free(f->mounts[i].source);
		free(f->mounts[i].at_boot_by);
		free(f->mounts[i].parked);
		free(f->mounts[i].overlay_lacks);
	}
	free(f->mounts);
	for (size_t i = 0; i < f->nbroken; i++) {
		free(f->broken[i].file);
		free(f->broken[i].why);
	}
	free(f->broken);
	*f = (struct doctor_facts){0};
}
