#!/bin/bash
# SPDX-License-Identifier: MIT
# A restart while a large file is spilled: nobody who uses the mount waits for the rest of it. The same when the policy
# spills, and when a person asked for it.
# timeout: 300
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq
t_fs ext4 512M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
T_DEATHS=1
mib=160
# At level 19 two cores need a minute for it.
t_data 1 $((mib << 20)) | tee "$dir/large" >"$T_TMP/large"

# restart_while WHAT OPTIONS COMMAND...: mount, COMMAND begins to spill; restart while somebody looks names up.
restart_while()
{
	local what=$1 opts=$2 i=0 t worst=0 before took prober
	shift 2
	t_spillfs "$T_TMP/store" "$dir" "min-age=0,level=19,$opts"
	before=$(t_status "$dir" .pid)
	"$@" >"$T_TMP/spill.log" 2>&1 &
	local spiller=$!
	T_JOBS+=("$spiller")
	t_until 20 eval '(($(du -sm "$T_TMP/store/packs" | cut -f1) > 2))' || fail "$what: spilling does not begin"
	rm -f "$T_TMP/stop"
	{
		while [[ ! -e $T_TMP/stop ]]; do
			t=${EPOCHREALTIME/./}
			stat "$dir/no.$((i++))" 2>/dev/null
			t=$((${EPOCHREALTIME/./} - t))
			((t <= worst)) || worst=$t
		done
		echo "$i $worst" >"$T_TMP/prober"
	} &
	prober=$!
	took=${EPOCHREALTIME/./}
	t_must t_ctl restart "$dir" >/dev/null
	took=$(((${EPOCHREALTIME/./} - took) / 1000))
	touch "$T_TMP/stop"
	wait "$prober"
	wait "$spiller" 2>/dev/null
	read -r i worst <"$T_TMP/prober"
	worst=$((worst / 1000))
	echo "$what: restart took $took ms, $i lookups meanwhile, the longest $worst ms"
	[[ $(t_status "$dir" .pid) != "$before" ]] || fail "$what: no new daemon"
	t_want_state "$dir/large" "resident"
	cmp "$T_TMP/large" "$dir/large" || fail "$what: contents differ"
	((i > 10)) || fail "$what: nobody used the mount meanwhile: nothing is shown"
	((worst < 10000)) || fail "$what: a lookup waited $worst ms"
	t_umount "$dir"
	ok "restart while $what"
}
restart_while "a person spills" "" t_ctl spill "$dir/large"
restart_while "the policy spills" "auto=on,spill=all,high=5,low=2,critical=90,interval=1" true
