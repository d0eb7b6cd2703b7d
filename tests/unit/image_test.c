/* SPDX-License-Identifier: MIT
 * From an image's name to its layers: what names mean, chain ids, and a bolt database as containerd
 * writes one, whole and damaged in every byte.
 */
#include "../../src/layers/image_int.h"

#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

TEST(names)
{
	CHECK(image_name_is("docker.io/library/alpine:3", "docker.io/library/alpine:3", false));
	CHECK(!image_name_is("docker.io/library/alpine:3", "alpine:3", false));
	CHECK(image_name_is("docker.io/library/alpine:3", "alpine:3", true));
	CHECK(!image_name_is("docker.io/library/alpine:3", "alpine", true));
	CHECK(image_name_is("docker.io/library/alpine:latest", "alpine", true));
	CHECK(image_name_is("docker.io/me/x:latest", "me/x", true));
	CHECK(image_name_is("localhost/x:latest", "x", true));
	CHECK(image_name_is("reg:5000/x:latest", "reg:5000/x", true));
	CHECK(!image_name_is("reg:5000/x:latest", "x", true));
	CHECK(!image_name_is("alpine:latest", "alp", true));
	CHECK(!image_name_is("alpine:latest", "", true));
	CHECK(image_id_is("sha256:0123456789abcdef", "0123456789ab"));
	CHECK(image_id_is("0123456789abcdef", "sha256:0123456789ab"));
	CHECK(!image_id_is("sha256:0123456789abcdef", "0123456789a"));
	CHECK(!image_id_is("sha256:0123456789abcdef", "0123456789ax"));
}

/* The example of the OCI image specification is not given in full anywhere, so: by its definition,
 * with sha256sum(1): printf 'sha256:<64 a> sha256:<64 b>' | sha256sum. */
TEST(chain_ids)
{
	char out[CHAIN_ID_LEN], a[72], b[72];
	json_t *l;

	memset(a, 'a', 71);
	memset(b, 'b', 71);
	a[71] = b[71] = 0;
	memcpy(a, "sha256:", 7);
	memcpy(b, "sha256:", 7);
	l = json_pack("[s, s]", a, b);
	CHECK_EQ(image_chain_id(l, 1, out), 0);
	CHECK_STR(out, a);
	CHECK_EQ(image_chain_id(l, SIZE_MAX, out), 0);
	CHECK_STR(out, "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c");
	CHECK_EQ(image_chain_id(l, 0, out), -EUCLEAN);
	json_decref(l);
	l = json_pack("[s]", "sha256:short");
	CHECK_EQ(image_chain_id(l, 1, out), -EUCLEAN);
	json_decref(l);
}

/* ---- bolt: a file of 6 pages, written by hand after the byte map in bolt.c ----------------------
 */

#define PAGE 4096

