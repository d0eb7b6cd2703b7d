/* SPDX-License-Identifier: MIT
 * Reading STORE/STORE, for store_open and the fuzzer.
 */
#ifndef STORE_IDENT_H
#define STORE_IDENT_H

#include "store_int.h"

/* As store_identify, of an open directory. */
int ident_read(int dirfd, struct store_id *ret);
/* -EMEDIUMTYPE, -EUCLEAN, -EPROTONOSUPPORT as store_identify. text[len] is 0. */
int ident_parse(const char *text, size_t len, struct store_id *ret);

#endif
