#!/bin/bash
# SPDX-License-Identifier: MIT
# Heat: uses of files are counted, survive a mount, and a scan of everything is no use of anything: it warms no file,
# brings nothing back and leaves the hot tier as full as it was.
# timeout: 260
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq tar

dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out
t_fs ext4 200M "$dir"
id=$(printf x | sha256sum | cut -d' ' -f1)
lay=$dir/overlay2/$id/diff
mkdir -p "$lay/d"
for i in {1..400}; do
	t_data "$i" 20000 >"$lay/d/f$i"
done
t_spillfs "$store" "$dir" half-life=1h

# heat FILE: in hundredths
heat()
{
	t_want 0 why --json "$1"
	jq -r '(.heat * 100 | floor)' "$out"
}
used()
{
	t_want 0 layers --json -m "$dir"
	jq -r '.. | .last_used? // empty' "$out" | head -n 1
}

t_check "never used" "$(heat "$lay/d/f1")" 0
cat "$lay/d/f1" >"$T_TMP/null"
h=$(heat "$lay/d/f1")
((h >= 98 && h <= 100)) || fail "heat after one use: $h"
cat "$lay/d/f1" >"$T_TMP/null"
h=$(heat "$lay/d/f1")
((h <= 100)) || fail "two uses in a moment are one: $h"
t_check "of another" "$(heat "$lay/d/f2")" 0
t_umount "$dir"
t_spillfs "$store" "$dir" half-life=1h
h=$(heat "$lay/d/f1")
((h >= 90 && h <= 100)) || fail "heat after a new mount: $h"
t_umount "$dir"
t_spillfs "$store" "$dir" half-life=1m
sleep 10
h=$(heat "$lay/d/f1")
((h >= 40 && h <= 95)) || fail "heat after some seconds, with a half-life of a minute: $h"
ok "a use is counted, kept, and forgotten by and by"

# ---- a scan ------------------------------------------------------------------------------------
t_umount "$dir"
t_spillfs "$store" "$dir" half-life=1h
t_spill "$lay/d"
sync
before=$(t_status "$dir" .hot.used_bytes)
recalled=$(t_status "$dir" .bytes.recalled_since_mount)
for i in 1 2 3; do
	tar cf - -C "$dir" . | cat >"$T_TMP/null"
	grep -r nonesuch "$dir" >"$T_TMP/null"
	find "$dir" -type f >"$T_TMP/null"
	du -s "$dir" >"$T_TMP/null"
	t_umount "$dir" # what is noted so far is judged
	t_spillfs "$store" "$dir" half-life=1h
	sleep 1
done
sync
after=$(t_status "$dir" .hot.used_bytes)
((after <= before + 1000000)) || fail "a scan filled the hot tier: $before -> $after bytes"
t_check "recalled by scans" "$(t_status "$dir" .bytes.recalled_since_mount)" "$recalled"
for i in 2 77 400; do
	t_check "heat of f$i after scans" "$(heat "$lay/d/f$i")" 0
	t_want_state "$lay/d/f$i" spilled
done
ok "scans warm nothing and bring nothing back ($before -> $after bytes)"
t_ctl check -m "$dir" >"$out" 2>&1 || fail "check: $(cat "$out")"
t_umount "$dir"

# ---- brought back by uses of the stub, not by those before it was spilled --------------------------------------------
t_spillfs "$store" "$dir" half-life=1h,auto=on,interval=1s
t_ctl recall "$lay/d/f8" "$lay/d/f9" >"$out" || fail "recall: $(cat "$out")"
cat "$lay/d/f8" "$lay/d/f9" >"$T_TMP/null"
heat "$lay/d/f8" >"$T_TMP/null" # judges what was noted
sleep 31 # uses that are nearer are one
cat "$lay/d/f8" "$lay/d/f9" >"$T_TMP/null"
t_spill "$lay/d/f8" "$lay/d/f9"
h=$(heat "$lay/d/f8")
((h >= 180)) || fail "heat after two uses: $h"
sleep 3
t_want_state "$lay/d/f8" spilled
t_want_state "$lay/d/f9" spilled
sleep 31
cat "$lay/d/f9" >"$T_TMP/null"
h=$(heat "$lay/d/f9")
is_back()
{
	t_want 0 info --json "$lay/d/f9"
	[[ $(jq -r '.. | .state? // empty' "$out" | head -n 1) != spilled ]]
}
t_until 10 is_back || fail "used again as a stub, with a heat of $h, it stays in the store"
t_want_state "$lay/d/f8" spilled
ok "a stub comes back when it is used, not for what was before"
t_umount "$dir"
