/* SPDX-License-Identifier: MIT
 * doctor: facts from made-up nodes (trees of configuration and /proc), and the judgement over
 * facts.
 */
#include "../../src/doctor/doctor_int.h"

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

TEST_MAIN

/* ---- made-up nodes ------------------------------------------------------------------------------
 */

static char node_dir[128];

/* A new, empty node. */
static bool node(void)
{
	static unsigned count;
	const char *tmp = test_tmpdir();

	if (!tmp)
		return false;
	snprintf(node_dir, sizeof(node_dir), "%s/node%u", tmp, count++);
	return !mkdir(node_dir, 0700);
}

/* A file with its directories, below the node. NUL bytes are written as '|' when raw says so. */
static void put_raw(const char *path, const char *text, bool raw)
{
	char full[512];
	size_t len = strlen(text);
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", node_dir, path);
	for (char *p = full + strlen(node_dir) + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(full, 0755);
		*p = '/';
	}
	if (full[strlen(full) - 1] == '/')
		return;
	f = fopen(full, "w");
	for (size_t i = 0; f && i < len; i++)
		fputc(raw && text[i] == '|' ? 0 : text[i], f);
	if (f)
		fclose(f);
}
static void put(const char *path, const char *text)
{
	put_raw(path, text, false);
}
static void put_link(const char *path, const char *to)
{
	char full[512];

	put(path, "");
	snprintf(full, sizeof(full), "%s%s", node_dir, path);
	unlink(full);
	if (symlink(to, full))
		TEST_FAIL("symlink %s", full);
}
/* args: words, each ended by '|' */
static void put_proc(int pid, const char *comm, const char *args, unsigned start)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	snprintf(text, sizeof(text), "%s\n", comm);
	put(path, text);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	put_raw(path, args, true);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	snprintf(text, sizeof(text),
		 "%d (%s x) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %u 100 200\n", pid, comm,
		 start);
	put(path, text);
}
#define MOUNTS                                                                                     \
	"22 1 254:0 / / rw - ext4 /dev/vda rw\n"                                                   \
	"40 22 7:0 / /var/lib/containerd ro - ext2 /dev/loop0 ro\n"                                \
	"41 40 0:41 / /var/lib/containerd rw - fuse.spillfs /dev/loop0 rw\n"

static const struct doctor_engine *engine(const struct doctor_facts *f,
					  enum doctor_engine_kind kind)
{
	for (size_t i = 0; i < f->nengines; i++)
		if (f->engines[i].kind == kind)
			return &f->engines[i];
	return NULL;
}

static bool broken_has(const struct doctor_facts *f, const char *file, unsigned line,
		       const char *why)
{
	for (size_t i = 0; i < f->nbroken; i++)
		if (!strcmp(f->broken[i].file, file) && f->broken[i].line == line &&
		    strstr(f->broken[i].why, why))
			return true;
	for (size_t i = 0; i < f->nbroken; i++)
		printf("  %s:%u: %s\n", f->broken[i].file, f->broken[i].line, f->broken[i].why);
	return false;
}

#define COLLECT(f)                                                                                 \
	cleanup_(doctor_facts_done) struct doctor_facts f = {0};                                   \
	CHECK_EQ(doctor_collect(node_dir, "/run/spillfs", &f), 0)

TEST(an_empty_node)
{
	CHECK(node());
	put("/proc/self/mountinfo", "22 1 254:0 / / rw - ext4 /dev/vda rw\n");
	COLLECT(f);
	CHECK(!f.kubelet.there);
	CHECK_EQ(f.nengines, 0);
	CHECK_EQ(f.nmounts, 0);
	CHECK_EQ(f.nbroken, 0);
	CHECK_EQ(f.kubelet.gc_high, 85);
	CHECK(!f.dev_fuse);
}

