#!/bin/bash
# SPDX-License-Identifier: MIT
# Requests to spill at the same time: the one with few files does not take the others, which read ahead, for
# users of them ("in use", exit code 23).
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
ROUNDS=150
FILES=30
root=$T_TMP/hot

t_fs ext4 512M "$root"
t_spillfs "$T_TMP/store" "$root"

# Each with an output of its own; it may come by while a file is written.
everything()
{
	local rc
	while [[ ! -e $T_TMP/stop ]]; do
		t_ctl spill "$root" >"$T_TMP/all.$1" 2>&1
		rc=$?
		[[ $rc == 0 || $rc == 23 ]] || { echo "exit $rc" >>"$T_TMP/all.$1"; exit 1; }
		echo >>"$T_TMP/turns"
	done
}

others=()
for who in 1 2 3; do
	t_bg everything "$who"
	others+=($!)
done
for ((i = 0; i < ROUNDS; i++)); do
	mkdir "$root/few"
	for ((k = 0; k < FILES; k++)); do
		echo "$i $k" >"$root/few/$k"
	done
	cp /bin/ls "$root/work-$((i % 20))" # for the others
	t_spill "$root/few"
	rm -r "$root/few"
done
touch "$T_TMP/stop"
for who in 1 2 3; do
	wait "${others[who - 1]}" || fail "the request for everything: $(cat "$T_TMP/all.$who")"
done
turns=$(wc -l <"$T_TMP/turns")
((turns > 20)) || fail "only $turns requests for everything were made meanwhile: this shows nothing"
ok "$ROUNDS requests beside $turns others: none was told that a file is in use"
