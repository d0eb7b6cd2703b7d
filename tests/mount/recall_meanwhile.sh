#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 120
# A recall that does not get on (the store's disk is behind a gate that is closed) keeps nobody from renaming, linking and
# deleting names of that file, or from anything with other files. What
# the file holds afterwards is right, and its ctime is as young as the last of that.
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq
t_gated_fs ext4 300M "$T_TMP/disk"
t_fs ext4 200M "$T_TMP/hot"
t_spillfs "$T_TMP/disk/spill" "$T_TMP/hot" min-age=0
dir=$T_TMP/hot
mkdir "$dir/a" "$dir/b"
t_data 1 60000000 | tee "$dir/a/f" >"$T_TMP/f"
ln "$dir/a/f" "$dir/b/second"
ln "$dir/a/f" "$dir/b/third"
t_data 2 1000000 | tee "$dir/a/unknown" >"$T_TMP/unknown"
t_spill "$dir/a/f" "$dir/a/unknown"
t_want_state "$dir/a/f" spilled
sync -f "$T_TMP/disk"
sleep 0.5
ctime=$(stat -c %.9Z "$dir/a/f")
echo last >"$dir/a/last"
t_spill "$dir/a/last" # what SQLite has of the index in memory is void now: also that lies on the disk
sync -f "$T_TMP/disk"
exec 9<"$dir/a/f" # of that file it is known while it is open where its data is; of a/unknown the index must say it

kill -STOP $T_GATE
echo 3 >/proc/sys/vm/drop_caches # also of the loop device: what the store has in memory would do
(echo more >>"$dir/a/f") &
writer=$!
T_JOBS+=("$writer")
(echo more >>"$dir/a/unknown") &
unknown=$!
T_JOBS+=("$unknown")
sleep 1 # spillctl info would ask the index, which lies on that disk
kill -0 "$writer" 2>/dev/null || fail "the recall does not wait for the disk"
kill -0 "$unknown" 2>/dev/null || fail "the index answers without its disk: nothing is shown"
# now COMMAND...: it does not wait for the gate. (The commands themselves come from a disk whose cache is empty now.)
now()
{
	timeout -k 1 25 "$@" || fail "while a recall waits: $* (exit $?)"
}
now mv "$dir/a/f" "$dir/b/f"
now mv "$dir/a/unknown" "$dir/b/unknown"
now ln "$dir/b/f" "$dir/a/link"
now rm "$dir/b/second"
now sh -c ': >"$0/third.new" && mv "$0/third.new" "$0/third"' "$dir/b" # renamed over
now sh -c 'echo x >"$0/a/other" && rm "$0/a/other" && ls "$0/a" "$0/b" >/dev/null' "$dir"
kill -0 "$writer" 2>/dev/null || fail "the recall ended meanwhile: nothing is shown"
during=$(stat -c %.9Z "$dir/b/f")
ok "names can be changed while a recall waits"

kill -CONT $T_GATE
exec 9<&-
wait "$writer" || fail "the writer failed"
wait "$unknown" || fail "the other writer failed"
echo more >>"$T_TMP/f"
echo more >>"$T_TMP/unknown"
cmp "$T_TMP/f" "$dir/b/f" || fail "contents differ"
cmp "$T_TMP/unknown" "$dir/b/unknown" || fail "contents of the other differ"
t_check "names" "$(cd "$dir" && find . -type f | sort | tr '\n' ' ')" "./a/last ./a/link ./b/f ./b/third ./b/unknown "
t_check "links" "$(stat -c %h "$dir/a/link")" 2
after=$(stat -c %.9Z "$dir/b/f")
awk -v a="$ctime" -v b="$during" -v c="$after" 'BEGIN { exit !(a < b && b <= c) }' ||
	fail "ctime $ctime when it was spilled, $during after a rename, $after at the end"
t_umount "$dir"
t_spillfs "$T_TMP/disk/spill" "$T_TMP/hot" min-age=0
cmp "$T_TMP/f" "$dir/b/f" || fail "contents differ after mounting again"
ok "and what it holds is right"
