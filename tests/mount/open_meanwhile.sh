#!/bin/bash
# SPDX-License-Identifier: MIT
# Opens that arrive in the middle of a spill or a recall: the daemon pauses before one of its durable effects, each in
# turn, and meanwhile the file is opened and read, written, emptied, replaced, deleted. Each must work and give what a
# plain file would give, then and after mounting again.
# timeout: 500
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
T_SUPERVISOR=off # the daemon itself is what is killed or stopped
t_need_daemon
t_need jq
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
trace=$T_TMP/trace
tried=0

# start FAULT: a fresh file f of contents that were never stored, spilled already when the verb is recall; the daemon
# mounted with this fault. What the try before left is looked at on the way.
start()
{
	t_spillfs "$T_TMP/store" "$dir"
	((tried == 0)) || is_right "after mounting again"
	rm -f "$dir/f"
	tried=$((tried + 1))
	t_data "$tried" 200000 >"$T_TMP/old"
	t_data $((tried + 100000)) 150000 >"$T_TMP/new"
	(cat "$T_TMP/old" && echo more) >"$T_TMP/longer"
	cp "$T_TMP/old" "$dir/f"
	[[ $verb == spill ]] || t_spill "$dir/f"
	t_umount "$dir"
	rm -f "$trace"
	SPILLFS_FAULT=$1 SPILLFS_FAULT_TRACE=$trace t_spillfs "$T_TMP/store" "$dir"
}
reached()
{
	[[ -s $trace ]] && (($(wc -l <"$trace") >= $1))
}
want() # FILE: f holds what FILE does
{
	cmp "$dir/f" "$1" || fail "$verb, effect $n ($step), $how: wrong contents $2"
}
meanwhile()
{
	case $how in
	read) want "$T_TMP/old" "meanwhile" ;;
	append) echo more >>"$dir/f" || return 1 ;;
	empty) cat "$T_TMP/new" >"$dir/f" || return 1 ;;
	replace) cp "$T_TMP/new" "$dir/f.new" && mv "$dir/f.new" "$dir/f" || return 1 ;;
	delete) rm "$dir/f" || return 1 ;;
	esac
}
is_right()
{
	case $done_how in
	read) want "$T_TMP/old" "$1" ;;
	append) want "$T_TMP/longer" "$1" ;;
	empty | replace) want "$T_TMP/new" "$1" ;;
	delete) [[ ! -e $dir/f ]] || fail "$verb, effect $n ($step), $done_how: it is there again $1" ;;
	esac
}

for verb in spill recall; do
	start ''
	t_ctl "$verb" "$dir/f" >/dev/null || fail "$verb"
	cp "$trace" "$T_TMP/steps.$verb"
	t_umount "$dir"
	done_how=read
	# From the first effect on the store or the file to the last on the file; index commits before and after are
	# not in the way of any open.
	first=$(grep -m 1 -nE 'pwrite|fsetxattr' "$T_TMP/steps.$verb" | cut -d: -f1)
	total=$(grep -nE 'fsetxattr|fsync' "$T_TMP/steps.$verb" | tail -n 1 | cut -d: -f1)
	((total > first + 5)) || fail "$verb has only $((total - first)) effects"
	for ((n = first; n <= total; n++)); do
		step=$(sed -n "${n}p" "$T_TMP/steps.$verb")
		((n % 2)) && last=replace || last=delete
		for how in read append empty $last; do
			start "$n:wait"
			t_ctl "$verb" "$dir/f" >"$T_TMP/ctl.out" 2>&1 &
			ctl=$!
			t_until 10 reached "$n" || fail "$verb, effect $n ($step), $how: never reached"
			meanwhile || fail "$verb, effect $n ($step), $how: fails"
			done_how=$how
			is_right "at once"
			wait $ctl
			rc=$?
			# 23: some files were in use, or gone
			[[ $rc == 0 || $rc == 23 ]] || fail "$verb, effect $n, $how: exit $rc: $(cat "$T_TMP/ctl.out")"
			is_right "afterwards"
			t_check "$verb, effect $n ($step), $how: errors" "$(t_status "$dir" .errors)" 0
			t_umount "$dir"
		done
	done
	echo "$verb: $((total - first + 1)) effects"
done
t_spillfs "$T_TMP/store" "$dir"
is_right "after mounting again"
t_ctl check -m "$dir" >"$T_TMP/check.log" 2>&1 || fail "check: $(tail "$T_TMP/check.log")"
ok "$tried opens in the middle of a spill or recall got what they asked for"
