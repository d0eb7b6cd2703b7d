/* SPDX-License-Identifier: MIT
 * The fill rate, for the forecast in status. Two means with different memories (ten minutes, an
 * hour): the short one sees a build that fills the disk now, the long one sees what a day will
 * bring. Both go down again when space is freed; which one to believe is for the reader to say.
 */
#include "trend.h"

#define SHORT_SEC 600.0
#define LONG_SEC  3600.0

static void mean_add(struct trend_mean *m, double rate, double dt, double tau)
{
	double a = dt / (tau + dt); /* of one step; no exp(3) for what is a rule of thumb */

	m->sum += a * (rate - m->sum);
	m->weight += a * (1 - m->weight);
}

static int64_t per_hour(const struct trend_mean *m)
{
	return m->weight > 0 ? (int64_t)(m->sum / m->weight * 3600) : 0;
}

bool trend_due(const struct trend *t, uint64_t now_ns)
{
	return !t->last_ns || now_ns - t->last_ns >= TREND_EVERY_NS;
}

void trend_add(struct trend *t, uint64_t now_ns, uint64_t used_bytes, uint64_t used_inodes)
{
	if (t->last_ns && now_ns > t->last_ns) {
		double dt = (double)(now_ns - t->last_ns) / 1e9;
		double bytes = ((double)used_bytes - (double)t->used_bytes) / dt;
		double inodes = ((double)used_inodes - (double)t->used_inodes) / dt;

		mean_add(&t->bytes_short, bytes, dt, SHORT_SEC);
		mean_add(&t->bytes_long, bytes, dt, LONG_SEC);
		mean_add(&t->inodes_long, inodes, dt, LONG_SEC);
	} else if (!t->last_ns) {
		t->first_ns = now_ns;
	}
	t->last_ns = now_ns;
	t->used_bytes = used_bytes;
	t->used_inodes = used_inodes;
}

void trend_tell(const struct trend *t, struct tier_trend *ret)
{
	*ret = (struct tier_trend){
		.watched_sec = (t->last_ns - t->first_ns) / 1000000000,
		.bytes_per_hour = per_hour(&t->bytes_long),
		.bytes_per_hour_now = per_hour(&t->bytes_short),
		.inodes_per_hour = per_hour(&t->inodes_long),
	};
	ret->known = ret->watched_sec >= TREND_MIN_SEC;
}
