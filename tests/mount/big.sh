#!/bin/bash
# SPDX-License-Identifier: MIT
# A file of more than 4 GiB of real data, larger than what 32-bit offsets and sizes can say: spilled, read at the
# borders, copied, recalled, changed in its upper part.
# timeout: 900
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_tool treesum fileop
t_fs ext4 12G "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
t_spillfs "$T_TMP/store" "$dir"
gib=$((1 << 30))
size=$((4 * gib + 100 * 1024 * 1024 + 12345))

# Cheap to make and to compress, but no two megabytes are alike.
awk -v n=$((size / 1024 / 1024 + 1)) 'BEGIN { for (i = 0; i < n; i++) printf "%-1048576d", i * 7919 }' |
	head -c $size >"$dir/big" || fail "write"
t_check size "$(stat -c %s "$dir/big")" $size
sum=$(xxh64sum <"$dir/big" 2>/dev/null || cksum <"$dir/big")
sum_is()
{
	t_check "$1" "$(xxh64sum <"$dir/big" 2>/dev/null || cksum <"$dir/big")" "$sum"
}
at() # MEGABYTE: the number that stands there
{
	dd if="$dir/big" bs=1M skip="$1" count=1 status=none | head -c 20 | tr -d ' '
}
borders()
{
	local m
	for m in 0 1 2047 2048 4095 4096 4100; do
		t_check "$1: megabyte $m" "$(at $m)" $((m * 7919))
	done
}
borders resident
t_spill "$dir/big"
t_want_state "$dir/big" spilled
t_check "size, spilled" "$(stat -c %s "$dir/big")" $size
borders spilled
sum_is "spilled, all of it"
ok "spilled and read"
t_must "$T_BUILD/tools/fileop" copy "$dir/big" "$dir/part" $((4 * gib - 1000000)) 0 3000000
cmp "$dir/part" <(tail -c +$((4 * gib - 1000000 + 1)) "$dir/big" | head -c 3000000) || fail "copy over the 4 GiB border"
t_recall "$dir/big"
t_want_state "$dir/big" "resident premigrated"
sum_is "recalled"
t_spill "$dir/big"
printf 'HERE' | dd of="$dir/big" bs=1 seek=$((4 * gib + 500000)) conv=notrunc status=none || fail "write beyond 4 GiB"
t_check "written" "$(dd if="$dir/big" bs=1 skip=$((4 * gib + 500000)) count=4 status=none)" HERE
printf '    ' | dd of="$dir/big" bs=1 seek=$((4 * gib + 500000)) conv=notrunc status=none
sum_is "written and written back"
ok "recalled and changed"
t_umount "$dir"
