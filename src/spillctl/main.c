/* SPDX-License-Identifier: MIT
 * spillctl: the table of verbs, the command line, help.
 *
 * Options may stand anywhere (also before the verb); "--" ends them. Each verb says which of the
 * rarer ones it takes, so that an option is never silently ignored.
 */
#include "spillctl.h"

#include "spill/version.h"
#include <getopt.h>
#include <locale.h>

static int do_help(const struct cli *c);

static const struct verb verbs[] = {
	{"status", do_status, 0, 1, 0, "[DIR]", "both tiers, files and space at one look",
	 "Says how full the hot tier is, what the store holds, what was saved, and whether "
	 "anything\n"
	 "stands still and why.\n"},
	{"ls", do_ls, 0, -1, 0, "[PATH...]", "list files with the place of their data",
	 "One line a file, as ls -l, after the state: resident, premigrated (data in both tiers),\n"
	 "spilled (data in the store), partial, spilling, recalling. Without PATH: the mount "
	 "point.\n"},
	{"info", do_info, 1, -1, 0, "PATH...", "everything known about files",
	 "--json prints one object for one PATH, an array for several.\n"},
	{"spill", do_spill, 1, -1, 0, "PATH...", "move the data of files to the store now",
	 "Directories are descended into. Files in use are left alone and named. Ctrl-C stops at "
	 "the\n"
	 "next file; what was spilled until then stays spilled.\n"},
	{"recall", do_recall, 1, -1, 0, "PATH...", "bring the data of files back to the hot tier",
	 "Needs the space there. Ctrl-C stops at the next file.\n"},
	{"layers", do_layers, 0, 0, 0, "", "layers of container engines, the coldest first", ""},
	{"check", do_check, 0, 2, V_QUICK | V_OFFLINE, "[DIR | STORE [DIR]]",
	 "look for damage; changes nothing",
	 "Checks through the daemon where DIR is mounted, else directly in STORE (and in DIR's "
	 "hot\n"
	 "tier). Without arguments: the mount of -m or the only one.\n"
	 "  --quick             only structure: do not read every frame\n"
	 "  --store STORE       check STORE directly; no daemon may be using it\n"
	 "  --hot DIR           with --store: the hot tier that belongs to it\n"},
	{"unguard", do_unguard, 1, 1, V_EXPOSE, "DIR",
	 "show the bare directory below an unmounted DIR",
	 "Takes the read-only guard away that an unmounted DIR keeps. Refuses while files are "
	 "spilled:\n"
	 "without the mount they read as zeros.\n"
	 "  --expose            do it all the same\n"},
	{"restart", do_restart, 0, 1, 0, "[DIR]", "a new daemon takes the mount over",
	 "What the daemon is doing is finished or given up, and the next one goes on: nobody who\n"
	 "uses files notices more than a pause. Needs supervisor=on.\n"},
	{"doctor", do_doctor, 0, 1, V_DOCTOR, "[DIR]", "is this node set up so that images stay?",
	 "Looks at kubelet, the container engines, the boot order, the kernel and the mounts, and "
	 "says\n"
	 "what is wrong and what to do. Changes nothing. Exit code 28 when something is wrong.\n"
	 "  --probe             try on the mounts what an overlayfs needs (makes and removes "
	 "files)\n"
	 "  --root ROOT         look at the files below ROOT instead of /\n"
	 "  -q                  only what is not OK\n"},
	{"version", do_version, 0, 0, 0, "", "of spillctl and of the daemon", ""},
	{"help", do_help, 0, 1, 0, "[VERB]", "this text, or more about VERB", ""},
	{.name = NULL},
};

static const struct verb *verb_find(const char *name)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static void usage(FILE *f)
{
	fprintf(f, "Usage: spillctl [OPTION...] VERB [ARGUMENT...]\n\nVerbs:\n");
	for (const struct verb *v = verbs; v->name; v++)
		fprintf(f, "  %-8s %-20s %s\n", v->name, v->args, v->help);
	fprintf(f, "\nOptions:\n"
		   "  -m, --mount DIR     the spillfs mount, where PATH does not tell and there "
		   "are several\n"
		   "      --json          print JSON\n"
		   "  -q, --quiet         no progress, no sums, no headings\n"
		   "  -h, --help          this text, or that of the verb\n"
		   "  -V, --version       spillctl's version\n"
		   "\nExit codes and more: spillctl(8).\n");
}

static int verb_help(const struct verb *v)
{
	printf("Usage: spillctl %s%s%s\n\n%s: %s.\n%s", v->name, *v->args ? " " : "", v->args,
	       v->name, v->help, v->text);
	return EXIT_OK;
}

