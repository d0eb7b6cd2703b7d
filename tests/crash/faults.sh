#!/bin/bash
# SPDX-License-Identifier: MIT
# A durable effect that fails (EIO, ENOSPC) instead of a crash, at steps spread over a spill and a recall: content and
# times stay what the user left, what failed can be done again, and the check finds nothing.
# timeout: 400
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
T_SUPERVISOR=off # a death is a crash here; takeover.sh has the other kind
t_fs ext4 256M "$T_TMP/fs"
hot=$T_TMP/fs/dir
mkdir "$hot" "$T_TMP/ref"

list()
{
	(cd "$1" && find . -type f | sort | xargs sha256sum && find . -type f -printf '%p %s %T@ %m\n' | sort)
}

for i in 1 2 3 4 5 6; do
	t_data "$i" $((i * 3000)) >"$T_TMP/ref/small$i"
done
t_data 9 700000 >"$T_TMP/ref/large"
t_data 8 100000 >"$T_TMP/ref/sparse"
truncate -s 2M "$T_TMP/ref/sparse"
find "$T_TMP/ref" -type f -exec touch -d '2001-02-03 04:05:06.7' {} +
list "$T_TMP/ref" >"$T_TMP/want"

hit=0 n=1
for mode in eio enospc; do
	for ((n = 1; n <= 90; n += 4)); do
		rm -rf "$T_TMP/store"
		cp -a "$T_TMP/ref" "$hot/t"
		SPILLFS_FAULT=$n:$mode SPILLFS_FAULT_TRACE=$T_TMP/trace t_spillfs "$T_TMP/store" "$hot" auto=off
		spill=0 recall=0
		"$SPILLCTL" -q spill "$hot/t" >"$T_TMP/out" 2>&1 || spill=$?
		list "$hot/t" | cmp - "$T_TMP/want" || fail "$mode at effect $n: not the same after spilling"
		"$SPILLCTL" -q recall "$hot/t" >>"$T_TMP/out" 2>&1 || recall=$?
		list "$hot/t" | cmp - "$T_TMP/want" || fail "$mode at effect $n: not the same after recalling"
		((spill || recall)) && hit=$((hit + 1))
		t_must "$SPILLCTL" -q spill "$hot/t"
		list "$hot/t" | cmp - "$T_TMP/want" || fail "$mode at effect $n: not the same, spilled again"
		t_must "$SPILLCTL" -q check "$hot"
		t_must "$SPILLCTL" -q recall "$hot/t"
		list "$hot/t" | cmp - "$T_TMP/want" || fail "$mode at effect $n: not the same at the end"
		rm -rf "$hot/t"
		t_umount "$hot"
		t_expose "$hot"
		setfattr -x trusted.spill.root "$hot"
	done
done
# A test of the test: some of these faults must have been felt.
((hit >= 10)) || fail "only $hit of the faults made a command fail"
ok "$hit faults made a command fail, and nothing was lost"
