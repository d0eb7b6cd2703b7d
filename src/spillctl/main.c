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
	{"premigrate", do_premigrate, 1, -1, 0, "PATH...",
	 "copy the data of files to the store, and keep it here too",
	 "What is premigrated takes no time to free when space is needed. A file that is changed "
	 "loses\n"
	 "its copy. The mount point stands for everything.\n"},
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
	{"why", do_why, 1, -1, 0, "PATH...",
	 "why a file is where it is, and what would become of it",
	 "Says what keeps a file from being spilled (pinned, open, young, in no layer, ...), or "
	 "when "
	 "it\n"
	 "would be. --json prints one object for one PATH, an array for several.\n"},
	{"pin", do_pin, 1, -1, V_WHAT | V_NO_RECALL, "[--layer | --image] WHAT...",
	 "keep files, directories, layers or images in the hot tier",
	 "What is pinned, and everything below it, is never spilled. What of it is spilled now is "
	 "recalled;\n"
	 "when that does not fit below the high mark, nothing is pinned.\n"
	 "  --layer             WHAT is a layer, by name or path as in spillctl layers\n"
	 "  --image             WHAT is an image: its layers as they are now\n"
	 "  --no-recall         leave in the store what is there until it is recalled\n"},
	{"protect", do_protect, 1, -1, V_NO_RECALL, "IMAGE...",
	 "pin images here, and in the engine where it can do that",
	 "containerd: labels the image in the namespace k8s.io, so that kubelet leaves it alone. "
	 "Docker,\n"
	 "podman, CRI-O: says what there is.\n"
	 "  --no-recall         as of pin\n"},
	{"unpin", do_unpin, 1, -1, V_WHAT, "[--layer | --image] WHAT...", "end what pin began", ""},
	{"pins", do_pins, 0, 0, 0, "", "what is pinned, and what of it is spilled", ""},
	{"pause", do_pause, 0, 0, V_FOR, "[--for DURATION]", "no automatic spilling for now",
	 "Also not for writers on a full disk: they get ENOSPC. Outlives the daemon and the "
	 "mount.\n"
	 "  --for DURATION      30s, 5m, 1h, 2d; without it until spillctl resume\n"},
	{"resume", do_resume, 0, 0, 0, "", "automatic spilling goes on", ""},
	{"wait", do_wait, 0, 0, V_BELOW | V_TIMEOUT, "[--below PERCENT] [--timeout DURATION]",
	 "until background work is idle, or the hot tier below PERCENT",
	 "  --below PERCENT     wait until less of the hot tier is used, instead of for idleness\n"
	 "  --timeout DURATION  give up after that (exit code 28)\n"},
	{"plan", do_plan, 1, 1, V_STORE, "DIR [--store STORE]",
	 "what spillfs would do for DIR, before mounting it",
	 "Walks DIR, reads samples, changes nothing: bytes in layers, what would be freed, how "
	 "large "
	 "the\n"
	 "store would be, how long it takes, and what stands in the way (exit code 22).\n"
	 "  --store STORE       look at the future store, too\n"},
	{"drain", do_drain, 0, 1, V_YES, "[DIR] [--yes]", "bring everything back, to leave",
	 "Says what is spilled and whether it fits. With --yes it is recalled, and automatic "
	 "spilling\n"
	 "stays paused; then umount and unguard give the directory back as it was.\n"
	 "  --yes               do it\n"},
	{"export", do_export, 1, 1, V_OFFLINE, "TO", "a plain, verified copy of everything in TO",
	 "TO is a new or empty directory elsewhere. Data, holes, owners, modes, times, xattrs, "
	 "hard\n"
	 "links and special files are copied through the mount, and every copy is read back. "
	 "Nothing\n"
	 "is recalled.\n"
	 "  --store STORE --hot DIR   without a daemon, from the store and the directory below the "
	 "guard\n"},
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
	 "what is wrong and what to do. Changes nothing. Exit code 26 when something is wrong.\n"
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
		fprintf(f, "  %-8s %-32s %s\n", v->name, v->args, v->help);
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

enum {
	O_JSON = 256,
	O_QUICK,
	O_STORE,
	O_HOT,
	O_EXPOSE,
	O_LAYER,
	O_IMAGE,
	O_NO_RECALL,
	O_FOR,
	O_BELOW,
	O_TIMEOUT,
	O_YES,
	O_PROBE,
	O_ROOT
};

static const struct option options[] = {
	{"mount", required_argument, NULL, 'm'},
	{"json", no_argument, NULL, O_JSON},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{"quick", no_argument, NULL, O_QUICK},
	{"store", required_argument, NULL, O_STORE},
	{"hot", required_argument, NULL, O_HOT},
	{"expose", no_argument, NULL, O_EXPOSE},
	{"layer", no_argument, NULL, O_LAYER},
	{"image", no_argument, NULL, O_IMAGE},
	{"no-recall", no_argument, NULL, O_NO_RECALL},
	{"for", required_argument, NULL, O_FOR},
	{"below", required_argument, NULL, O_BELOW},
	{"timeout", required_argument, NULL, O_TIMEOUT},
	{"yes", no_argument, NULL, O_YES},
	{"probe", no_argument, NULL, O_PROBE},
	{"root", required_argument, NULL, O_ROOT},
	{NULL, 0, NULL, 0},
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
		case O_LAYER:
			c->layer = true;
			break;
		case O_IMAGE:
			c->image = true;
			break;
		case O_NO_RECALL:
			c->no_recall = true;
			break;
		case O_YES:
			c->yes = true;
			break;
		case O_FOR:
			c->for_time = optarg;
			break;
		case O_BELOW:
			c->below = optarg;
			break;
		case O_TIMEOUT:
			c->timeout = optarg;
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
	if ((c->store && !(v->options & (V_OFFLINE | V_STORE))) ||
	    (c->hot && !(v->options & V_OFFLINE)))
		bad = c->store && !(v->options & V_STORE) ? "--store" : "--hot";
	const struct {
		bool given;
		unsigned option;
		const char *name;
	} rare[] = {
		{c->layer, V_WHAT, "--layer"},
		{c->image, V_WHAT, "--image"},
		{c->yes, V_YES, "--yes"},
		{c->no_recall, V_NO_RECALL, "--no-recall"},
		{c->for_time, V_FOR, "--for"},
		{c->below, V_BELOW, "--below"},
		{c->timeout, V_TIMEOUT, "--timeout"},
		{c->probe, V_DOCTOR, "--probe"},
		{c->root, V_DOCTOR, "--root"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rare); i++)
		if (rare[i].given && !(v->options & rare[i].option))
			bad = rare[i].name;
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
