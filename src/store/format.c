/* SPDX-License-Identifier: MIT
 * The fixed-size structures of a pack: its header, frame headers, trailers. Byte maps: FORMAT.md.
 *
 * Every checksum but the pack header's is seeded with the store's uuid, so that bytes of another
 * store (an old file system below, a file of an image that looks like a frame) never pass.
 */
#include "store_int.h"
#include <xxhash.h>

static const char pack_magic[8] = {'S', 'P', 'I', 'L', 'L', 'P', 'A', 'K'};

uint64_t format_seed(const uint8_t uuid[16])
{
	return get_le64(uuid);
}

static bool sum_ok(const uint8_t *b, size_t len, uint64_t seed)
{
#ifdef SPILL_FUZZ_NO_CHECKSUM /* tests/fuzz: let the fuzzer through to the parsers */
	return XXH3_64bits_withSeed(b + 8, len - 8, seed) != 1;
#else
	return get_le64(b) == XXH3_64bits_withSeed(b + 8, len - 8, seed);
#endif
}

static void sum_put(uint8_t *b, size_t len, uint64_t seed)
{
	put_le64(b, XXH3_64bits_withSeed(b + 8, len - 8, seed));
}

void pack_hdr_put(uint8_t b[PACK_HDR_LEN], uint32_t pack, const uint8_t uuid[16])
{
	memset(b, 0, PACK_HDR_LEN);
	memcpy(b + 8, pack_magic, 8);
	put_le32(b + 16, STORE_FORMAT);
	put_le32(b + 20, pack);
	memcpy(b + 24, uuid, 16);
	sum_put(b, PACK_HDR_LEN, 0);
}

int pack_hdr_get(const uint8_t b[PACK_HDR_LEN], uint32_t pack, const uint8_t uuid[16])
{
	if (memcmp(b + 8, pack_magic, 8))
		return -EUCLEAN;
	if (!sum_ok(b, PACK_HDR_LEN, 0))
		return -EBADMSG;
	if (get_le32(b + 16) > STORE_FORMAT)
		return -EPROTONOSUPPORT;
	if (get_le32(b + 16) == 0 || get_le32(b + 20) != pack || memcmp(b + 24, uuid, 16))
		return -EUCLEAN;
	return 0;
}

bool frame_is_dir(const struct frame_hdr *h)
{
	return h->type == FRAME_DIR_ZSTD || h->type == FRAME_DIR_RAW;
}

void frame_put(uint8_t *b, const struct frame_hdr *h, uint64_t seed)
{
	memcpy(b + 8, FRAME_MAGIC, 4);
	b[12] = (uint8_t)h->type;
	b[13] = b[14] = b[15] = 0;
	put_le32(b + 16, h->pack);
	put_le32(b + 20, h->frame);
	put_le32(b + 24, h->clen);
	put_le32(b + 28, h->ulen);
	sum_put(b, FRAME_HDR_LEN + (size_t)h->clen, seed);
}

int frame_hdr_get(const uint8_t b[FRAME_HDR_LEN], struct frame_hdr *ret)
{
	struct frame_hdr h = {
		.type = b[12],
		.pack = get_le32(b + 16),
		.frame = get_le32(b + 20),
		.clen = get_le32(b + 24),
		.ulen = get_le32(b + 28),
	};
	bool raw = h.type == FRAME_RAW || h.type == FRAME_DIR_RAW;

	if (memcmp(b + 8, FRAME_MAGIC, 4) || b[13] || b[14] || b[15])
		return -EUCLEAN;
	if (h.type < FRAME_ZSTD || h.type > FRAME_DIR_RAW || h.clen == 0 || h.ulen == 0)
		return -EUCLEAN;
	if (raw ? h.clen != h.ulen : h.clen >= h.ulen)
		return -EUCLEAN;
	if (h.ulen > (frame_is_dir(&h) ? DIR_MAX_ULEN : FRAME_SIZE))
		return -EUCLEAN;
	if (frame_is_dir(&h) && h.ulen / DIR_MAX_RATIO > h.clen)
		return -EUCLEAN;
	*ret = h;
	return 0;
}

int frame_sum_check(const uint8_t *b, uint32_t clen, uint64_t seed)
{
	return sum_ok(b, FRAME_HDR_LEN + (size_t)clen, seed) ? 0 : -EBADMSG;
}

void trailer_put(uint8_t b[TRAILER_LEN], const struct trailer *t, uint64_t seed)
{
	memcpy(b + 8, TRAILER_MAGIC, 4);
	put_le32(b + 12, t->pack);
	put_le64(b + 16, t->dir_off);
	put_le32(b + 24, t->frames);
	put_le32(b + 28, t->dirs);
	sum_put(b, TRAILER_LEN, seed);
}

int trailer_get(const uint8_t b[TRAILER_LEN], struct trailer *ret, uint64_t seed)
{
	if (memcmp(b + 8, TRAILER_MAGIC, 4))
		return -EUCLEAN;
	if (!sum_ok(b, TRAILER_LEN, seed))
		return -EBADMSG;
	*ret = (struct trailer){
		.pack = get_le32(b + 12),
		.dir_off = get_le64(b + 16),
		.frames = get_le32(b + 24),
		.dirs = get_le32(b + 28),
	};
	return 0;
}
