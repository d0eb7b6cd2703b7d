/* SPDX-License-Identifier: MIT
 * See state.h.
 */
#include "state.h"

#include "spill/fs.h"

#include <sys/mman.h>

int fs_state_new(void)
{
	cleanup_fd int fd = memfd_create("spillfs-state", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	return ftruncate(fd, sizeof(struct state)) ? -errno : steal_fd(&fd);
}

int fs_state_watch(int fd, uint64_t *ret_progress, unsigned *ret_conn)
{
	uint64_t progress;
	uint32_t conn;

	if (pread(fd, &progress, sizeof(progress), offsetof(struct state, progress)) !=
		    sizeof(progress) ||
	    pread(fd, &conn, sizeof(conn), offsetof(struct state, dev_minor)) != sizeof(conn))
		return -EIO;
	*ret_progress = progress;
	*ret_conn = conn;
	return 0;
}

int state_map(int fd, struct state **ret)
{
	void *p = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

void state_unmap(struct state *s)
{
	if (s)
		munmap(s, sizeof(*s));
}

void state_inherit(struct state *s)
{
	for (unsigned i = 0; i < STATE_WORKERS; i++) {
		struct state_intent *from = &s->now[i];
		uint64_t unique = atomic_load(&from->unique);

		if (!unique)
			continue;
		/* Killed in here it is done again: a record may be there twice. */
		struct state_intent *to = &s->old[s->old_pos % STATE_OLD];

		atomic_store(&to->unique, 0);
		to->begun_ns = from->begun_ns;
		to->a = from->a;
		to->b = from->b;
		atomic_store(&to->unique, unique);
		s->old_pos = (s->old_pos + 1) % STATE_OLD;
		atomic_store(&from->unique, 0);
	}
}

const struct state_intent *state_find(const struct state *s, uint64_t unique)
{
	for (unsigned i = 0; i < STATE_OLD; i++)
		if (atomic_load(&s->old[i].unique) == unique)
			return &s->old[i];
	return NULL;
}
