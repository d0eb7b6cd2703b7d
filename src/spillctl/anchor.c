/* SPDX-License-Identifier: MIT
 * The line of `status` about how kubelet finds the mount.
 */
#include "spillctl.h"

void anchor_print(const json_t *o)
{
	const json_t *k = json_object_get(o, "kubelet");
	const char *sees = jstr(k, "sees");

	printf("  anchor     ");
	if (!strcmp(sees, "anchor")) {
		printf("kubelet sees both tiers, by ");
		put_safe(stdout, jstr(k, "source"));
	} else if (!strcmp(sees, "partition")) {
		printf("kubelet sees both tiers, by its partition ");
		put_safe(stdout, jstr(k, "source"));
	} else if (!strcmp(sees, "elsewhere")) {
		printf("kubelet sees ANOTHER disk: it asks at ");
		put_safe(stdout, jstr(k, "point"));
		printf(" for ");
		put_safe(stdout, jstr(k, "source"));
	} else if (!strcmp(jstr(k, "option"), "off")) {
		printf("kubelet does not find this mount (kubelet=off)");
	} else {
		printf("kubelet does NOT find this mount: no loop device; see kubelet= in "
		       "spillfs(8)");
	}
	putchar('\n');
}
