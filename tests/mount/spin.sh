#!/bin/bash
# SPDX-License-Identifier: MIT
# The daemon looks for the next request before it sleeps for it (src/fs/spin.c), and must stop when there is none: idle,
# it uses no CPU, also right after it was busy. (What is won by looking is a matter of the benchmarks.)
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool opbench
t_need jq
t_fs ext4 200M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
t_spillfs "$T_TMP/store" "$dir"
pid=$(<"$(t_run_dir "$dir")/daemon")

ticks()
{
	awk '{ print $14 + $15 }' "/proc/$pid/stat"
}
before=$(ticks)
"$T_BUILD/tools/opbench" -n 5000 "$dir" >"$T_TMP/out" || fail "opbench: $(cat "$T_TMP/out")"
busy=$(($(ticks) - before))
((busy > 6)) || fail "busy, it used $busy ticks of CPU: nothing is shown"
sleep 0.2 # what was being done in the background of that
before=$(ticks)
sleep 3
idle=$(($(ticks) - before))
((idle <= 6)) || fail "idle for three seconds, it used $idle ticks of CPU (busy: $busy)"
ok "an idle daemon is idle"