TEST(kubelet_by_file_dropins_and_flags)
{
	CHECK(node());
	put("/proc/self/mountinfo", MOUNTS);
	put_proc(7, "kubelet",
		 "/usr/bin/kubelet|--config=/var/lib/kubelet/config.yaml|--config-dir|/etc/k.d|"
		 "--image-gc-low-threshold=60|",
		 1234);
	put_proc(8, "kubelet", "/usr/bin/kubelet|--config=/nonesuch|", 9999); /* its child */
	put("/var/lib/kubelet/config.yaml",
	    "kind: KubeletConfiguration\nimageGCHighThresholdPercent: 90\n"
	    "imageGCLowThresholdPercent: 80\nimageMaximumGCAge: 24h\n"
	    "evictionHard:\n  imagefs.available: 10Gi\nevictionSoft:\n  nodefs.available: "
	    "\"20%\"\n");
	put("/etc/k.d/20-b.conf", "imageGCHighThresholdPercent: 77\n");
	put("/etc/k.d/10-a.conf", "imageGCHighThresholdPercent: 70\n");
	put("/etc/k.d/30-c.yaml", "imageGCHighThresholdPercent: 50\n"); /* not .conf */
	COLLECT(f);
	CHECK(f.kubelet.there);
	CHECK_EQ(f.kubelet.pid, 7);
	CHECK_EQ(f.kubelet.start_ticks, 1234);
	CHECK_EQ(f.kubelet.gc_high, 77);
	CHECK_EQ(f.kubelet.gc_low, 60);
	CHECK_EQ(f.kubelet.max_age_sec, 86400);
	CHECK_EQ(f.kubelet.hard.imagefs.amount, 10ll << 30);
	/* one signal named turns the others off */
	CHECK_EQ(f.kubelet.hard.nodefs.percent, 0);
	CHECK_EQ(f.kubelet.soft.nodefs.percent, 20);
	CHECK(f.kubelet.configured);
	CHECK_EQ(f.nbroken, 0);
}

TEST(kubelet_that_does_not_run)
{
	CHECK(node());
	put("/var/lib/kubelet/config.yaml",
	    "kind: KubeletConfiguration\nmergeDefaultEvictionSettings: true\nevictionHard:\n"
	    "  memory.available: 1Gi\n");
	put("/etc/kubernetes/kubelet.conf", "kind: Config\nusers: []\n");
	put("/var/lib/kubelet/kubeadm-flags.env",
	    "KUBELET_KUBEADM_ARGS=\"--eviction-soft=imagefs.available<30%,x --v=2\"\n");
	COLLECT(f);
	CHECK(f.kubelet.there);
	CHECK_EQ(f.kubelet.pid, 0);
	CHECK_EQ(f.kubelet.hard.imagefs.percent, 15);
	CHECK_EQ(f.kubelet.soft.imagefs.percent, 30);
	CHECK(broken_has(&f, "/var/lib/kubelet/kubeadm-flags.env", 0, "--eviction-soft"));
	CHECK(broken_has(&f, "/proc/self/mountinfo", 0, "no mount is seen"));
}

TEST(kubelet_with_broken_files)
{
	CHECK(node());
	put("/proc/self/mountinfo", MOUNTS);
	put_proc(7, "kubelet", "kubelet|--config|/etc/k.yaml|--config-dir=/etc/k.d|", 1);
	put("/etc/k.yaml", "kind: KubeletConfiguration\nimageGCHighThresholdPercent: many\n");
	put("/etc/k.d/1.conf", "a: 1\n b: 2\n");
	put("/etc/k.d/2.conf/", "");
	put("/etc/k.d/3.conf",
	    "evictionHard:\n  nodefs.available: 10%\n  imagefs.available: 5 %\n");
	COLLECT(f);
	CHECK_EQ(f.kubelet.gc_high, -1);
	CHECK(broken_has(&f, "/etc/k.yaml", 2, "'many'"));
	CHECK(broken_has(&f, "/etc/k.d/1.conf", 2, "mapping values"));
	CHECK(broken_has(&f, "/etc/k.d/2.conf", 0, "directory"));
	CHECK(broken_has(&f, "/etc/k.d/3.conf", 3, "'5 %'"));
	CHECK_EQ(f.nbroken, 4);

	CHECK(node());
	put("/proc/self/mountinfo", "nonsense\n");
	put_proc(7, "kubelet", "kubelet|--config=/etc/missing.yaml|", 1);
	cleanup_(doctor_facts_done) struct doctor_facts g = {0};
	CHECK_EQ(doctor_collect(node_dir, "/run/spillfs", &g), 0);
	CHECK(broken_has(&g, "/etc/missing.yaml", 0, "does not exist"));
	CHECK(broken_has(&g, "/proc/self/mountinfo", 0, "malformed"));
}

