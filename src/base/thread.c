/* SPDX-License-Identifier: MIT
 * Threads that no signal reaches: signals belong to the main thread, which waits for them in one
 * place. The mask is set in the creating thread, so that there is no moment in which the new one is
 * open to them.
 */
#include "spill/base.h"

#include <signal.h>
#include <stdio.h>

int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	char shortname[16]; /* the kernel's limit, with the NUL */
	pthread_t t;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return -r;
	*ret = t;
	snprintf(shortname, sizeof(shortname), "%.15s", name);
	pthread_setname_np(t, shortname);
	return 0;
}
