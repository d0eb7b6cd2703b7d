/* SPDX-License-Identifier: MIT
 * The pack registry: which packs there are, their open descriptors and frame tables (both bounded,
 * the least recently used go first). A pinned pack keeps its descriptor; a removed one stays
 * readable for those who have it pinned.
 */
#include "store_int.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

void pack_name(uint32_t no, char out[16])
{
	snprintf(out, 16, "%08u.pack", no);
}

uint64_t fd_disk_bytes(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

/* Index of the first pack with a number >= no. */
static size_t lower_bound(const struct store *s, uint32_t no)
{
	size_t lo = 0, hi = s->npacks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->packs[mid]->no < no)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct pack *pack_find_locked(struct store *s, uint32_t no)
{
	size_t i = lower_bound(s, no);

	return i < s->npacks && s->packs[i]->no == no ? s->packs[i] : NULL;
}

int pack_add_locked(struct store *s, uint32_t no, struct pack **ret)
{
	size_t i = lower_bound(s, no);
	struct pack *p;

	if (s->npacks == s->packs_cap) {
		size_t cap = s->packs_cap ? s->packs_cap * 2 : 64;
		struct pack **a = realloc(s->packs, cap * sizeof(*a));

		if (!a)
			return -ENOMEM;
		s->packs = a;
		s->packs_cap = cap;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->no = no;
	p->fd = -1;
	memmove(&s->packs[i + 1], &s->packs[i], (s->npacks - i) * sizeof(s->packs[0]));
	s->packs[i] = p;
	s->npacks++;
	if (no >= s->next_pack)
		s->next_pack = no + 1;
	*ret = p;
	return 0;
}

static void pack_free(struct pack *p)
{
	if (p->fd >= 0)
		close(p->fd);
	ptable_unref(p->table);
	free(p);
}

static void drop_table_locked(struct store *s, struct pack *p)
{
	if (!p->table)
		return;
	s->table_bytes -= ptable_bytes(p->table);
	ptable_unref(p->table);
	p->table = NULL;
}

/* Close one descriptor nobody uses, the oldest. Returns it for close(2) outside of the lock. */
static int evict_fd_locked(struct store *s)
{
	struct pack *old = NULL;

	if (s->nfds <= PACK_FDS_MAX)
		return -1;
	for (size_t i = 0; i < s->npacks; i++) {
		struct pack *p = s->packs[i];

		if (p->fd >= 0 && !p->pins && (!old || p->tick < old->tick))
			old = p;
	}
	if (!old)
		return -1;
	s->nfds--;
	return steal_fd(&old->fd);
}

static void evict_tables_locked(struct store *s, const struct pack *keep)
{
	while (s->table_bytes > TABLE_BYTES_MAX) {
		struct pack *old = NULL;

		for (size_t i = 0; i < s->npacks; i++) {
			struct pack *p = s->packs[i];

			if (p->table && p != keep && (!old || p->tick < old->tick))
				old = p;
		}
		if (!old)
			return;
		drop_table_locked(s, old);
	}
}

static int open_checked(struct store *s, uint32_t no)
{
	uint8_t b[PACK_HDR_LEN];
	cleanup_fd int fd = -1;
	char name[16];
	ssize_t n;
	int r;

	pack_name(no, name);
	fd = openat(s->packsfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? -EIO : -errno;
	n = pread_full(fd, b, sizeof(b), 0);
	if (n < 0)
		return (int)n;
	r = n < (ssize_t)sizeof(b) ? -EUCLEAN : pack_hdr_get(b, no, s->id.uuid);
	return r ?: steal_fd(&fd);
}

int pack_get(struct store *s, uint32_t no, struct pack **ret)
{
	int fd, old = -1;
	struct pack *p;

	pthread_mutex_lock(&s->lock);
	p = pack_find_locked(s, no);
	if (p) {
		p->pins++;
		p->tick = ++s->tick;
	}
	fd = p ? p->fd : -EUCLEAN;
	pthread_mutex_unlock(&s->lock);
	if (!p)
		return fd;
	if (fd >= 0) {
		*ret = p;
		return 0;
	}
	fd = open_checked(s, no);
	if (fd < 0) {
		pack_put(s, p);
		return fd;
	}
	pthread_mutex_lock(&s->lock);
	if (p->fd < 0) {
		p->fd = steal_fd(&fd);
		if (!p->removed)
			s->nfds++;
		old = evict_fd_locked(s);
	}
	pthread_mutex_unlock(&s->lock);
	spill_closep(&old);
	spill_closep(&fd);
	*ret = p;
	return 0;
}

void pack_put(struct store *s, struct pack *p)
{
	bool gone;

	pthread_mutex_lock(&s->lock);
	gone = --p->pins == 0 && p->removed;
	pthread_mutex_unlock(&s->lock);
	if (gone)
		pack_free(p);
}

int pack_table(struct store *s, struct pack *p, struct ptable **ret)
{
	struct ptable *t;
	uint64_t len;
	int r;

	pthread_mutex_lock(&s->lock);
	t = p->table ? ptable_ref(p->table) : NULL;
	len = p->len;
	pthread_mutex_unlock(&s->lock);
	if (!t) {
		r = ptable_load(p->fd, p->no, s->seed, len, &t);
		if (r)
			return r;
		pthread_mutex_lock(&s->lock);
		/* Somebody may have loaded it too, or a commit made it longer. */
		if (!p->table && !p->removed && p->len == len) {
			p->table = ptable_ref(t);
			s->table_bytes += ptable_bytes(t);
			evict_tables_locked(s, p);
		}
		if (t->scanned)
			p->nowrite = true;
		pthread_mutex_unlock(&s->lock);
	}
	*ret = t;
	return 0;
}

void pack_publish(struct store *s, uint32_t no, uint64_t len, uint64_t disk_bytes, uint64_t written,
		  struct ptable *table)
{
	struct pack *p;

	pthread_mutex_lock(&s->lock);
	p = pack_find_locked(s, no);
	if (p) {
		drop_table_locked(s, p);
		p->len = len;
		p->in_batch = false;
		p->tick = ++s->tick;
		atomic_fetch_add(&s->stored_bytes, disk_bytes - p->disk_bytes);
		atomic_fetch_sub(&s->batch_bytes, written);
		p->disk_bytes = disk_bytes;
		p->table = steal_ptr(table);
		if (p->table) {
			s->table_bytes += ptable_bytes(p->table);
			evict_tables_locked(s, p);
		}
	}
	pthread_mutex_unlock(&s->lock);
	ptable_unref(table);
}

void pack_uncache(struct store *s, uint32_t no)
{
	cache_drop_pack(s->cache, no);
	pthread_mutex_lock(&s->pool_lock);
	if (s->memo.pack == no)
		s->memo.t_ns = 0;
	pthread_mutex_unlock(&s->pool_lock);
}

bool pack_forget(struct store *s, uint32_t no)
{
	struct pack *p;
	bool found;

	pthread_mutex_lock(&s->lock);
	p = pack_find_locked(s, no);
	found = p;
	if (p) {
		size_t i = lower_bound(s, no);

		s->npacks--;
		memmove(&s->packs[i], &s->packs[i + 1], (s->npacks - i) * sizeof(s->packs[0]));
		drop_table_locked(s, p);
		atomic_fetch_sub(&s->stored_bytes, p->disk_bytes);
		store_grew(s, -(int64_t)p->disk_bytes);
		if (p->fd >= 0)
			s->nfds--;
		p->removed = true;
		if (p->pins)
			p = NULL; /* the last pack_put frees it */
	}
	pthread_mutex_unlock(&s->lock);
	if (p)
		pack_free(p);
	pack_uncache(s, no);
	return found;
}

void pack_registry_done(struct store *s)
{
	for (size_t i = 0; i < s->npacks; i++)
		pack_free(s->packs[i]);
	free(s->packs);
}
