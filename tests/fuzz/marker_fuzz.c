/* SPDX-License-Identifier: MIT
 * Fuzz marker_decode: bytes of an xattr that any root process of the machine can write.
 *
 * What must hold besides not crashing: whatever is accepted has the right length and is the one
 * encoding of what it says. A checksum keeps random bytes out, so each input is tried a second
 * time with its checksum made right.
 */
#include "spill/hot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void decode(const uint8_t *buf, size_t len)
{
	uint8_t again[MARKER_LEN];
	struct marker m;
	int r = marker_decode(buf, len, &m);

	if (r < 0) {
		must(r == -EUCLEAN || (r == -EPROTONOSUPPORT && buf[0] > 1));
		return;
	}
	must(len == MARKER_LEN);
	marker_encode(&m, again);
	must(!memcmp(buf, again, MARKER_LEN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *sealed;

	decode(data, len);
	if (len < 5)
		return 0;
	sealed = malloc(len); /* exactly, so that a read beyond it is seen */
	must(sealed != NULL);
	memcpy(sealed, data, len);
	put_le32(sealed + len - 4, (uint32_t)hash64(sealed, len - 4));
	decode(sealed, len);
	free(sealed);
	return 0;
}
