#!/bin/bash
# SPDX-License-Identifier: MIT
# 100,000 files in one directory: all are listed once, also when they are spilled, found by name, renamed and deleted.
# HUNDREDK (100000) is the number.
# timeout: 600
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_tool fileop
n=${HUNDREDK:-100000}
t_fs ext4 3G "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
t_spillfs "$T_TMP/store" "$dir"
mkdir "$dir/d"
op=$T_BUILD/tools/fileop

t_must "$op" fill "$dir/d" 0 "$n"
t_check "entries" "$("$op" list "$dir/d")" $((n + 2))
t_check "ls -f" "$(find "$dir/d" -type f | wc -l)" "$n"
ok "$n files created and listed"

t_spill "$dir/d"
t_check "entries" "$("$op" list "$dir/d")" $((n + 2))
t_check "sum of sizes" "$(find "$dir/d" -type f -printf '%s\n' | awk '{ s += $1 } END { print s }')" \
	"$(seq -s '' 0 $((n - 1)) | tr -d '\n' | wc -c)"
for i in 0 1 $((n / 2)) $((n - 1)); do
	t_check "content of $i" "$(cat "$dir/d/$i")" "$i"
done
find "$dir/d" -name '*77' -printf '%f ' -exec cat {} + | grep -q . || fail "find"
t_check "many contents" "$(cd "$dir/d" && seq 0 97 $((n - 1)) | xargs cat | wc -c)" \
	"$(seq -s '' 0 97 $((n - 1)) | tr -d '\n' | wc -c)"
ok "spilled, listed and read"

# Names come and go while somebody lists.
t_bg "$op" fill "$dir/d" 1000000 3000
filler=$!
for i in 1 2 3; do
	t_must "$op" list "$dir/d" >/dev/null
done
wait $filler || fail "creating while listing"
t_check "entries" "$("$op" list "$dir/d")" $((n + 3002))
t_must mv "$dir/d" "$dir/e"
t_check "content after the rename" "$(cat "$dir/e/4711")" 4711
t_must rm -rf "$dir/e"
t_check "nothing left" "$(ls -A "$dir")" ""
ok "listed while it changes, renamed, deleted"
t_umount "$dir"
