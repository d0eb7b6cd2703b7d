/* SPDX-License-Identifier: MIT
 * mapstat -n TURNS FILE HOT: stores to FILE through mappings while others ask for its attributes.
 *
 * FILE is on the mount, HOT is the same file where the mount keeps it. In each turn FILE is opened,
 * mapped, stored to, unmapped and closed, beside THREADS threads that call stat(2) all the time;
 * then they rest, and the times of both must agree. Exits 1 when they do not.
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define THREADS 2
#define PAGE    4096

static const char *path;
static atomic_int end;
static pthread_rwlock_t turn = PTHREAD_RWLOCK_INITIALIZER; /* read: who asks, write: who compares */

static void *ask(void *arg)
{
	struct stat st;

	while (!atomic_load(&end)) {
		pthread_rwlock_rdlock(&turn);
		if (stat(path, &st))
			err(2, "%s", path);
		pthread_rwlock_unlock(&turn);
	}
	return arg;
}

static void store(unsigned n)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(2, "%s", path);
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		err(2, "mmap %s", path);
	nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL); /* a question is under way */
	p[n % PAGE] = (char)n;
	munmap(p, PAGE);
	close(fd);
}

int main(int argc, char **argv)
{
	pthread_t id[THREADS];
	unsigned n = 0, turns = 0;
	int c;

	while ((c = getopt(argc, argv, "n:")) != -1)
		if (c == 'n')
			turns = (unsigned)strtoul(optarg, NULL, 10);
	if (argc - optind != 2 || !turns)
		errx(2, "usage: mapstat -n TURNS FILE HOT");
	path = argv[optind];
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&id[i], NULL, ask, NULL))
			errx(2, "no thread");
	int bad = 0;

	for (; n < turns && !bad; n++) {
		struct stat a, b;

		store(n);
		pthread_rwlock_wrlock(&turn);
		if (stat(path, &a) || stat(argv[optind + 1], &b))
			err(2, "stat");
		pthread_rwlock_unlock(&turn);
		bad = a.st_mtim.tv_sec != b.st_mtim.tv_sec ||
		      a.st_mtim.tv_nsec != b.st_mtim.tv_nsec;
		if (bad)
			printf("turn %u: mtime %ld.%09ld, it is %ld.%09ld\n", n,
			       (long)a.st_mtim.tv_sec, a.st_mtim.tv_nsec, (long)b.st_mtim.tv_sec,
			       b.st_mtim.tv_nsec);
	}
	atomic_store(&end, 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	if (!bad)
		printf("%u turns\n", n);
	return bad;
}
