/* SPDX-License-Identifier: MIT
 * The class of a directory entry, from its parent's class and its name alone.
 *
 *	plain 0..4 --overlay2--> OVERLAY2 --id--> OVERLAY2_ID --diff--> ENTRY
 *	           --overlay---> OVERLAY --id--> OVERLAY_ID --diff--> ENTRY
 *	           --...overlayfs--> SNAPSHOTTER --snapshots--> SNAPSHOTS --n--> SNAPSHOT_ID --fs-->
 *ENTRY
 *	           --...content----> CONTENT --blobs--> BLOBS --alg--> BLOBS_ALG --digest--> ENTRY
 *	                                     --ingest-> INGEST --any--> INGEST
 *	           --GetImageBlobN, docker-import-N--> INGEST (in Docker's ROOT/tmp)
 *	           --any other-> plain + 1, at last OUTSIDE
 *	ENTRY, INSIDE --any--> INSIDE		OUTSIDE --any--> OUTSIDE
 *
 * The names must also look like the engine's ids: "overlay" is a word anybody may use. The scan
 * (scan.c) asks this same machine, so both agree on what is a layer.
 */
#include "layers_int.h"

static bool all_of(const char *s, size_t min, size_t max, const char *set)
{
	size_t n = strspn(s, set);

	return s[n] == 0 && n >= min && n <= max;
}

#define DIGITS "0123456789"
#define HEX    DIGITS "abcdef"
#define LOWER  DIGITS "abcdefghijklmnopqrstuvwxyz"

/* 64 hex digits, perhaps with "-init"; build snapshots have 25 digits of base 36. */
static bool is_docker_id(const char *s)
{
	size_t hex = strspn(s, HEX);

	return (hex == 64 && (s[64] == 0 || strcmp(s + 64, "-init") == 0)) ||
	       all_of(s, 25, 25, LOWER);
}

/* What Docker takes in, in DOCKER_TMPDIR: a pull's blobs (distribution/pull_v2.go, os.CreateTemp)
 * and the unpacked archive of a load (image/tarexport/load.go, os.MkdirTemp). */
static bool is_docker_ingest(const char *s)
{
	static const char *const prefix[] = {"GetImageBlob", "docker-import-"};

	for (size_t i = 0; i < ARRAY_SIZE(prefix); i++)
		if (!strncmp(s, prefix[i], strlen(prefix[i])))
			return all_of(s + strlen(prefix[i]), 1, 20, DIGITS);
	return false;
}

static layer_class plain(layer_class parent, const char *name)
{
	if (is_docker_ingest(name))
		return CLS_INGEST;
	if (name[0] == 'o') {
		if (strcmp(name, DOCKER_ANCHOR) == 0)
			return CLS_OVERLAY2;
		if (strcmp(name, PODMAN_ANCHOR) == 0)
			return CLS_OVERLAY;
	} else if (name[0] == 'i') {
		if (strcmp(name, SNAPSHOTTER_ANCHOR) == 0)
			return CLS_SNAPSHOTTER;
		if (strcmp(name, CONTENT_ANCHOR) == 0)
			return CLS_CONTENT;
	}
	if (parent < ANCHOR_DEPTH || (parent == ANCHOR_DEPTH && strcmp(name, DEEP_NAME) == 0))
		return (layer_class)(parent + 1);
	return CLS_OUTSIDE;
}

static layer_class when(bool cond, int then)
{
	return (layer_class)(cond ? then : CLS_OUTSIDE);
}

layer_class layers_class(layer_class parent, const char *name)
{
	if (parent <= CLS_DEEPEST)
		return plain(parent, name);
	switch (parent) {
	case CLS_OVERLAY2:
		return when(is_docker_id(name), CLS_OVERLAY2_ID);
	case CLS_OVERLAY:
		return when(all_of(name, 64, 64, HEX), CLS_OVERLAY_ID);
	case CLS_OVERLAY2_ID:
	case CLS_OVERLAY_ID:
		return when(strcmp(name, "diff") == 0, CLS_ENTRY);
	case CLS_SNAPSHOTTER:
		return when(strcmp(name, "snapshots") == 0, CLS_SNAPSHOTS);
	case CLS_SNAPSHOTS:
		return when(all_of(name, 1, 20, DIGITS), CLS_SNAPSHOT_ID);
	case CLS_SNAPSHOT_ID:
		return when(strcmp(name, "fs") == 0, CLS_ENTRY);
	case CLS_CONTENT:
		if (strcmp(name, "ingest") == 0)
			return CLS_INGEST;
		return when(strcmp(name, "blobs") == 0, CLS_BLOBS);
	case CLS_BLOBS:
		return when(all_of(name, 1, 32, LOWER "+._-") && name[0] != '.', CLS_BLOBS_ALG);
	case CLS_BLOBS_ALG:
		return when(all_of(name, 32, 256, HEX), CLS_ENTRY);
	case CLS_INGEST:
		return CLS_INGEST;
	case CLS_ENTRY:
	case CLS_INSIDE:
		return CLS_INSIDE;
	default:
		return CLS_OUTSIDE;
	}
}

bool layers_class_entry(layer_class c)
{
	return c == CLS_ENTRY;
}

bool layers_class_inside(layer_class c)
{
	return c == CLS_INSIDE;
}

bool layers_class_ingest(layer_class c)
{
	return c == CLS_INGEST;
}
