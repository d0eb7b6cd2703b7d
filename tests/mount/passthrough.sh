#!/bin/bash
# SPDX-License-Identifier: MIT
# Files that are not spilled pass the daemon by; and what must hold all the same: a mapping that outlives its
# descriptor keeps a file from being spilled and its times move; a reader of a stub and a writer see one file; a
# writer on a nearly full disk comes to us; setuid bits go with a write; the errors are the hot file system's own.
# timeout: 200
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fileop
t_need jq chattr
t_fs ext4 512M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
op=$T_BUILD/tools/fileop
t_spillfs "$T_TMP/store" "$dir"
[[ $(t_status "$dir" .passthrough) == true ]] || skip "this kernel has no FUSE passthrough"

requests()
{
	t_status "$dir" "[.requests.READ, .requests.WRITE] | map(. // 0) | add"
}
# The data requests that COMMAND makes
cost()
{
	local before
	before=$(requests)
	"$@" || fail "$*"
	cost=$(($(requests) - before))
}

t_data 1 3000000 >"$T_TMP/f"
cost cp "$T_TMP/f" "$dir/f"
t_check "data requests of a copy" "$cost" 0
cost cmp "$T_TMP/f" "$dir/f"
t_check "data requests of a comparison" "$cost" 0
ok "reads and writes pass us by"

cost sh -c "echo more >>'$dir/f' && echo more >>'$T_TMP/f'"
[[ $cost -gt 0 ]] || fail "a writer that appends passes us by"
"$op" appends "$dir/f" && "$op" appends "$T_TMP/f"
cmp "$T_TMP/f" "$dir/f" || fail "O_APPEND was turned off without effect"
ok "writers that append come to us"

# ---- a mapping that stays
coproc KEEP { exec "$op" keep "$dir/f"; }
keep_in=${KEEP[1]} keep_out=${KEEP[0]} keep_pid=$KEEP_PID
keep()
{
	local line
	[[ $# = 0 ]] || printf '%s' "$1" >&"$keep_in"
	read -r -t 10 line <&"$keep_out" || fail "fileop keep does not answer"
}
keep
t_ctl spill "$dir/f" >"$T_TMP/ctl.out" 2>&1
t_check "spilling a file that is mapped" $? 23
mtime=$(stat -c %.Y "$dir/f")
sleep 0.1
keep x
[[ $(stat -c %.Y "$dir/f") != "$mtime" ]] || fail "a store through the mapping does not show in mtime"
printf y | dd of="$dir/f" bs=1 seek=1 conv=notrunc status=none
keep z
t_check "what a reader sees" "$(head -c 2 "$dir/f")" zy
exec {keep_in}>&-
wait "$keep_pid"
printf zy | dd of="$T_TMP/f" bs=1 conv=notrunc status=none
cmp "$T_TMP/f" "$dir/f" || fail "contents differ after the mapping has gone"
t_spill "$dir/f"
t_want_state "$dir/f" spilled
cmp "$T_TMP/f" "$dir/f" || fail "contents differ when spilled"
ok "a mapping that outlives its descriptor"

# Written through a descriptor that cannot be mapped: sizes are true after each write, and once it is closed the kernel
# need not ask again.
getattrs()
{
	t_status "$dir" '.requests.GETATTR // 0'
}
exec 7>"$dir/w"
for i in 1 2 3; do
	printf %s "$i" >&7
	t_check "size while it is open for writing" "$(stat -c %s "$dir/w")" "$i"
done
exec 7>&-
t_until 5 eval 'a=$(getattrs); for i in 1 2 3 4 5; do stat "$dir/w" >/dev/null; done; b=$(getattrs); [[ $a = "$b" ]]' ||
	fail "closed, and still asked for at each stat: $a, then $b requests"
ok "attributes of what is written only"

# ---- pages that come in past a passthrough open
for how in spilled mediated; do
	t_data 5 300000 | tee "$dir/r" >"$T_TMP/r"
	"$op" ahead "$dir/r" "$how" && printf %s "$how" | dd of="$T_TMP/r" conv=notrunc status=none
	case $how in
	spilled) t_spill "$dir/r" ;;
	mediated) exec 8>>"$dir/r" ;;
	esac
	cmp "$T_TMP/r" "$dir/r" || fail "$how: a reader sees what was before a write"
	[[ $how = spilled ]] || exec 8>&-
