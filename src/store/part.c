/* SPDX-License-Identifier: MIT
 * A batch's share of one pack. Frames are gathered into large writes; then come one or more
 * directory frames, each with a trailer behind it. Nothing in front of begin_len is ever written
 * again, so that cutting the file back undoes the batch.
 *
 * part_append_frame runs in the pipeline's writer thread, everything else in the caller's, with the
 * pipeline drained.
 */
#include "store_int.h"
#include "spill/durable.h"
#include <fcntl.h>
#include <sys/stat.h>

/* A directory that lists all frames of a pack must stay below DIR_MAX_ULEN. */
#define PACK_FRAMES_MAX (1u << 20)
#define TRIM_SPARE      (256u << 10) /* more than the blocks of its map */

/* ---- opening
 * ------------------------------------------------------------------------------------- */
static int open_rdwr(struct store *s, uint32_t no, int flags)
{
	char name[16];
	int fd;

	pack_name(no, name);
	fd = openat(s->packsfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	return fd < 0 ? -errno : fd;
}

/* Try to go on in an existing pack: 0 and p filled, else make a new one. */
static int open_existing(struct store *s, uint32_t no, struct part *p)
{
	struct ptable *t = NULL;
	struct pack *pk;
	struct stat st;
	uint64_t len;
	int r = pack_get(s, no, &pk);

	if (r)
		return r;
	r = pack_table(s, pk, &t);
	pthread_mutex_lock(&s->lock);
	len = pk->len;
	if (!r && (pk->nowrite || t->scanned || t->n >= PACK_FRAMES_MAX))
		r = -EUCLEAN;
	pthread_mutex_unlock(&s->lock);
	pack_put(s, pk);
	if (!r) {
		p->fd = open_rdwr(s, no, 0);
		r = p->fd < 0 ? p->fd : 0;
	}
	if (!r && fstat(p->fd, &st))
		r = -errno;
	if (!r && (uint64_t)st.st_size < len)
		r = -EUCLEAN;
	if (!r && (uint64_t)st.st_size > len) /* left by an abort that failed */
		r = d_ftruncate(p->fd, (off_t)len);
	if (r) {
		ptable_unref(t);
		spill_closep(&p->fd);
		p->fd = -1;
		return r;
	}
	p->no = no;
	p->old = t;
	p->begin_len = len;
	p->next_frame = t->n;
	p->last_dir = t->last_dir;
	p->dirs = t->dirs;
	p->dirs_add = t->dirs_add;
	atomic_store(&p->pos, len);
	return 0;
}

static int open_new(struct store *s, struct part *p)
{
	struct pack *pk;
	int r;

	do {
		pthread_mutex_lock(&s->lock);
		p->no = s->next_pack++;
		pthread_mutex_unlock(&s->lock);
		p->fd = p->no ? open_rdwr(s, p->no, O_CREAT | O_EXCL) : -EOVERFLOW;
	} while (p->fd == -EEXIST);
	if (p->fd < 0)
		return p->fd;
	p->created = true;
	pthread_mutex_lock(&s->lock);
	r = pack_add_locked(s, p->no, &pk);
	pthread_mutex_unlock(&s->lock);
	if (r) {
		part_undo(p);
		return r;
	}
	pack_hdr_put(p->wbuf, p->no, s->id.uuid);
	p->wlen = PACK_HDR_LEN;
	atomic_store(&p->pos, PACK_HDR_LEN);
	return 0;
}

static void set_in_batch(struct store *s, uint32_t no, bool on, bool damaged)
{
	struct pack *pk;

	pthread_mutex_lock(&s->lock);
	pk = pack_find_locked(s, no);
	if (pk) {
		pk->in_batch = on;
		pk->nowrite |= damaged;
	}
	pthread_mutex_unlock(&s->lock);
}

int part_open(struct store *s, bool fresh, struct part **ret)
{
	struct part *p = calloc(1, sizeof(*p));
	uint32_t last = 0;
	int r = -ENOENT;

	if (!p)
		return -ENOMEM;
	p->s = s;
	p->fd = -1;
	p->wcap = WRITE_BYTES + 2 * FRAME_DISK_MAX;
	p->wbuf = malloc(p->wcap);
	if (!p->wbuf) {
		part_free(p);
		return -ENOMEM;
	}
	pthread_mutex_lock(&s->lock);
	if (!fresh && s->npacks) {
		const struct pack *pk = s->packs[s->npacks - 1];

		if (!pk->nowrite && pk->len < s->opts.pack_bytes)
			last = pk->no;
	}
	pthread_mutex_unlock(&s->lock);
	if (last)
		r = open_existing(s, last, p);
	if (r)
		r = open_new(s, p);
	if (r) {
		part_free(p);
		return r;
	}
	set_in_batch(s, p->no, true, false);
	dir_builder_init(&p->recs, p->no);
	*ret = p;
	return 0;
}

void part_free(struct part *p)
{
	if (p->fd >= 0)
		close(p->fd);
	ptable_unref(p->old);
	dir_builder_free(&p->recs);
	free(p->ents);
	free(p->wbuf);
	free(p);
}

/* ---- writing
 * --------------------------------------------------------------------------------------- */
/* Write the first n bytes of wbuf out. */
static int flush_some(struct part *p, size_t n)
{
	struct store *s = p->s;
	uint64_t max = s->opts.max_bytes;
	int r = space_for(s, n);

	if (r || (max && atomic_load(&s->stored_bytes) + atomic_load(&s->batch_bytes) + n > max))
		return r ?: -ENOSPC;
	r = d_pwrite(p->fd, p->wbuf, n, (off_t)(atomic_load(&p->pos) - p->wlen));
	if (r == -EDQUOT)
		r = -ENOSPC;
	if (r)
		return r;
	atomic_fetch_add(&s->batch_bytes, n);
	atomic_fetch_add(&s->moving, (int64_t)n);
	store_grew(s, (int64_t)n);
	p->wlen -= n;
	memmove(p->wbuf, p->wbuf + n, p->wlen);
	return 0;
}

static int append(struct part *p, const void *data, size_t len)
{
	while (len) {
		size_t n = MIN(len, p->wcap - p->wlen);
		int r = 0;

		memcpy(p->wbuf + p->wlen, data, n);
		p->wlen += n;
		atomic_fetch_add(&p->pos, n);
		data = (const uint8_t *)data + n;
		len -= n;
		if (p->wlen >= WRITE_BYTES) {
			/* up to a block boundary of the file: no block is written twice */
			size_t odd = (size_t)(atomic_load(&p->pos) % PUNCH_BLOCK);

			r = flush_some(p, p->wlen - odd);
		}
		if (r)
			return r;
	}
	return 0;
}

int part_append_frame(struct part *p, const struct job *j)
{
	struct store *s = p->s;

	if (p->nents == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 256;
		struct fpos *e = realloc(p->ents, cap * sizeof(*e));

		if (!e)
			return -ENOMEM;
		p->ents = e;
		p->cap = cap;
	}
	p->ents[p->nents++] = (struct fpos){j->frame, {atomic_load(&p->pos), j->clen, j->ulen}};
	atomic_fetch_add_explicit(&s->c_written, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->c_in, j->ulen, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->c_out, FRAME_HDR_LEN + j->clen, memory_order_relaxed);
	return append(p, j->disk, FRAME_HDR_LEN + (size_t)j->clen);
}

/* ---- directories
 * -------------------------------------------------------------------------------------- */
static int by_offset(const void *a, const void *b)
{
	const struct fpos *x = a, *y = b;

	return x->e.off < y->e.off ? -1 : x->e.off > y->e.off;
}

/* Every frame of the pack, in file order. */
static int all_frames(const struct part *p, struct fpos **ret, size_t *ret_n)
{
	size_t old = p->old ? p->old->n : 0, n = old + p->nents;
	struct fpos *a = calloc(n ? n : 1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	for (size_t i = 0; i < old; i++)
		a[i] = (struct fpos){(uint32_t)i, p->old->e[i]};
	if (p->nents)
		memcpy(a + old, p->ents, p->nents * sizeof(*a));
	qsort(a, n, sizeof(*a), by_offset);
	*ret = a;
	*ret_n = n;
	return 0;
}

/* The directory frame: header room, payload compressed when that helps. */
static int pack_dir(const struct buf *plain, struct frame_hdr *h, uint8_t **ret)
{
	size_t cap = MAX(ZSTD_compressBound(plain->len), plain->len), n;
	uint8_t *b;

	if (plain->len > DIR_MAX_ULEN)
		return -EFBIG;
	b = malloc(FRAME_HDR_LEN + cap);
	if (!b)
		return -ENOMEM;
	n = ZSTD_compress(b + FRAME_HDR_LEN, cap, plain->p, plain->len, 3);
	h->type = FRAME_DIR_ZSTD;
	h->ulen = (uint32_t)plain->len;
	if (ZSTD_isError(n) || n >= plain->len || plain->len / DIR_MAX_RATIO > n) {
		memcpy(b + FRAME_HDR_LEN, plain->p, plain->len);
		h->type = FRAME_DIR_RAW;
		n = plain->len;
	}
	h->clen = (uint32_t)n;
	*ret = b;
	return 0;
}

static int put_dir(struct part *p, const struct buf *plain, bool full)
{
	uint64_t off = atomic_load(&p->pos), seed = p->s->seed;
	struct frame_hdr h = {.pack = p->no, .frame = p->dirs};
	cleanup_free uint8_t *b = NULL;
	uint8_t tb[TRAILER_LEN];
	struct trailer t;
	int r = pack_dir(plain, &h, &b);

	if (r)
		return r;
	frame_put(b, &h, seed);
	r = append(p, b, FRAME_HDR_LEN + (size_t)h.clen);
	if (r)
		return r;
	p->last_dir = off;
	p->dirs++;
	p->dirs_add = full ? 1 : p->dirs_add + 1;
	t = (struct trailer){p->no, off, p->next_frame, p->dirs};
	trailer_put(tb, &t, seed);
	return append(p, tb, sizeof(tb));
}

int part_finish(struct part *p)
{
	bool full = p->dirs_add >= DIR_FULL_EVERY;
	cleanup_free struct fpos *all = NULL;
	struct fpos *list = p->ents ? p->ents + p->listed : NULL;
	size_t n = p->nents - p->listed;
	struct buf plain = {0};
	int r = 0;

	if (n || p->recs.nobjects) {
		if (full)
			r = all_frames(p, &all, &n);
		if (!r)
			r = dir_builder_finish(&p->recs, full, p->last_dir, full ? all : list, n,
					       &plain);
		if (!r)
			r = put_dir(p, &plain, full);
		buf_free(&plain);
		if (r)
			return r;
		p->listed = p->nents;
	}
	return p->wlen ? flush_some(p, p->wlen) : 0;
}

void part_hint(struct part *p)
{
	sync_file_range(p->fd, (off_t)p->begin_len, 0, SYNC_FILE_RANGE_WRITE);
}

int part_sync(struct part *p)
{
	return d_fdatasync(p->fd);
}

/* ---- the end of a batch
 * ------------------------------------------------------------------------------------ */
void part_undo(struct part *p)
{
	char name[16];
	int r = 0;

	if (p->created) {
		pack_name(p->no, name);
		r = d_unlink(p->s->packsfd, name);
		if (!r)
			pack_forget(p->s, p->no);
	} else if (p->fd >= 0) {
		r = d_ftruncate(p->fd, (off_t)p->begin_len);
	}
	set_in_batch(p->s, p->no, false, r);
	if (!r)
		store_undone(p->s, atomic_load(&p->pos) - p->wlen - p->begin_len);
}

/* xfs gives a file that grows more than it needs, and takes it back late from one that is opened
 * and closed again and again; cutting it at its own size does. What fails costs space only. */
static uint64_t trimmed_bytes(const struct part *p, uint64_t len)
{
	uint64_t disk = fd_disk_bytes(p->fd);

	if (disk > len + TRIM_SPARE && !d_ftruncate(p->fd, (off_t)len))
		disk = fd_disk_bytes(p->fd);
	return disk;
}

void part_publish(struct part *p)
{
	uint32_t old = p->old ? p->old->n : 0;
	uint64_t len = atomic_load(&p->pos);
	struct ptable *t = ptable_new(p->next_frame);

	if (t) { /* else it is loaded when it is needed */
		for (uint32_t i = 0; i < old; i++)
			t->e[i] = p->old->e[i];
		for (size_t i = 0; i < p->nents; i++)
			t->e[p->ents[i].frame] = p->ents[i].e;
		t->dirs = p->dirs;
		t->dirs_add = p->dirs_add;
		t->last_dir = p->last_dir;
	}
	/* The pages are on disk: a verify that follows shall read them from there, and the memory
	 * is better spent on others. */
	posix_fadvise(p->fd, (off_t)p->begin_len, 0, POSIX_FADV_DONTNEED);
	pack_publish(p->s, p->no, len, trimmed_bytes(p, len), len - p->begin_len, t);
}
