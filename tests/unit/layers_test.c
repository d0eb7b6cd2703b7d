/* SPDX-License-Identifier: MIT
 * src/layers on trees that copy what Docker 20.10, containerd 1.6 and podman 4.3 really left on a
 * disk with one image of two layers and one container each.
 */
#include "../../src/layers/layers_int.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test.h"

#define D1   "8ddc85263fa6bef4e2e7347faa974c2a23a41829dc37dddc97679a83a6b6ef29"
#define D2   "abfb19b8db7536100df5e95df4e96b6efacff22026bfe669d0ea2ce138d7371e"
#define DC   "8e63354dfcbeb1eae0662569d0d8e1e573a72bda0a73c3cd8efbd4ac602c80f2"
#define DB   "v3ck9x0d1l8q2w7e5r4t6y9u0"
#define CONT "82f995b01db879f0b8ad50cd602474fde34f1eb9c3b5bee555792549732491b0"
#define P1   "2b53073f2677e6867bedd8f5331f6d6126fb160312e2c9a0d3a23bd902bd20cc"
#define P2   "7ec46243f33256b243ed2c78704ad96d646d0098804efa6338fc34516d60dc29"
#define PC   "242bdba7f2db8eed47ba57f77644b66fd2ec2bb11512c6c4bad02e69500a90ed"
#define B1   "10c765d3450d416178c15a60a413c0b38ac93ec8b284805f4b5ab783c9ec0f33"
#define SNAP "io.containerd.snapshotter.v1.overlayfs"
#define BLOB "io.containerd.content.v1.content"

/* ---- trees ------------------------------------------------------------------------------- */

static int new_root(void)
{
	static int n;
	char path[128];

	snprintf(path, sizeof(path), "%s/%d", test_tmpdir(), n++);
	return mkdir(path, 0700) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Make each directory that path names; with text, the last component is a file. */
static void make(int root, const char *path, const char *text)
{
	char buf[1024];
	int fd;

	snprintf(buf, sizeof(buf), "%s", path);
	for (char *p = strchr(buf, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		mkdirat(root, buf, 0755);
		*p = '/';
	}
	if (!text) {
		mkdirat(root, buf, 0755);
		return;
	}
	fd = openat(root, buf, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || write_full(fd, text, strlen(text)) < 0)
		perror(buf);
	close(fd);
}

/* make() below a directory. */
static void at(int root, const char *dir, const char *path, const char *text)
{
	char buf[1024];

	snprintf(buf, sizeof(buf), "%s%s%s", dir, *dir ? "/" : "", path);
	make(root, buf, text);
}

static void docker_tree(int root, const char *d)
{
	static const char *const dirs[] = {
		"buildkit/content/ingest",
		"containers/" CONT "/mounts",
		"image/overlay2/distribution",
		"image/overlay2/imagedb/content/sha256",
		"image/overlay2/layerdb/tmp",
		"network/files",
		"overlay2/" D2 "/work",
		"overlay2/" DC "-init/work/work",
		"overlay2/" DC "/work/work",
		"plugins/storage/ingest",
		"tmp",
		"volumes/data/_data",
	};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		at(root, d, dirs[i], NULL);
	at(root, d, "overlay2/" D1 "/diff/bin/init", "program");
	at(root, d, "overlay2/" D1 "/link", "UVTSGGUJJY5Z55KVI6SCGYE563");
	at(root, d, "overlay2/" D1 "/committed", "");
	at(root, d, "overlay2/" D2 "/diff/etc/conf2", "second layer");
	at(root, d, "overlay2/" D2 "/lower", "l/UVTSGGUJJY5Z55KVI6SCGYE563");
	at(root, d, "overlay2/" DB "/diff/srv/built", "by buildkit");
	at(root, d, "overlay2/" DC "-init/diff/.dockerenv", "");
	at(root, d, "overlay2/" DC "/diff/made", "x");
	at(root, d, "overlay2/" DC "/merged/made", "x");
	at(root, d, "overlay2/l/none", "");
	at(root, d, "image/overlay2/layerdb/mounts/" CONT "/mount-id", DC);
	at(root, d, "image/overlay2/layerdb/mounts/" CONT "/init-id", DC "-init");
	at(root, d, "image/overlay2/layerdb/sha256/" P1 "/cache-id", D1);
	at(root, d, "repositories.json", "{}");
}

static void containerd_tree(int root, const char *d)
{
	at(root, d, BLOB "/blobs/sha256/" B1, "a compressed layer");
	at(root, d, BLOB "/blobs/sha256/not-a-digest", "");
	at(root, d, BLOB "/blobs/sha512/" B1 B1, "another");
	at(root, d, BLOB "/ingest/" B1 "/data", "half a layer");
	at(root, d, BLOB "/ingest/" B1 "/ref", "");
	at(root, d, "io.containerd.metadata.v1.bolt/meta.db", "");
	at(root, d, "io.containerd.runtime.v2.task/default/c1", NULL);
	at(root, d, "io.containerd.snapshotter.v1.native/snapshots/1/etc", NULL);
	at(root, d, SNAP "/metadata.db", "");
	at(root, d, SNAP "/snapshots/1/fs/bin/init", "program");
	at(root, d, SNAP "/snapshots/1/work", NULL);
	at(root, d, SNAP "/snapshots/27/fs/etc/conf2", "second layer");
	at(root, d, SNAP "/snapshots/28/work/work", NULL);
	at(root, d, SNAP "/snapshots/28/fs/made", "x");
	at(root, d, SNAP "/snapshots/new-1234/fs", NULL);
	at(root, d, "tmpmounts", NULL);
}

static void podman_tree(int root, const char *d)
{
	at(root, d, "libpod", NULL);
	at(root, d, "overlay/l/none", "");
	at(root, d, "overlay/.has-mount-program", "false");
	at(root, d, "overlay/" P1 "/diff/bin/init", "program");
	at(root, d, "overlay/" P1 "/empty", NULL);
	at(root, d, "overlay/" P1 "/link", "LT4LT4VYM4AYLAPITXVMGRCRYV");
	at(root, d, "overlay/" P2 "/diff/etc/conf2", "second layer");
	at(root, d, "overlay/" PC "/diff/made", "x");
	at(root, d, "overlay/" PC "/work/work", NULL);
	at(root, d, "overlay/" PC "/merged", NULL);
	at(root, d, "overlay-images/images.json", "[]");
	at(root, d, "overlay-layers/layers.json", "[{\"id\":\"" P1 "\"},{\"id\":\"" PC "\"}]");
	at(root, d, "overlay-containers/containers.json",
	   "[{\"id\":\"c\",\"names\":[\"p1\"],\"layer\":\"" PC "\",\"metadata\":\"{}\"}]");
	at(root, d, "tmp", NULL);
}

static const struct layer *key_is(const struct layer_set *s, const char *dir, const char *key)
{
	char buf[1024];

	snprintf(buf, sizeof(buf), "%s%s%s", dir, *dir ? "/" : "", key);
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].key, buf) == 0)
			return &s->v[i];
	printf("  no layer %s\n", buf);
	return NULL;
}