static int do_help(const struct cli *c)
{
	const struct verb *v = c->argc ? verb_find(c->argv[0]) : NULL;

	if (c->argc && !v)
		return fail(c, EXIT_USAGE, "unknown verb '%s'; see spillctl help", c->argv[0]);
	if (v)
		return verb_help(v);
	usage(stdout);
	return EXIT_OK;
}

enum { O_JSON = 256, O_QUICK, O_STORE, O_HOT, O_EXPOSE, O_PROBE, O_ROOT };

static const struct option options[] = {
	{"mount", required_argument, NULL, 'm'},     {"json", no_argument, NULL, O_JSON},
	{"quiet", no_argument, NULL, 'q'},           {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},         {"quick", no_argument, NULL, O_QUICK},
	{"store", required_argument, NULL, O_STORE}, {"hot", required_argument, NULL, O_HOT},
	{"expose", no_argument, NULL, O_EXPOSE},     {"probe", no_argument, NULL, O_PROBE},
	{"root", required_argument, NULL, O_ROOT},   {NULL, 0, NULL, 0},
};

/* Into *c and args (room for argc words). False: the message is out. */
static bool parse(int argc, char **argv, struct cli *c, char **args, bool *ret_help,
		  bool *ret_version)
{
	int o;

	while ((o = getopt_long(argc, argv, "-m:qhV", options, NULL)) != -1)
		switch (o) {
		case 1: /* not an option; "-" above keeps their order whatever the environment says
			 */
			args[c->argc++] = optarg;
			break;
		case 'm':
			c->mount = optarg;
			break;
		case 'q':
			c->quiet = true;
			break;
		case 'h':
			*ret_help = true;
			break;
		case 'V':
			*ret_version = true;
			break;
		case O_JSON:
			c->json = true;
			break;
		case O_QUICK:
			c->quick = true;
			break;
		case O_STORE:
			c->store = optarg;
			break;
		case O_HOT:
			c->hot = optarg;
			break;
		case O_EXPOSE:
			c->expose = true;
			break;
		case O_PROBE:
			c->probe = true;
			break;
		case O_ROOT:
			c->root = optarg;
			break;
		default:
			return false;
		}
	while (optind < argc)
		args[c->argc++] = argv[optind++];
	return true;
}

static int run(struct cli *c, char **args)
{
	const struct verb *v = verb_find(args[0]);
	const char *bad = NULL;

	if (!v)
		return fail(c, EXIT_USAGE, "unknown verb '%s'; see spillctl help", args[0]);
	c->verb = v;
	c->argv = args + 1;
	c->argc--;
	if (c->quick && !(v->options & V_QUICK))
		bad = "--quick";
	if (c->expose && !(v->options & V_EXPOSE))
		bad = "--expose";
	if ((c->store || c->hot) && !(v->options & V_OFFLINE))
		bad = c->store ? "--store" : "--hot";
	if ((c->probe || c->root) && !(v->options & V_DOCTOR))
		bad = c->probe ? "--probe" : "--root";
	if (bad)
		return fail(c, EXIT_USAGE, "%s takes no option %s", v->name, bad);
	if (c->argc && !v->max_args)
		return fail(c, EXIT_USAGE, "%s takes no argument; the mount is named with -m DIR",
			    v->name);
	if (c->argc < v->min_args || (v->max_args >= 0 && c->argc > v->max_args))
		return fail(c, EXIT_USAGE, "usage: spillctl %s %s", v->name, v->args);
	return v->fn(c);
}

int main(int argc, char **argv)
{
	cleanup_free char **args = calloc((size_t)argc + 1, sizeof(*args));
	bool help = false, version = false;
	struct cli c = {0};
	int code;

	setlocale(LC_CTYPE, "");
	if (!args || !parse(argc, argv, &c, args, &help, &version))
		return args ? EXIT_USAGE : EXIT_SYSTEM;
	if (help) {
		const struct verb *v = c.argc ? verb_find(args[0]) : NULL;

		if (v)
			verb_help(v);
		else
			usage(stdout);
		code = EXIT_OK;
	} else if (version) {
		printf("spillctl %s\n", SPILLFS_VERSION);
		code = EXIT_OK;
	} else if (!c.argc) {
		usage(stderr);
		code = EXIT_USAGE;
	} else {
		code = run(&c, args);
	}
	if (fflush(stdout) || ferror(stdout)) {
		warn("standard output: %s", strerror(errno));
		code = code ? code : EXIT_SYSTEM;
	}
	return code;
}
