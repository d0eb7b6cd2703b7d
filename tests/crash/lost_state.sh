#!/bin/bash
# SPDX-License-Identifier: MIT
# The shared state is damaged, or cut off, when the daemon dies: files that are open go on, through us and past us, with
# and without a name; a number that the kernel has from before never stands for another file; and the mount can be used.
# timeout: 120
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
T_DEATHS=1

# The supervisor's descriptor of the memfd.
state_of()
{
	local f
	for f in "/proc/$1/fd"/*; do
		[[ $(readlink "$f") == *memfd:spillfs-state* ]] && echo "$f" && return
	done
	fail "the supervisor has no state"
}
damage() { dd if=/dev/zero of="$1" bs=64 count=1 conv=notrunc status=none; }
cut() { truncate -s 0 "$1"; }

for opts in passthrough=off passthrough=auto; do
	for how in damage cut; do
		t_spillfs "$T_TMP/store" "$dir" min-age=0,$opts
		run=$(t_run_dir "$dir")
		echo first >"$dir/a"
		t_data 3 70000 >"$dir/stub"
		t_spill "$dir/stub"
		echo nameless >"$dir/b"
		echo other >"$dir/other"
		exec 5<>"$dir/a" 6<>"$dir/b" 7<"$dir/stub" 8>>"$dir/log"
		rm "$dir/b"
		dd bs=1000 count=1 <&7 >/dev/null 2>&1
		kill -STOP "$(<"$run/daemon")"
		$how "$(state_of "$(t_pid "$dir")")"
		kill -9 "$(<"$run/daemon")"
		t_until 20 t_status "$dir" .daemons >/dev/null || fail "$opts, $how: no daemon goes on"
		# these get the first numbers that are given now
		exec 3<"$dir/other" 4<>"$dir/new"
		echo new >&4
		echo logged >&8
		read -r line <&5
		t_check "$opts, $how: read by a descriptor from before" "$line" first
		echo second >&5
		t_check "$opts, $how: written by it" "$(cat "$(t_hot "$dir")/a")" $'first\nsecond'
		t_check "$opts, $how: what was appended" "$(cat "$(t_hot "$dir")/log")" logged
		read -r line <&6
		t_check "$opts, $how: a file without a name" "$line" nameless
		cmp <(cat <&7) <(t_data 3 70000 | tail -c +1001) || fail "$opts, $how: a stub"
		t_check "$opts, $how: what is new" "$(cat "$dir/new")" new
		t_check "$opts, $how: another file" "$(cat <&3)" other
		# The kernel opens a passthrough file again only with the id that was lost: not before it is closed.
		if [[ $opts == passthrough=off ]]; then
			echo more >&6
			t_check "$opts, $how: and written" "$(cat /proc/self/fd/6)" $'nameless\nmore'
			t_check "$opts, $how: opened again" "$(cat "$dir/a")" $'first\nsecond'
		fi
		exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&-
		t_check "$opts, $how: opened when it is closed" "$(cat "$dir/a")" $'first\nsecond'
		t_check "$opts, $how: files lost" "$(t_status "$dir" .files_lost)" 0
		rm "$dir/a" "$dir/log" "$dir/new" "$dir/stub" "$dir/other"
		kill -9 "$(<"$run/daemon")"
		t_until 20 t_status "$dir" .daemons >/dev/null || fail "$opts, $how: no daemon after that"
		t_check "$opts, $how: files open" "$(t_status "$dir" '.files_open <= 1')" true
		t_umount "$dir"
		ok "$opts: state lost ($how)"
	done
done