static void check_layer(const struct layer_set *s, const char *dir, const char *key,
			enum layer_engine engine, enum layer_kind kind, const char *name)
{
	const struct layer *l = key_is(s, dir, key);

	CHECK(l != NULL);
	CHECK_EQ(l->engine, engine);
	CHECK_EQ(l->kind, kind);
	CHECK_STR(l->name, name);
	CHECK(l->born_ns > 0);
}

static void check_docker(const struct layer_set *s, const char *d)
{
	check_layer(s, d, "overlay2/" D1 "/diff", LAYER_DOCKER, LAYER_SNAPSHOT, "8ddc85263fa6");
	check_layer(s, d, "overlay2/" D2 "/diff", LAYER_DOCKER, LAYER_SNAPSHOT, "abfb19b8db75");
	check_layer(s, d, "overlay2/" DB "/diff", LAYER_DOCKER, LAYER_SNAPSHOT, "v3ck9x0d1l8q");
	check_layer(s, d, "overlay2/" DC "/diff", LAYER_DOCKER, LAYER_WRITABLE, "8e63354dfcbe");
	check_layer(s, d, "overlay2/" DC "-init/diff", LAYER_DOCKER, LAYER_WRITABLE,
		    "8e63354dfcbe-init");
}

static void check_containerd(const struct layer_set *s, const char *d)
{
	check_layer(s, d, SNAP "/snapshots/1/fs", LAYER_CONTAINERD, LAYER_SNAPSHOT, "1");
	check_layer(s, d, SNAP "/snapshots/27/fs", LAYER_CONTAINERD, LAYER_SNAPSHOT, "27");
	check_layer(s, d, SNAP "/snapshots/28/fs", LAYER_CONTAINERD, LAYER_SNAPSHOT, "28");
	check_layer(s, d, BLOB "/blobs/sha256/" B1, LAYER_CONTAINERD, LAYER_BLOB,
		    "sha256:10c765d3450d");
	check_layer(s, d, BLOB "/blobs/sha512/" B1 B1, LAYER_CONTAINERD, LAYER_BLOB,
		    "sha512:10c765d3450d");
}

