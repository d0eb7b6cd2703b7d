/* SPDX-License-Identifier: MIT
 * Replies, in one place.
 */
#include "fs_int.h"

#include <sys/stat.h>

/* Attributes change behind the kernel's back in one way only: allocation settles (delayed
 * allocation, trimming after the last close) for some time after a file was changed. */
#define SETTLE_SEC 60

double attr_timeout(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now.tv_sec - st->st_ctim.tv_sec < SETTLE_SEC && S_ISREG(st->st_mode) ? 1.0
										    : ENTRY_TIMEOUT;
}

void reply_err(fuse_req_t req, int err)
{
	/* Structure and checksum errors are for our log; an application gets EIO. */
	if (err == -EBADMSG || err == -EUCLEAN || err == -EPROTONOSUPPORT)
		err = -EIO;
	fuse_reply_err(req, -err);
}

int node_get(fuse_req_t req, fuse_ino_t ino, struct node **ret)
{
	return tier_get(fs_of(req)->t, ino, ret);
}

void reply_node(fuse_req_t req, struct node *n, const struct stat *st)
{
	struct fs *f = fs_of(req);
	uint64_t id = node_id(n);
	struct fuse_entry_param e = {
		.ino = id,
		.attr = *st,
		.attr_timeout = attr_timeout(st),
		.entry_timeout = ENTRY_TIMEOUT,
	};

	if (fuse_reply_entry(req, &e) < 0)
		tier_forget(f->t, id, 1);
	tier_put(f->t, n);
}

void reply_lookup(fuse_req_t req, struct node *dir, const char *name)
{
	struct node *n;
	struct stat st;
	int r = tier_lookup(fs_of(req)->t, dir, name, &n, &st);

	if (r)
		reply_err(req, r);
	else
		reply_node(req, n, &st);
}
