/* SPDX-License-Identifier: MIT
 * Contract of src/layers: which directories and blobs below an image root are layers of a container
 * engine. Found from the engines' own on-disk layouts only; reads nothing but directory names, and
 * the few small metadata files the text names. Everything it does not know is not a layer.
 *
 * Layouts (sources: the engines' own documentation and trees as found on disk), at the hot root or
 * up to four directories below it (five when the last is called "containerd": a mount over /var
 * reaches lib/rancher/k3s/agent/containerd): docker overlay2        overlay2/<id>/diff the layer's
 * files; <id>/work, merged, link, lower: not (an <id> which is "<id>-init" or stands in a mount-id
 * of image/overlay2/layerdb/mounts is a container's: kind WRITABLE) containerd snapshotter
 * io.containerd.snapshotter.v1.overlayfs/snapshots/<n>/fs containerd blobs
 * io.containerd.content.v1.content/blobs/<alg>/<digest>; not its ingest/ containers-storage
 * overlay/<id>/diff (the "layer" of an entry in overlay-containers/containers.json is WRITABLE)
 * With every engine the upper directory of an overlay mounted now is WRITABLE, too (mount table).
 * Docker and containers-storage mount by short links: <engine's directory>/l/<short>.
 */
#ifndef SPILL_LAYERS_H
#define SPILL_LAYERS_H

#include "spill/base.h"

enum layer_engine { LAYER_DOCKER, LAYER_CONTAINERD, LAYER_CONTAINERS_STORAGE };
enum layer_kind {
	LAYER_SNAPSHOT, /* a directory of an image layer */
	LAYER_WRITABLE, /* a container's own writable layer: spilled only when nothing else is left
			 */
	LAYER_BLOB,     /* one file, compressed as pulled */
};

struct layer {
	char *key; /* path below the hot root of the layer's directory or blob; unique and stable */
	char *name; /* what a person would call it: short id or digest */
	enum layer_engine engine;
	enum layer_kind kind;
	int64_t born_ns; /* mtime of the layer's directory or blob */
	bool mounted;    /* an overlay mounted now has it: a container that runs, most often */
	bool asleep; /* none has, though containers of its engine's directory are mounted, and all
		      * that these name was found there */
};

struct layer_set {
	struct layer *v; /* ordered by key */
	size_t n;
};

/* Scan below rootfd. Missing engines are not an error. O(number of layers), not of files. */
int layers_scan(int rootfd, struct layer_set *ret);
void layer_set_done(struct layer_set *s);
/* The layer that path (relative to the root, no leading slash) lies in, or NULL. Borrowed from s.
 */
const struct layer *layers_find(const struct layer_set *s, const char *path);

/* The layers of an image, by the engine's own metadata (JSON files of Docker and
 * containers-storage, containerd's databases). */
struct layer_image {
	char *name; /* as the engine has it, with its tag */
	enum layer_engine engine;
	char **keys; /* of layers, as layers_scan has them */
	size_t n;
	bool in_kubernetes; /* containerd: in the namespace k8s.io */
};
/* ref: a name with or without tag and registry, as the engine's own tool takes it, or an id (12
 * digits or more). -ENOENT no engine below rootfd has it, -ENOTUNIQ several images have that name,
 * -EUCLEAN the metadata cannot be understood; *ret_msg (caller frees) says it. */
int layers_image(int rootfd, const char *ref, struct layer_image *ret, char **ret_msg);
void layer_image_done(struct layer_image *i);

/* Count one layer: files, logical and allocated bytes (st_blocks * 512), following no symlink and
 * crossing no mount. Walks the layer. */
struct layer_size {
	uint64_t files, logical_bytes, allocated_bytes;
};
int layers_measure(int rootfd, const struct layer *l, struct layer_size *ret);

/* ---- while names are looked up: the class of a directory entry from its parent's class
 * ----------------- A tiny state machine over path components, so that the layer of an inode is
 * known without its path. Class 0 is the root's and unknown directories' start class. Pure; no I/O.
 *   cls = layers_class(parent_cls, name)
 * LAYERS_CLASS_ENTRY(cls) is true for a directory or blob that *is* a layer: the caller makes a new
 * layer identity there, and everything below inherits it (LAYERS_CLASS_INSIDE). Classes 0 to 5 also
 * count the depth below the root, so that this and layers_scan always agree. */
typedef uint8_t layer_class;
layer_class layers_class(layer_class parent, const char *name);
bool layers_class_entry(layer_class c);
bool layers_class_inside(layer_class c);
bool layers_class_ingest(layer_class c); /* below what an engine takes in, see class.c */

#endif
