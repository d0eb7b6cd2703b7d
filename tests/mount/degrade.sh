#!/bin/bash
# SPDX-License-Identifier: MIT
# With less than it would like to have, the daemon does with what it has, says so in one line, and users see no error: few
# descriptors (RLIMIT_NOFILE) while many more files are open; no CAP_SYS_RESOURCE; passthrough refused by the kernel, or
# only for O_PATH descriptors (Linux 6.9 to 6.11).
# timeout: 400
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fileop openmany refuse.so
t_need jq prlimit setpriv
t_fs ext4 512M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
many=5000
(($(ulimit -Hn) > many + 50)) || skip "RLIMIT_NOFILE of $(ulimit -Hn): $many files cannot be open at once"

# start OPTIONS COMMAND...: spillfs by COMMAND, in the foreground; what it says is in $T_TMP/daemon.log.
start()
{
	local opts=$1
	shift
	[[ -d $T_TMP/store ]] || mkdir "$T_TMP/store"
	: >"$T_TMP/daemon.log"
	t_bg "$@" "$SPILLFS" -f "$T_TMP/store" "$dir" -o "auto=off,min-age=0,$opts" >"$T_TMP/daemon.log" 2>&1 </dev/null
	t_until 20 t_status "$dir" .daemons >/dev/null 2>&1 || fail "$*: does not start"
	t_note_daemons
}
# said TIMES TEXT: that often, and nothing else that is a warning (but for what this machine itself lacks).
said()
{
	t_check "lines with '$2'" "$(grep -c -- "$2" "$T_TMP/daemon.log")" "$1"
	t_check "other warnings" "$(grep -Ev -- "$2|CAP_SYS_RESOURCE" "$T_TMP/daemon.log" | grep -E 'warning:|error:')" ""
}
requests()
{
	t_status "$dir" "[.requests.READ, .requests.WRITE] | map(. // 0) | add"
}

# ---- few descriptors

limit=1024
op=$T_BUILD/tools/fileop
for way in auto off; do
	start passthrough=$way prlimit --nofile=$limit:$limit
	mkdir "$dir/d"
	t_must "$op" fill "$dir/d" 0 $many
	pluses=
	for mode in r w a; do
		[[ $way$mode != autoa ]] || continue # those who append are mediated: as below
		before=$(requests)
		out=$("$T_BUILD/tools/openmany" "$dir/d" $many $mode $pluses)
		t_check "$many files open at once, passthrough=$way, $mode: exit $?, errors" "$out" ""
		[[ $mode = r ]] || pluses+=++
		echo "passthrough=$way, $mode: $many files open at once, $(($(requests) - before)) READs and WRITEs"
	done
	said 1 "RLIMIT_NOFILE is $limit"
	if [[ $way = off ]]; then
		# and stubs; a batch of files being spilled holds descriptors too
		t_spill "$dir/d"
		out=$("$T_BUILD/tools/openmany" "$dir/d" $many r $pluses)
		t_check "$many stubs open at once: exit $?, errors" "$out" ""
		said 1 "RLIMIT_NOFILE is $limit"
	fi
	rm -r "$dir/d"
	mkdir "$dir/d"

	# Each deleted file that is open takes one; what cannot be deleted any more is an error, what is open stays right.
	t_must "$op" fill "$dir/d" 0 300
	out=$("$T_BUILD/tools/openmany" "$dir/d" 300 d)
	t_check "300 deleted files, passthrough=$way: exit $?, errors" "$out" ""
	t_must "$op" fill "$dir/d" 0 1500
	out=$("$T_BUILD/tools/openmany" "$dir/d" 1500 d)
	(($? < 2)) || fail "deleted files that were open hold something else"
	[[ -z $out || $out =~ ^unlink\ EMFILE\ [0-9]+$ ]] || fail "1500 deleted files: $out"
	echo "passthrough=$way: 1500 files deleted while they are open: ${out:-no error}"
	echo after >"$dir/after" && cat "$dir/after" >"$T_TMP/after" && [[ $(<"$T_TMP/after") = after ]] || fail "nothing works any more"
	t_check "daemons" "$(t_status "$dir" .daemons)" 1
	rm -r "$dir/d"
	t_umount "$dir"
done
ok "$many files open at once with $limit descriptors"

# ---- no CAP_SYS_RESOURCE

start "" setpriv --bounding-set -sys_resource
t_data 1 3000000 | tee "$dir/f" >"$T_TMP/f"
t_spill "$dir/f"
cmp "$T_TMP/f" "$dir/f" || fail "contents differ"
t_recall "$dir/f"
cmp "$T_TMP/f" "$dir/f" || fail "contents differ"
said 1 CAP_SYS_RESOURCE
t_umount "$dir"
ok "no CAP_SYS_RESOURCE"

# ---- passthrough refused

start "" env
pass=$(t_status "$dir" .passthrough)
t_umount "$dir"
[[ $pass == true ]] || {
	ok "this kernel has no passthrough to be refused"
	exit 0
}
for why in 1 38 40; do # EPERM, ENOSYS, ELOOP
	start "" env REFUSE_BACKING=$why LD_PRELOAD="$T_BUILD/tools/refuse.so"
	for i in 1 2 3; do
		cp "$T_TMP/f" "$dir/f" && cmp "$T_TMP/f" "$dir/f" || fail "errno $why: a file cannot be written and read"
	done
	t_check "errno $why: passthrough" "$(t_status "$dir" .passthrough)" false
	said 1 "refuses passthrough"
	t_umount "$dir"
done
ok "passthrough refused"

start "" env REFUSE_BACKING=path LD_PRELOAD="$T_BUILD/tools/refuse.so"
before=$(requests)
cp "$T_TMP/f" "$dir/f" && cmp "$T_TMP/f" "$dir/f" || fail "a file cannot be written and read"
t_check "READs and WRITEs where backing files must not be O_PATH" $(($(requests) - before)) 0
t_check "passthrough" "$(t_status "$dir" .passthrough)" true
said 0 "refuses passthrough"
t_umount "$dir"
ok "O_PATH refused for backing files"
