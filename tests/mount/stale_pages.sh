#!/bin/bash
# SPDX-License-Identifier: MIT
# Pages that the kernel cached of a stub must never be seen once its content has changed: read cold, changed in each
# way there is, read, spilled again, read; by a new open, by one from before, and through a mapping. The same is done to
# a plain file next to it, which says what is right. (DESIGN.md section 4, stale pages.)
# timeout: 300
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fileop
t_need jq
t_fs ext4 512M "$T_TMP/fs"
dir=$T_TMP/fs/dir twin=$T_TMP/twin
mkdir "$dir" "$twin"
t_spillfs "$T_TMP/store" "$dir"
op=$T_BUILD/tools/fileop

same()
{
	cmp "$dir/f" "$twin/f" || fail "$size bytes, $how: $1"
	"$op" ways "$dir/f" || fail "$size bytes, $how: $1: the ways to read differ"
}
change()
{
	case $how in
	write) printf 'changed' | dd of="$1" bs=1 seek=$((size / 2)) conv=notrunc status=none ;;
	append) printf 'appended' >>"$1" ;;
	rewrite) t_data 99 "$size" >"$1" ;;
	mapping) "$op" mwrite "$1" $((size / 3)) mapped ;;
	shorter) truncate -s $((size / 2)) "$1" ;;
	longer) truncate -s $((size / 2)) "$1" && truncate -s "$size" "$1" ;;
	punch) fallocate -p -o 4096 -l 4096 "$1" ;;
	zero) fallocate -z -o 100 -l $((size / 2)) "$1" ;;
	copy) "$op" copy "${1%/*}/other" "$1" 0 50 $((size / 4)) ;;
	replace) t_data 77 "$size" >"$1.new" && mv "$1.new" "$1" ;;
	direct) t_data 55 4096 | dd of="$1" bs=4096 seek=1 conv=notrunc oflag=direct iflag=fullblock status=none ;;
	esac
}
t_data 3 400000 | tee "$dir/other" >"$twin/other"
n=0
for size in 9000 131072 700000; do # filled at the open; a frame; read by readahead
	for how in write append rewrite mapping shorter longer punch zero copy replace direct; do
		rm -f "$dir/f" "$twin/f"
		n=$((n + 1))
		t_data "$n" "$size" | tee "$dir/f" >"$twin/f"
		t_spill "$dir/f"
		t_want_state "$dir/f" spilled
		same "cold"
		exec 8<"$dir/f" 9<"$twin/f"
		change "$twin/f" || fail "$size bytes, $how: the plain file"
		change "$dir/f" || fail "$size bytes, $how: fails"
		same "after the change"
		cmp /dev/fd/8 /dev/fd/9 || fail "$size bytes, $how: through a descriptor from before"
		exec 8<&- 9<&-
		t_spill "$dir/f"
		t_want_state "$dir/f" spilled
		same "spilled again"
		echo 1 >/proc/sys/vm/drop_caches
		same "spilled again, from the store"
		t_recall "$dir/f"
		same "recalled"
		echo 1 >/proc/sys/vm/drop_caches
		same "recalled, from the hot tier"
	done
done
t_check errors "$(t_status "$dir" .errors)" 0
ok "$n files, changed in 11 ways after their pages were cached: no stale page"