static void check_podman(const struct layer_set *s, const char *d)
{
	check_layer(s, d, "overlay/" P1 "/diff", LAYER_CONTAINERS_STORAGE, LAYER_SNAPSHOT,
		    "2b53073f2677");
	check_layer(s, d, "overlay/" P2 "/diff", LAYER_CONTAINERS_STORAGE, LAYER_SNAPSHOT,
		    "7ec46243f332");
	check_layer(s, d, "overlay/" PC "/diff", LAYER_CONTAINERS_STORAGE, LAYER_WRITABLE,
		    "242bdba7f2db");
}

/* ---- scan -------------------------------------------------------------------------------- */

TEST(no_engine)
{
	struct layer_set s = {0};
	cleanup_fd int root = new_root();

	make(root, "log/journal/x", "");
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(s.n, 0);
	CHECK(layers_find(&s, "log/journal/x") == NULL);
	layer_set_done(&s);
}

TEST(each_at_its_own_root)
{
	struct layer_set s = {0};
	int root = new_root();

	docker_tree(root, "");
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(s.n, 5);
	check_docker(&s, "");
	layer_set_done(&s);
	close(root);

	root = new_root();
	containerd_tree(root, "");
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(s.n, 5);
	check_containerd(&s, "");
	layer_set_done(&s);
	close(root);

	root = new_root();
	podman_tree(root, "");
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(s.n, 3);
	check_podman(&s, "");
	layer_set_done(&s);
	close(root);
}

TEST(all_of_var)
{
	struct layer_set s = {0};
	cleanup_fd int root = new_root();

	docker_tree(root, "lib/docker");
	containerd_tree(root, "lib/docker/containerd/daemon");
	containerd_tree(root, "lib/containerd");
	containerd_tree(root, "lib/rancher/k3s/agent/containerd");
	podman_tree(root, "lib/containers/storage");
	make(root, "lib/rancher/k3s/storage/pvc-1/overlay2/" D1 "/diff",
	     NULL); /* somebody's volume */
	make(root, "lib/docker/volumes/dind/_data/overlay2/" D1 "/diff", NULL);
	make(root, "log/pods", NULL);
	CHECK_EQ(layers_scan(root, &s), 0);
	check_docker(&s, "lib/docker");
	check_containerd(&s, "lib/docker/containerd/daemon");
	check_containerd(&s, "lib/containerd");
	check_containerd(&s, "lib/rancher/k3s/agent/containerd");
	check_podman(&s, "lib/containers/storage");
	/* Volumes at depth 5 are nobody's layers. */
	CHECK_EQ(s.n, 5 + 3 * 5 + 3);
	for (size_t i = 1; i < s.n; i++)
		CHECK(strcmp(s.v[i - 1].key, s.v[i].key) < 0);
	layer_set_done(&s);
}

TEST(k3s_data_directory)
{
	struct layer_set s = {0};
	cleanup_fd int root = new_root();

	containerd_tree(root, "agent/containerd");
	make(root, "server/db/state.db", "");
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(s.n, 5);
	check_containerd(&s, "agent/containerd");
	layer_set_done(&s);
}

TEST(odd_names_are_no_layers)
{
	struct layer_set s = {0};
	cleanup_fd int root = new_root();

	make(root, "overlay/photos/diff/x", "");
	make(root, "overlay/" D1 "x/diff", NULL);
	make(root, "overlay2/" D1 "-initial/diff", NULL);
	make(root, "overlay2/../overlay2/UPPER/diff", NULL);
	make(root, "overlay2/" D1 "/diff", "a file, not a directory");
	make(root, SNAP "/snapshots/12a/fs", NULL);
	make(root, SNAP "/snapshots/13/fs", "a file");
	make(root, BLOB "/blobs/sha256/" B1, NULL); /* a directory, not a file */
	make(root, "a/overlay2", NULL);
	make(root, "b/overlay2", "a file");
	CHECK_EQ(symlinkat("/", root, "c"), 0);
	make(root, "d/overlay2", NULL);
	CHECK_EQ(symlinkat("../../overlay2/" D1, root, "d/overlay2/" D2), 0);
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(s.n, 0);
	layer_set_done(&s);
}

