#!/bin/bash
# SPDX-License-Identifier: MIT
# From pressure to relief: how fast what has its copy is freed, as many small files and as large ones, warm and with
# nothing of it in memory; afterwards every byte is there. Says the rates, and judges only the bytes.
# timeout: 200
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool treesum
t_need jq

SMALL=20000 LARGE=300
dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out
t_fs ext4 700M "$dir" # with 44,800 inodes
t_fs ext4 700M "$store"
id=$(printf x | sha256sum | cut -d' ' -f1)
lay=$dir/overlay2/$id/diff
mkdir -p "$lay"/{small,large}
head -c $((3000 * SMALL)) /dev/urandom >"$T_TMP/random"
for ((i = 0; i < SMALL; i += 1000)); do
	mkdir "$lay/small/$i"
	split -b 3000 -a 3 - "$lay/small/$i/f" < <(tail -c +$((3000 * i + 1)) "$T_TMP/random" | head -c 3000000)
done
split -b 200000 -a 3 "$T_TMP/random" "$T_TMP/piece."
for f in "$T_TMP/piece."*; do # of a MB each, which can be compressed
	cat "$f" "$f" "$f" "$f" "$f" >"$lay/large/${f##*.}"
done
rm "$T_TMP/piece."*
t_check "large files" "$(find "$lay/large" -type f | wc -l)" $LARGE
t_spillfs "$store/s" "$dir"
digest=$T_TMP/digest
t_digest "$dir" >"$digest"

# freed WHAT FILES: premigrate it, then free it
freed()
{
	local a b files bytes
	t_want 0 premigrate "$lay/$1"
	sync
	[[ $2 != cold ]] || echo 3 >/proc/sys/vm/drop_caches
	a=${EPOCHREALTIME/./}
	t_want 0 spill --json "$lay/$1"
	b=${EPOCHREALTIME/./}
	read -r files bytes < <(jq -r '"\(.files_done) \(.bytes_done)"' "$out")
	echo "$1 files, $2: $files files of $((bytes >> 20)) MiB in $(((b - a) / 1000)) ms:" \
		"$((files * 1000000 / (b - a))) files/s, $((bytes / (b - a))) MB/s"
	t_check "spilled" "$files" "$3"
	t_check "stored anew" "$(jq .bytes_stored "$out")" 0
}
freed small warm $SMALL
freed large warm $LARGE
t_same "$digest" "$dir" "after the release"
t_recall "$lay"
freed small cold $SMALL
freed large cold $LARGE
t_same "$digest" "$dir" "after the second release"
ok "what has its copy is freed without reading it again"
t_ctl check -m "$dir" >"$out" 2>&1 || fail "check: $(cat "$out")"
t_umount "$dir"
