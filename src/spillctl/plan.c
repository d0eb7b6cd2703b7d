/* SPDX-License-Identifier: MIT
 * `plan DIR`: what spillfs would do for a directory, before anything is changed. Needs no daemon
 * and writes nothing.
 */
#include "plan.h"

#include <fcntl.h>
#include <stdio.h>

/* One file's row, object and share of the pack tables (index_test, FORMAT.md): about this much. */
#define INDEX_PER_FILE 160
#define PACK_SPARE     (256ull << 20) /* one pack being written, one being emptied */

static uint64_t need_of(const struct plan *p)
{
	return p->stored_bytes + p->n * INDEX_PER_FILE + PACK_SPARE;
}

/* Seconds for the first spill of all: what the sample took, on all CPUs, writing and reading back
 * included (a half). */
static uint64_t seconds_of(const struct plan *p)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!p->sampled_bytes)
		return 0;
	return (uint64_t)((double)p->sample_ns / 1e9 / (double)p->sampled_bytes *
			  (double)p->v_bytes * 1.5 / (double)MAX(cpus, 1)) +
	       1;
}

static json_t *plan_json(const struct plan *p, json_t *risks)
{
	static const char *const kinds[] = {"snapshots", "blobs", "writable", "other"};
	json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "layers",
			      (json_int_t)p->layers.n, "inodes", (json_int_t)p->inodes,
			      "spillable_files", (json_int_t)p->n, "spillable_bytes",
			      (json_int_t)p->v_bytes, "unique_bytes", (json_int_t)p->unique_bytes,
			      "stored_bytes", (json_int_t)p->stored_bytes, "freed_bytes",
			      (json_int_t)p->v_alloc, "store_needs_bytes", (json_int_t)need_of(p),
			      "seconds", (json_int_t)seconds_of(p), "sampled_bytes",
			      (json_int_t)(p->sampled_bytes + p->hashed_bytes));

	for (size_t i = 0; i < PLAN_KINDS; i++)
		json_object_set_new(o, kinds[i],
				    json_pack("{s:I, s:I}", "files", (json_int_t)p->files[i],
					      "bytes", (json_int_t)p->bytes[i]));
	json_object_set_new(o, "stay",
			    json_pack("{s:I, s:I, s:I, s:I}", "capabilities",
				      (json_int_t)p->capabilities, "immutable",
				      (json_int_t)p->immutable, "empty", (json_int_t)p->empty,
				      "hard_links", (json_int_t)p->hard_links));
	ctl_name_put(o, "dir", p->dir);
	json_object_set(o, "risks", risks);
	return o;
}

static void plan_print(const struct plan *p, const json_t *risks)
{
	static const char *const kinds[] = {"layers", "blobs", "written", "other"};
	cleanup_(table_done) struct table t = {.align = "<>><"};
	const json_t *r;
	size_t i;

	put_safe(stdout, p->dir);
	printf("  %s layers\n", fmt_count(p->layers.n));
	for (i = 0; i < PLAN_KINDS; i++) {
		cleanup_free char *files = NULL;

		if (asprintf(&files, "%s files", fmt_count(p->files[i])) < 0)
			files = NULL;
		table_add(&t, kinds[i]);
		table_add(&t, fmt_size(p->bytes[i]));
		table_add(&t, files ? files : "?");
		table_add(&t, i == PLAN_OTHER      ? "in no layer; stays (but with spill=all)"
			      : i == PLAN_WRITABLE ? "of containers; spilled last"
						   : "");
	}
	table_print(&t, stdout);
	printf("would be spilled  up to %s in %s files, freeing %s\n", fmt_size(p->v_bytes),
	       fmt_count(p->n), fmt_size(p->v_alloc));
	printf("stored as         about %s: %s without twins, compressed\n",
	       fmt_size(p->stored_bytes), fmt_size(p->unique_bytes));
	printf("the store needs   %s; all at once takes about %s\n", fmt_size(need_of(p)),
	       fmt_span(seconds_of(p)));
	printf("(estimated from %s of samples)\n", fmt_size(p->sampled_bytes + p->hashed_bytes));
	json_array_foreach (risks, i, r) {
		cleanup_free char *text = NULL;

		ctl_name_get(r, "text", &text);
		printf("%-5s %-12s ", jstr(r, "level"), jstr(r, "what"));
		put_safe(stdout, text ? text : "?");
		putchar('\n');
	}
}

int do_plan(const struct cli *c)
{
	cleanup_free char *dir = target_resolve(c->argv[0]);
	cleanup_(plan_done) struct plan p = {.c = c, .dir = dir, .fd = -1};
	int r, code = EXIT_OK;
	json_t *risks, *risk;
	size_t i;

	if (!dir)
		return fail(c, EXIT_DIR_BAD, "%s: %s", c->argv[0], strerror(errno));
	p.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p.fd < 0)
		return fail(c, EXIT_DIR_BAD, "%s: %s", dir, strerror(errno));
	interrupt_catch();
	progress_init(&p.progress, c, "looking");
	r = plan_walk(&p);
	if (!r)
		r = plan_sample(&p);
	progress_clear(&p.progress);
	if (r)
		return fail(c, r == -EINTR ? EXIT_INTERRUPTED : EXIT_FAILED, "%s: %s", dir,
			    r == -EINTR ? "interrupted" : strerror(-r));
	risks = plan_risks(&p, c->argv[0], c->store);
	json_array_foreach (risks, i, risk)
		if (!strcmp(jstr(risk, "level"), "FAIL"))
			code = EXIT_FOUND;
	if (c->json)
		print_json(plan_json(&p, risks));
	else
		plan_print(&p, risks);
	json_decref(risks);
	return code;
}