static uint64_t fnv(const uint8_t *p, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static void put_meta(uint8_t *file, unsigned page, uint64_t root, uint64_t txid)
{
	uint8_t *p = file + page * PAGE, *m = p + 16;

	put_le64(p, page);
	put_le16(p + 8, 4);
	put_le32(m, 0xED0CDAED);
	put_le32(m + 4, 2);
	put_le32(m + 8, PAGE);
	put_le64(m + 16, root);
	put_le64(m + 40, 6);
	put_le64(m + 48, txid);
	put_le64(m + 56, fnv(m, 56));
}

struct leaf {
	uint8_t *page, *elem, *data;
};

static struct leaf leaf_begin(uint8_t *page, uint64_t id, unsigned count)
{
	put_le64(page, id);
	put_le16(page + 8, 2);
	put_le16(page + 10, (uint16_t)count);
	return (struct leaf){page, page + 16, page + 16 + 16 * count};
}

static void leaf_put(struct leaf *l, const char *key, const void *v, size_t len, bool bucket)
{
	put_le32(l->elem, bucket);
	put_le32(l->elem + 4, (uint32_t)(l->data - l->elem));
	put_le32(l->elem + 8, (uint32_t)strlen(key));
	put_le32(l->elem + 12, (uint32_t)len);
	memcpy(l->data, key, strlen(key));
	memcpy(l->data + strlen(key), v, len);
	l->data += strlen(key) + len;
	l->elem += 16;
}

/* root (page 2, branch) -> page 3: "big" a bucket on page 4; page 5: "small" an inline bucket */
static uint8_t *make_db(size_t *ret_len)
{
	uint8_t *f = calloc(6, PAGE), small[128] = {0}, big[16] = {0}, *p;
	struct leaf l;

	*ret_len = 6 * PAGE;
	put_meta(f, 0, 99, 7); /* older, and its root is nonsense */
	put_meta(f, 1, 2, 8);
	p = f + 2 * PAGE;
	put_le64(p, 2);
	put_le16(p + 8, 1);
	put_le16(p + 10, 2);
	put_le64(p + 16 + 8, 3);
	put_le64(p + 32 + 8, 5);
	put_le64(big, 4);
	l = leaf_begin(f + 3 * PAGE, 3, 1);
	leaf_put(&l, "big", big, 16, true);
	l = leaf_begin(f + 4 * PAGE, 4, 2);
	leaf_put(&l, "k1", "value", 5, false);
	leaf_put(&l, "k2", "", 0, false);
	l = leaf_begin(small + 16, 0, 1);
	leaf_put(&l, "inner", "x", 1, false);
	size_t small_len = (size_t)(l.data - small);

	l = leaf_begin(f + 5 * PAGE, 5, 1);
	leaf_put(&l, "small", small, small_len, true);
	return f;
}

static void read_db(const uint8_t *f, size_t len, unsigned *ret_found)
{
	struct bolt_bucket k;
	struct bolt_item it;
	struct bolt b;

	*ret_found = 0;
	if (bolt_parse(f, len, &b))
		return;
	if (!bolt_find_bucket(&b, bolt_root(&b), "big", &k)) {
		*ret_found += !bolt_find(&b, k, "k1", &it) && it.value_len == 5 &&
			      !memcmp(it.value, "value", 5);
		*ret_found += !bolt_find(&b, k, "k2", &it) && it.value_len == 0;
		*ret_found += bolt_find(&b, k, "k3", &it) == -ENOENT;
	}
	if (!bolt_find_bucket(&b, bolt_root(&b), "small", &k))
		*ret_found += !bolt_find(&b, k, "inner", &it) && it.value_len == 1;
	*ret_found += bolt_find(&b, bolt_root(&b), "none", &it) == -ENOENT;
	*ret_found += bolt_find_bucket(&b, bolt_root(&b), "none", &k) == -ENOENT;
}

TEST(bolt)
{
	size_t len;
	uint8_t *f = make_db(&len);
	unsigned found;

	read_db(f, len, &found);
	CHECK_EQ(found, 6);
	/* A torn first meta page: the second says its page size. */
	memset(f, 0xff, 64);
	read_db(f, len, &found);
	CHECK_EQ(found, 6);
	put_meta(f, 0, 3, 9); /* the first is the newer one now */
	read_db(f, len, &found);
	CHECK_EQ(found, 5);
	free(f);
}

/* Whatever is damaged: an answer or an error, within bounds (ASan) and time. */
TEST(bolt_damage)
{
	size_t len;
	uint8_t *f = make_db(&len), *copy = malloc(len);
	static const uint8_t with[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xff};
	unsigned found, worse = 0;

	for (size_t at = PAGE; at < len; at++) {
		if (at % PAGE > 200)
			continue;
		for (size_t i = 0; i < sizeof(with); i++) {
			memcpy(copy, f, len);
			copy[at] = with[i];
			read_db(copy, len, &found);
			worse += found < 6;
		}
	}
	CHECK(worse > 100);
	for (size_t cut = 0; cut < len; cut += 61) {
		uint8_t *part =
			malloc(cut ? cut : 1); /* exactly, so that ASan sees one byte more */

		memcpy(part, f, cut);
		read_db(part, cut, &found);
		CHECK(found < 6 || cut > 5 * PAGE);
		free(part);
	}
	free(copy);
	free(f);
}

/* A loop of branch pages ends. */
TEST(bolt_loop)
{
	size_t len;
	uint8_t *f = make_db(&len);
	struct bolt_item it;
	struct bolt b;

	for (int i = 0; i < 2; i++)
		put_le64(f + 2 * PAGE + 16 + 16 * i + 8, 2);
	CHECK_EQ(bolt_parse(f, len, &b), 0);
	CHECK_EQ(bolt_find(&b, bolt_root(&b), "big", &it), -EUCLEAN);
	free(f);
}

/* ---- containers-storage, as podman 4.3 leaves it
 * ------------------------------------------------- */

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		TEST_FAIL("%s: %s", path, strerror(errno));
}

