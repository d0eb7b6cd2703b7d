/* SPDX-License-Identifier: MIT
 * Reading a bolt database (containerd's metadata), without locks and without trusting a byte of it.
 *
 * Layout (source: the format's description in go.etcd.io/bbolt, page.go and bucket.go), all
 * little-endian on the machines we run on:
 *
 *	page	0 id:8  8 flags:2  10 count:2  12 overflow:4, then elements
 *	meta	(pages 0 and 1, behind the header) 0 magic:4  4 version:4  8 page size:4  12 flags:4
 *		16 root page:8  24 sequence:8  32 freelist:8  40 pages:8  48 txid:8  56 FNV-1a of
 *the above branch	element: 0 pos:4  4 ksize:4  8 page:8		(the key is pos behind the
 *element) leaf	element: 0 flags:4  4 pos:4  8 ksize:4  12 vsize:4	(the value follows the key)
 *	bucket	a value: 0 root page:8  8 sequence:8, and if that page is 0 a page of its own behind
 *it
 *
 * The database is copy-on-write: the pages that the newest meta page leads to are not changed until
 * two transactions later. A copy is read as a whole, and again if the meta page has moved on by
 *then.
 */
#include "layers_int.h"

#include <fcntl.h>

#define PAGE_HEADER 16
#define META_LEN    64
#define MAGIC       0xED0CDAEDu
#define VERSION     2
#define F_BRANCH    1
#define F_LEAF      2
#define L_BUCKET    1
#define DEPTH_MAX   24
#define BYTES_MAX   (512u << 20)
#define TRIES       8