TEST(damaged_metadata)
{
	struct layer_set s = {0};
	cleanup_fd int root = new_root();

	docker_tree(root, "");
	podman_tree(root, "");
	make(root, "image/overlay2/layerdb/mounts/" CONT "/mount-id", "\n");
	make(root, "overlay-containers/containers.json", "[{\"layer\":");
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(s.n, 8);
	CHECK_EQ(key_is(&s, "", "overlay/" PC "/diff")->kind, LAYER_SNAPSHOT);
	layer_set_done(&s);
	make(root, "overlay-containers/containers.json", "{\"layer\":[1,null,{}]}");
	make(root, "overlay-containers/volatile-containers.json",
	     "[{},3,null,{\"layer\":7},{\"layer\":\"" PC "\"}]");
	CHECK_EQ(layers_scan(root, &s), 0);
	CHECK_EQ(key_is(&s, "", "overlay/" PC "/diff")->kind, LAYER_WRITABLE);
	layer_set_done(&s);
	CHECK_EQ(layers_scan(-1, &s), -EBADF);
}

/* A running container of any engine shows in the mount table. fn: in a mount namespace of its own,
 * the working directory is root, a directory m is there to be mounted on. Returns its exit code. */
static int in_namespace(int root, int (*fn)(int root))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (fchdir(root) < 0 || unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdir("m", 0700) < 0)
			_exit(77);
		_exit(fn(root));
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

/* Exactly the layers whose keys contain one of these are mounted; the others of the same engine are
 * asleep. */
static bool mounted_are(const struct layer_set *s, const char *const *parts, size_t n)
{
	size_t found = 0;

	for (size_t i = 0; i < s->n; i++) {
		bool want = false;

		for (size_t k = 0; k < n; k++)
			want |= strstr(s->v[i].key, parts[k]) != NULL;
		if (s->v[i].mounted != want ||
		    s->v[i].asleep != (!want && s->v[i].kind != LAYER_BLOB))
			return false;
		found += want;
	}
	return found == n;
}

static int containerd_mounted(int root)
{
	static const char *const all[] = {"/28/fs", "/27/fs", "/1/fs"};
	char dir[] = "zz9/containerd/" SNAP "/snapshots", opt[4096], top[64];
	struct layer_set s = {0};
	const struct layer *l;

	snprintf(top, sizeof(top), "/proc/self/fd/%d", root);
	cleanup_free char *path = realpath(top, NULL);

	/* overlayfs wants an upper directory it can put xattrs and whiteouts on. */
	snprintf(opt, sizeof(opt),
		 "lowerdir=%s/%s/27/fs:%s/%s/1/fs,upperdir=%s/%s/28/fs,"
		 "workdir=%s/%s/28/work",
		 path, dir, path, dir, path, dir, path, dir);
	if (mount("overlay", "m", "overlay", 0, opt) < 0)
		return 77;
	if (layers_scan(root, &s) < 0)
		return 1;
	for (size_t i = 0; i < s.n; i++)
		if ((s.v[i].kind == LAYER_WRITABLE) != (strstr(s.v[i].key, "/28/fs") != NULL))
			return 2;
	l = layers_find(&s, "zz9/containerd/" SNAP "/snapshots/28/fs/made");
	if (!l || l->kind != LAYER_WRITABLE)
		return 3;
	return mounted_are(&s, all, ARRAY_SIZE(all)) ? 0 : 4;
}

/* As containerd does when the option would be too long. */
static int relative_mounted(int root)
{
	static const char *const all[] = {"/27/fs", "/28/fs"};
	struct layer_set s = {0};
	char top[64], m[4096];

	snprintf(top, sizeof(top), "/proc/self/fd/%d", root);
	cleanup_free char *path = realpath(top, NULL);

	snprintf(m, sizeof(m), "%s/m", path);
	if (chdir("zz9/containerd/" SNAP "/snapshots") ||
	    mount("overlay", m, "overlay", 0, "lowerdir=27/fs,upperdir=28/fs,workdir=28/work") < 0)
		return 77;
	if (layers_scan(root, &s) < 0)
		return 1;
	return mounted_are(&s, all, ARRAY_SIZE(all)) ? 0 : 4;
}

