/* SPDX-License-Identifier: MIT
 * Private to src/layers: the classes of directory entries, and what the engines' scanners share.
 */
#ifndef SPILL_LAYERS_INT_H
#define SPILL_LAYERS_INT_H

#include <sys/stat.h>

#include "spill/layers.h"

/* Anchors (an engine's own directory, by name) are looked for in directories at most this far below
 * the root; one more for "containerd", since k3s below /var keeps its own in
 * lib/rancher/k3s/agent/containerd. */
#define ANCHOR_DEPTH 4
#define DEEP_NAME    "containerd"

/* layer_class. What stands in brackets is the name that leads there. */
enum {
	CLS_ROOT = 0,                   /* depth 0 ... */
	CLS_DEEPEST = ANCHOR_DEPTH + 1, /* ... to here: directories of no engine we know (yet) */
	CLS_OUTSIDE,                    /* not a layer, nor can one be below */
	CLS_OVERLAY2,                   /* [overlay2] docker */
	CLS_OVERLAY2_ID,                /* [<id>] */
	CLS_OVERLAY,                    /* [overlay] containers-storage */
	CLS_OVERLAY_ID,                 /* [<id>] */
	CLS_SNAPSHOTTER,                /* [io.containerd.snapshotter.v1.overlayfs] */
	CLS_SNAPSHOTS,                  /* [snapshots] */
	CLS_SNAPSHOT_ID,                /* [<n>] */
	CLS_CONTENT,                    /* [io.containerd.content.v1.content] */
	CLS_BLOBS,                      /* [blobs] */
	CLS_BLOBS_ALG,                  /* [<algorithm>] */
	CLS_INGEST,                     /* [ingest], Docker's temporary ones; and all below */
	CLS_ENTRY,                      /* a layer: [diff], [fs] or [<digest>] */
	CLS_INSIDE,                     /* all below it */
};

#define DOCKER_ANCHOR      "overlay2"
#define PODMAN_ANCHOR      "overlay"
#define SNAPSHOTTER_ANCHOR "io.containerd.snapshotter.v1.overlayfs"
#define CONTENT_ANCHOR     "io.containerd.content.v1.content"

/* A set of strings: filled, then sorted, then asked. */
struct names {
	char **v;
	size_t n, cap;
};
int names_add(struct names *s, const char *str, size_t len);
void names_sort(struct names *s);
bool names_have(const struct names *s, const char *str);
void names_done(struct names *s);

struct overlay {
	struct names upper, lowers; /* upper: one, or none */
};
struct overlays {
	struct overlay *v;
	size_t n, cap;
	bool incomplete; /* a table could not be read */
};

struct scan {
	dev_t dev; /* of the root; mounts are not entered */
	struct layer_set set;
	size_t cap;
	struct overlays overlays; /* mounted now: containers at work */
};

/* Each looks for its own layout in the directory dirfd, which is path ("" for the root) below the
 * root. */
int docker_scan(struct scan *s, int dirfd, const char *path);
int podman_scan(struct scan *s, int dirfd, const char *path);
int containerd_scan(struct scan *s, int dirfd, const char *path);

/* ---- scan.c, for them -------------------------------------------------------------------- */
/* A subdirectory on the same file system, or -errno; symlinks are not followed. */
int scan_opendir(const struct scan *s, int dirfd, const char *name);
/* Not there, not readable or not what it was: not a layer, but no failure of the scan. */
bool scan_passes_over(int err);
/* Call fn for each entry of the directory name below dirfd ("." for itself; a symlink is not
 * followed) but . and .. , with a descriptor of it. Stops at the first error. */
typedef int (*scan_entry_fn)(void *ctx, int dirfd, const char *name, unsigned char d_type);
int scan_each(int dirfd, const char *name, scan_entry_fn fn, void *ctx);
/* Add the layer name below dirfd when it is there (a directory, or a file for a blob). key is the
 * path of it below the root; written says that a container is known to write to it. */
int scan_add(struct scan *s, int dirfd, const char *name, const char *key, const char *label,
	     enum layer_engine engine, bool blob, bool written);
/* "a/b", or "b" when a is "". NULL: no memory. */
char *scan_join(const char *a, const char *b);

/* ---- bolt.c: a bolt database, read only -------------------------------------------------------
 */
struct bolt {
	uint8_t *data; /* ours, or NULL */
	const uint8_t *p;
	size_t len, page;
	uint64_t root, txid;
};
struct bolt_bucket {
	uint64_t root;              /* page, or 0: */
	const uint8_t *inline_page; /* inside its parent's */
	size_t inline_len;
};
struct bolt_item { /* borrowed from the database */
	const char *key;
	const uint8_t *value;
	size_t key_len, value_len;
	bool is_bucket;
	struct bolt_bucket bucket;
};
/* -EUCLEAN not a bolt database, -EAGAIN it changed each time it was read. */
int bolt_open(int dirfd, const char *path, struct bolt *ret);
int bolt_parse(const void *data, size_t len, struct bolt *ret); /* data stays the caller's */
void bolt_done(struct bolt *b);
struct bolt_bucket bolt_root(const struct bolt *b);
/* fn for each item, in order; stops at the first that is not 0 and returns it. -EUCLEAN. */
typedef int (*bolt_fn)(void *ctx, const struct bolt_item *it);
int bolt_each(const struct bolt *b, struct bolt_bucket k, bolt_fn fn, void *ctx);
int bolt_find(const struct bolt *b, struct bolt_bucket k, const char *key,
	      struct bolt_item *ret); /* -ENOENT */
int bolt_find_bucket(const struct bolt *b, struct bolt_bucket k, const char *key,
		     struct bolt_bucket *ret);

/* ---- mounts.c ---------------------------------------------------------------------------- */
int overlays_load(struct overlays *ret);
/* One line of a mount table, which is changed. */
int overlays_parse(struct overlays *ret, char *line);
void overlays_done(struct overlays *o);
/* Say of the layers of one engine's directory (anchor below the root, and a descriptor of it),
 * which are those of set from the one with this number on, which are mounted, WRITABLE, asleep. */
int overlays_tell(const struct overlays *o, int anchorfd, const char *anchor, struct layer_set *set,
		  size_t from);

#endif
