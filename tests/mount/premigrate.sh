#!/bin/bash
# SPDX-License-Identifier: MIT
# Premigration: on request and ahead of need; what is changed loses its copy; what is pinned, excluded or hot is left
# alone; freeing reads nothing back; retain keeps what was recalled.
# timeout: 300
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fileop
t_need jq

dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out
t_fs ext4 200M "$dir"
id=$(printf x | sha256sum | cut -d' ' -f1)
lay=$dir/overlay2/$id/diff
mkdir -p "$lay/keep" "$lay/logs"
for i in 1 2 3 4; do
	t_data "$i" 3000000 >"$lay/f$i"
done
t_data 9 3000000 >"$lay/keep/pinned"
t_data 10 3000000 >"$lay/logs/excluded.log"
digest=$T_TMP/digest
t_spillfs "$store" "$dir"
t_digest "$dir" >"$digest"
t_want 0 premigrate "$lay/f1" "$lay/f2"
t_says 'premigrated 2 files'
t_want_state "$lay/f1" premigrated
t_check "premigrated bytes" "$(t_status "$dir" '.files.premigrated, .bytes.premigrated' | tr '\n' ' ')" '2 6000000 '
t_want 0 premigrate "$lay/f1"
t_says 'had nothing to do'
t_same "$digest" "$dir" "after premigrating"
# a change: the copy is worth nothing, at once
t_data 5 3000000 >"$lay/f2"
t_want_state "$lay/f2" resident
t_spill "$lay/f1" "$lay/f2"
cmp -s "$lay/f2" <(t_data 5 3000000) || fail "f2 is not what was written after it was premigrated"
cmp -s "$lay/f1" <(t_data 1 3000000) || fail "f1 is not what it was"
t_recall "$lay"
t_want_state "$lay/f1" premigrated
ok "on request"

# ---- somebody may still write to it, through a mapping ------------------------------------------
t_want 0 premigrate "$lay/f3"
printf x | dd of="$lay/f3" bs=1 seek=1000 conv=notrunc status=none
touch -d '2001-01-01' "$lay/f3"
sum=$(md5sum <"$lay/f3")
t_spill "$lay/f3"
t_check "f3, changed and dated back" "$(md5sum <"$lay/f3")" "$sum"
t_recall "$lay"
ok "a change with a date set back is seen"

# ---- a copy counts once, and a sparse one for its data -----------------------------------------
avail()
{
	stat -f -c '%a %S' "$dir" | awk '{ printf "%.0f", $1 * $2 }'
}
t_umount "$dir"
t_spillfs "$store" "$dir" store-size=150M # others use that disk, too
sync -f "$dir"
before=$(avail)
truncate -s 300G "$lay/sparse"
t_data 11 16384 | dd of="$lay/sparse" bs=16384 seek=9 conv=notrunc status=none
sync -f "$dir"
t_want 0 premigrate "$lay/sparse" "$lay/f4"
t_says 'premigrated 2 files'
sleep 1
after=$(avail)
((after - before < 1048576 && before - after < 1048576)) || fail "available: $before before copying, $after after"
rm "$lay/sparse"
ok "a copy counts once"

# ---- ahead of need ------------------------------------------------------------------------------
t_umount "$dir"
t_spillfs "$store" "$dir"
rm "$lay/f1" "$lay/f2" "$lay/f3" "$lay/f4"
for i in {20..27}; do
	t_data "$i" 3000000 >"$lay/n$i"
done
t_want 0 pin "$lay/keep"
t_umount "$dir"
t_spillfs "$store" "$dir" "auto=on,min-age=0,premigrate=5,low=70,high=80,critical=90,interval=1,rate=0,exclude=*.log"
copied()
{
	[[ $(t_status "$dir" .files.premigrated) -ge 4 ]]
}
t_until 60 copied || fail "nothing is premigrated: $(t_ctl status "$dir")"
sleep 3
t_check "nothing is spilled below the high mark" "$(t_status "$dir" .files.spilled)" 0
t_want_state "$lay/keep/pinned" resident
t_want_state "$lay/logs/excluded.log" resident
t_want 0 why --json "$lay/logs/excluded.log"
t_check "why" "$(jq -r '.reasons[0].reason' "$out")" excluded
t_want 0 why --json "$lay/keep/pinned"
t_check "why" "$(jq -r '.reasons[0].reason' "$out")" pinned
ok "ahead of need: $(t_status "$dir" .files.premigrated) files premigrated, none spilled"

# ---- pressure -----------------------------------------------------------------------------------
t_umount "$dir"
t_spillfs "$store" "$dir" "auto=on,min-age=0,premigrate=5,low=5,high=8,critical=90,interval=1,exclude=*.log"
spilled()
{
	[[ $(t_status "$dir" .files.spilled) -ge 4 ]]
}
t_until 60 spilled || fail "nothing is spilled: $(t_ctl status "$dir")"
t_want_state "$lay/keep/pinned" resident
t_want_state "$lay/logs/excluded.log" resident
for i in {20..27}; do
	cmp -s "$lay/n$i" <(t_data "$i" 3000000) || fail "n$i differs"
done
ok "freed under pressure; pinned and excluded files stay"

# ---- retain -------------------------------------------------------------------------------------
t_want 0 pause -m "$dir"
was=()
for i in {20..27}; do
	[[ $(t_state "$lay/n$i") != spilled ]] || was+=("$lay/n$i")
done
t_recall "$lay"
t_umount "$dir"
t_spillfs "$store" "$dir" auto=on,min-age=0,premigrate=0,low=5,high=8,critical=90,interval=1,retain=1h
t_want 0 resume -m "$dir"
t_spillable() # what was not recalled is spilled: the policy is at work
{
	[[ $(t_state "$lay/logs/excluded.log") == spilled ]]
}
t_until 30 t_spillable || fail "nothing is spilled: $(t_ctl status "$dir")"
sleep 2
for f in "${was[@]}"; do
	t_want_state "$f" 'resident premigrated'
done
t_want 0 why --json "${was[0]}"
t_check "why" "$(jq -r '.reasons[0].reason' "$out")" recalled
ok "retain="
t_ctl check -m "$dir" >"$out" 2>&1 || fail "check: $(cat "$out")"
t_umount "$dir"