/* By short links, of two engines, with a space in the path. */
static int links_mounted(int root)
{
	static const char *const all[] = {D1, "/" DC "/diff", P2, "/" PC "/diff"};
	struct layer_set s = {0};

	if (symlinkat("../" D1 "/diff", root, "a b/overlay2/l/UVTSGGUJJY5Z55KVI6SCGYE563") ||
	    symlinkat("../" P2 "/diff", root, "podman/overlay/l/LT4LT4VYM4AYLAPITXVMGRCRYV") ||
	    mkdirat(root, "m2", 0755))
		return 5;
	if (mount("overlay", "m", "overlay", 0,
		  "lowerdir=a b/overlay2/l/UVTSGGUJJY5Z55KVI6SCGYE563,"
		  "upperdir=a b/overlay2/" DC "/diff,workdir=a b/overlay2/" DC "/work") < 0 ||
	    mount("overlay", "m2", "overlay", 0,
		  "lowerdir=podman/overlay/l/LT4LT4VYM4AYLAPITXVMGRCRYV,"
		  "upperdir=podman/overlay/" PC "/diff,workdir=podman/overlay/" PC "/work") < 0)
		return 77;
	if (layers_scan(root, &s) < 0)
		return 1;
	return mounted_are(&s, all, ARRAY_SIZE(all)) ? 0 : 4;
}

/* ---- the mount table, as text */

#define LINE "36 35 0:40 / /m rw,relatime shared:1 - overlay overlay rw,"
#define LOW  "/v/zz9/containerd/" SNAP "/snapshots/"

/* The layers of a containerd root under a table of these lines (NULL at the end): mounted "+",
 * asleep
 * "-", neither ".", in the order 1, 27, 28; those that are written to in capitals "W". */
static void told(const char *const *lines, char out[4])
{
	static const char *const keys[] = {"1", "27", "28"};
	struct layer_set set = {0};
	struct overlays o = {0};
	struct layer v[3];

	for (size_t i = 0; i < 3; i++) {
		char *key;

		if (asprintf(&key, "zz9/containerd/" SNAP "/snapshots/%s/fs", keys[i]) < 0)
			abort();
		v[i] = (struct layer){.key = key, .kind = LAYER_SNAPSHOT};
	}
	set.v = v;
	set.n = 3;
	for (; *lines; lines++) {
		char *line = strdup(*lines);

		CHECK_EQ(overlays_parse(&o, line), 0);
		free(line);
	}
	CHECK_EQ(overlays_tell(&o, -1, "zz9/containerd", &set, 0), 0);
	overlays_done(&o);
	for (size_t i = 0; i < 3; i++) {
		out[i] = v[i].kind == LAYER_WRITABLE ? 'W'
			 : v[i].mounted              ? '+'
			 : v[i].asleep               ? '-'
						     : '.';
		free(v[i].key);
	}
	out[3] = 0;
}

