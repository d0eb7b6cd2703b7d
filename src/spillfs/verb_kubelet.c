/* SPDX-License-Identifier: MIT
 * The part of `status` that says whether kubelet finds the mount. From the mount table as it is
 * now: somebody may have mounted something since.
 */
#include "verbs.h"

#include "spill/mnt.h"

json_t *verb_kubelet_json(const struct config *cfg)
{
	static const char *const option[] = {
		[KUBELET_AUTO] = "auto", [KUBELET_ANCHOR] = "anchor", [KUBELET_OFF] = "off"};
	static const char *const seen[] = {
		[MNT_SEEN_ANCHOR] = "anchor",
		[MNT_SEEN_PARTITION] = "partition",
		[MNT_SEEN_ELSEWHERE] = "elsewhere",
		[MNT_SEEN_NOT] = "nothing",
	};
	cleanup_(mnt_table_done) struct mnt_table t = {NULL, 0};
	cleanup_(mnt_view_done) struct mnt_view v = {.seen = MNT_SEEN_NOT};
	json_t *o;

	if (mnt_table_read(&t) == 0)
		mnt_view(&t, cfg->dir, &v); /* or it stays "nothing" */
	o = json_pack("{s:s, s:s}", "option", option[cfg->kubelet], "sees", seen[v.seen]);
	if (o && ((v.source && ctl_name_put(o, "source", v.source)) ||
		  (v.point && ctl_name_put(o, "point", v.point)))) {
		json_decref(o);
		return NULL;
	}
	return o;
}
