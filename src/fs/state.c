/* SPDX-License-Identifier: MIT
 * See state.h.
 */
#include "fs_int.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Whoever changes struct state, or what one of its fields means, changes this. */
const char fs_state_format[16] = "spillfs state 1";

int fs_state_init(int fd)
{
	const uint64_t size = sizeof(struct state);

	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)size))
		return -errno;
	if (pwrite(fd, &size, sizeof(size), offsetof(struct state, size)) != sizeof(size) ||
	    pwrite(fd, fs_state_format, sizeof(fs_state_format), offsetof(struct state, format)) !=
		    sizeof(fs_state_format))
		return -EIO;
	return 0;
}

int fs_state_new(void)
{
	cleanup_fd int fd = memfd_create("spillfs-state", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : fs_state_init(fd);

	return r ? r : steal_fd(&fd);
}

void fs_state_refused(int fd, const char *why)
{
	char text[FS_REFUSED_MAX] = "";

	snprintf(text, sizeof(text), "%s", why);
	if (pwrite(fd, text, sizeof(text), offsetof(struct state, refused)) != sizeof(text))
		log_warn("the shared state cannot be written: %s", strerror(errno));
}

void fs_refused(const struct fs *f, char ret[FS_REFUSED_MAX])
{
	memcpy(ret, f->state->refused, FS_REFUSED_MAX);
	ret[FS_REFUSED_MAX - 1] = 0;
}

int fs_state_check(int fd)
{
	struct state *s;
	int r = state_map(fd, &s);

	if (!r)
		state_unmap(s);
	return r;
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
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < sizeof(struct state)) /* touching it would be a SIGBUS */
		return -EPROTONOSUPPORT;
	void *p = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	const char *volatile mine = fs_state_format; /* not folded: a test patches it */
	struct state *s = p;

	if (s->size != sizeof(*s) || memcmp(s->format, mine, sizeof(s->format)) != 0) {
		munmap(p, sizeof(*s));
		return -EPROTONOSUPPORT;
	}
	*ret = s;
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