TEST(mount_table)
{
	static const struct {
		const char *lines[4], *want;
	} t[] = {
		{{"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"}, "..."},
		/* a view, without a container: nobody knows what sleeps */
		{{LINE "lowerdir=" LOW "1/fs\n"}, "+.."},
		{{LINE "lowerdir=" LOW "27/fs:" LOW "1/fs,upperdir=" LOW "28/fs,workdir=/w\n"},
		 "++W"},
		{{LINE "lowerdir=" LOW "1/fs,upperdir=" LOW "28/fs\n"}, "+-W"},
		/* one by one; a colon is a colon there */
		{{LINE "lowerdir+=" LOW "1/fs,lowerdir+=" LOW "27/fs,upperdir=" LOW "28/fs\n"},
		 "++W"},
		{{LINE "lowerdir+=" LOW "1/fs,lowerdir+=/x:27/fs,upperdir=" LOW "28/fs\n"}, "+.W"},
		{{LINE "lowerdir+=" LOW "1/fs,datadir+=/a,upperdir=" LOW "28/fs\n"}, "+.W"},
		/* what goes before and behind; no newline at the end */
		{{"36 35 0:40 / /m\\040x rw - overlay over\\040lay "
		  "rw,context=\"u:r:t:s0\\054c1\",lowerdir=" LOW "1/fs,upperdir=" LOW
		  "28/fs,redirect_dir=on"},
		 "+-W"},
		/* a container that has something we do not find: nobody knows what sleeps */
		{{LINE "lowerdir=/tmp/ovl-idmapped8/0,upperdir=" LOW "28/fs\n"}, "..W"},
		{{LINE "lowerdir=/tmp/ovl-idmapped8/0,upperdir=" LOW "28/fs\n",
		  LINE "lowerdir=" LOW "1/fs\n"},
		 "+.W"},
		{{LINE "lowerdir=7:8,upperdir=" LOW "28/fs\n"}, "..W"},
		/* somebody else's */
		{{LINE "lowerdir=/else/snapshots/1/fs,upperdir=/else/snapshots/28/fs\n"}, "..."},
		{{LINE "lowerdir=/v/xzz9/containerd/" SNAP "/snapshots/1/fs\n"}, "..."},
		/* of their own names: a\:b, a\,b, and the end of the name only */
		{{LINE "lowerdir=x\\134:27/fs:" LOW "1/fs,upperdir=" LOW "28/fs\n"}, "+.W"},
		{{LINE "upperdir=/x\\134\\054" LOW "28/fs\n"}, "--W"},
		{{LINE "lowerdir=27/fs::" LOW "1/fs,upperdir=28/fs\n"}, "++W"},
		{{LINE "lowerdir=27/fs:" LOW "1/fs\n"}, "++."},
		{{LINE "upperdir=28/fs,lowerdir=27/fs:1/fs\n"}, "++W"},
		{{LINE "lowerdir=,upperdir=\n"}, "..."},
		{{" - overlay \n"}, "..."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		char got[4];

		told(t[i].lines, got);
		if (strcmp(got, t[i].want))
			printf("case %zu: %s, want %s\n", i, got, t[i].want);
		CHECK(!strcmp(got, t[i].want));
	}
	/* As long as a chain of layers can make it. */
	struct overlays o = {0};
	size_t len = 0, cap = 1 << 20;
	char *line = malloc(cap);

	CHECK(line != NULL);
	if (!line)
		return;
	len += (size_t)snprintf(line, cap, LINE "lowerdir=/x/0");
	for (int i = 1; i < 2000; i++)
		len += (size_t)snprintf(line + len, cap - len, ":/some/where/%d/fs", i);
	CHECK_EQ(overlays_parse(&o, line), 0);
	CHECK(o.n == 1 && o.v[0].lowers.n == 2000 && !o.v[0].upper.n);
	CHECK(!strcmp(o.v[0].lowers.v[1999], "/some/where/1999/fs"));
	overlays_done(&o);
	free(line);
}

TEST(what_is_mounted)
{
	cleanup_fd int root = new_root(), again = new_root(), links = new_root();

	containerd_tree(root, "zz9/containerd");
	containerd_tree(again, "zz9/containerd");
	docker_tree(links, "a b");
	podman_tree(links, "podman");
	int r = in_namespace(root, containerd_mounted);

	if (r == 77)
		SKIP("cannot mount an overlay here");
	CHECK_EQ(r, 0);
	CHECK_EQ(in_namespace(again, relative_mounted), 0);
	CHECK_EQ(in_namespace(links, links_mounted), 0);
	/* Nothing is mounted: nothing is said to be. */
	struct layer_set s = {0};

	CHECK_EQ(layers_scan(links, &s), 0);
	for (size_t i = 0; i < s.n; i++)
		CHECK(!s.v[i].mounted && !s.v[i].asleep);
	layer_set_done(&s);
}

/* ---- find, class ------------------------------------------------------------------------- */

TEST(find)
{
	struct layer_set s = {0};
	const struct layer *l;
	cleanup_fd int root = new_root();

	docker_tree(root, "docker");
	containerd_tree(root, "docker/containerd/daemon");
	CHECK_EQ(layers_scan(root, &s), 0);
	l = layers_find(&s, "docker/overlay2/" DC "/diff/made");
	CHECK(l && strcmp(l->name, "8e63354dfcbe") == 0);
	l = layers_find(&s, "docker/overlay2/" DC "-init/diff/.dockerenv");
	CHECK(l && strcmp(l->name, "8e63354dfcbe-init") == 0);
	l = layers_find(&s, "docker/overlay2/" D1 "/diff");
	CHECK(l && strcmp(l->name, "8ddc85263fa6") == 0);
	l = layers_find(&s, "docker/containerd/daemon/" BLOB "/blobs/sha256/" B1);
	CHECK(l && l->kind == LAYER_BLOB);
	CHECK(!layers_find(&s, "docker/overlay2/" D1 "/diffs/x"));
	CHECK(!layers_find(&s, "docker/overlay2/" D1 "/dif"));
	CHECK(!layers_find(&s, "docker/overlay2/" D1 "/link"));
	CHECK(!layers_find(&s, "docker/overlay2"));
	CHECK(!layers_find(&s, ""));
	layer_set_done(&s);
}

/* The class at the end of a path. */
static layer_class class_of(const char *path)
{
	layer_class c = 0;
	char buf[1024], *save = NULL;

	snprintf(buf, sizeof(buf), "%s", path);
	for (char *p = strtok_r(buf, "/", &save); p; p = strtok_r(NULL, "/", &save))
		c = layers_class(c, p);
	return c;
}

#define IS_ENTRY(p) CHECK(layers_class_entry(class_of(p)) && !layers_class_inside(class_of(p)))
#define IS_INSIDE(p)                                                                               \
	CHECK(layers_class_inside(class_of(p)) && !layers_class_entry(class_of(p)) &&              \
	      !layers_class_ingest(class_of(p)))
#define IS_NOTHING(p)                                                                              \
	CHECK(!layers_class_entry(class_of(p)) && !layers_class_inside(class_of(p)) &&             \
	      !layers_class_ingest(class_of(p)))

TEST(class_by_name)
{
	IS_NOTHING("");
	IS_NOTHING("overlay2");
	IS_NOTHING("overlay2/" D1);
	IS_ENTRY("overlay2/" D1 "/diff");
	IS_ENTRY("overlay2/" D1 "-init/diff");
	IS_ENTRY("overlay2/" DB "/diff");
	IS_INSIDE("overlay2/" D1 "/diff/bin");
	IS_INSIDE("overlay2/" D1 "/diff/bin/diff/overlay2");
	IS_NOTHING("overlay2/" D1 "/work/work");
	IS_NOTHING("overlay2/" D1 "/merged/bin");
	IS_NOTHING("overlay2/" D1 "/link");
	IS_NOTHING("overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	IS_NOTHING("overlay2/l/diff");
	IS_NOTHING("overlay2/diff");
	IS_ENTRY("lib/containers/storage/overlay/" P1 "/diff");
	IS_NOTHING("lib/containers/storage/overlay/" P1 "-init/diff");
	IS_NOTHING("lib/containers/storage/overlay-layers/layers.json");
	IS_ENTRY(SNAP "/snapshots/1/fs");
	IS_INSIDE(SNAP "/snapshots/1/fs/etc/conf");
	IS_NOTHING(SNAP "/snapshots/1/work/work");
	IS_NOTHING(SNAP "/snapshots/new-77/fs");
	IS_NOTHING(SNAP "/metadata.db");
	IS_ENTRY("lib/rancher/k3s/agent/containerd/" SNAP "/snapshots/1/fs");
	IS_ENTRY("lib/rancher/k3s/agent/containerd/" BLOB "/blobs/sha256/" B1);
	IS_NOTHING("lib/rancher/k3s/agent/other/" SNAP "/snapshots/1/fs");
	IS_NOTHING("a/b/c/d/containerd/e/overlay2/" D1 "/diff");
	IS_NOTHING("lib/rancher/k3s/storage/pvc-1/overlay2/" D1 "/diff");
	IS_NOTHING(BLOB "/blobs/sha256/short");
	CHECK(layers_class_ingest(class_of(BLOB "/ingest/" B1 "/data")));
	CHECK(layers_class_ingest(class_of("containerd/" BLOB "/ingest")));
	CHECK(!layers_class_ingest(class_of(BLOB "/blobs/ingest")));
	CHECK(layers_class_ingest(class_of("tmp/GetImageBlob3141592653")));
	CHECK(layers_class_ingest(class_of("lib/docker/tmp/GetImageBlob1")));
	CHECK(layers_class_ingest(class_of("tmp/docker-import-2718/blobs/sha256/" B1)));
	CHECK(!layers_class_ingest(class_of("tmp/docker-import-ants")));
	CHECK(!layers_class_ingest(class_of("tmp/GetImageBlob")));
	CHECK(!layers_class_ingest(class_of("tmp/GetImageBlob1.txt")));
	/* Any class and any name give an answer. */
	for (unsigned c = 0; c < 256; c++)
		layers_class((layer_class)c, "");
}

static struct layer_set walk_set;
static int walk_disagreed;
static size_t walk_skip;

static int agree(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *rel = path + walk_skip;
	const struct layer *l;
	layer_class c;

	(void)type, (void)ftw;
	rel += *rel == '/';
	l = layers_find(&walk_set, rel);
	c = class_of(rel);
	if ((l && strcmp(l->key, rel) == 0) != layers_class_entry(c) ||
	    (l && strcmp(l->key, rel) != 0) != layers_class_inside(c)) {
		printf("  scan and class disagree: %s\n", rel);
		walk_disagreed++;
	}
	(void)st;
	return 0;
}

/* What the scan calls a layer is one by its class, and the other way round. */
TEST(scan_and_class_agree)
{
	cleanup_fd int root = new_root();
	char link[64], *path;

	docker_tree(root, "lib/docker");
	containerd_tree(root, "lib/rancher/k3s/agent/containerd");
	podman_tree(root, "lib/containers/storage");
	make(root, "a/b/c/d/overlay2/" D1 "/diff/x", "");
	make(root, "a/b/c/d/e/overlay2/" D1 "/diff/x", "");
	make(root, "a/b/c/d/containerd/overlay2/" D1 "/diff/x", "");
	CHECK_EQ(layers_scan(root, &walk_set), 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
	path = realpath(link, NULL);
	walk_skip = strlen(path);
	CHECK_EQ(nftw(path, agree, 16, FTW_PHYS), 0);
	CHECK_EQ(walk_disagreed, 0);
	CHECK_EQ(walk_set.n, 5 + 5 + 3 + 2);
	layer_set_done(&walk_set);
	free(path);
}

/* ---- measure ----------------------------------------------------------------------------- */

TEST(measure)
{
	const char *d1 = "overlay2/" D1 "/diff";
	struct layer_set s = {0};
	struct layer_size z = {0};
	struct layer gone = {.key = "overlay2/none/diff"};
	cleanup_fd int root = new_root();
	char name[64];
	struct stat st;
	int fd;

	docker_tree(root, "");
	containerd_tree(root, "");
	CHECK_EQ(layers_scan(root, &s), 0);
	/* bin/init (7 bytes), 200 hard links to one file of 100 bytes, a sparse file, a symlink out
	 */
	at(root, d1, "links/0", "");
	fd = openat(root, "overlay2/" D1 "/diff/links/0", O_WRONLY);
	CHECK_EQ(ftruncate(fd, 100), 0);
	close(fd);
	fd = openat(root, "overlay2/" D1 "/diff/links", O_RDONLY | O_DIRECTORY);
	for (int i = 1; i < 200; i++) {
		snprintf(name, sizeof(name), "%d", i);
		CHECK_EQ(linkat(fd, "0", fd, name, 0), 0);
	}
	close(fd);
	at(root, d1, "sparse", "");
	fd = openat(root, "overlay2/" D1 "/diff/sparse", O_WRONLY);
	CHECK_EQ(ftruncate(fd, 1 << 30), 0);
	close(fd);
	CHECK_EQ(symlinkat("/", root, "overlay2/" D1 "/diff/out"), 0);
	CHECK_EQ(layers_measure(root, layers_find(&s, d1), &z), 0);
	CHECK_EQ(z.files, 3);
	CHECK_EQ(z.logical_bytes, 7 + 100 + (1 << 30));
	CHECK(z.allocated_bytes < 1 << 20);

	CHECK_EQ(layers_measure(root, layers_find(&s, BLOB "/blobs/sha256/" B1), &z), 0);
	CHECK_EQ(z.files, 1);
	CHECK_EQ(z.logical_bytes, strlen("a compressed layer"));
	CHECK_EQ(fstatat(root, BLOB "/blobs/sha256/" B1, &st, 0), 0);
	CHECK_EQ(z.allocated_bytes, st.st_blocks * 512);
	CHECK_EQ(layers_measure(root, &gone, &z), -ENOENT);
	/* A component that is a symlink is not followed. */
	CHECK_EQ(symlinkat(D1, root, "overlay2/none"), 0);
	CHECK(layers_measure(root, &gone, &z) < 0);
	layer_set_done(&s);
}

TEST(measure_deep)
{
	struct layer l = {.key = "overlay2/" D1 "/diff"};
	struct layer_size z = {0};
	cleanup_fd int root = new_root();
	cleanup_fd int at_fd = -1;

	make(root, l.key, NULL);
	at_fd = openat(root, l.key, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 200; i++) {
		int next;

		CHECK_EQ(mkdirat(at_fd, "d", 0755), 0);
		next = openat(at_fd, "d", O_RDONLY | O_DIRECTORY);
		CHECK(next >= 0);
		close(at_fd);
		at_fd = next;
	}
	make(at_fd, "bottom", "12345");
	CHECK_EQ(layers_measure(root, &l, &z), 0);
	CHECK_EQ(z.files, 1);
	CHECK_EQ(z.logical_bytes, 5);
}

TEST_MAIN