done
rm "$dir/r"
ok "readahead(2) of a passthrough file"

# ---- the reader of a stub, and a writer
exec 8<"$dir/f"
dd bs=10 count=1 <&8 >/dev/null 2>&1
cost dd if="$T_TMP/f" of="$dir/f" bs=100000 count=1 conv=notrunc status=none
[[ $cost -gt 0 ]] || fail "a writer beside the reader of a stub passes us by"
printf there | tee >(dd of="$dir/f" bs=1 seek=5 conv=notrunc status=none) |
	dd of="$T_TMP/f" bs=1 seek=5 conv=notrunc status=none
sleep 0.2
cmp <(cat <&8) <(tail -c +11 "$T_TMP/f") || fail "the reader sees something else"
exec 8<&-
t_until 5 eval 'cost head -c 1 "$dir/f" >/dev/null; [[ $cost = 0 ]]' || fail "mediated for ever"
ok "one file for the reader of a stub and a writer"

# ---- setuid and setgid bits go when somebody else writes, and only then
for mode in 4777 6777 2767; do
	printf text >"$dir/s" && chown 1001:3000 "$dir/s"
	exec 9<>"$dir/s"
	chmod $mode "$dir/s"
	printf root >&9
	t_check "mode after root has written" "$(stat -c %a "$dir/s")" $mode
	setpriv --reuid 1002 --regid 1002 --clear-groups sh -c 'printf user >&9'
	t_check "mode $mode after somebody else has written" "$(stat -c %a "$dir/s")" ${mode/#[246]/}
	exec 9>&-
	rm "$dir/s"
done
ok "setuid and setgid bits"

# ---- errors are the hot file system's
echo text >"$dir/i"
exec 8<"$dir/i"
hot=$(t_hot "$dir")
chattr +i "$hot/i"
(echo more >"$dir/i") 2>&1 | grep -q "not permitted" || fail "an immutable file is opened for writing"
chattr -i "$hot/i" && chattr +a "$hot/i"
(echo more >"$dir/i") 2>&1 | grep -q "not permitted" || fail "an append-only file is overwritten"
echo more >>"$dir/i" || fail "an append-only file cannot be appended to"
chattr -a "$hot/i"
t_check "append-only" "$(cat "$dir/i")" $'text\nmore'
exec 8<&-
ok "immutable and append-only files"

# ---- opens that are left, and backing files: none
t_umount "$dir"
t_spillfs "$T_TMP/store" "$dir" passthrough=off
t_check "passthrough=off" "$(t_status "$dir" .passthrough)" false
cost cp "$T_TMP/f" "$dir/g"
[[ $cost -gt 0 ]] || fail "passthrough=off, and a copy passes us by"
cmp "$T_TMP/f" "$dir/g" || fail "contents differ with passthrough=off"
t_umount "$dir"
ok "passthrough=off"

# ---- noatime holds for the kernel's own reads too, and not longer than it is asked for
for opt in noatime atime; do
	t_spillfs "$T_TMP/store" "$dir" passthrough=on,$opt
	touch -a -d '2001-01-01 UTC' "$hot/g"
	cat "$dir/g" >/dev/null
	t_check "atime moved with $opt" "$(($(stat -c %X "$hot/g") > 1000000000))" $((${#opt} < 6))
	t_umount "$dir"
done
ok "noatime"

# ---- a nearly full disk
t_spillfs "$T_TMP/store" "$dir" auto=on,high=30,low=20,critical=40,min-age=1h
fallocate -l 220M "$dir/big"
sleep 6 # interval=5: it has been looked at
cost cp "$T_TMP/f" "$dir/h"
[[ $cost -gt 0 ]] || fail "the disk is nearly full, and a copy passes us by"
t_umount "$dir"
ok "a nearly full disk"
