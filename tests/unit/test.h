/* SPDX-License-Identifier: MIT
 * The unit-test harness: one header, no library, so that a test is a plain C program.
 *
 *	#include "test.h"
 *	TEST(addition)
 *	{
 *		CHECK_EQ(1 + 1, 2);
 *	}
 *	TEST_MAIN
 *
 * Tests register themselves before main and run in file order, in one process. Each prints one
 *line, "ok name", "FAIL name" (after "  file:line: what") or "skip name: why"; tests/run reads
 *these. A CHECK which fails returns from the function it stands in, so it belongs into the TEST
 *itself or into a void helper. `prog WORD...` runs only tests whose name contains a WORD.
 *
 * Exit: 0 all passed, 1 something failed, 77 everything was skipped (or there was no test).
 */
#ifndef SPILL_TEST_H
#define SPILL_TEST_H

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct test_case {
	const char *name;
	void (*fn)(void);
	struct test_case *next;
};

static struct test_case *test_first, **test_last = &test_first;
static int test_failed;           /* checks that failed in the running test */
static const char *test_skip_why; /* why the running test is skipped */
static char test_dir[64];         /* of test_tmpdir, "" when it was not asked for */

__attribute__((unused)) static void test_register(struct test_case *t)
{
	*test_last = t;
	test_last = &t->next;
}

#define TEST(id)                                                                                   \
	static void test_fn_##id(void);                                                            \
	__attribute__((constructor)) static void test_reg_##id(void)                               \
	{                                                                                          \
		static struct test_case t = {#id, test_fn_##id, NULL};                             \
		test_register(&t);                                                                 \
	}                                                                                          \
	static void test_fn_##id(void)

/* Record a failure and go on. */
#define TEST_FAIL(...)                                                                             \
	do {                                                                                       \
		__atomic_add_fetch(&test_failed, 1, __ATOMIC_RELAXED);                             \
		printf("  %s:%d: ", __FILE__, __LINE__);                                           \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
	} while (0)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			TEST_FAIL("%s", #cond);                                                    \
			return;                                                                    \
		}                                                                                  \
	} while (0)

/* Integers (and enums, pointers, errno values); compared as long long. */
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                \
		if (a_ != b_) {                                                                    \
			TEST_FAIL("%s == %s: %lld != %lld", #a, #b, a_, b_);                       \
			return;                                                                    \
		}                                                                                  \
	} while (0)

/* Strings; NULL equals only NULL. */
#define CHECK_STR(a, b)                                                                            \
	do {                                                                                       \
		const char *a_ = (a), *b_ = (b);                                                   \
		if (a_ != b_ && (!a_ || !b_ || strcmp(a_, b_))) {                                  \
			TEST_FAIL("%s == %s: \"%s\" != \"%s\"", #a, #b, a_ ? a_ : "(null)",        \
				  b_ ? b_ : "(null)");                                             \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#define CHECK_MEM(a, b, len)                                                                       \
	do {                                                                                       \
		if (memcmp((a), (b), (len))) {                                                     \
			TEST_FAIL("%s and %s differ", #a, #b);                                     \
			return;                                                                    \
		}                                                                                  \
	} while (0)

/* This machine cannot run the test: say what is missing. */
#define SKIP(why)                                                                                  \
	do {                                                                                       \
		test_skip_why = (why);                                                             \
		return;                                                                            \
	} while (0)

__attribute__((unused)) static int test_rm_one(const char *path, const struct stat *st, int type,
					       struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* An empty directory of this process, removed at its end. NULL when there is none to be had. */
__attribute__((unused)) static const char *test_tmpdir(void)
{
	const char *base = getenv("TMPDIR");

	if (test_dir[0])
		return test_dir;
	if (!base || strlen(base) > sizeof(test_dir) - 16)
		base = "/tmp";
	snprintf(test_dir, sizeof(test_dir), "%.40s/spill.XXXXXX", base);
	if (!mkdtemp(test_dir))
		test_dir[0] = 0;
	return test_dir[0] ? test_dir : NULL;
}

static bool test_wanted(const struct test_case *t, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(t->name, argv[i]))
			return true;
	return argc < 2;
}

static int test_main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0); /* a crash must not take the lines before it along */
	for (struct test_case *t = test_first; t; t = t->next) {
		if (!test_wanted(t, argc, argv))
			continue;
		test_failed = 0;
		test_skip_why = NULL;
		t->fn();
		if (test_failed) {
			failed++;
			printf("FAIL %s\n", t->name);
		} else if (test_skip_why) {
			printf("skip %s: %s\n", t->name, test_skip_why);
		} else {
			passed++;
			printf("ok %s\n", t->name);
		}
	}
	if (test_dir[0])
		nftw(test_dir, test_rm_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	return failed ? 1 : passed ? 0 : 77;
}

/* Stands once, alone on its line, at the end of the program. */
#define TEST_MAIN                                                                                  \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return test_main(argc, argv);                                                      \
	}

#endif
