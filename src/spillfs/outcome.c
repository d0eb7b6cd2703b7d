/* SPDX-License-Identifier: MIT
 * Outcomes of a start.
 */
#include "outcome.h"

#include <stdio.h>

int outcome_set(struct outcome *o, enum spill_exit code, const char *fmt, ...)
{
	va_list ap;

	o->code = code;
	va_start(ap, fmt);
	vsnprintf(o->msg, sizeof(o->msg), fmt, ap);
	va_end(ap);
	return -1;
}

int outcome_errno(struct outcome *o, const struct meaning *table, int err, const char *path)
{
	for (; table->err; table++)
		if (table->err == -err)
			return outcome_set(o, table->code, "%s %s", path, table->text);
	return outcome_set(o, table->code, "%s %s: %s", path, table->text, strerror(-err));
}
