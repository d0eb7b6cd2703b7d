#!/bin/bash
# SPDX-License-Identifier: MIT
# `why` tells what keeps a file; `pause` holds the policy, also over mounts and for writers, `resume` lets it
# go, `wait` waits.
# timeout: 200
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq setcap chattr

dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out
# why PATH DECISION REASONS
why()
{
	t_want 0 why --json "$1"
	t_check "why $1" "$(jq -r '.decision, (.reasons | map(.reason) | join(" "))' "$out")" "$2"$'\n'"$3"
}

t_fs ext4 200M "$dir"
id=$(printf x | sha256sum | cut -d' ' -f1)
lay=$dir/overlay2/$id/diff
mkdir -p "$lay/d" "$dir/overlay2/${id/[0-9]/f}/diff"
for i in 1 2 3 4 5 6; do
	t_data "$i" 1000000 >"$lay/f$i"
done
t_data 7 1000000 >"$dir/outside"
touch "$lay/empty"
ln -s f1 "$lay/symlink"
t_spillfs "$store" "$dir" min-age=1h,min-size=4K
echo tiny >"$lay/tiny"
why "$lay/f1" stay young
t_umount "$dir"
t_spillfs "$store" "$dir" min-age=1h,min-size=4K,premigrate=1,low=1,high=2,critical=3 # 7 MB of 200 are above that
why "$lay/f1" spill-later 'layer auto-off'
t_umount "$dir"
t_spillfs "$store" "$dir" min-age=0,min-size=4K
why "$lay/f1" spill-later 'layer auto-off'
why "$lay/tiny" stay small
why "$lay/empty" stay 'empty small'
why "$dir/outside" stay no-layer
why "$lay/symlink" stay no-file
why "$lay/d" stay no-file
exec {held}<"$lay/f2"
why "$lay/f2" stay in-use
exec {held}<&-
setcap cap_net_raw+ep "$lay/f3" || fail "setcap"
why "$lay/f3" stay capability
chattr +i "$lay/f4" || fail "chattr"
why "$lay/f4" stay immutable
chattr -i "$lay/f4"
t_want 0 pin "$lay"
why "$lay/f5" stay pinned
t_want 0 unpin "$lay"
t_spill "$lay/f6"
why "$lay/f6" spilled spilled
t_want 0 why "$lay/f6" "$lay/f5"
t_says 'stays in the store'
t_want 23 why "$lay/f6" "$dir/nonesuch"
t_want 24 why "$dir/nonesuch"
# Asked, not touched: nothing was recalled, and nobody's lease or time was.
t_want_state "$lay/f6" spilled
ok "why"

# ---- pause ---------------------------------------------------------------------------------------
t_recall "$dir"
t_umount "$dir"
t_spillfs "$store" "$dir"
t_want 0 pause -m "$dir"
t_umount "$dir"
t_spillfs "$store" "$dir" auto=on,min-age=0,high=2,low=1,interval=1,retain=0
t_want 0 status --json -m "$dir"
t_check "paused" "$(jq -c '[.paused, .paused_until, .busy]' "$out")" '[true,null,false]'
t_want 0 status -m "$dir"
t_says 'PAUSED '
sleep 3
t_check "spilled while paused" "$(t_status "$dir" .files.spilled)" 0
why "$lay/f1" spill-later 'layer paused'
t_want 24 wait --below 2 -m "$dir"
t_says 'paused'
# Writers are told at once, not after a wait for what will not come.
t0=$SECONDS
dd if=/dev/zero of="$dir/fill" bs=1M 2>"$T_TMP/dd.err"
grep -q 'No space left' "$T_TMP/dd.err" || fail "no ENOSPC: $(cat "$T_TMP/dd.err")"
((SECONDS - t0 < 60)) || fail "ENOSPC after $((SECONDS - t0)) s"
rm "$dir/fill"
ok "pause"

t_want 0 resume -m "$dir"
t_says 'spilling goes on'
t_want 0 wait -m "$dir" --timeout 60s
some()
{
	[[ $(t_status "$dir" .files.spilled) -ge 4 ]]
}
t_until 20 some || fail "nothing spilled after resume: $(t_ctl status "$dir")"
t_want 0 resume -m "$dir"
t_says 'it was not paused'
t_want 0 pause --for 2s -m "$dir"
t_want 0 status --json -m "$dir"
t_check "paused for a while" "$(jq -c '[.paused, (.paused_until | type)]' "$out")" '[true,"number"]'
over()
{
	[[ $(t_status "$dir" .paused) == false ]]
}
t_until 10 over || fail "the pause does not end"
t_want 28 wait -m "$dir" --below 1 --timeout 1s
t_want 0 wait -m "$dir" --below 90
# What stands still is idle, too: it says so.
t_data 8 9000000 >"$dir/outside2"
parked()
{
	[[ $(t_status "$dir" .parked) == 'what is left'* ]]
}
t_until 20 parked || fail "nothing is left to spill, and it does not say so: $(t_ctl status "$dir")"
t_want 0 wait -m "$dir" --timeout 60s
t_says 'spilling stands still: what is left'
t_want 0 wait --json -m "$dir" --timeout 60s
t_check "parked" "$(jq -r '.parked | type' "$out")" string
ok "resume, wait"
t_ctl check -m "$dir" >"$out" 2>&1 || fail "check: $(cat "$out")"
t_umount "$dir"