TEST(nobody_waits_for_a_fifo)
{
	char fifo[256];
	uint64_t t0 = clock_mono_ns();

	CHECK(node());
	put("/proc/self/mountinfo", MOUNTS);
	put("/etc/docker/x", "");
	snprintf(fifo, sizeof(fifo), "%s/etc/docker/daemon.json", node_dir);
	CHECK_EQ(mkfifo(fifo, 0600), 0);
	COLLECT(f);
	CHECK(broken_has(&f, "/etc/docker/daemon.json", 0, "Invalid"));
	CHECK((clock_mono_ns() - t0) / 1000000000 < 30);
}

/* A file system that does not answer is played by a helper that is stopped. */
TEST(a_helper_that_hangs_is_replaced)
{
	struct doctor_facts f = {0};
	struct look l = {.root = node_dir, .f = &f};
	char *text = NULL;
	uint64_t t0;
	pid_t pid;

	CHECK(node());
	put("/x", "hello");
	CHECK_EQ(look_read(&l, "/x", 100, &text, NULL), 0);
	CHECK_STR(text, "hello");
	free(steal_ptr(text));
	CHECK_EQ(look_read(&l, "/x", 4, &text, NULL), -EFBIG);
	pid = l.helper.pid;
	kill(pid, SIGSTOP);
	t0 = clock_mono_ns();
	CHECK_EQ(look_read(&l, "/x", 100, &text, NULL), -ETIMEDOUT);
	CHECK((clock_mono_ns() - t0) / 1000000 >= DOCTOR_WAIT_MS);
	CHECK(!text);
	CHECK(look_exists(&l, "/x"));
	CHECK(l.helper.pid != pid);
	/* one that died is too */
	kill(l.helper.pid, SIGKILL);
	look_exists(&l, "/x");
	CHECK(look_exists(&l, "/x"));
	CHECK(!look_exists(&l, "/y"));
	/* nor does it cost two seconds for each of a hundred files */
	l.timeouts = 5;
	CHECK_EQ(look_read(&l, "/x", 100, &text, NULL), -ETIMEDOUT);
	look_done(&l);
	CHECK_EQ(l.helper.pid, 0);
}

TEST(k3s)
{
	CHECK(node());
	put("/proc/self/mountinfo", MOUNTS);
	put_proc(50, "k3s-server",
		 "/usr/local/bin/k3s|server|--kubelet-arg|image-gc-high-threshold=92|", 5);
	put("/etc/rancher/k3s/config.yaml",
	    "data-dir: /data/k3s\nkubelet-arg:\n- image-gc-high-threshold=88\n- "
	    "image-gc-low-threshold=40\n");
	put("/etc/rancher/k3s/config.yaml.d/a.yaml",
	    "kubelet-arg+: ['image-gc-low-threshold=55']\n");
	put("/data/k3s/agent/containerd/x", "");
	put("/data/k3s/agent/etc/containerd/config.toml",
	    "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
	    "discard_unpacked_layers = true\nsnapshotter = \"stargz\"\n");
	put("/data/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf", "imageMaximumGCAge: 30m\n");
	COLLECT(f);
	CHECK(f.kubelet.there && f.kubelet.k3s);
	CHECK_EQ(f.kubelet.pid, 50);
	CHECK_EQ(f.kubelet.gc_high, 92);
	CHECK_EQ(f.kubelet.gc_low, 55);
	CHECK_EQ(f.kubelet.max_age_sec, 1800);
	CHECK_EQ(f.kubelet.hard.imagefs.percent, 5); /* k3s' own */
	const struct doctor_engine *e = engine(&f, ENGINE_K3S);
	CHECK(e && e->cri && e->discard_unpacked);
	CHECK_STR(e->root, "/data/k3s/agent/containerd");
	CHECK_STR(e->driver, "stargz");
	CHECK(!e->covered_by);
	/* a later file without '+' replaces the list */
	put("/etc/rancher/k3s/config.yaml.d/b.yaml",
	    "kubelet-arg: ['image-gc-low-threshold=66']\n");
	cleanup_(doctor_facts_done) struct doctor_facts g = {0};
	CHECK_EQ(doctor_collect(node_dir, "/run/spillfs", &g), 0);
	CHECK_EQ(g.kubelet.gc_low, 66);
	CHECK_EQ(g.kubelet.gc_high, 92);
}

