/* SPDX-License-Identifier: MIT
 * Copying a tree so that nothing of it is lost, and proving it; private to spillctl.
 */
#ifndef SPILLCTL_COPY_H
#define SPILLCTL_COPY_H

#include "spill/base.h"
#include "spill/types.h"
#include <sys/stat.h>

/* Takes the data of a file piece by piece; holes are left out. */
typedef int (*copy_sink_fn)(void *ctx, const void *data, size_t len, uint64_t off);

struct copy {
	/* The data of fd (opened for reading) into sink: 1, or 0: read fd itself; or -errno. May
	 * correct st's mtime. NULL: always read fd itself. */
	int (*data)(void *ctx, int fd, struct stat *st, copy_sink_fn sink, void *sink_ctx);
	/* Attributes that are not copied. */
	bool (*hidden)(const char *xattr);
	void *ctx;
	/* Called now and then; false: stop with -EINTR. */
	bool (*progress)(void *user, const struct copy *c, const char *path);
	/* A file that failed. */
	void (*note)(void *user, const char *path, const char *what, int err);
	void *user;
	/* what was done */
	uint64_t files, dirs, others, links, bytes, failed, left_out;
};

/* Everything below src into dst (both directory descriptors), dst's own attributes included. What
 * was written is made durable, read back and compared. -EINTR, -ENOSPC, -ENOMEM: stopped; what
 * concerns single files is noted and counted. */
int copy_tree(struct copy *c, int src, int dst);

#endif
