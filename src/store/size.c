/* SPDX-License-Identifier: MIT
 * What an object takes on disk, for people: the compressed bytes of its frames, shared frames by
 * share.
 */
#include "store_int.h"

static uint64_t piece_bytes(const struct ptable *t, const struct piece *p)
{
	const struct fent *e = p->frame < t->n ? &t->e[p->frame] : NULL;

	return e && e->off && e->ulen ? ((uint64_t)e->clen + FRAME_HDR_LEN) * p->len / e->ulen : 0;
}

uint64_t store_seg_bytes(struct store *s, const struct seg *segs, uint32_t nsegs)
{
	struct ptable *t = NULL;
	uint64_t sum = 0, pos = 0;
	uint32_t seg = 0, have = 0;
	struct piece pc;

	while (piece_at(segs, nsegs, pos, UINT64_MAX, &seg, &pc) == 1) {
		if (!t || have != pc.pack) {
			struct pack *p;

			ptable_unref(t);
			t = NULL;
			if (pack_get(s, pc.pack, &p))
				return 0;
			int r = pack_table(s, p, &t);

			pack_put(s, p);
			if (r)
				return 0;
			have = pc.pack;
		}
		sum += piece_bytes(t, &pc);
		pos += pc.len;
	}
	ptable_unref(t);
	return sum;
}
