/* SPDX-License-Identifier: MIT
 * Running programs, by /proc/PID/comm (which needs no lock of the process), their command lines and
 * start times (proc(5)).
 */
#include "doctor_int.h"

#define ARGS_MAX (256u * 1024)

void proc_done(struct proc *p)
{
	free(p->argv);
	free(p->args);
	*p = (struct proc){0};
}

uint64_t proc_start(struct look *l, int pid)
{
	cleanup_free char *text = NULL;
	char path[64], *p;
	unsigned long long start = 0;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (look_read(l, path, 8192, &text, &len))
		return 0;
	p = strrchr(text, ')'); /* the name before it may contain anything */
	/* field 22; the state behind the name is the third */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%llu", &start) == 1 ? start : 0;
}

static int args_get(struct look *l, int pid, struct proc *ret)
{
	char path[64];
	size_t len = 0, n = 0;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	r = look_read(l, path, ARGS_MAX, &ret->args, &len);
	if (r || !len)
		return r ? r : -ENOENT; /* a kernel thread, or a zombie */
	for (size_t i = 0; i < len; i++)
		n += !ret->args[i];
	ret->argv = calloc(n + 2, sizeof(*ret->argv));
	if (!ret->argv)
		return -ENOMEM;
	n = 0;
	for (char *s = ret->args; s < ret->args + len; s += strlen(s) + 1)
		ret->argv[n++] = s;
	ret->pid = pid;
	ret->start_ticks = proc_start(l, pid);
	return 0;
}

int proc_find(struct look *l, const char *name, struct proc *ret)
{
	cleanup_free char *pids = NULL;
	size_t len = 0;

	*ret = (struct proc){0};
	if (look_comm(l, name, &pids, &len))
		return 0;
	/* The oldest: what it forked is not it. */
	for (const char *p = pids; p < pids + len; p += strlen(p) + 1) {
		struct proc one = {0};

		if (args_get(l, atoi(p), &one) ||
		    (ret->pid && ret->start_ticks <= one.start_ticks)) {
			proc_done(&one);
			continue;
		}
		proc_done(ret);
		*ret = one;
	}
	return ret->pid ? 1 : 0;
}

const char *proc_flag(const struct proc *p, const char *name)
{
	size_t len = strlen(name);
	const char *last = NULL;

	for (char **a = p->argv; a && *a; a++) {
		const char *s = *a;

		if (*s != '-')
			continue;
		s += s[1] == '-' ? 2 : 1;
		if (strncmp(s, name, len))
			continue;
		if (s[len] == '=')
			last = s + len + 1;
		else if (!s[len])
			last = a[1] ? a[1] : "";
	}
	return last;
}
