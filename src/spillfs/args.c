/* SPDX-License-Identifier: MIT
 * Command lines.
 *
 *	spillfs STORE DIR [-o options] [-f] [-d]
 *	mount.spillfs STORE DIR [-sfnv] [-N namespace] [-o options] [-t type]	(mount(8), "external
 *helpers")
 *
 * The same letter f means two things, hence the two tables.
 */
#include "args.h"

#include <getopt.h>
#include <stdio.h>

static int say(char **ret_msg, int r, const char *fmt, ...) printf_like(3, 4);
static int say(char **ret_msg, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_msg, fmt, ap) < 0)
		*ret_msg = NULL;
	va_end(ap);
	return r;
}

static int parse_own(int opt, struct args *a, struct config *cfg)
{
	switch (opt) {
	case 'f':
		a->foreground = true;
		return 0;
	case 'd':
		a->foreground = cfg->debug = true;
		return 0;
	case 'h':
		a->help = true;
		return 0;
	case 'V':
		a->version = true;
		return 0;
	}
	return -EINVAL;
}

static int parse_helper(int opt, struct args *a)
{
	switch (opt) {
	case 'f':
		a->fake = true;
		return 0;
	case 's': /* sloppy: options nobody knows are refused all the same, a typing error could
		     cost data */
	case 'n': /* there is no mtab to write */
	case 'v':
	case 'N': /* mount(8) is in the namespace already */
	case 't':
		return 0;
	case 'h':
		a->help = true;
		return 0;
	case 'V':
		a->version = true;
		return 0;
	}
	return -EINVAL;
}

int args_parse(int argc, char **argv, struct args *ret, struct config *cfg, char **ret_msg)
{
	static const struct option own[] = {
		{"foreground", no_argument, NULL, 'f'},    {"debug", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},          {"version", no_argument, NULL, 'V'},
		{"options", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0},
	};
	static const struct option none[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	struct args a = {0};
	int opt, r = 0;

	*ret_msg = NULL;
	a.program = slash ? slash + 1 : argc > 0 ? argv[0] : "spillfs";
	a.helper = !strncmp(a.program, "mount.", 6);
	*ret = a;
	opterr = 0;
	optind = 1;
	while (!r && (opt = getopt_long(argc, argv, a.helper ? ":o:sfnvN:t:hV" : ":o:fdhV",
					a.helper ? none : own, NULL)) != -1) {
		if (opt == ':')
			return say(ret_msg, -EINVAL, "-%c needs an argument", optopt);
		if (opt == 'o')
			r = config_parse_opts(cfg, optarg, ret_msg);
		else
			r = a.helper ? parse_helper(opt, &a) : parse_own(opt, &a, cfg);
		if (r == -EINVAL && !*ret_msg)
			return say(ret_msg, r, "unknown option %s; see %s -h", argv[optind - 1],
				   a.program);
	}
	if (r < 0)
		return r;
	if (!a.help && !a.version) {
		if (argc - optind != 2)
			return say(ret_msg, -EINVAL, "STORE and DIR are needed; see %s -h",
				   a.program);
		a.store = argv[optind];
		a.dir = argv[optind + 1];
		if (!*a.store || !*a.dir)
			return say(ret_msg, -EINVAL, "STORE and DIR must not be empty");
	}
	*ret = a;
	return 0;
}

void args_usage(const struct args *a)
{
	printf("Usage: %s STORE DIR [-o OPTION[,OPTION...]]%s\n"
	       "Mount spillfs over DIR, a directory on a small disk; cold data moves, compressed, "
	       "to STORE,\n"
	       "a directory on a larger one. DIR keeps its content; STORE is an empty directory at "
	       "first.\n"
	       "\n",
	       a->program, a->helper ? " [-sfnv]" : " [-f] [-d]");
	if (a->helper)
		printf("  -f  fake: check everything that can be checked without mounting\n");
	else
		printf("  -f  stay in the foreground\n"
		       "  -d  the same, with debug messages\n");
	printf("  -o  mount options; the usual ones, and spillfs's own (spillfs(8)):\n"
	       "      high=, low=, critical=  percent of DIR's disk in use: where spilling starts, "
	       "stops, hurries\n"
	       "      auto=on|off  spill=layers|all  min-age=  min-size=  store-size=  level=  "
	       "threads=\n"
	       "      store-grace=\n"
	       "  -h  this text\n"
	       "  -V  version\n"
	       "\n"
	       "spillctl(8) shows and controls a mount; umount(8) ends it and leaves a read-only "
	       "guard over DIR.\n");
}
