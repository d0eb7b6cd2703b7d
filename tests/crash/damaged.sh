#!/bin/bash
# SPDX-License-Identifier: MIT
# The daemon is killed at each durable effect of a spill, and then the pack turns out to be damaged: the file is what it
# was, or an I/O error, never zeros. The file is as small as a block and its marker needs a block of its own, so that
# st_blocks is the same before and after the punch.
# timeout: 300
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
T_SUPERVISOR=off # a death is a crash here; takeover.sh has the other kind
t_init
t_need_daemon
t_need setfattr jq
t_fs ext4 128M "$T_TMP/fs"
t_data 1 "$(stat -f -c %S "$T_TMP/fs")" >"$T_TMP/f"

fresh() # NAME
{
	dir=$T_TMP/fs/$1 store=$T_TMP/store.$1
	mkdir "$dir"
	cp "$T_TMP/f" "$dir/f"
	setfattr -n user.filler -v "$(printf '%060d' 0)" "$dir/f" # no room for the marker beside it in the inode
	touch -d '1 hour ago' "$dir/f"
	sync "$dir/f"
}
fresh plain
before=$(stat -c %b "$dir/f")
t_spillfs "$store" "$dir"
t_spill "$dir/f"
t_check "hot blocks of the stub" "$(stat -c %b "$(t_hot "$dir")/f")" "$before"
t_umount "$dir"
ok "a stub with as many blocks as its file"

n_ok=0 n_eio=0
for ((n = 1; n < 200; n++)); do
	fresh "$n"
	SPILLFS_FAULT=$n:kill t_spillfs "$store" "$dir"
	t_ctl spill "$dir/f" >"$T_TMP/ctl.out" 2>&1 && break
	for pack in "$store"/packs/*; do
		[[ -s $pack ]] || continue
		printf '\xff\x00\xff\x00\xff' |
			dd of="$pack" bs=1 seek=$(($(stat -c %s "$pack") / 2)) conv=notrunc status=none
	done
	t_spillfs_try "$store" "$dir" || fail "effect $n: does not mount: $(tail -n 2 "$T_TMP/spillfs.log")"
	if cat "$dir/f" >"$T_TMP/got" 2>"$T_TMP/got.err"; then
		cmp "$T_TMP/f" "$T_TMP/got" || fail "effect $n: the file holds what it never held"
		n_ok=$((n_ok + 1))
	else
		grep -q "Input/output error" "$T_TMP/got.err" || fail "effect $n: $(<"$T_TMP/got.err")"
		n_eio=$((n_eio + 1))
	fi
	t_umount "$dir"
done
((n < 200)) || fail "a spill has no end"
((n_ok && n_eio)) || fail "right: $n_ok, I/O error: $n_eio: one of the two never came"
ok "$((n - 1)) effects: right $n_ok, I/O error $n_eio"
t_umount "$dir"