TEST(containerd_in_all_versions)
{
	static const struct {
		const char *text, *root, *driver;
		bool cri, discard;
	} v[] = {
		{"", "/var/lib/containerd", "overlayfs", true, false},
		{"disabled_plugins = [\"cri\"]\n", "/var/lib/containerd", "overlayfs", false,
		 false},
		{"root = '/srv/c/'\n[plugins.cri.containerd]\nsnapshotter='native'\n"
		 "discard_unpacked_layers = true\n",
		 "/srv/c", "native", true, true},
		{"version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\n"
		 "discard_unpacked_layers = true\n",
		 "/var/lib/containerd", "overlayfs", true, true},
		{"version = 3\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'btrfs'\n"
		 "discard_unpacked_layers = true\n",
		 "/var/lib/containerd", "btrfs", true, true},
		{"imports = ['conf.d/*.toml', '/etc/containerd/one.toml']\nroot = '/x'\n",
		 "/imported", "overlayfs", true, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		CHECK(node());
		put("/proc/self/mountinfo", MOUNTS);
		put("/var/lib/containerd/x", "");
		put("/etc/containerd/config.toml", v[i].text);
		put("/etc/containerd/conf.d/a.toml",
		    "[plugins.'io.containerd.cri.v1.images']\ndiscard_unpacked_layers = true\n");
		put("/etc/containerd/one.toml", "root = '/imported'\n");
		COLLECT(f);
		const struct doctor_engine *e = engine(&f, ENGINE_CONTAINERD);
		CHECK(e);
		CHECK_STR(e->root, v[i].root);
		CHECK_STR(e->driver, v[i].driver);
		CHECK_EQ(e->cri, v[i].cri);
		CHECK_EQ(e->discard_unpacked, v[i].discard);
		CHECK_EQ(f.nbroken, 0);
		CHECK_EQ(!!e->covered_by, !strcmp(v[i].root, "/var/lib/containerd"));
	}
	/* itself imported again, and again */
	put("/etc/containerd/config.toml", "imports = ['config.toml']\n");
	COLLECT(f);
	CHECK(broken_has(&f, "/etc/containerd/config.toml", 1, "never end"));
}

TEST(docker_and_its_links)
{
	CHECK(node());
	put("/proc/self/mountinfo", MOUNTS);
	put("/etc/docker/daemon.json", "{\"data-root\": \"/docker\", \"storage-driver\": \"vfs\"}");
	put("/var/lib/containerd/docker/x", "");
	put_link("/docker", "link2");
	put_link("/link2", "/var/../var/lib/containerd/docker");
	COLLECT(f);
	const struct doctor_engine *e = engine(&f, ENGINE_DOCKER);
	CHECK(e);
	CHECK_STR(e->root, "/docker");
	CHECK_STR(e->real, "/var/lib/containerd/docker");
	CHECK_STR(e->covered_by, "/var/lib/containerd");
	CHECK_STR(e->driver, "vfs");

	put("/etc/docker/daemon.json", "{\"data-root\": \"/loop\",\n}");
	put_link("/loop", "loop");
	put_proc(9, "dockerd", "/usr/sbin/dockerd|--data-root=/loop|", 1);
	cleanup_(doctor_facts_done) struct doctor_facts g = {0};
	CHECK_EQ(doctor_collect(node_dir, "/run/spillfs", &g), 0);
	CHECK(broken_has(&g, "/etc/docker/daemon.json", 2, ""));
	e = engine(&g, ENGINE_DOCKER);
	CHECK(e && !e->real && !e->silent);
	CHECK_STR(e->root, "/loop");
}

TEST(crio_and_podman)
{
	CHECK(node());
	put("/proc/self/mountinfo", MOUNTS);
	put("/etc/containers/storage.conf",
	    "[storage]\ndriver = 'overlay'\ngraphroot = '/graph'\n");
	put("/graph/x", "");
	COLLECT(f);
	CHECK(engine(&f, ENGINE_PODMAN) && !engine(&f, ENGINE_CRIO));
	CHECK_STR(engine(&f, ENGINE_PODMAN)->root, "/graph");
	put("/etc/crio/crio.conf", "[crio]\nstorage_driver = 'vfs'\n");
	put("/etc/crio/crio.conf.d/10-x.conf", "[crio]\nroot = '/crio'\n");
	cleanup_(doctor_facts_done) struct doctor_facts g = {0};
	CHECK_EQ(doctor_collect(node_dir, "/run/spillfs", &g), 0);
	CHECK(!engine(&g, ENGINE_PODMAN) && engine(&g, ENGINE_CRIO));
	CHECK_STR(engine(&g, ENGINE_CRIO)->root, "/crio");
	CHECK_STR(engine(&g, ENGINE_CRIO)->driver, "vfs");
}

TEST(mounts_guards_and_units)
{
	CHECK(node());
	put("/proc/self/mountinfo",
	    MOUNTS "50 22 7:1 / /var/lib/docker ro - ext2 /dev/loop1 ro\n"
		   "51 22 8:9 / /lost rw - ext4 /dev/sdb9 rw\n"
		   "52 22 8:9 / /run/spillfs/lost/hot rw - ext4 /dev/sdb9 rw\n"
		   "53 22 8:9 / /other rw - ext4 /dev/sdb9 rw\n"
		   "54 22 0:9 / /thin ro - tmpfs spillfs-guard ro\n");
	put("/run/spillfs/lost/dir", "/lost\n");
	put("/run/spillfs/other/dir", "/other\n");
	put("/run/spillfs/thin/dir", "/thin\n");
	put("/sys/block/loop1/loop/backing_file", "/run/spillfs/var-lib-docker/guard.img\n");
	put("/run/spillfs/var-lib-containerd/pid", "100\n");
	put("/run/spillfs/var-lib-containerd/daemon", "101\n");
	put("/run/spillfs/var-lib-containerd/dir", "/var/lib/containerd\n");
	put("/run/spillfs/var-lib-docker/dir", "/var/lib/docker\n");
	put("/run/spillfs/gone/dir", "/gone\n");
	put_proc(100, "spillfs", "spillfs|", 777);
	put("/proc/101/limits",
	    "Limit  Soft Limit Hard Limit Units\n"
	    "Max open files            1024                 4096         files\n");
	put("/sys/block/loop1/x", "");
	put("/var/lib/containerd/x", "");
	put("/lib/systemd/system/containerd.service", "[Unit]\nAfter=network.target\n");
	COLLECT(f);
	CHECK_EQ(f.nmounts, 4);
	CHECK_STR(f.mounts[0].dir, "/var/lib/containerd");
	CHECK_EQ(f.mounts[0].start_ticks, 777);
	CHECK_EQ(f.mounts[0].nofile, 1024);
	CHECK(f.mounts[0].anchor_gone);
	CHECK(!f.mounts[0].at_boot);
	CHECK_STR(f.mounts[1].dir, "/lost");
	CHECK(f.mounts[1].guard_lost && !f.mounts[1].guard_only);
	CHECK_STR(f.mounts[2].dir, "/thin");
	CHECK(f.mounts[2].guard_only && !f.mounts[2].guard_lost);
	CHECK_STR(f.mounts[3].dir, "/var/lib/docker");
	CHECK(f.mounts[3].guard_only && !f.mounts[3].guard_lost);
	const struct doctor_engine *e = engine(&f, ENGINE_CONTAINERD);
	CHECK(e && e->unit && !e->unit_asserts && !e->unit_ordered);

	put("/sys/block/loop0/loop/backing_file", "/run/x\n");
	put("/etc/systemd/system/containerd.service.d/spillfs.conf",
	    "[Unit]\nAfter=spillfs@var-lib-containerd.service\n"
	    "AssertPathIsMountPoint=/var/lib/containerd\n");
	put("/etc/systemd/system/local-fs.target.wants/spillfs@var-lib-containerd.service", "");
	cleanup_(doctor_facts_done) struct doctor_facts g = {0};
	CHECK_EQ(doctor_collect(node_dir, "/run/spillfs", &g), 0);
	CHECK(!g.mounts[0].anchor_gone);
	CHECK(g.mounts[0].at_boot);
	CHECK_STR(g.mounts[0].at_boot_by, "spillfs@var-lib-containerd.service");
	e = engine(&g, ENGINE_CONTAINERD);
	CHECK(e && e->unit_asserts && e->unit_ordered);
}

TEST(fstab_lines)
{
	static const struct {
		const char *line;
		bool at_boot, nofail_alone, asserts, ordered;
	} v[] = {
		{"# /s /var/lib/containerd spillfs defaults 0 0", false, false, false, false},
		{"/s /var/lib/containerd ext4 defaults 0 0", false, false, false, false},
		{"/s /var/lib/containerd/x spillfs defaults 0 0", false, false, false, false},
		{"/s\t/var/lib/\\143ontainerd  spillfs", true, false, false, true},
		{"/s /var/lib/containerd spillfs noauto 0 0", false, false, false, false},
		{"/s /var/lib/containerd spillfs nofail 0 0", true, true, false, false},
		{"/s /var/lib/containerd spillfs "
		 "nofail,x-systemd.before=containerd.service,x-systemd.required-by=containerd."
		 "service 0 0",
		 true, false, true, true},
		{"spillfs#/s /var/lib/containerd fuse defaults 0 0", true, false, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		CHECK(node());
		put("/proc/self/mountinfo", MOUNTS);
		put("/var/lib/containerd/x", "");
		put("/lib/systemd/system/containerd.service", "[Unit]\n");
		put("/etc/fstab", v[i].line);
		COLLECT(f);
		const struct doctor_engine *e = engine(&f, ENGINE_CONTAINERD);
		CHECK(e);
		if (f.mounts[0].at_boot != v[i].at_boot ||
		    f.mounts[0].nofail_alone != v[i].nofail_alone ||
		    e->unit_asserts != v[i].asserts || e->unit_ordered != v[i].ordered)
			TEST_FAIL("%s: %d %d %d %d", v[i].line, f.mounts[0].at_boot,
				  f.mounts[0].nofail_alone, e->unit_asserts, e->unit_ordered);
	}
}

/* ---- the judgement
 * ------------------------------------------------------------------------------- */

#define GIB (UINT64_C(1) << 30)

static struct doctor_engine good_engine;
static struct doctor_mount good_mount;
static struct doctor_facts good(void)
{
	struct doctor_facts f = {
		.kernel_major = 6,
		.kernel_minor = 12,
		.dev_fuse = true,
		.fuse_module = true,
		.overlay_module = true,
		.loop_control = true,
		.engines = &good_engine,
		.nengines = 1,
		.mounts = &good_mount,
		.nmounts = 1,
		.kubelet = {.there = true, .pid = 5, .start_ticks = 200, .from = (char *)"pid 5"},
	};

	doctor_kubelet_defaults(&f.kubelet);
	good_engine = (struct doctor_engine){
		.kind = ENGINE_CONTAINERD,
		.root = (char *)"/i",
		.real = (char *)"/i",
		.driver = (char *)"overlayfs",
		.cri = true,
		.discard_unpacked = true,
		.covered_by = (char *)"/i",
		.unit = (char *)"containerd.service",
		.unit_asserts = true,
		.unit_ordered = true,
	};
	good_mount = (struct doctor_mount){
		.dir = (char *)"/i",
		.source = (char *)"/dev/loop0",
		.start_ticks = 100,
		.nofile = 1 << 20,
		.at_boot = true,
		.asked = true,
		.answers = true,
		.auto_spill = true,
		.passthrough = true,
		.high = 75,
		.critical = 82,
		.hot_total = 7 * GIB,
		.used_percent = 43,
		.inodes_total = 459000,
		.inodes_free = 300000,
		.store_total = 100 * GIB,
		.store_free = 90 * GIB,
		.seen_total = 100 * GIB,
		.seen_available = 90 * GIB,
	};
	return f;
}

static const struct doctor_finding *finding(const struct doctor_report *r, const char *id)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->v[i].id, id))
			return &r->v[i];
	return NULL;
}

