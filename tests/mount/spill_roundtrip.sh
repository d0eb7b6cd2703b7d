#!/bin/bash
# SPDX-License-Identifier: MIT
# Awkward files go to the store and come back, on each hot file system: nothing a user can see changes, the hot tier
# gets its room, and the marker cannot be seen or touched.
# timeout: 800
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/awkward.sh"
t_init
t_need_daemon
t_need_tool treesum fileop
t_need setfattr getfattr setfacl jq

# Sum of really allocated bytes of a tree below the mount.
hot_bytes()
{
	find "$1" -type f -printf '%D:%i %b\n' | sort -u | awk '{ n += $2 } END { print n * 512 }'
}
holes_of()
{
	local f
	for f in holes hole-begin hole-middle hole-end all-hole; do
		"$T_BUILD/tools/fileop" map "$1/$f" || return 1
	done
}

round_trip()
{
	local fs=$1 base=$T_TMP/$1 dir tree hot before spilled f
	t_fs "$fs" 2G "$base"
	dir=$base/dir tree=$base/dir/tree
	mkdir "$dir"
	t_spillfs "$T_TMP/store.$fs" "$dir"
	hot=$(t_hot "$dir")
	t_awkward "$tree"
	chattr +i "$hot/tree/old" 2>/dev/null # through the mount it may not be possible
	t_data 30 30000 >"$dir/plain-copy"
	sync -f "$dir"
	t_digest -T "$tree" >"$T_TMP/want"
	t_looks "$tree" >"$T_TMP/looks"
	holes_of "$tree" >"$T_TMP/holes"
	before=$(hot_bytes "$hot/tree")

	t_spill "$tree"
	for f in one "size-$AW_FRAME" holes linked setuid incompressible sparse-5g $'new\nline' zeros; do
		t_want_state "$tree/$f" spilled
	done
	# Data are gone from the hot tier ...
	spilled=$(hot_bytes "$hot/tree")
	((spilled * 20 < before)) || fail "$fs: hot tier holds $spilled of $before bytes after the spill"
	t_check "$fs: hot blocks of a stub" "$(stat -c %b "$hot/tree/incompressible")" 0
	# ... and nobody sees it.
	t_looks "$tree" >"$T_TMP/looks.now"
	diff -u "$T_TMP/looks" "$T_TMP/looks.now" || fail "$fs: size, times or st_blocks of stubs differ"
	holes_of "$tree" >"$T_TMP/holes.now"
	diff -u "$T_TMP/holes" "$T_TMP/holes.now" || fail "$fs: holes of stubs differ"
	t_same "$T_TMP/want" "$tree" "$fs: spilled" -T
	# twice: now from the page cache; then without any cache
	t_same "$T_TMP/want" "$tree" "$fs: spilled, read again" -T
	echo 1 >/proc/sys/vm/drop_caches
	t_same "$T_TMP/want" "$tree" "$fs: spilled, read after dropping caches" -T
	find "$tree" -type f -not -name sparse-5g -print0 | xargs -0 "$T_BUILD/tools/fileop" ways ||
		fail "$fs: read, direct read and mapping differ"
	ok "$fs: spilled, read, all the same"

	# Tools that decide by st_blocks and holes.
	mkdir "$T_TMP/copy"
	cp --sparse=auto "$tree/holes" "$tree/zeros" "$tree/one" "$tree/hole-end" "$T_TMP/copy/" || fail "cp"
	for f in holes zeros one hole-end; do
		cmp "$tree/$f" "$T_TMP/copy/$f" || fail "$fs: cp --sparse of $f"
	done
	tar -C "$tree" -S -cf - --exclude sparse-5g --exclude fifo . | tar -C "$T_TMP/copy" -xf - || fail "tar"
	for f in holes linked "size-$AW_FRAME" incompressible hole-begin; do
		cmp "$tree/$f" "$T_TMP/copy/$f" || fail "$fs: tar -S of $f"
	done
	rm -rf "$T_TMP/copy"
	for f in one holes linked; do
		t_want_state "$tree/$f" spilled # reading brings nothing back
	done

	marker_hidden "$tree/linked" "$hot/tree/linked"
	ok "$fs: cp, tar, marker hidden"

	t_recall "$tree"
	for f in one "size-$AW_FRAME" holes linked setuid incompressible sparse-5g; do
		t_want_state "$tree/$f" "resident premigrated"
	done
	t_same "$T_TMP/want" "$tree" "$fs: recalled" -T
	t_same "$T_TMP/want" "$hot/tree" "$fs: recalled, the hot tier itself" -T
	((32 * $(hot_bytes "$hot/tree") > before * 20)) || fail "$fs: recall brought too little back"
	[[ $(stat -c %b "$hot/tree/sparse-5g") -lt 2000 ]] || fail "$fs: recall filled the holes of sparse-5g"

	# again: spilling a recalled file (instant where the copy is still good)
	t_spill "$tree"
	t_same "$T_TMP/want" "$tree" "$fs: spilled again" -T
	chattr -i "$hot/tree/old" 2>/dev/null
	t_check "$fs: errors" "$(t_status "$dir" .errors)" 0
	t_ctl check -m "$dir" >"$T_TMP/check.log" 2>&1 || fail "$fs: check: $(tail "$T_TMP/check.log")"
	ok "$fs: recalled and spilled again, all the same"
	t_umount "$dir"
}

# In none of the four xattr operations; but it is there, below.
marker_hidden()
{
	local seen=$1 below=$2
	getfattr -m- -d "$below" 2>/dev/null | grep -q '^trusted\.spill=' || fail "no marker on the stub"
	getfattr -m- -d "$seen" 2>/dev/null | grep -q 'trusted\.spill' && fail "the marker is listed"
	t_errno "No such attribute" getfattr -n trusted.spill "$seen"
	setfattr -n trusted.spill -v forged "$seen" 2>/dev/null && fail "the marker can be set"
	setfattr -x trusted.spill "$seen" 2>/dev/null && fail "the marker can be removed"
	getfattr -m- -d "$below" 2>/dev/null | grep -q '^trusted\.spill=' || fail "the marker is gone"
}

for fs in ${SPILL_FS:-ext4 xfs btrfs}; do
	round_trip "$fs"
done
