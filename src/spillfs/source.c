/* SPDX-License-Identifier: MIT
 * The source of the mount, by which kubelet finds it or not (kubelet=, src/mnt/anchor.c).
 *
 * A source below /dev makes systemd want that device: the guard below us keeps the loop device for
 * as long as the mount stands, and a partition is there anyway. Without one it is STORE, as in
 * fstab.
 */
#include "start.h"

#include "spill/mnt.h"

#include <stdio.h>

static int out_of_memory(struct outcome *o)
{
	return outcome_set(o, EXIT_SYSTEM, "out of memory");
}

static int plain_source(struct start *s, struct outcome *o)
{
	const char *store = s->cfg->store;

	/* STORE on /dev/shm is no device. */
	s->source = strdup(strncmp(store, "/dev/", 5) ? store : "spillfs");
	return s->source ? 0 : out_of_memory(o);
}

static int partition_source(struct start *s)
{
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	int r = mnt_table_read(&t);

	return r < 0 ? r : mnt_partition(&t, s->cfg->dir, &s->source);
}

int start_source(struct start *s, struct outcome *o)
{
	const char *dir = s->cfg->dir;
	cleanup_free char *why = NULL;
	int r;

	if (s->cfg->kubelet == KUBELET_OFF)
		return plain_source(s, o);
	r = mnt_anchor(dir, &s->source, &why);
	if (r == -ESTALE)
		return outcome_set(o, EXIT_MOUNT, "the guard on %s was taken away meanwhile", dir);
	if (!r)
		return 0;
	if (r == -ENOMEM || partition_source(s) == -ENOMEM)
		return out_of_memory(o);
	if (s->source) {
		log_info("%s: %s; kubelet finds it by its partition, %s", dir,
			 why ? why : strerror(-r), s->source);
		return 0;
	}
	if (s->cfg->kubelet == KUBELET_ANCHOR)
		return outcome_set(
			o, EXIT_NO_ANCHOR,
			"kubelet=anchor: kubelet would not find %s: %s, and it is no partition's "
			"own mount point; load the loop module, or leave the option away",
			dir, why ? why : strerror(-r));
	log_warn("kubelet will not find %s: %s, and it is no partition's own mount point; load the "
		 "loop module and mount again (or say kubelet=off)",
		 dir, why ? why : strerror(-r));
	return plain_source(s, o);
}
