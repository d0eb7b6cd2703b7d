#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs that others trust: fio with verification, stress-ng's file system stressors, dbench; alone, and while
# everything is spilled again and again. TOOLS_TIME: seconds for each of them (12).
# timeout: 600
. "$(dirname "$0")/../lib/lib.sh"
t_init
secs=${TOOLS_TIME:-12}
t_fs ext4 3G "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
t_spillfs "$T_TMP/store" "$dir"

do_fio()
{
	local e
	command -v fio >/dev/null || { echo "fio is not installed"; return 0; }
	mkdir -p "$dir/fio"
	for e in psync mmap libaio; do
		timeout $((secs * 10 + 60)) fio --name="$e" --verify_state_save=0 --directory="$dir/fio" --ioengine=$e \
			--direct="$([[ $e == libaio ]] && echo 1 || echo 0)" --iodepth=4 --rw=randwrite \
			--bs=4k-64k --bs_unaligned=0 --blockalign=4k --size=24m --nrfiles=3 --numjobs=2 \
			--verify=crc32c --verify_fatal=1 --verify_backlog=64 --do_verify=1 --loops=2 \
			--time_based=0 --group_reporting --output="$T_TMP/fio.log" ||
			fail "$1: fio $e: exit $?: $(grep -ai -E 'verify|error|bad' "$T_TMP/fio.log" | head -n 5)"
		rm -rf "$dir/fio"/*
	done
	ok "$1: fio --verify"
}
do_stress()
{
	local s args rc
	command -v stress-ng >/dev/null || { echo "stress-ng is not installed"; return 0; }
	mkdir -p "$dir/stress"
	for s in hdd seek rename link symlink dentry dir chmod chown utime xattr fallocate punch getdent mmap \
		lockf flock fstat copy-file readahead open unlink access sync-file; do
		stress-ng --stressors | tr ' ' '\n' | grep -qx "$s" || continue
		case $s in # the defaults fill a gigabyte
		hdd | fallocate) args=(--$s-bytes 16m) ;;
		seek) args=(--seek-size 8m) ;;
		mmap) args=(--mmap-bytes 32m --mmap-file) ;;
		*) args=() ;;
		esac
		timeout 120 stress-ng --$s 2 --timeout $((secs / 6 + 1)) --temp-path "$dir/stress" --verify \
			"${args[@]}" >"$T_TMP/stress.log" 2>&1
		rc=$?
		# 3: the stressor does not run here; 4: not implemented
		[[ $rc == 0 || $rc == 3 || $rc == 4 ]] ||
			fail "$1: stress-ng $s: exit $rc: $(grep -a -E 'fail|error' "$T_TMP/stress.log" | head -n 5)"
		rm -rf "$dir/stress"/*
	done
	ok "$1: stress-ng --verify"
}
do_dbench()
{
	local bad
	command -v dbench >/dev/null || { echo "dbench is not installed"; return 0; }
	mkdir -p "$dir/dbench"
	timeout $((secs + 120)) dbench -t "$secs" -c /usr/share/dbench/client.txt -D "$dir/dbench" 3 \
		>"$T_TMP/dbench.log" 2>&1 || fail "$1: dbench: exit $?: $(tail -n 5 "$T_TMP/dbench.log")"
	grep -q '^Throughput [^ ]*[1-9]' "$T_TMP/dbench.log" ||
		fail "$1: dbench: $(tail -n 5 "$T_TMP/dbench.log")"
	# dbench takes the id of the first semaphore set since boot, which is 0, for a failure, says so and goes on.
	bad=$(grep -i 'failed\|no such' "$T_TMP/dbench.log" | grep -v '^failed to create barrier semaphore *$')
	[[ -z $bad ]] || fail "$1: dbench: $(head -n 3 <<<"$bad")"
	rm -rf "$dir/dbench"
	ok "$1: dbench"
}
spill_loop()
{
	while :; do
		T_CTL_TIMEOUT=120 t_ctl spill "$dir" >"$T_TMP/loop.out" 2>&1
		rc=$?
		# files come and go: 23 (some not done), 24 when the directory itself has just gone
		[[ $rc == 0 || $rc == 23 || $rc == 24 ]] || { echo "spill: exit $rc" >>"$T_TMP/loop.log"; cat "$T_TMP/loop.out" >>"$T_TMP/loop.log"; }
		sleep 0.2
	done
}

for s in fio stress dbench; do
	do_$s alone
done
if ! t_plain; then
	: >"$T_TMP/loop.log"
	t_bg spill_loop
	for s in fio stress dbench; do
		do_$s "while spilling"
	done
	[[ ! -s $T_TMP/loop.log ]] || fail "spilling: $(head -n 3 "$T_TMP/loop.log")"
	(($(t_status "$dir" .bytes.spilled_since_mount) > 0)) || fail "nothing was spilled meanwhile"
	kill "${T_JOBS[@]}"
	wait "${T_JOBS[@]}" 2>/dev/null
	t_check errors "$(t_status "$dir" .errors)" 0
	t_ctl check -m "$dir" >"$T_TMP/check.log" 2>&1 || fail "check: $(tail "$T_TMP/check.log")"
fi
t_umount "$dir"
