#!/bin/bash
# SPDX-License-Identifier: MIT
# Readers, writers and mappings on the same files while these are spilled and recalled all the time; every block says
# what it must be. The stale-page case (read cold, recalled, rewritten, spilled, read again) happens here thousands
# of times, and an open between reply and release too. CONCURRENCY_TIME: seconds (60).
# timeout: 900
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_tool blockstress
secs=${CONCURRENCY_TIME:-60}
tool=$T_BUILD/tools/blockstress
fs=${CONCURRENCY_FS:-ext4}
t_fs "$fs" 2G "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
t_spillfs "$T_TMP/store" "$dir"
mkdir "$dir/s"

# move WORK: spill or recall everything again and again
move()
{
	while :; do
		T_CTL_TIMEOUT=120 t_ctl "$1" "$dir/s" >"$T_TMP/$1.out" 2>&1
		rc=$?
		[[ $rc == 0 || $rc == 23 ]] || { echo "$1: exit $rc"; cat "$T_TMP/$1.out"; } >>"$T_TMP/move.log"
		sleep "$2"
	done
}
: >"$T_TMP/move.log"
if ! t_plain; then
	t_bg move spill 0.02
	t_bg move recall 0.5
fi
# few files and many threads: collisions; small files, whose pages are filled when a stub is opened; then many files
# and few threads: most spills succeed
timeout $((secs + 120)) "$tool" --time $((secs / 3)) --files 4 --threads 8 --save "$T_TMP/state" "$dir/s" ||
	fail "blockstress, few files: exit $?"
rm "$dir/s"/*
timeout $((secs + 120)) "$tool" --time $((secs / 3)) --files 8 --blocks 20 --threads 6 --seed 3 "$dir/s" ||
	fail "blockstress, small files: exit $?"
rm "$dir/s"/*
timeout $((secs + 120)) "$tool" --time $((secs / 3)) --files 32 --threads 3 --seed 2 --save "$T_TMP/state" "$dir/s" ||
	fail "blockstress, many files: exit $?"
if ! t_plain; then
	kill "${T_JOBS[@]}"
	wait "${T_JOBS[@]}" 2>/dev/null
	[[ ! -s $T_TMP/move.log ]] || fail "$(head -n 3 "$T_TMP/move.log")"
	moved=$(t_status "$dir" .bytes.spilled_since_mount) back=$(t_status "$dir" .bytes.recalled_since_mount)
	((moved > 1000000 && back > 1000000)) || fail "hardly anything moved: $moved out, $back back"
	t_check errors "$(t_status "$dir" .errors)" 0
	t_spill "$dir/s"
	"$tool" --check "$T_TMP/state" "$dir/s" || fail "wrong contents when all is spilled"
	t_ctl check -m "$dir" >"$T_TMP/check.log" 2>&1 || fail "check: $(tail "$T_TMP/check.log")"
	ok "$moved bytes were spilled and $back recalled meanwhile"
fi
"$tool" --check "$T_TMP/state" "$dir/s" || fail "wrong contents at the end"
t_umount "$dir"
if ! t_plain; then
	t_spillfs "$T_TMP/store" "$dir"
	"$tool" --check "$T_TMP/state" "$dir/s" || fail "wrong contents after mounting again"
	t_recall "$dir/s"
	"$tool" --check "$T_TMP/state" "$dir/s" || fail "wrong contents when all is recalled"
	t_umount "$dir"
fi
ok "contents were right all the time"
