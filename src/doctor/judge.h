/* SPDX-License-Identifier: MIT
 * From facts to findings: what the judges share.
 */
#ifndef SPILL_DOCTOR_JUDGE_H
#define SPILL_DOCTOR_JUDGE_H

#include "spill/doctor.h"

/* Add a finding; what is formatted, why and to_do are copied (NULL for OK). */
void found(struct doctor_report *r, const char *id, enum doctor_level l, const char *why,
	   const char *to_do, const char *what, ...) printf_like(6, 7);

void judge_kubelet(const struct doctor_facts *f, struct doctor_report *r);
void judge_engine(const struct doctor_facts *f, const struct doctor_engine *e,
		  struct doctor_report *r);
void judge_mount(const struct doctor_facts *f, const struct doctor_mount *m,
		 struct doctor_report *r);
void judge_kernel(const struct doctor_facts *f, struct doctor_report *r);

/* "15%", "1.5 GiB", "off" */
struct limbuf {
	char s[32];
};
#define limit_text(l) limit_text_in(&(struct limbuf){{0}}, (l))
const char *limit_text_in(struct limbuf *b, const struct doctor_limit *l);
/* "1.5 GiB" */
#define size_text(v) size_text_in(&(struct limbuf){{0}}, (v))
const char *size_text_in(struct limbuf *b, uint64_t v);

#endif
