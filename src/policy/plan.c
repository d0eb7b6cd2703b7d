/* SPDX-License-Identifier: MIT
 * When to move, and what first. The unit of decision is the file: most of a warm layer is never
 * read.
 *
 * A file's place in the order is one number (policy_key), so that a million of them are put in
 * order by comparing integers.
 */
#include "spill/policy.h"

/* What is replaced or scaled to zero was as hot as what runs. A share, for what runs every hour. */
#define ASLEEP_SHARE 0.1f
#define BRIM_MAX     (UINT64_C(32) << 20)
#define BRIM_SHARE   32 /* of small ones */
#define ROOMY_MAX    (UINT64_C(512) << 20)
#define ROOMY_SHARE  4
#define GATED_ROOM   (UINT64_C(1) << 30)

unsigned policy_used_percent(const struct statvfs *sv)
{
	uint64_t used = (uint64_t)sv->f_blocks - sv->f_bfree;
	uint64_t all = used + sv->f_bavail;

	return all ? (unsigned)((used * 100 + all - 1) / all) : 100;
}

uint64_t policy_room(const struct statvfs *sv, unsigned mark)
{
	uint64_t used = (uint64_t)sv->f_blocks - sv->f_bfree, all = used + sv->f_bavail;
	uint64_t until = all / 100 * mark + all % 100 * mark / 100;

	return until > used ? (until - used) * sv->f_frsize : 0;
}

bool policy_roomy(const struct statvfs *sv, unsigned mark, bool gated)
{
	uint64_t all = ((uint64_t)sv->f_blocks - sv->f_bfree + sv->f_bavail) * sv->f_frsize;

	if (gated && (uint64_t)sv->f_bavail * sv->f_frsize >= GATED_ROOM)
		return true;
	return all && policy_room(sv, mark) >= MIN(ROOMY_MAX, all / ROOMY_SHARE);
}

bool policy_at_brim(const struct statvfs *sv)
{
	uint64_t all = (uint64_t)sv->f_blocks * sv->f_frsize;

	return (uint64_t)sv->f_bavail * sv->f_frsize < MIN(BRIM_MAX, all / BRIM_SHARE);
}

enum policy_act policy_decide(const struct policy_rules *r, unsigned used, bool running)
{
	if (used >= r->high || (running && used > r->low))
		return POLICY_SPILL;
	return r->premigrate && used >= r->premigrate ? POLICY_PREMIGRATE : POLICY_REST;
}

bool policy_urgent(const struct policy_rules *r, unsigned used, unsigned waiters)
{
	return (waiters > 0 && used > r->low) || used >= r->critical;
}

unsigned policy_pause_ms(unsigned used, unsigned high, unsigned max_ms)
{
	unsigned room = used >= high ? 0 : high - used;
	uint64_t ms = (uint64_t)max_ms * room / 10;

	return (unsigned)MIN(MAX(ms, 200), max_ms);
}

bool policy_eligible(const struct policy_rules *r, const struct policy_file *f, bool urgent)
{
	if (f->flags & (POLICY_PINNED | POLICY_OPEN) || !f->bytes || f->size < r->min_size_bytes)
		return false;
	if (f->cls == POLICY_OTHER && !r->spill_all)
		return false;
	return urgent || (f->age_sec >= r->min_age_sec && f->recalled_sec >= r->retain_sec);
}

uint64_t policy_key(const struct policy_file *f)
{
	unsigned rank = f->cls;
	uint32_t bits;
	float heat = f->heat > 0 ? f->heat : 0; /* a NaN is cold, too */

	if (f->cls == POLICY_BLOB && heat >= 1) /* somebody does read it */
		rank = POLICY_LAYER;
	if (f->flags & POLICY_ASLEEP)
		heat *= ASLEEP_SHARE;
	/* Colder than a twentieth of one use is cold (half a use, in what sleeps): then what is
	 * there already decides. */
	if (heat < 0.05f)
		heat = 0;
	memcpy(&bits, &heat, sizeof(bits)); /* of positive floats, ordered as the numbers are */
	return (uint64_t)rank << 60 | (uint64_t)(bits >> 7) << 34 |
	       (uint64_t) !(f->flags & POLICY_COPIED) << 33 | (uint32_t)~f->idle_sec;
}

struct ranked {
	uint64_t key;
	uint32_t file;
};

static int ranked_cmp(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->file < b->file ? -1 : a->file > b->file;
}

static uint64_t percent_of(uint64_t all, unsigned percent)
{
	return all / 100 * percent + all % 100 * percent / 100;
}

static uint64_t wanted(const struct policy_rules *r, enum policy_act act, uint64_t used,
		       uint64_t all, uint64_t copied)
{
	uint64_t mark = percent_of(all, act == POLICY_SPILL ? r->low : r->premigrate);

	if (act == POLICY_PREMIGRATE)
		mark += copied;
	return act != POLICY_REST && used > mark ? used - mark : 0;
}

int policy_plan(const struct policy_rules *r, enum policy_act act, bool urgent, uint64_t used_bytes,
		uint64_t all_bytes, const struct policy_file *f, size_t n, struct policy_plan *ret)
{
	uint64_t copied = 0;
	size_t m = 0;

	*ret = (struct policy_plan){0};
	for (size_t i = 0; i < n; i++)
		if (f[i].flags & POLICY_COPIED && policy_eligible(r, &f[i], false))
			copied += f[i].bytes;
	ret->want_bytes = wanted(r, act, used_bytes, all_bytes, copied);
	if (!ret->want_bytes)
		return 0;
	struct ranked *v = malloc((n ? n : 1) * sizeof(*v));

	ret->v = malloc((n ? n : 1) * sizeof(*ret->v));
	if (!v || !ret->v) {
		free(v);
		policy_plan_done(ret);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		if (act == POLICY_PREMIGRATE && f[i].flags & POLICY_COPIED)
			continue;
		if (policy_eligible(r, &f[i], urgent))
			v[m++] = (struct ranked){policy_key(&f[i]), (uint32_t)i};
	}
	if (m)
		qsort(v, m, sizeof(*v), ranked_cmp);
	for (size_t i = 0; i < m && ret->got_bytes < ret->want_bytes; i++) {
		ret->v[ret->n++] = v[i].file;
		ret->got_bytes += f[v[i].file].bytes;
	}
	free(v);
	return 0;
}

void policy_plan_done(struct policy_plan *p)
{
	free(p->v);
	*p = (struct policy_plan){0};
}

bool policy_recall_heat(float heat)
{
	/* The second use within a half-life or so: the first may never have a successor. */
	return heat >= 1.5f;
}

bool policy_recall(const struct policy_rules *r, float heat, uint64_t bytes, uint64_t used_bytes,
		   uint64_t all_bytes)
{
	return policy_recall_heat(heat) && used_bytes + bytes < percent_of(all_bytes, r->high);
}
