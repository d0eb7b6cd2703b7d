#!/bin/bash
# SPDX-License-Identifier: MIT
# What is spilled is there again after umount and mount, and after kill -9; in between nobody sees a stub, and nobody
# can write on the guard.
# timeout: 300
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/awkward.sh"
t_init
T_SUPERVISOR=off # the daemon itself is what is killed or stopped
t_need_daemon
t_need_tool treesum fileop
t_need jq
for fs in ext4 xfs btrfs; do
	t_fs $fs 1G "$T_TMP/$fs"
	dir=$T_TMP/$fs/dir
	mkdir "$dir"
	t_spillfs "$T_TMP/store.$fs" "$dir"
	mkdir "$dir/many"
	"$T_BUILD/tools/fileop" fill "$dir/many" 0 3000 || fail "$fs: cannot fill"
	timeout 60 "$T_BUILD/tools/fileop" rename-listed "$dir/many" || fail "$fs: listing and renaming does not end"
	rm -r "$dir/many"
	t_awkward "$dir/tree" small
	t_digest -T "$dir/tree" >"$T_TMP/want"
	t_spill "$dir/tree"
	t_recall "$dir/tree/sub"
	t_looks "$dir/tree" >"$T_TMP/looks" # a recall cannot keep ctime

	t_umount "$dir"
	t_check "$fs: below the guard nothing is seen" "$(find "$dir" -mindepth 1 -not -name lost+found | wc -l)" 0
	t_errno "Read-only file system" touch "$dir/x"
	t_errno "Read-only file system" mkdir "$dir/overlay2"
	t_spillfs "$T_TMP/store.$fs" "$dir"
	t_same "$T_TMP/want" "$dir/tree" "$fs: after umount and mount" -T
	t_looks "$dir/tree" | diff -u "$T_TMP/looks" - || fail "$fs: looks differ after umount and mount"
	t_want_state "$dir/tree/holes" spilled

	# open files do not survive a killed daemon, data do
	t_data 77 70000 >"$dir/written"
	sync -f "$dir/written"
	t_kill9 "$dir"
	timeout 10 ls "$dir" >/dev/null 2>&1 && fail "$fs: the mount answers without its daemon"
	t_spillfs "$T_TMP/store.$fs" "$dir"
	t_same "$T_TMP/want" "$dir/tree" "$fs: after kill -9 and mount" -T
	t_data 77 70000 | cmp - "$dir/written" || fail "$fs: written data are lost"
	t_spill "$dir"
	t_kill9 "$dir"
	t_spillfs "$T_TMP/store.$fs" "$dir"
	t_same "$T_TMP/want" "$dir/tree" "$fs: after spilling all and kill -9" -T
	t_kill9 "$dir"
	umount "$dir" 2>/dev/null || umount -l "$dir"
	t_errno "Read-only file system" touch "$dir/x"
	t_spillfs "$T_TMP/store.$fs" "$dir"
	t_check "$fs: errors" "$(t_status "$dir" .errors)" 0
	t_check "$fs: frozen" "$(t_status "$dir" .frozen)" false
	t_ctl check -m "$dir" >"$T_TMP/check.log" 2>&1 || fail "$fs: check: $(tail "$T_TMP/check.log")"
	# a second mount on the same place (dockerd binds its root onto itself) is no reason to leave a dead one
	mount --bind "$dir" "$dir"
	id=$(t_proc_id "$(t_pid "$dir")")
	kill "${id% *}"
	t_wait_gone "$id" 15 || fail "$fs: the daemon does not end"
	t_errno "Read-only file system" touch "$dir/x"
	t_ctl unguard "$dir" >/dev/null 2>&1
	t_check "$fs: unguard with stubs" $? 25
	t_ctl check "$T_TMP/store.$fs" "$dir" >"$T_TMP/check.log" 2>&1 ||
		fail "$fs: offline check: exit $?: $(tail "$T_TMP/check.log")"
	ok "$fs: everything is there after umount and after kill -9"
done
