#!/bin/bash
# SPDX-License-Identifier: MIT
# Leaving: export makes an equal tree, online and without a daemon; drain says whether all of it fits, brings
# it back, and the guard comes off without --expose.
# timeout: 240
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/awkward.sh"
t_init
t_need_daemon
t_need jq

dir=$T_TMP/hot store=$T_TMP/store to=$T_TMP/to out=$T_TMP/out

t_fs ext4 300M "$dir"
t_fs ext4 400M "$to"
(t_awkward "$dir/t" small) || exit 1
for i in 1 2 3 4 5 6 7 8; do
	t_data "$i" 2500000 >"$dir/t/big$i"
done
ln "$dir/t/big1" "$dir/t/big1-too"
truncate -s 50M "$dir/t/sparse"
t_data 9 300000 | dd of="$dir/t/sparse" bs=4096 seek=5000 conv=notrunc status=none
truncate -s 7M "$dir/t/hole"
mknod "$dir/t/null" c 1 3
mkfifo "$dir/t/fifo"
setfattr -n trusted.overlay.opaque -v y "$dir/t" || fail "setfattr"
touch -d '2001-02-03 04:05:06.789' "$dir/t/big2"
t_spillfs "$store" "$dir"
t_digest "$dir/t" >"$T_TMP/want"
sleep 0.1
t_spill_some "$dir"
spilled=$(t_status "$dir" .files.spilled)
((spilled > 8)) || fail "only $spilled spilled"

# ---- export --------------------------------------------------------------------------------------
t_want 1 export
t_want 1 export a b
t_want 1 -m "$dir" export "$dir/inside"
t_says 'lies inside'
[[ ! -e $dir/inside ]] || fail "a refused export leaves a directory"
t_want 1 -m "$dir" export "$store/x"
t_want 24 -m "$dir" export "$T_TMP/no/such"
echo x >"$to/x"
t_want 24 -m "$dir" export "$to"
t_says 'not empty'
rm "$to/x"
t_want 1 export --store "$store" "$to/x"
t_want 13 export --store "$store" --hot "$dir" "$to/x" # its daemon is there
t_want 0 -m "$dir" export --json "$to/a"
t_check "complete" "$(jq -c '[.complete, .files_failed, .hard_links > 0]' "$out")" '[true,0,true]'
t_same "$T_TMP/want" "$to/a/t" "exported"
(($(du -k "$to/a/t/sparse" | cut -f1) < 2000)) || fail "the holes of sparse are gone"
t_check "spilled after an export" "$(t_status "$dir" .files.spilled)" "$spilled"
t_check "recalled by an export" "$(t_status "$dir" .bytes.recalled_since_mount)" 0
rm -r "$to/a"
# No room: said, and not taken for complete.
truncate -s 20M "$T_TMP/small.img"
mkfs.ext4 -q -F "$T_TMP/small.img" && mkdir "$T_TMP/small" && t_mount_img "$T_TMP/small.img" "$T_TMP/small"
t_want 24 -m "$dir" export "$T_TMP/small"
t_says 'No space left'
t_unfs "$T_TMP/small"
ok "export, online"

t_umount "$dir"
t_want 0 export --json --store "$store" --hot "$dir" "$to/b"
t_check "complete" "$(jq -c '[.complete, .files_failed]' "$out")" '[true,0]'
t_same "$T_TMP/want" "$to/b/t" "exported offline"
rm -r "$to/b"
# Damage is found, not copied.
pack=$(find "$store/packs" -type f -size +64k | head -n 1)
cp "$pack" "$T_TMP/pack"
printf 'damage' | dd of="$pack" bs=1 seek=20000 conv=notrunc status=none
t_want 23 export --json --store "$store" --hot "$dir" "$to/c"
(($(jq .files_failed <(grep -v '^spillctl:' "$out")) > 0)) || fail "damage was not noticed: $(cat "$out")"
cp "$T_TMP/pack" "$pack"
rm -r "$to/c"
ok "export, offline"

# ---- drain ---------------------------------------------------------------------------------------
t_spillfs "$store" "$dir" auto=on,spill=all,min-age=0,high=4,low=2,interval=1
t_want 0 drain --json -m "$dir"
t_check "report" "$(jq -c '[.fits, .drained, .files_done, .spilled_files >= '"$((spilled / 2))"']' "$out")" \
	'[true,false,0,true]'
fallocate -l 270M "$dir/fill" || dd if=/dev/zero of="$dir/fill" bs=1M count=265 status=none
exec {held}<"$dir/fill" # or the policy spills it
t_want 29 drain "$dir"
t_says 'they do not fit'
t_want 29 drain --yes "$dir"
t_check "paused after a drain that did not fit" "$(t_status "$dir" .paused)" false
exec {held}<&-
rm "$dir/fill"
fits()
{
	t_ctl drain "$dir" >"$T_TMP/out" 2>&1
}
t_until 20 fits || fail "the space of a deleted file does not come back" # RELEASE and FORGET come after close and unlink
t_want 0 drain --yes "$dir"
t_says 'automatic spilling is paused now'
t_check "spilled, paused" "$(t_status "$dir" '.files.spilled, .paused')" $'0\ntrue'
sleep 2 # the policy would begin again
t_check "still drained" "$(t_status "$dir" .files.spilled)" 0
t_want 0 drain "$dir"
t_says 'nothing is spilled'
t_same "$T_TMP/want" "$dir/t" "drained"
t_umount "$dir"
t_want 0 unguard "$dir"
t_same "$T_TMP/want" "$dir/t" "bare"
ok "drain"
