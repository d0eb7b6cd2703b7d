#!/bin/bash
# SPDX-License-Identifier: MIT
# writeback=on: the kernel collects small writes, also to files opened for writing only, appended to, and written
# through mappings; nothing is spilled while it has any, and no byte or time is lost over a daemon's death, a spill and
# a recall.
# timeout: 120
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
T_DEATHS=1

"$SPILLFS" "$T_TMP/store" "$dir" -o writeback=on,passthrough=on >"$T_TMP/contradiction.log" 2>&1
t_check "exit code of writeback=on,passthrough=on" $? 1

t_spillfs "$T_TMP/store" "$dir" min-age=0,writeback=on
t_check "status" "$(t_status "$dir" '.writeback, .passthrough' | xargs)" "true false"
run=$(t_run_dir "$dir")
writes() { t_status "$dir" '.requests.WRITE // 0'; }

t_data 1 4000000 >"$T_TMP/want"
before=$(writes)
dd if="$T_TMP/want" of="$dir/small" bs=1000 status=none
after=$(writes)
((after - before < 400)) || fail "4000 writes became $((after - before)) requests"
cmp "$T_TMP/want" "$dir/small" || fail "small writes"
cmp "$T_TMP/want" "$(t_hot "$dir")/small" || fail "what was closed is not in the hot file"
ok "4000 writes became $((after - before)) requests"

# a part of a page of a file that is open for writing only, not in the cache; appends
echo 1 >/proc/sys/vm/drop_caches
printf XYZ | dd of="$dir/small" bs=1 seek=123457 conv=notrunc status=none
printf XYZ | dd of="$T_TMP/want" bs=1 seek=123457 conv=notrunc status=none
for i in $(seq 50); do
	echo "line $i" >>"$dir/small"
	echo "line $i" >>"$T_TMP/want"
done
cmp "$T_TMP/want" "$dir/small" || fail "part of a page, appends"
touch -d 2020-01-02T03:04:05.678 "$dir/small"
sleep 1.1
t_check "mtime" "$(stat -c %.3Y "$(t_hot "$dir")/small")" "$(date -d 2020-01-02T03:04:05.678 +%s.678)"
ok "part of a page, appends, times"

# open and dirty: not spilled; after the close it is, and comes back
exec 8>>"$dir/small"
echo dirty >&8
echo dirty >>"$T_TMP/want"
t_ctl spill "$dir/small" >"$T_TMP/ctl.out" 2>&1
t_check "exit code of spill while it is open" $? 23
exec 8>&-
mtime=$(stat -c %.9Y "$dir/small")
t_spill "$dir/small"
t_want_state "$dir/small" spilled
sleep 1 # what the kernel may still have to say about its times
cmp "$T_TMP/want" "$dir/small" || fail "spilled"
t_check "mtime of a spilled file" "$(stat -c %.9Y "$dir/small")" "$mtime"
echo more >>"$dir/small"
echo more >>"$T_TMP/want"
echo 1 >/proc/sys/vm/drop_caches
cmp "$T_TMP/want" "$dir/small" || fail "written after a spill"
ok "spilled and written again"

# a daemon dies while the kernel has dirty pages
exec 8>"$dir/dirty"
dd if="$T_TMP/want" bs=1000 status=none >&8
kill -9 "$(<"$run/daemon")"
dd if="$T_TMP/want" bs=1000 status=none >&8
exec 8>&-
t_until 20 t_status "$dir" .daemons >/dev/null
t_check "writeback after a takeover" "$(t_status "$dir" .writeback)" true
echo 1 >/proc/sys/vm/drop_caches
cmp <(cat "$T_TMP/want" "$T_TMP/want") "$dir/dirty" || fail "written over a daemon's death"
cmp "$dir/dirty" "$(t_hot "$dir")/dirty" || fail "written over a daemon's death: not in the hot file"
t_umount "$dir"
ok "a death while pages are dirty"

t_spillfs "$T_TMP/store" "$dir" writeback=auto
[[ $(t_status "$dir" .passthrough) == "$(t_status "$dir" '.writeback | not')" ]] || fail "writeback=auto with passthrough"
t_umount "$dir"
t_spillfs "$T_TMP/store" "$dir" writeback=auto,passthrough=off
t_check "writeback=auto, passthrough=off" "$(t_status "$dir" .writeback)" true
t_umount "$dir"
ok "writeback=auto"
