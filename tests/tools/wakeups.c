/* SPDX-License-Identifier: MIT
 * wakeups [-n TIMES]: how long two processes of this machine take to hand each other a byte and
 * back through pipes, on one CPU and on two. A file system in user space takes at least that long
 * for each request that has to be answered; on a virtual machine, where waking another CPU may be
 * the hypervisor's business, the two differ much.
 *
 * Output, one line: "one_cpu U.U us two_cpus U.U us", medians of ROUNDS rounds of TIMES (2000);
 * "two_cpus -" where there is only one. Exit 1 and a line on stderr when that cannot be found out.
 */
#include "spill/base.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>

#define ROUNDS 9

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("wakeups: sched_setaffinity");
		exit(1);
	}
}

static void hand(int from, int to)
{
	char c = 0;

	if (write(to, &c, 1) != 1 || read(from, &c, 1) != 1) {
		perror("wakeups: pipe");
		exit(1);
	}
}

/* Microseconds there and back: we on `cpu`, the other one on `other`. */
static double round_trip(int cpu, int other, unsigned times)
{
	int there[2], back[2], status;

	if (pipe2(there, O_CLOEXEC) || pipe2(back, O_CLOEXEC)) {
		perror("wakeups: pipe");
		exit(1);
	}
	pid_t pid = fork();

	if (pid < 0) {
		perror("wakeups: fork");
		exit(1);
	}
	if (!pid) {
		char c;

		close(there[1]);
		pin(other);
		while (read(there[0], &c, 1) == 1)
			if (write(back[1], &c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	pin(cpu);
	for (unsigned i = 0; i < times / 10; i++)
		hand(back[0], there[1]);
	uint64_t start = clock_mono_ns();

	for (unsigned i = 0; i < times; i++)
		hand(back[0], there[1]);
	double us = (double)(clock_mono_ns() - start) / 1000 / times;

	close(there[1]);
	close(back[0]);
	if (waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "wakeups: the other process failed\n");
		exit(1);
	}
	return us;
}

static int less(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	double one[ROUNDS], two[ROUNDS];
	unsigned times = 2000;
	int cpu[2], n = 0, opt;
	cpu_set_t may;

	while ((opt = getopt(argc, argv, "n:")) != -1) {
		times = opt == 'n' ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		if (!times)
			break;
	}
	if (!times || optind != argc) {
		fprintf(stderr, "usage: wakeups [-n TIMES]\n");
		return 1;
	}
	if (sched_getaffinity(0, sizeof(may), &may)) {
		perror("wakeups: sched_getaffinity");
		return 1;
	}
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &may))
			cpu[n++] = i;
	for (unsigned i = 0; i < ROUNDS; i++) {
		one[i] = round_trip(cpu[0], cpu[0], times);
		two[i] = n > 1 ? round_trip(cpu[0], cpu[1], times) : 0;
	}
	qsort(one, ROUNDS, sizeof(one[0]), less);
	qsort(two, ROUNDS, sizeof(two[0]), less);
	printf("one_cpu %.1f us two_cpus ", one[ROUNDS / 2]);
	if (n > 1)
		printf("%.1f us\n", two[ROUNDS / 2]);
	else
		printf("-\n");
	return 0;
}
