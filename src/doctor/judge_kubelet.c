/* SPDX-License-Identifier: MIT
 * Findings about kubelet: its thresholds, and whether it can see the mounts at all.
 */
#include "judge.h"

#include <stdio.h>

static void judge_gc(const struct doctor_kubelet *k, struct doctor_report *r)
{
	const char *fix =
		"set imageGCHighThresholdPercent to 85 and imageGCLowThresholdPercent to 80 "
		"(kubelet's own defaults), and restart it";

	if (k->gc_high < 0 || k->gc_low < 0 || k->gc_high > 100 || k->gc_low > 100)
		found(r, "kubelet.image-gc", DOCTOR_FAIL, "kubelet does not start with it", fix,
		      "image GC thresholds are no percentages");
	else if (k->gc_high == 100)
		found(r, "kubelet.image-gc", DOCTOR_OK, NULL, NULL, "image GC is turned off (100)");
	else if (k->gc_low >= k->gc_high)
		found(r, "kubelet.image-gc", DOCTOR_FAIL, "kubelet does not start with it", fix,
		      "image GC would stop at %d%%, which is not below %d%%, where it begins",
		      k->gc_low, k->gc_high);
	else if (k->gc_high < 70)
		found(r, "kubelet.image-gc", DOCTOR_WARN,
		      "it counts both tiers together: this leaves a large part of the store unused "
		      "before images are deleted",
		      fix, "image GC deletes from %d%% down to %d%%", k->gc_high, k->gc_low);
	else
		found(r, "kubelet.image-gc", DOCTOR_OK, NULL, NULL,
		      "image GC deletes unused images from %d%% used down to %d%%", k->gc_high,
		      k->gc_low);
}

static bool large(const struct doctor_limit *l, double percent)
{
	return l->percent > percent;
}

static void judge_eviction(const struct doctor_kubelet *k, struct doctor_report *r)
{
	const struct doctor_eviction *h = &k->hard, *s = &k->soft;
	bool soft = s->imagefs.percent > 0 || s->imagefs.amount || s->nodefs.percent > 0 ||
		    s->nodefs.amount;
	bool early = large(&h->imagefs, 25) || large(&s->imagefs, 25) || large(&h->nodefs, 25) ||
		     large(&s->nodefs, 25);
	cleanup_free char *also = NULL;

	if (soft && asprintf(&also, "; soft: imagefs %s, nodefs %s", limit_text(&s->imagefs),
			     limit_text(&s->nodefs)) < 0)
		also = NULL;
	found(r, "kubelet.eviction", early ? DOCTOR_WARN : DOCTOR_OK,
	      early ? "the eviction manager deletes all unused images at that line, without a "
		      "stop, "
		      "long before the space is used"
		    : NULL,
	      early ? "lower imagefs.available and nodefs.available in evictionHard and "
		      "evictionSoft "
		      "to 15% or less"
		    : NULL,
	      "evicts, and deletes all unused images, when less is free than: imagefs %s, nodefs "
	      "%s%s",
	      limit_text(&h->imagefs), limit_text(&h->nodefs), also ? also : "");
	early = large(&h->imagefs_inodes, 15) || large(&h->nodefs_inodes, 15);
	/* an amount of inodes is no size in bytes, but a percentage is what everybody writes */
	found(r, "kubelet.eviction-inodes", early ? DOCTOR_WARN : DOCTOR_OK,
	      early ? "spilling frees no inodes: all unused images are deleted at that line" : NULL,
	      early ? "lower imagefs.inodesFree and nodefs.inodesFree to 5%" : NULL,
	      "the same with inodes: imagefs %g%s, nodefs %g%s free",
	      h->imagefs_inodes.amount ? (double)h->imagefs_inodes.amount
				       : h->imagefs_inodes.percent,
	      h->imagefs_inodes.amount ? "" : "%",
	      h->nodefs_inodes.amount ? (double)h->nodefs_inodes.amount : h->nodefs_inodes.percent,
	      h->nodefs_inodes.amount ? "" : "%");
}

void judge_kubelet(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct doctor_kubelet *k = &f->kubelet;

	if (!k->there) {
		found(r, "kubelet.found", DOCTOR_OK, NULL, NULL, "no kubelet on this node");
		return;
	}
	found(r, "kubelet.found", DOCTOR_OK, NULL, NULL, "kubelet: %s", k->from ? k->from : "?");
	judge_gc(k, r);
	judge_eviction(k, r);
	if (k->max_age_sec > 0)
		found(r, "kubelet.max-age", DOCTOR_WARN,
		      "it deletes unused images by their age, whatever the disk says; no file "
		      "system can help there",
		      "set imageMaximumGCAge to 0s, or pin the images with the engine (containerd: "
		      "label io.cri-containerd.pinned=pinned)",
		      "imageMaximumGCAge is %.0f hours", k->max_age_sec / 3600);
	else
		found(r, "kubelet.max-age", DOCTOR_OK, NULL, NULL,
		      "no image is deleted for its age (imageMaximumGCAge is off)");
}