TEST(a_good_node_is_ok_in_everything)
{
	struct doctor_facts f = good();
	cleanup_(doctor_report_done) struct doctor_report r;

	doctor_judge(&f, NULL, &r);
	for (size_t i = 0; i < r.n; i++)
		if (r.v[i].level != DOCTOR_OK || r.v[i].why || r.v[i].to_do)
			TEST_FAIL("%s: %s", r.v[i].id, r.v[i].what);
	CHECK_EQ(r.count[DOCTOR_OK], r.n);
	CHECK(r.n > 15);
}

/* One thing wrong at a time. */
#define WRONG(id_, level_, change)                                                                 \
	do {                                                                                       \
		struct doctor_facts f = good();                                                    \
		struct doctor_mount *m = &good_mount;                                              \
		struct doctor_engine *e = &good_engine;                                            \
		struct doctor_kubelet *k = &f.kubelet;                                             \
		cleanup_(doctor_report_done) struct doctor_report r;                               \
		const struct doctor_finding *got;                                                  \
		(void)m, (void)e, (void)k;                                                         \
		change;                                                                            \
		doctor_judge(&f, NULL, &r);                                                        \
		got = finding(&r, id_);                                                            \
		if (!got || got->level != (level_) || !got->why || !got->to_do || !*got->to_do)    \
			TEST_FAIL("%s: %s: %s", #change, id_, got ? got->what : "not there");      \
	} while (0)

TEST(one_thing_wrong_at_a_time)
{
	struct doctor_broken broken = {(char *)"/etc/x", 3, (char *)"bad"};

	WRONG("kernel.version", DOCTOR_WARN, (f.kernel_major = 6, f.kernel_minor = 1));
	WRONG("kernel.version", DOCTOR_FAIL, (f.kernel_major = 5, f.kernel_minor = 10));
	WRONG("kernel.version", DOCTOR_WARN, f.kernel_major = 0);
	WRONG("kernel.fuse", DOCTOR_FAIL, f.dev_fuse = false);
	WRONG("kernel.fuse", DOCTOR_FAIL, f.fuse_module = false);
	WRONG("kernel.overlay", DOCTOR_WARN, f.overlay_module = false);
	WRONG("kernel.loop", DOCTOR_WARN, f.loop_control = false);
	WRONG("kernel.halt-poll", DOCTOR_WARN, f.halts_at_once = true);
	WRONG("config.broken", DOCTOR_WARN, (f.broken = &broken, f.nbroken = 1));
	WRONG("mount.none", DOCTOR_WARN, f.nmounts = 0);

	WRONG("kubelet.image-gc", DOCTOR_FAIL, k->gc_low = 85);
	WRONG("kubelet.image-gc", DOCTOR_FAIL, k->gc_high = -1);
	WRONG("kubelet.image-gc", DOCTOR_FAIL, k->gc_high = 101);
	WRONG("kubelet.image-gc", DOCTOR_WARN, (k->gc_high = 50, k->gc_low = 40));
	WRONG("kubelet.eviction", DOCTOR_WARN, k->hard.imagefs.percent = 40);
	WRONG("kubelet.eviction", DOCTOR_WARN, k->soft.nodefs.percent = 40);
	WRONG("kubelet.eviction-inodes", DOCTOR_WARN, k->hard.nodefs_inodes.percent = 30);
	WRONG("kubelet.max-age", DOCTOR_WARN, k->max_age_sec = 3600);
	WRONG("kubelet.sees-mount", DOCTOR_FAIL, m->source = (char *)"spillfs");
	WRONG("kubelet.sees-mount", DOCTOR_FAIL, m->anchor_gone = true);
	WRONG("kubelet.sees-mount", DOCTOR_WARN, m->kubelet_off = true);
	WRONG("kubelet.started-before", DOCTOR_FAIL, k->start_ticks = 99);

	WRONG("engine.root", DOCTOR_WARN, e->covered_by = NULL);
	WRONG("engine.root", DOCTOR_WARN, e->real = NULL);
	WRONG("engine.root", DOCTOR_FAIL, (e->real = NULL, e->silent = true));
	WRONG("engine.symlink", DOCTOR_WARN, e->root = (char *)"/link");
	WRONG("engine.driver", DOCTOR_WARN, e->driver = (char *)"zfs");
	WRONG("engine.discard-unpacked", DOCTOR_WARN, e->discard_unpacked = false);
	WRONG("boot.order", DOCTOR_WARN, e->unit_asserts = false);
	WRONG("boot.order", DOCTOR_WARN, e->unit_ordered = false);
	WRONG("boot.mount", DOCTOR_WARN, m->at_boot = false);
	WRONG("boot.mount", DOCTOR_FAIL, (m->at_boot = false, e->unit_asserts = false));
	WRONG("boot.mount", DOCTOR_WARN, m->nofail_alone = true);

	WRONG("mount.state", DOCTOR_FAIL, m->answers = false);
	WRONG("mount.state", DOCTOR_FAIL, m->guard_only = true);
	WRONG("mount.state", DOCTOR_FAIL, m->guard_lost = true);
	WRONG("mount.state", DOCTOR_FAIL, m->frozen = true);
	WRONG("mount.state", DOCTOR_WARN, m->parked = (char *)"the store is full");
	WRONG("mount.errors", DOCTOR_FAIL, m->errors = 1);
	WRONG("mount.passthrough", DOCTOR_WARN, m->passthrough = false);
	WRONG("mount.nofile", DOCTOR_WARN, m->nofile = 1024);
	WRONG("mount.overlay", DOCTOR_FAIL, m->overlay_lacks = (char *)"d_type");
	WRONG("mount.gc-line", DOCTOR_FAIL, m->seen_available = 15 * GIB);
	WRONG("mount.gc-line", DOCTOR_WARN,
	      (m->seen_available = 20 * GIB, m->rates_known = true,
	       m->bytes_per_hour_now = (int64_t)GIB));
	WRONG("hot.watermarks", DOCTOR_WARN, m->high = 85);
	WRONG("hot.watermarks", DOCTOR_WARN, m->critical = 86);
	WRONG("hot.watermarks", DOCTOR_WARN, (k->gc_high = 70, k->gc_low = 60));
	WRONG("hot.watermarks", DOCTOR_WARN, m->auto_spill = false);
	WRONG("hot.space", DOCTOR_WARN, m->used_percent = 82);
	WRONG("hot.inodes", DOCTOR_WARN, m->inodes_free = 40000);
	WRONG("hot.inodes", DOCTOR_FAIL, m->inodes_free = 20000);
	WRONG("hot.inodes", DOCTOR_WARN, (m->rates_known = true, m->inodes_per_hour = 100000));
	WRONG("store.space", DOCTOR_WARN, m->store_free = GIB / 2);
	WRONG("store.space", DOCTOR_WARN, m->store_total = 6 * GIB);
}

TEST(only_the_mount_asked_for)
{
	struct doctor_facts f = good();
	cleanup_(doctor_report_done) struct doctor_report r;

	good_mount.frozen = true;
	doctor_judge(&f, "/other", &r);
	CHECK(!finding(&r, "mount.state") && !finding(&r, "engine.root"));
	CHECK(finding(&r, "kubelet.image-gc") && finding(&r, "kernel.version"));
}

TEST(kubelets_line)
{
	static const struct {
		uint64_t available;
		int gc_high;
		double evict;
		unsigned used;
		uint64_t until;
		int at;
		bool eviction;
	} v[] = {
		/* of 1000: image GC begins below 160, at "84.1%", by kubelet's rounding down */
		{1000, 85, 15, 0, 840, 85, false},        {161, 85, 15, 84, 1, 85, false},
		{160, 85, 15, 84, 0, 85, false},          {159, 85, 15, 85, 0, 85, false},
		{500, 85, 30, 50, 200, 70, true},         {500, 100, 15, 50, 350, 85, true},
		{500, 100, 0, 50, UINT64_MAX, -1, false}, {5000, 85, 15, 0, 840, 85, false},
		{0, 85, 15, 100, 0, 85, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		struct doctor_kubelet k = {0};
		struct doctor_line line;

		doctor_kubelet_defaults(&k);
		k.gc_high = v[i].gc_high;
		k.hard.imagefs.percent = v[i].evict;
		doctor_line(&k, 1000, v[i].available, &line);
		if (line.used_percent != v[i].used || line.bytes_until != v[i].until ||
		    line.at_percent != v[i].at || line.by_eviction != v[i].eviction)
			TEST_FAIL("%zu: %u %llu %d %d", i, line.used_percent,
				  (unsigned long long)line.bytes_until, line.at_percent,
				  line.by_eviction);
	}
	struct doctor_kubelet k = {0};
	struct doctor_line line;

	doctor_kubelet_defaults(&k);
	doctor_line(&k, 0, 0, &line);
	CHECK_EQ(line.at_percent, -1);
	k.hard.imagefs = (struct doctor_limit){0, 400};
	doctor_line(&k, 1000, 500, &line);
	CHECK_EQ(line.bytes_until, 100);
	CHECK_EQ(line.at_percent, 60);
	k.hard.imagefs.amount = 5000; /* more than there is: always */
	doctor_line(&k, 1000, 500, &line);
	CHECK_EQ(line.bytes_until, 0);
}

TEST(probe_of_a_plain_directory)
{
	char *lacks = NULL;
	char path[256];

	CHECK(node());
	if (geteuid())
		SKIP("needs root");
	CHECK_EQ(doctor_probe_overlay(node_dir, &lacks), 0);
	CHECK(lacks);
	if (*lacks)
		printf("  here: %s\n", lacks);
	free(lacks);
	/* it left nothing behind */
	CHECK_EQ(rmdir(node_dir), 0);
	snprintf(path, sizeof(path), "%s/nonesuch", node_dir);
	CHECK_EQ(doctor_probe_overlay(path, &lacks), -ENOENT);
}
