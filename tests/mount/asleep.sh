#!/bin/bash
# SPDX-License-Identifier: MIT
# Of two layers that were used alike, the one that no running container has goes first; `why` says so. Without any
# container running none is said to be asleep.
# timeout: 120
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq

dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out
t_fs ext4 200M "$dir"
a=$(printf a | sha256sum | cut -d' ' -f1) b=$(printf b | sha256sum | cut -d' ' -f1)
c=$(printf c | sha256sum | cut -d' ' -f1)
digest=$T_TMP/digest
t_spillfs "$store" "$dir" auto=on,min-age=0,premigrate=0,low=25,high=30,critical=90,interval=1s,half-life=10m,retain=2s
t_want 0 pause -m "$dir"
mkdir -p "$dir/overlay2/"{"$a","$b"}/diff "$dir/overlay2/l"
for i in {1..20}; do
	t_data "$i" 1500000 >"$dir/overlay2/$a/diff/f$i"
	t_data "2$i" 1500000 >"$dir/overlay2/$b/diff/f$i"
done
ln -s "../$a/diff" "$dir/overlay2/l/AAAAAAAAAAAAAAAAAAAAAAAAAA"
ln -s "../$b/diff" "$dir/overlay2/l/BBBBBBBBBBBBBBBBBBBBBBBBBB"
t_digest "$dir" >"$digest"

reasons()
{
	t_want 0 why --json "$1"
	jq -r '[.reasons[].reason] | join(" ")' "$out"
}
# The one that will be asleep is used last: it would go last.
cat "$dir/overlay2/$a/diff/"* >"$T_TMP/null"
t_check "why, when nothing runs" "$(reasons "$dir/overlay2/$a/diff/f1")" 'layer heat paused' # judges what was noted
sleep 3
cat "$dir/overlay2/$b/diff/"* >"$T_TMP/null"
t_check "why, of the other, when nothing runs" "$(reasons "$dir/overlay2/$b/diff/f1")" 'layer heat paused'
mkdir -p "$T_TMP/merged" "$dir/overlay2/$c"/{diff,work}
mount -t overlay -o "lowerdir=$dir/overlay2/l/AAAAAAAAAAAAAAAAAAAAAAAAAA,upperdir=$dir/overlay2/$c/diff,workdir=$dir/overlay2/$c/work" \
	none "$T_TMP/merged" || fail "mount -t overlay"
sleep 3
t_check "why, of the one that runs" "$(reasons "$dir/overlay2/$a/diff/f1")" 'layer heat paused'
t_check "why, of the other" "$(reasons "$dir/overlay2/$b/diff/f1")" 'layer heat asleep paused'
t_want 0 resume -m "$dir"
below()
{
	(($(t_status "$dir" .used_percent) <= 25))
}
t_until 30 below || fail "the hot tier is at $(t_status "$dir" .used_percent)%"
n=0
for i in {1..20}; do
	t_want_state "$dir/overlay2/$a/diff/f$i" 'resident premigrated'
	[[ $(t_state "$dir/overlay2/$b/diff/f$i") != spilled ]] || n=$((n + 1))
done
((n >= 5)) || fail "only $n files of the other are spilled"
umount "$T_TMP/merged" || fail umount
rm -r "${dir:?}/overlay2/$c"
t_same "$digest" "$dir" "after spilling"
ok "what no running container has goes first: $n files of it, none of the other"
t_umount "$dir"
