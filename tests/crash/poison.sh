#!/bin/bash
# SPDX-License-Identifier: MIT
# A request that kills every daemon that handles it (SPILLFS_FAULT_REQUEST) is answered with an I/O error after three
# deaths, and its like after one; others are not harmed, neither those that were being handled at the same time, nor
# when daemons are killed from outside; the mount goes on however often it comes.
# timeout: 120
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool metastress
t_need jq
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
T_DEATHS=1
echo text >"$dir/bad"
echo good >"$dir/good"
ino=$(stat -c %i "$dir/bad")

daemons()
{
	t_until 20 t_status "$dir" .daemons
}
# Nobody opens it (OPEN is opcode 14) without killing the daemon.
SPILLFS_MAX_LIVES=6 SPILLFS_FAULT_REQUEST=14:$ino t_spillfs "$T_TMP/store" "$dir"
"$T_BUILD/tools/metastress" "$dir" 100 3 >"$T_TMP/metastress.log" 2>&1 &
stress=$!
sleep 0.5
t_errno "Input/output error" timeout 60 cat "$dir/bad"
t_check "daemons, after three died" "$(daemons)" 4
t_check "requests refused" "$(t_status "$dir" .requests_refused)" 1
t_check "its neighbour" "$(cat "$dir/good")" good
t_errno "Input/output error" timeout 60 cat "$dir/bad"
t_check "daemons, after it came again" "$(daemons)" 5
t_check "its size" "$(stat -c %s "$dir/bad")" 5
t_ctl status "$dir" >"$T_TMP/status.out"
grep -q "CRASHES *2 requests" "$T_TMP/status.out" || fail "status: $(<"$T_TMP/status.out")"
kill -0 "$stress" || fail "metastress ended too early"
# more often than the supervisor would start daemons
for _ in $(seq 8); do
	timeout 60 cat "$dir/bad" >/dev/null 2>"$T_TMP/cat.err" && fail "it can be read now"
	grep -q "Input/output" "$T_TMP/cat.err" || fail "$(<"$T_TMP/cat.err")"
done
kill -TERM "$stress"
wait "$stress" || fail "metastress: $(<"$T_TMP/metastress.log")"
t_check "requests refused" "$(t_status "$dir" .requests_refused)" 10
t_umount "$dir"
ok "a request that kills: $(<"$T_TMP/metastress.log")"

# ---- a SIGKILL from outside is nobody's fault
t_spillfs "$T_TMP/store" "$dir"
run=$(t_run_dir "$dir")
for i in 1 2 3 4 5; do
	kill -STOP "$(<"$run/daemon")"
	timeout 30 stat "$dir/none.$i" >/dev/null 2>&1 &
	kill -9 "$(<"$run/daemon")"
	wait $!
	t_check "stat over a kill" $? 1
	t_until 20 t_status "$dir" .daemons >/dev/null
done
t_check "requests refused after kills from outside" "$(t_status "$dir" .requests_refused)" 0
t_umount "$dir"
ok "kills from outside"
