/* SPDX-License-Identifier: MIT
 * One line on stderr that says how far long work is; only on a terminal.
 */
#include "spillctl.h"

#include <sys/ioctl.h>

void progress_init(struct progress *p, const struct cli *c, const char *what)
{
	*p = (struct progress){
		.on = !c->quiet && isatty(STDERR_FILENO),
		.what = what,
		.start_ns = clock_mono_ns(),
	};
}

void progress_show(struct progress *p, uint64_t files, uint64_t bytes, const char *current)
{
	uint64_t ms = (clock_mono_ns() - p->start_ns) / 1000000 + 1;
	uint64_t rate = (uint64_t)((double)bytes * 1000 / (double)ms);
	cleanup_free char *line = NULL, *path = NULL;
	struct winsize ws = {0};
	int cols, n;

	if (!p->on)
		return;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) || !ws.ws_col)
		ws.ws_col = 80;
	cols = ws.ws_col - 1;
	path = ctl_escape(current);
	n = asprintf(&line, "%s: %s files, %s, %s/s  ", p->what, fmt_count(files), fmt_size(bytes),
		     fmt_size(rate));
	if (n < 0 || !path)
		return;
	/* The end of a path says more than its beginning. Cut between characters. */
	if (n < cols) {
		size_t room = (size_t)(cols - n), len = strlen(path);
		const char *tail = len > room ? path + len - room : path;

		while ((*tail & 0xc0) == 0x80)
			tail++;
		fprintf(stderr, "\r\033[K%s%s", line, tail);
	} else {
		fprintf(stderr, "\r\033[K%.*s", cols, line);
	}
	p->shown = true;
}

void progress_clear(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
