/* SPDX-License-Identifier: MIT
 * Giving space back: holes in place of dead frames, and the removal of dead packs.
 *
 * Only whole blocks that lie inside of the frames' own bytes are punched, so a directory, a trailer
 * or a neighbour never loses a byte. The frame tables keep the positions; walk.c knows holes again.
 */
#include "store_int.h"
#include "spill/durable.h"
#include <fcntl.h>

struct span {
	uint64_t off, end;
};

static int by_off(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static int punch_span(int fd, const struct span *sp)
{
	uint64_t off = (sp->off + PUNCH_BLOCK - 1) & ~(uint64_t)(PUNCH_BLOCK - 1);
	uint64_t end = sp->end & ~(uint64_t)(PUNCH_BLOCK - 1);

	return off < end ? d_punch(fd, (off_t)off, (off_t)(end - off)) : 0;
}

/* Sort, join what touches, punch. */
static int punch_spans(int fd, struct span *sp, size_t n)
{
	size_t i = 0, j;
	int r = 0;

	qsort(sp, n, sizeof(*sp), by_off);
	for (; i < n && !r; i = j) {
		for (j = i + 1; j < n && sp[j].off == sp[i].end; j++)
			sp[i].end = sp[j].end;
		r = punch_span(fd, &sp[i]);
	}
	return r;
}

static void account(struct store *s, struct pack *p, int fd)
{
	uint64_t now = fd_disk_bytes(fd);

	pthread_mutex_lock(&s->lock);
	if (!p->removed && !p->in_batch) { /* else the commit counts */
		atomic_fetch_add(&s->stored_bytes, now - p->disk_bytes);
		store_grew(s, (int64_t)(now - p->disk_bytes));
		p->disk_bytes = now;
	}
	pthread_mutex_unlock(&s->lock);
}

int store_punch_frames(struct store *s, uint32_t pack, uint32_t frame, uint32_t n)
{
	cleanup_free struct span *sp = NULL;
	cleanup_fd int fd = -1;
	struct ptable *t = NULL;
	struct pack *p;
	char name[16];
	int r;

	if (s->read_only)
		return -EROFS;
	r = pack_get(s, pack, &p);
	if (r)
		return r;
	r = pack_table(s, p, &t);
	if (!r && (frame > t->n || n > t->n - frame))
		r = -EINVAL;
	if (!r && n) {
		sp = calloc(n, sizeof(*sp));
		r = sp ? 0 : -ENOMEM;
	}
	for (uint32_t i = 0; i < n && !r; i++) {
		const struct fent *e = &t->e[frame + i];

		if (e->off) /* unknown ones sort to the front as nothing */
			sp[i] = (struct span){e->off, e->off + FRAME_HDR_LEN + e->clen};
	}
	if (!r && n) {
		pack_name(pack, name);
		fd = openat(s->packsfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		r = fd < 0 ? -errno : punch_spans(fd, sp, n);
		if (fd >= 0)
			account(s, p, fd);
	}
	ptable_unref(t);
	pack_put(s, p);
	return r;
}

int store_remove_pack(struct store *s, uint32_t pack)
{
	struct pack *p;
	char name[16];
	bool busy;
	int r;

	if (s->read_only)
		return -EROFS;
	pthread_mutex_lock(&s->lock);
	p = pack_find_locked(s, pack);
	busy = p && p->in_batch;
	pthread_mutex_unlock(&s->lock);
	if (!p)
		return -ENOENT;
	if (busy)
		return -EBUSY;
	pack_name(pack, name);
	r = d_unlink(s->packsfd, name);
	if (r && r != -ENOENT)
		return r;
	pack_forget(s, pack);
	return 0;
}
