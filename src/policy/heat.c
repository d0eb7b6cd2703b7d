/* SPDX-License-Identifier: MIT
 * Heat: an exponentially decayed count of uses (LRFU), and who is no user but a scanner.
 *
 * A use counts only when it comes HEAT_GAP_SEC after the last: a container that starts opens a file
 * many times. A scanner (grep -r, tar, a backup) opens each file once, many of them, in one
 * process; its uses are taken out of a batch as a whole, so that the first few count no more than
 * the last.
 */
#include "spill/policy.h"

#define SCAN_FILES     4096
#define SCAN_FILES_MIN 256

/* 2^-(sec / half): whole halvings, and a polynomial for the rest (error below 0.001). */
static float decay(uint32_t sec, unsigned half)
{
	float x = (float)(sec % half) / (float)half, f = 1;

	if (sec / half >= 64)
		return 0;
	for (uint32_t i = sec / half; i; i--)
		f *= 0.5f;
	return f * (1 - x * (0.6931f - x * (0.2402f - x * 0.0471f)));
}

float heat_at(const struct heat *h, uint32_t now_sec, unsigned half_life_sec)
{
	if (!h->used_sec || now_sec <= h->used_sec || !half_life_sec)
		return h->score;
	return h->score * decay(now_sec - h->used_sec, half_life_sec);
}

bool heat_use(struct heat *h, uint32_t now_sec, unsigned half_life_sec)
{
	if (h->used_sec && now_sec < h->used_sec + HEAT_GAP_SEC)
		return false;
	h->score = heat_at(h, now_sec, half_life_sec) + 1;
	h->used_sec = now_sec;
	return true;
}

size_t heat_scan_limit(uint64_t files)
{
	return (size_t)MIN(MAX(files / 2, SCAN_FILES_MIN), SCAN_FILES);
}

static int rec_cmp(const void *pa, const void *pb)
{
	const struct heat_use_rec *a = pa, *b = pb;

	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	return a->node < b->node ? -1 : a->node > b->node;
}

size_t heat_judge(struct heat_use_rec *v, size_t n, size_t scan_limit)
{
	size_t out = 0;

	if (!n)
		return 0;
	qsort(v, n, sizeof(*v), rec_cmp);
	for (size_t i = 0; i < n;) {
		size_t first = out;
		uint32_t pid = v[i].pid;

		for (; i < n && v[i].pid == pid; i++)
			if (out == first || v[out - 1].node != v[i].node)
				v[out++] = v[i];
		if (out - first > scan_limit)
			out = first;
	}
	return out;
}
