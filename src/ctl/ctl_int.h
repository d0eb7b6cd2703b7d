/* SPDX-License-Identifier: MIT
 * Private to src/ctl.
 */
#ifndef CTL_INT_H
#define CTL_INT_H

#include "spill/ctl.h"
#include <sys/socket.h>
#include <sys/un.h>

/* The address of a socket at path. A path longer than an address (108 bytes; the mount point's
 * escaped name is in it) goes through a descriptor of its directory, which the caller closes after
 * bind or connect: *ret_dirfd, else -1. 0 or -errno. */
int ctl_address(const char *path, struct sockaddr_un *ret, int *ret_dirfd);

/* src/ctl/conn.c: the server's side of one connection. */
struct ctl_conn {
	int fd;      /* non-blocking */
	int stop_fd; /* readable when the server stops; the server's */
	bool gone;   /* the client hung up, or read nothing for too long */
	char *out;   /* written by the handler, not taken by the socket yet: [out_pos, out_len) */
	size_t out_pos, out_len, out_cap;
};

/* Wait for the request. 0; -EBADMSG, -EMSGSIZE: it can be told so; anything else: nobody to answer.
 */
int conn_request(struct ctl_conn *c, json_t **ret);
/* Send the last line (takes the reference), wait for the client to take it all, and close. */
void conn_finish(struct ctl_conn *c, json_t *last);
bool conn_stopping(const struct ctl_conn *c);

#endif
