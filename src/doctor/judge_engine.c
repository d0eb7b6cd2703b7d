/* SPDX-License-Identifier: MIT
 * Findings about one container engine.
 */
#include "judge.h"

#include <stdio.h>

static const char *const names[] = {
	[ENGINE_CONTAINERD] = "containerd", [ENGINE_K3S] = "k3s' containerd",
	[ENGINE_DOCKER] = "Docker",         [ENGINE_CRIO] = "CRI-O",
	[ENGINE_PODMAN] = "podman",
};

static void judge_root(const struct doctor_facts *f, const struct doctor_engine *e,
		       struct doctor_report *r)
{
	const char *name = names[e->kind];

	if (e->silent)
		found(r, "engine.root", DOCTOR_FAIL, "nothing there can be used until it answers",
		      "see `spillctl status` about a spillfs, or unmount what hangs",
		      "%s: %s does not answer", name, e->root);
	else if (!e->real)
		found(r, "engine.root", DOCTOR_WARN,
		      "it is made at the engine's first start, on the disk below",
		      "mkdir it, mount spillfs over it, then start the engine",
		      "%s: its image root %s does not exist", name, e->root);
	else if (!e->covered_by)
		found(r, "engine.root", f->nmounts ? DOCTOR_WARN : DOCTOR_OK,
		      f->nmounts
			      ? "its images stay on their own disk, and kubelet deletes them there "
				"as before"
			      : NULL,
		      f->nmounts ? "stop the engine, and mount spillfs over that directory as well"
				 : NULL,
		      "%s: image root %s is not on a spillfs", name, e->root);
	else
		found(r, "engine.root", DOCTOR_OK, NULL, NULL,
		      "%s: image root %s is on the spillfs at %s", name, e->root, e->covered_by);
	if (e->real && strcmp(e->real, e->root))
		found(r, "engine.symlink", DOCTOR_WARN,
		      "kubelet looks the root up in the mount table by its name, and finds the "
		      "file "
		      "system on which the link lies, not ours",
		      "name the directory itself in the engine's configuration",
		      "%s: image root %s leads through a symbolic link to %s", name, e->root,
		      e->real);
	else if (e->real)
		found(r, "engine.symlink", DOCTOR_OK, NULL, NULL,
		      "%s: no symbolic link on the way to %s", name, e->root);
}

static void judge_driver(const struct doctor_engine *e, struct doctor_report *r)
{
	static const char *const known[] = {"overlayfs", "overlay2", "overlay"};
	const char *name = names[e->kind];

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(e->driver, known[i])) {
			found(r, "engine.driver", DOCTOR_OK, NULL, NULL, "%s: layers by %s", name,
			      e->driver);
			return;
		}
	found(r, "engine.driver", DOCTOR_WARN,
	      "spillfs knows the layers of overlayfs only: nothing of these is spilled by itself "
	      "(spill=all takes every file)",
	      "overlayfs (containerd), overlay2 (Docker) or overlay (CRI-O, podman)",
	      "%s: layers by %s", name, e->driver);
}

/* Only kubelet pulls through CRI. */
static void judge_discard(const struct doctor_facts *f, const struct doctor_engine *e,
			  struct doctor_report *r)
{
	const char *name = names[e->kind];

	if ((e->kind != ENGINE_CONTAINERD && e->kind != ENGINE_K3S) || !e->cri || !f->kubelet.there)
		return;
	if (e->discard_unpacked)
		found(r, "engine.discard-unpacked", DOCTOR_OK, NULL, NULL,
		      "%s: blobs are dropped once they are unpacked", name);
	else
		found(r, "engine.discard-unpacked", DOCTOR_WARN,
		      "each layer pulled through CRI is kept twice, compressed and unpacked: "
		      "dropping "
		      "the first is space for nothing (but such an image cannot be exported or "
		      "pushed "
		      "from this node)",
		      "discard_unpacked_layers = true in the table of the CRI plugin in "
		      "containerd's "
		      "configuration",
		      "%s: discard_unpacked_layers is off", name);
}

static void judge_unit(const struct doctor_engine *e, struct doctor_report *r)
{
	cleanup_free char *to_do = NULL;

	if (!e->covered_by || !e->unit)
		return;
	if (e->unit_asserts && e->unit_ordered) {
		found(r, "boot.order", DOCTOR_OK, NULL, NULL,
		      "%s waits for %s to be mounted, and does not start without", e->unit,
		      e->covered_by);
		return;
	}
	if (asprintf(&to_do,
		     "/etc/systemd/system/%s.d/spillfs.conf with After= of what mounts it and "
		     "AssertPathIsMountPoint=%s (engine-dropin.conf.example), or in /etc/fstab "
		     "x-systemd.before=%s,x-systemd.required-by=%s; then systemctl daemon-reload",
		     e->unit, e->covered_by, e->unit, e->unit) < 0)
		to_do = NULL;
	found(r, "boot.order", DOCTOR_WARN,
	      e->unit_asserts ? "at boot it may come first, and is then refused its start"
			      : "if the mount is late or fails, the engine works below it: spilled "
				"files read as zeros there, unless the guard is up",
	      to_do ? to_do : "", "%s does not %s %s", e->unit,
	      e->unit_asserts ? "wait for" : "insist on the mount at", e->covered_by);
}

void judge_engine(const struct doctor_facts *f, const struct doctor_engine *e,
		  struct doctor_report *r)
{
	judge_root(f, e, r);
	judge_driver(e, r);
	judge_discard(f, e, r);
	judge_unit(e, r);
}
