/* SPDX-License-Identifier: MIT
 * treesum [-x] [-M] [-T] [-D] DIR: one line for each file of a tree with everything a user can
 * see: type, mode, owner, links, size, mtime, content, xattrs (ACLs and capabilities among them),
 * hard links. Two trees are equal when the lines are. -x  leave spillfs' own xattrs out (to look
 * at a hot directory itself) -M  leave mtimes out   -T  mtimes of directories too   -D  leave
 * contents out treesum --data SEED BYTES: write bytes that depend on the seed only; half of them
 * compress well.
 */
#include "fsdiff/tree.c"

static int put_data(uint64_t seed, uint64_t left)
{
	static char buf[1 << 20];

	for (; left > 0; seed++) {
		size_t n = left < sizeof(buf) ? (size_t)left : sizeof(buf);

		fill(buf, n, seed * 0x2545f4914f6cdd1du);
		if (fwrite(buf, 1, n, stdout) != n)
			return 1;
		left -= n;
	}
	return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct tree_opts o = {.now_ns = INT64_MAX, .full_bytes = 64ull << 30};
	struct tree_links links = {0};
	struct text t = {0};
	int c;

	if (argc == 4 && strcmp(argv[1], "--data") == 0)
		return put_data(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
	while ((c = getopt(argc, argv, "xMTD")) != -1) {
		switch (c) {
		case 'x':
			o.no_marker = true;
			break;
		case 'M':
			o.no_mtime = true;
			break;
		case 'T':
			o.dir_times = true;
			break;
		case 'D':
			o.no_data = true;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc || chdir(argv[optind]) < 0) {
		fprintf(stderr, "treesum: usage: treesum [-xMTD] DIR | --data SEED BYTES\n");
		return 2;
	}
	tree_walk(&t, ".", &o, &links);
	fputs(t.s, stdout);
	free(t.s);
	free(links.ino);
	return fflush(stdout) ? 1 : 0;
}
