#!/bin/bash
# SPDX-License-Identifier: MIT
# While one process asks for one thing after the other, one thread of the daemon waits for requests alone (src/fs/lead.c).
# Then reads come that wait for a silent disk: whoever takes them, the first process goes on at once.
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool metastress
t_need jq
(($(nproc) > 1)) || skip "needs two CPUs: on one nobody looks for requests, and nobody leads"
t_gated_fs ext4 200M "$T_TMP/disk"
t_fs ext4 200M "$T_TMP/hot"
dir=$T_TMP/hot
t_spillfs "$T_TMP/disk/spill" "$dir" min-age=0
mkdir "$dir/cold" "$dir/names" "$T_TMP/cold"
readers=12
for ((i = 0; i < readers; i++)); do t_data $i 2000000 | tee "$dir/cold/$i" >"$T_TMP/cold/$i"; done
t_spill "$dir/cold"
t_want_state "$dir/cold/1" spilled
sync -f "$T_TMP/disk"
pid=$(<"$(t_run_dir "$dir")/daemon")

# Threads of the pool that are parked, at three looks in a row: a lock is waited for in futex(2), too, but not for long.
led()
{
	local look t n
	for look in 1 2 3; do
		n=0
		for t in "/proc/$pid"/task/*; do
			[[ $(<"$t/comm") = fuse && $(tr -d '\0' <"$t/wchan") = futex* ]] && n=$((n + 1))
		done
		((n >= 2)) || return 1
	done
}
"$T_BUILD/tools/metastress" "$dir/names" 30 1 >"$T_TMP/out" 2>&1 &
asker=$!
T_JOBS+=("$asker")
t_until 14 led || fail "no thread leads"
shown=0 # tries that were over while it still asked: on a busy machine not all three
for try in 1 2 3; do
	kill -STOP $T_GATE
	echo 3 >/proc/sys/vm/drop_caches
	pids=()
	for ((i = 0; i < readers; i++)); do
		cmp "$dir/cold/$i" "$T_TMP/cold/$i" &
		pids+=($!)
		T_JOBS+=($!)
	done
	sleep 1.2
	kill -0 "${pids[0]}" 2>/dev/null || fail "a reader does not wait for the disk: nothing is shown"
	kill -CONT $T_GATE
	for i in "${pids[@]}"; do wait "$i" || fail "contents differ"; done
	kill -0 $asker 2>/dev/null || break
	shown=$try
done
((shown)) || fail "who asks ended before: nothing is shown"
wait $asker || fail "metastress: $(cat "$T_TMP/out")"
longest=$(sed -n 's/.*longest_us \([0-9]*\).*/\1/p' "$T_TMP/out")
echo "$(cat "$T_TMP/out"), tries $shown"
((longest < 900000)) || fail "an operation waited for $longest us: for the disk of others"
t_until 5 eval '! led' || fail "nobody asks, and one thread leads still"
ok "one thread leads, and nobody waits for its work"
