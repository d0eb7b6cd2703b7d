/* SPDX-License-Identifier: MIT
 * When to spill, and what first (DESIGN.md section 8). No I/O: table tests cover it.
 */
#include "policy.h"

#define BRIM_MAX   (UINT64_C(32) << 20)
#define BRIM_SHARE 32 /* of small ones */

unsigned policy_used_percent(const struct statvfs *sv)
{
	uint64_t used = (uint64_t)sv->f_blocks - sv->f_bfree;
	uint64_t all = used + sv->f_bavail;

	return all ? (unsigned)((used * 100 + all - 1) / all) : 100;
}

bool policy_at_brim(const struct statvfs *sv)
{
	uint64_t all = (uint64_t)sv->f_blocks * sv->f_frsize;

	return (uint64_t)sv->f_bavail * sv->f_frsize < MIN(BRIM_MAX, all / BRIM_SHARE);
}

enum policy_act policy_decide(unsigned used, unsigned high, unsigned low, bool running)
{
	if (used >= high)
		return POLICY_SPILL;
	return running && used > low ? POLICY_SPILL : POLICY_REST;
}

bool policy_urgent(unsigned used, unsigned low, unsigned critical, unsigned waiters)
{
	return (waiters > 0 && used > low) || used >= critical;
}

static int rank(enum layer_kind k)
{
	switch (k) {
	case LAYER_BLOB:
		return 0;
	case LAYER_SNAPSHOT:
		return 1;
	case LAYER_WRITABLE:
		break;
	}
	return 2;
}

static int cmp(const void *pa, const void *pb)
{
	const struct policy_candidate *a = pa, *b = pb;
	int ra = rank(a->l->kind), rb = rank(b->l->kind);

	if (ra != rb)
		return ra - rb;
	if (a->last_used_ns != b->last_used_ns)
		return a->last_used_ns < b->last_used_ns ? -1 : 1;
	return strcmp(a->l->key, b->l->key);
}

void policy_order(struct policy_candidate *v, size_t n)
{
	if (n)
		qsort(v, n, sizeof(*v), cmp);
}

unsigned policy_pause_ms(unsigned used, unsigned high, unsigned max_ms)
{
	unsigned room = used >= high ? 0 : high - used;
	uint64_t ms = (uint64_t)max_ms * room / 10;

	return (unsigned)MIN(MAX(ms, 200), max_ms);
}