TEST(storage)
{
	char dir[200], path[600], id[2][65] = {{0}};
	struct layer_image img = {0};
	char *msg = NULL, *text = NULL;

	memset(id[0], '1', 64);
	memset(id[1], '2', 64);
	snprintf(dir, sizeof(dir), "%s/storage", test_tmpdir());
	mkdir(dir, 0700);
	for (int i = 0; i < 4; i++) {
		static const char *const subs[] = {"overlay", "overlay-images", "overlay-layers"};

		snprintf(path, sizeof(path), "%s/%s", dir, i < 3 ? subs[i] : "overlay");
		mkdir(path, 0700);
	}
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/overlay/%s", dir, id[i]);
		CHECK_EQ(mkdir(path, 0700), 0);
		strcat(path, "/diff");
		CHECK_EQ(mkdir(path, 0700), 0);
	}
	snprintf(path, sizeof(path), "%s/overlay-layers/layers.json", dir);
	CHECK(asprintf(&text, "[{\"id\":\"%s\"},{\"id\":\"%s\",\"parent\":\"%s\"}]", id[0], id[1],
		       id[0]) > 0);
	put_file(path, text);
	free(text);
	snprintf(path, sizeof(path), "%s/overlay-images/images.json", dir);
	CHECK(asprintf(&text,
		       "[{\"id\":\"aaaaaaaaaaaaaaaa\",\"names\":[\"localhost/app:latest\"],"
		       "\"layer\":\"%s\"},"
		       "{\"id\":\"bbbbbbbbbbbbbbbb\",\"names\":[\"docker.io/library/app:latest\"],"
		       "\"layer\":\"%s\"}]",
		       id[1], id[0]) > 0);
	put_file(path, text);
	free(text);

	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(layers_image(fd, "localhost/app:latest", &img, &msg), 0);
	CHECK_EQ(img.n, 2);
	snprintf(path, sizeof(path), "overlay/%s/diff", id[1]);
	CHECK_STR(img.keys[0], path);
	CHECK_EQ(img.engine, LAYER_CONTAINERS_STORAGE);
	layer_image_done(&img);
	CHECK_EQ(layers_image(fd, "bbbbbbbbbbbb", &img, &msg), 0);
	CHECK_EQ(img.n, 1);
	CHECK_STR(img.name, "docker.io/library/app:latest");
	layer_image_done(&img);
	CHECK_EQ(layers_image(fd, "app", &img, &msg), -ENOTUNIQ);
	CHECK(msg && strstr(msg, "several"));
	free(msg);
	CHECK_EQ(layers_image(fd, "nothing", &img, &msg), -ENOENT);
	free(msg);
	snprintf(path, sizeof(path), "%s/overlay-layers/layers.json", dir);
	put_file(path, "[{\"id\": ");
	CHECK_EQ(layers_image(fd, "localhost/app:latest", &img, &msg), -EUCLEAN);
	CHECK(msg && strstr(msg, "could not be understood"));
	free(msg);
	close(fd);
}

TEST_MAIN
