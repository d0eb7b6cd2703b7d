#!/bin/bash
# SPDX-License-Identifier: MIT
# `plan`: its estimates against what a spill of the same directory really does, the risks it names, and that it
# leaves no trace.
# timeout: 200
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq setcap chattr

dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out
json()
{
	t_check "$1" "$(jq -r "$1" "$out")" "$2"
}
# near WHAT GOT WANT PERCENT
near()
{
	local d=$(($2 - $3))
	((d = d < 0 ? -d : d))
	((d * 100 <= $3 * $4)) || fail "$1: $2, should be within $4% of $3"
}

t_fs ext4 300M "$dir"
lay()
{
	printf '%s' "$dir/overlay2/$(printf %s "$1" | sha256sum | cut -d' ' -f1)/diff"
}
head -c 6000000 /dev/urandom >"$T_TMP/shared"
for l in 1 2 3; do
	d=$(lay $l)
	mkdir -p "$d/usr/lib" "$d/etc"
	cp "$T_TMP/shared" "$d/usr/lib/shared.so" # the same in all three
	t_data "$l" 8000000 >"$d/usr/lib/own.so"
	for ((i = 0; i < 300; i++)); do
		echo "$l $i some text that is in a file of its own $((i * i * 7919 % 10007))" >"$d/etc/f$i"
	done
done
truncate -s 30M "$d/sparse"
t_data s 500000 | dd of="$d/sparse" bs=4096 seek=3000 conv=notrunc status=none
ln "$d/usr/lib/own.so" "$d/usr/lib/own.so.1"
t_data x 100000 >"$d/capable"
chmod 755 "$d/capable"
setcap cap_net_raw+ep "$d/capable" || fail "setcap"
t_data y 100000 >"$d/fixed"
chattr +i "$d/fixed"
mkdir "$dir/plain"
t_data z 3000000 >"$dir/plain/outside"
sync -f "$dir"
state()
{
	# find(1) itself reads the directories
	find "$dir" ! -type d -printf '%P %s %b %A@ %T@ %C@\n' -o -printf '%P %T@ %C@\n' | sort
}
state >"$T_TMP/before"

mkdir "$store"
t_want 0 plan "$dir" --json --store "$store"
state | diff "$T_TMP/before" - || fail "plan changed something"
[[ -z $(ls -A "$store") ]] || fail "plan wrote to the store"
json '.layers, .stay.capabilities, .stay.immutable, .stay.hard_links, .other.files' $'3\n1\n1\n1\n1'
json '[.risks[] | select(.level == "FAIL")] | length' 0
estimate=$(jq .stored_bytes "$out") unique=$(jq .unique_bytes "$out") freed=$(jq .freed_bytes "$out")
files=$(jq .spillable_files "$out")
near "bytes without twins" "$unique" $((6000000 + 3 * 8000000 + 500000)) 8
t_want 0 plan "$dir"
t_says 'would be spilled'
grep -qE 'no container engine is running|running: ' "$out" || fail "nothing about engines"
ok "numbers"

t_spillfs "$store" "$dir"
sleep 0.1
t_want 0 spill --json "$dir/overlay2"
t_check "files" "$(jq .files_done "$out")" "$files"
near "freed" "$(jq .bytes_freed "$out")" "$freed" 5
near "stored, estimated $estimate" "$(jq .bytes_stored "$out")" "$estimate" 15
t_want 22 plan "$dir"
t_says 'a spillfs or its guard is there already'
t_umount "$dir"
ok "against a real spill"

# ---- risks ---------------------------------------------------------------------------------------
t_want 17 plan "$T_TMP/nonesuch"
t_want 1 plan
t_want 1 plan "$dir" --hot x
mkdir "$T_TMP/t" "$T_TMP/t/sub" && t_must mount -t tmpfs none "$T_TMP/t"
t_want 22 plan "$T_TMP/t"
t_says 'neither ext4, xfs nor btrfs'
t_says 'no layers of a container engine found'
t_fs ext4 32M "$T_TMP/e"
mkdir "$T_TMP/e/sub" "$T_TMP/e/store" && t_must mount -t tmpfs none "$T_TMP/e/sub"
ln -s "$T_TMP/e" "$T_TMP/link"
t_want 22 plan --json "$T_TMP/link" --store "$T_TMP/e/store"
json '[.risks[] | select(.level == "FAIL") | .what] | sort | join(" ")' 'store submounts symlink'
t_want 22 plan "$T_TMP/e" --store "$T_TMP/nonesuch"
t_must umount "$T_TMP/e/sub"
t_want 0 plan -q "$T_TMP/e"
ok "risks"
