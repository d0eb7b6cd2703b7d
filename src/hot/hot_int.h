/* SPDX-License-Identifier: MIT
 * Private to src/hot: the open hot tier, and what its files share.
 */
#ifndef SPILL_HOT_INT_H
#define SPILL_HOT_INT_H

#include "spill/hot.h"

/* Immutable once hot_open has returned, so no lock. */
struct hot {
	int fd; /* the root, O_RDONLY: open_by_handle_at(2) takes no O_PATH fd as its mount */
	int mnt_id;
	dev_t dev;
	enum hot_type type; /* HOT_OTHER also when the root's handle is not of the known layout */
	/* How this mount makes handles, learned from the root's own. */
	int32_t fh_type;
	uint64_t subvol; /* btrfs: the root_objectid in them; else 0 */
};

/* handle.c: learn the layout from the root's handle; h->fd, dev and type are set already.
 * Returns 0, or -errno with *ret_why. May turn h->type into HOT_OTHER. */
int handle_probe(struct hot *h, const char **ret_why);

/* marker.c: every record we keep in an xattr begins with a version byte and ends with the checksum
 * of all bytes before it; len is the whole record's. */
#define REC_SUM_LEN 4
void rec_seal(uint8_t *rec, size_t len);
/* 0 for an intact record of this version and length. -EUCLEAN, or -EPROTONOSUPPORT for an intact
 * one of a newer version (of any length). */
int rec_check(const uint8_t *rec, size_t len, uint8_t version, size_t want_len);

#endif
