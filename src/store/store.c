/* SPDX-License-Identifier: MIT
 * Opening, recovering and describing a store.
 */
#include "store_int.h"
#include "ident.h"
#include "spill/durable.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

/* "00000012.pack" -> 12; 0 is no pack. */
static uint32_t parse_name(const char *s)
{
	char again[16];
	unsigned long n = 0;
	char *end;

	if (s[0] >= '0' && s[0] <= '9')
		n = strtoul(s, &end, 10);
	if (n == 0 || n >= UINT32_MAX)
		return 0;
	pack_name((uint32_t)n, again);
	return strcmp(again, s) ? 0 : (uint32_t)n;
}

static int register_pack(struct store *s, uint32_t no, const char *name)
{
	struct pack *p;
	struct stat st;
	int r;

	if (fstatat(s->packsfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	pthread_mutex_lock(&s->lock);
	r = pack_add_locked(s, no, &p);
	if (!r) {
		p->len = (uint64_t)st.st_size;
		p->disk_bytes = (uint64_t)st.st_blocks * 512;
		atomic_fetch_add(&s->stored_bytes, p->disk_bytes);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int scan_packs(struct store *s)
{
	int fd = openat(s->packsfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	struct dirent *de;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (!r && (errno = 0, de = readdir(d))) {
		uint32_t no = parse_name(de->d_name);

		if (no)
			r = register_pack(s, no, de->d_name);
	}
	if (!r && !de && errno)
		r = -errno;
	closedir(d);
	return r;
}

static int take_lock(struct store *s)
{
	s->lockfd = openat(s->dirfd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lockfd < 0)
		return -errno;
	if (flock(s->lockfd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

static int open_all(struct store *s, const char *path)
{
	int r;

	s->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd < 0)
		return -errno;
	r = ident_read(s->dirfd, &s->id);
	if (!r && !s->read_only)
		r = take_lock(s);
	if (r)
		return r;
	s->seed = format_seed(s->id.uuid);
	s->packsfd = openat(s->dirfd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->packsfd < 0)
		return errno == ENOENT || errno == ENOTDIR ? -EUCLEAN : -errno;
	r = cache_new(&s->cache, s->opts.cache_bytes);
	if (!r)
		r = scan_packs(s);
	return r ?: overflow_count(s);
}

int store_open(struct store **ret, const char *path, const struct store_opts *opts, bool read_only)
{
	struct store *s = calloc(1, sizeof(*s));
	long ncpu = sysconf(_SC_NPROCESSORS_ONLN);
	int r;

	if (!s)
		return -ENOMEM;
	s->dirfd = s->packsfd = s->lockfd = -1;
	s->read_only = read_only;
	s->opts = *opts;
	s->next_pack = 1;
	if (!s->opts.threads)
		s->opts.threads = ncpu > 0 ? (unsigned)ncpu : 1;
	if (!s->opts.pack_bytes)
		s->opts.pack_bytes = UINT64_C(128) << 20;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->pool_lock, NULL);
	pthread_mutex_init(&s->space_lock, NULL);
	r = open_all(s, path);
	if (r)
		store_close(s);
	else
		*ret = s;
	return r;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	pack_registry_done(s);
	scratch_pool_done(s);
	cache_free(s->cache);
	free(s->memo.data);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->pool_lock);
	pthread_mutex_destroy(&s->space_lock);
	spill_closep(&s->packsfd);
	spill_closep(&s->lockfd); /* gives LOCK back */
	spill_closep(&s->dirfd);
	free(s);
}

int store_dirfd(const struct store *s)
{
	return s->dirfd;
}

const struct store_id *store_ident(const struct store *s)
{
	return &s->id;
}

/* ---- recovery
 * ------------------------------------------------------------------------------------ */
/* Make a present pack end where the index says. */
static int cut_pack(struct store *s, const struct pack_len *k, store_problem_fn cb, void *ctx)
{
	cleanup_fd int fd = -1;
	uint64_t len = 0, disk = 0;
	struct pack *p;
	char name[16];
	int r = 0;

	pthread_mutex_lock(&s->lock);
	p = pack_find_locked(s, k->pack);
	if (p) {
		len = p->len;
		disk = p->disk_bytes;
		p->nowrite = len < k->bytes; /* anew: what was cut off does not count */
	}
	pthread_mutex_unlock(&s->lock);
	if (!p || len < k->bytes) {
		if (cb)
			cb(ctx, k->pack, p ? -EUCLEAN : -ENOENT,
			   p ? "pack is shorter than the index says" : "pack is missing");
		return 0;
	}
	if (len == k->bytes)
		return 0;
	if (!s->read_only) {
		pack_name(k->pack, name);
		fd = openat(s->packsfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return -errno;
		r = d_ftruncate(fd, (off_t)k->bytes);
		disk = fd_disk_bytes(fd);
	}
	if (!r) {
		pack_publish(s, k->pack, k->bytes, disk, 0, NULL);
		pack_uncache(s, k->pack);
	}
	return r;
}

static bool is_known(const struct pack_len *known, size_t n, uint32_t no)
{
	size_t lo = 0;

	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;

		if (known[mid].pack == no)
			return true;
		if (known[mid].pack < no)
			lo = mid + 1;
		else
			n = mid;
	}
	return false;
}

/* A pack the index has no row for. A number behind all known ones comes from a batch that never
 * committed. With an empty index that would be every pack: then one with a complete batch is kept.
 */
static int unknown_pack(struct store *s, const struct pack_len *known, size_t n, uint32_t no,
			store_problem_fn cb, void *ctx)
{
	struct pack_len own = {0};
	char name[16];
	int r;

	if (n && no < known[n - 1].pack) {
		if (cb)
			cb(ctx, no, -ESTALE, "pack is not in the index");
		return 0;
	}
	if (n == 0) {
		r = store_pack_length(s, no, &own);
		if (r || own.bytes) {
			if (cb)
				cb(ctx, no, r ?: -ESTALE, "pack with data, but the index is empty");
			return 0;
		}
	}
	if (s->read_only)
		return 0;
	pack_name(no, name);
	r = d_unlink(s->packsfd, name);
	if (!r)
		pack_forget(s, no);
	return r;
}

int store_recover(struct store *s, const struct pack_len *known, size_t n, store_problem_fn cb,
		  void *ctx)
{
	cleanup_free uint32_t *have = NULL;
	size_t nhave = 0;
	int r = store_list_packs(s, &have, &nhave);

	for (size_t i = 0; i < n && !r; i++)
		r = cut_pack(s, &known[i], cb, ctx);
	for (size_t i = 0; i < nhave && !r; i++)
		if (!is_known(known, n, have[i]))
			r = unknown_pack(s, known, n, have[i], cb, ctx);
	if (n && !r) { /* also numbers of packs that are gone are not used again */
		pthread_mutex_lock(&s->lock);
		s->next_pack = MAX(s->next_pack, known[n - 1].pack + 1);
		pthread_mutex_unlock(&s->lock);
	}
	if (!r && !s->read_only)
		r = d_fsync(s->packsfd);
	return r;
}

/* ---- inspection
 * ------------------------------------------------------------------------------------- */
int store_list_packs(struct store *s, uint32_t **ret, size_t *ret_n)
{
	uint32_t *a;
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->npacks;
	a = malloc((n ? n : 1) * sizeof(*a));
	for (size_t i = 0; a && i < n; i++)
		a[i] = s->packs[i]->no;
	pthread_mutex_unlock(&s->lock);
	if (!a)
		return -ENOMEM;
	*ret = a;
	*ret_n = n;
	return 0;
}

void store_counters(const struct store *s, struct store_counters *ret)
{
	*ret = (struct store_counters){
		.frames_read = atomic_load(&s->c_read),
		.frames_cached = atomic_load(&s->c_cached),
		.frames_bad = atomic_load(&s->c_bad),
		.frames_written = atomic_load(&s->c_written),
		.bytes_in = atomic_load(&s->c_in),
		.bytes_out = atomic_load(&s->c_out),
	};
}