static uint64_t fnv1a(const uint8_t *p, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

/* The valid meta page at off? */
static bool meta_at(const struct bolt *b, size_t off, size_t *ret_page, uint64_t *ret_root,
		    uint64_t *ret_txid)
{
	const uint8_t *m = b->p + off + PAGE_HEADER;

	if (off + PAGE_HEADER + META_LEN > b->len || get_le32(m) != MAGIC ||
	    get_le32(m + 4) != VERSION || fnv1a(m, 56) != get_le64(m + 56))
		return false;
	*ret_page = get_le32(m + 8);
	*ret_root = get_le64(m + 16);
	*ret_txid = get_le64(m + 48);
	return *ret_page >= 512 && *ret_page <= 65536 && !(*ret_page & (*ret_page - 1));
}

/* The newer of the two meta pages; the second lies a page in, and the first may be the torn one. */
static int find_meta(struct bolt *b)
{
	static const size_t sizes[] = {4096, 8192, 16384, 65536, 2048, 1024, 512, 32768};
	size_t page, first_page = 0;
	uint64_t root, txid;
	bool found = false;

	if (meta_at(b, 0, &page, &root, &txid)) {
		found = true;
		first_page = b->page = page;
		b->root = root;
		b->txid = txid;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if ((first_page && sizes[i] != first_page) ||
		    !meta_at(b, sizes[i], &page, &root, &txid) || page != sizes[i])
			continue;
		if (!found || txid > b->txid) {
			b->page = page;
			b->root = root;
			b->txid = txid;
		}
		return 0;
	}
	return found ? 0 : -EUCLEAN;
}

int bolt_open(int dirfd, const char *path, struct bolt *ret)
{
	for (int i = 0; i < TRIES; i++) {
		struct bolt b = {0}, again = {0};
		char *data;
		int r = read_file(dirfd, path, BYTES_MAX, &data, &b.len);

		if (r)
			return r;
		b.p = b.data = (uint8_t *)data;
		r = find_meta(&b);
		if (!r)
			r = read_file(dirfd, path, BYTES_MAX, &data, &again.len);
		if (r) {
			bolt_done(&b);
			return r;
		}
		again.p = again.data = (uint8_t *)data;
		bool same = !find_meta(&again) && again.txid == b.txid;

		bolt_done(&again);
		if (same) {
			*ret = b;
			return 0;
		}
		bolt_done(&b);
	}
	return -EAGAIN;
}

int bolt_parse(const void *data, size_t len, struct bolt *ret)
{
	*ret = (struct bolt){.p = data, .len = len};
	return find_meta(ret);
}

void bolt_done(struct bolt *b)
{
	free(b->data);
	*b = (struct bolt){0};
}

struct bolt_bucket bolt_root(const struct bolt *b)
{
	return (struct bolt_bucket){.root = b->root};
}

struct visit {
	const struct bolt *b;
	bolt_fn fn;
	void *ctx;
	size_t budget; /* elements: what is reached twice in a loop ends here */
};

static int visit_page(struct visit *v, uint64_t id, unsigned depth);

static int visit_leaf(struct visit *v, const uint8_t *e, const uint8_t *end)
{
	uint64_t pos = get_le32(e + 4), ksize = get_le32(e + 8), vsize = get_le32(e + 12);
	struct bolt_item it;

	if (pos + ksize + vsize > (uint64_t)(end - e))
		return -EUCLEAN;
	it.key = (const char *)e + pos;
	it.key_len = ksize;
	it.value = e + pos + ksize;
	it.value_len = vsize;
	it.is_bucket = get_le32(e) & L_BUCKET;
	if (it.is_bucket) {
		if (vsize < 16)
			return -EUCLEAN;
		it.bucket.root = get_le64(it.value);
		it.bucket.inline_page = it.value + 16;
		it.bucket.inline_len = vsize - 16;
	}
	return v->fn(v->ctx, &it);
}

/* The elements of the page at p, which ends at end. */
static int visit_elements(struct visit *v, const uint8_t *p, const uint8_t *end, unsigned depth)
{
	unsigned flags, count;
	int r = 0;

	if (end - p < PAGE_HEADER || depth > DEPTH_MAX)
		return -EUCLEAN;
	flags = get_le16(p + 8);
	count = get_le16(p + 10);
	if (!(flags & (F_BRANCH | F_LEAF)) || (uint64_t)(end - p) < PAGE_HEADER + 16ull * count)
		return -EUCLEAN;
	for (unsigned i = 0; i < count && !r; i++) {
		const uint8_t *e = p + PAGE_HEADER + 16 * i;

		if (!v->budget--)
			return -EUCLEAN;
		r = flags & F_LEAF ? visit_leaf(v, e, end)
				   : visit_page(v, get_le64(e + 8), depth + 1);
	}
	return r;
}

static int visit_page(struct visit *v, uint64_t id, unsigned depth)
{
	const struct bolt *b = v->b;
	size_t off, len;

	if (id < 2 || id >= b->len / b->page)
		return -EUCLEAN;
	off = id * b->page;
	len = MIN((1 + (uint64_t)get_le32(b->p + off + 12)) * b->page, b->len - off);
	return visit_elements(v, b->p + off, b->p + off + len, depth);
}

int bolt_each(const struct bolt *b, struct bolt_bucket k, bolt_fn fn, void *ctx)
{
	struct visit v = {.b = b, .fn = fn, .ctx = ctx, .budget = 4 * (b->len / 16 + 16)};

	if (k.root)
		return visit_page(&v, k.root, 0);
	if (!k.inline_page)
		return -EUCLEAN;
	return visit_elements(&v, k.inline_page, k.inline_page + k.inline_len, 0);
}

struct find {
	const char *key;
	size_t len;
	struct bolt_item *ret;
};

static int find_item(void *ctx, const struct bolt_item *it)
{
	struct find *f = ctx;

	if (it->key_len != f->len || memcmp(it->key, f->key, f->len))
		return 0;
	*f->ret = *it;
	return 1;
}

int bolt_find(const struct bolt *b, struct bolt_bucket k, const char *key, struct bolt_item *ret)
{
	struct find f = {.key = key, .len = strlen(key), .ret = ret};
	int r = bolt_each(b, k, find_item, &f);

	return r < 0 ? r : r ? 0 : -ENOENT;
}

int bolt_find_bucket(const struct bolt *b, struct bolt_bucket k, const char *key,
		     struct bolt_bucket *ret)
{
	struct bolt_item it;
	int r = bolt_find(b, k, key, &it);

	if (!r && !it.is_bucket)
		r = -EUCLEAN;
	if (!r)
		*ret = it.bucket;
	return r;
}
