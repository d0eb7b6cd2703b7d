/* SPDX-License-Identifier: MIT
 * Private to src/config: the option table that the parser, the validator and the formatter share.
 */
#ifndef SPILL_CONFIG_INT_H
#define SPILL_CONFIG_INT_H

#include "spill/config.h"

#define PREMIGRATE_DEFAULT 50

enum opt_kind {
	OPT_UINT,   /* unsigned or int, min..max */
	OPT_AGE,    /* unsigned seconds, min..max */
	OPT_SIZE,   /* uint64_t bytes, min..max */
	OPT_WORD,   /* bool: words[value] */
	OPT_CHOICE, /* unsigned: words[value] */
	OPT_SET,    /* no value: bool = true */
	OPT_CLEAR,  /* no value: bool = false */
	OPT_TEXT,   /* char[], shorter than max */
};

struct option_desc {
	const char *name;
	enum opt_kind kind;
	size_t field; /* offset in struct config */
	uint64_t min, max;
	const char *words[3]; /* the last may be NULL */
};

/* Ends with a NULL name. In the order in which config_format prints. */
extern const struct option_desc config_options[];

/* The value of a numeric option. */
uint64_t config_get_num(const struct config *c, const struct option_desc *o);
/* "must be between 1 and 99", in the units of the option. */
void config_describe_range(const struct option_desc *o, char *buf, size_t len);

/* The shortest exact spelling which the parser reads back: 134217728 -> "128M", 3600 -> "1h". */
void config_format_size(uint64_t bytes, char *buf, size_t len);
void config_format_age(uint64_t sec, char *buf, size_t len);

#endif
