#!/bin/bash
# SPDX-License-Identifier: MIT
# Of two layers that were used alike, the one that no running container has goes first; `why` says so. Without any
# container running none is said to be asleep. What runs is asked again for a plan over files that were found before.
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
mkdir "$T_TMP/merged"
# A container that has the first.
runs()
{
	mkdir -p "$dir/overlay2/$c"/{diff,work}
	mount -t overlay -o "lowerdir=$dir/overlay2/l/AAAAAAAAAAAAAAAAAAAAAAAAAA,upperdir=$dir/overlay2/$c/diff,workdir=$dir/overlay2/$c/work" \
		none "$T_TMP/merged" || fail "mount -t overlay"
}
runs
sleep 3
t_check "why, of the one that runs" "$(reasons "$dir/overlay2/$a/diff/f1")" 'layer heat paused'
t_check "why, of the other" "$(reasons "$dir/overlay2/$b/diff/f1")" 'layer heat asleep paused'
t_want 0 resume -m "$dir"
below()
{
	(($(t_status "$dir" .used_percent) <= 25))
}
t_until 30 below || fail "the hot tier is at $(t_status "$dir" .used_percent)%"
# went_first: the files of the other, and no others
went_first()
{
	n=0
	for i in {1..20}; do
		t_want_state "$dir/overlay2/$a/diff/f$i" 'resident premigrated'
		[[ $(t_state "$dir/overlay2/$b/diff/f$i") != spilled ]] || n=$((n + 1))
	done
	((n >= 5)) || fail "only $n files of the other are spilled"
}
went_first
umount "$T_TMP/merged" || fail umount
rm -r "${dir:?}/overlay2/$c"
t_same "$digest" "$dir" "after spilling"
ok "what no running container has goes first: $n files of it, none of the other"
t_umount "$dir"

# ---- it starts when all files are known already -----------------------------------------------------------------
t_spillfs "$store" "$dir" auto=off
t_recall "$dir"
sleep 25 # uses that are nearer than 30 s are one
cat "$dir/overlay2/$b/diff/"* >"$T_TMP/null"
h=$(t_ctl why --json "$dir/overlay2/$b/diff/f1" | jq '.heat * 100 | floor') # judges what was noted
((h > 150)) || fail "heat after two uses: $h"
t_umount "$dir"
sleep 3 # for longer than retain=
t_spillfs "$store" "$dir" auto=on,min-age=0,premigrate=10,rate=0,low=40,high=45,critical=90,interval=1s,half-life=10m,retain=2s
copied()
{
	(($(t_status "$dir" .files.premigrated) >= 20)) # down to that mark
}
t_until 60 copied || fail "too little is premigrated: $(t_ctl status "$dir")"
runs
sleep 3
t_data 99 35000000 >"$dir/outside"
below()
{
	(($(t_status "$dir" .used_percent) <= 40))
}
t_until 30 below || fail "the hot tier is at $(t_status "$dir" .used_percent)%"
went_first
umount "$T_TMP/merged" || fail umount
rm -r "${dir:?}/overlay2/$c" "$dir/outside"
t_same "$digest" "$dir" "after spilling again"
ok "and so it is when it starts after they were found: $n files"
t_umount "$dir"
