#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmark's last words, from made-up figures: ratios and verdicts are what the figures say, what did not verify
# has none, who is absent is named with the reason, and JSON and SVG are what they claim to be.
# shellcheck disable=SC2034,SC2154,SC1090 # the parts of the benchmark read and set them
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need jq
t_need python3

# bench FIGURES: the report of these figures in $T_TMP/out; its exit code is returned
bench()
{
	(
		MODE=full RUNS=3 SCALE=1 OUT=$T_TMP/bench NS_WORK=$T_TMP/work top=$T_TOP
		TREE=$T_TMP SQUASH=$T_TMP/squash BYTES=1048576 RSS=30.0 HWM=31.0 SPILLFS_TEST_PLAIN=0
		WAKEUPS="one_cpu 6.0 us two_cpus 50.0 us"
		mkdir -p "$OUT" "$NS_WORK"
		head -c 100000 /dev/zero >"$SQUASH"
		for part in node bench-stat bench-data bench-hot bench-jobs bench-engines bench-cold bench-report bench-chart; do
			. "$T_TOP/scripts/lib/$part.sh"
		done
		COLD=(spill squash erofs) COLD_LABEL[erofs]="erofs lz4hc"
		for key in read_all read_large cold-seq-read cold-rand-read cold-mmap; do
			R[${key}_spill]=" 20 22 21" R[${key}_squash]=" 10 11 30" R[${key}_erofs]=" 40 44 42"
		done
		R[spill_s]=" 2 2 2" R[zstd_s]=" 1 1 1" R[stored]=" 100000 100000 100000"
		for line in "${HOT_ROWS[@]}"; do
			key=${line%%|*}
			R[$key native]=" 10 20 30" R[$key spillfs]=" 10 20 30" R[$key mergerfs]=" 20 40 60"
			R[$key bindfs]=" 30 60 90" R[$key unionfs-fuse]=" 40 80 120"
		done
		absent fuse-overlayfs "not installed"
		for name in native spillfs mergerfs; do CAN["overlay $name"]=yes CAN["die $name"]=yes; done
		CAN["overlay bindfs"]="no: Invalid argument"
		eval "$1"
		report
	) >"$T_TMP/out" 2>&1
}
line_of()
{
	grep "^$1 " "$T_TMP/out" | head -n 1 | tr -s ' '
}

bench :
t_check "exit code of a good run" $? 0
t_check "a rate" "$(line_of 'sequential write')" "sequential write 20 20 MiB/s 1.000 >= 0.95 met 2.000 3.000 4.000 absent"
t_check "a time, faster than all rivals" "$(line_of 'tar x')" "tar x 20 20 ms 1.000 rivals, 3.00 met 2.000 3.000 4.000 absent"
t_check "the median of the rounds' ratios, not the ratio of medians" \
	"$(line_of 'cold read, all files (squashfs)')" "cold read, all files (squashfs) 21 11 MiB/s 2.000 >= 1.00 met "
t_check "slower than a reference" "$(line_of 'cold read, all files (erofs lz4hc)')" \
	"cold read, all files (erofs lz4hc) 21 42 MiB/s 0.500 >= 1.00 missed "
t_check "what a wake-up takes here" "$(line_of 'a byte to')" \
	"a byte to another process and back: one cpu 6.0 us, two cpus 50.0 us"
t_check "who can, who cannot, who was not asked" "$(line_of 'holds an overlayfs upper directory')" \
	"holds an overlayfs upper directory yes yes - yes met yes no - absent"
t_check "who is absent" "$(line_of fuse-overlayfs)" "fuse-overlayfs absent: not installed"
ok "figures, ratios, verdicts"

jq -e '.rows | length > 20' "$T_TMP/bench/full.json" >/dev/null || fail "no rows in full.json"
t_check "raw figures" "$(jq -c '.rounds["tar native"]' "$T_TMP/bench/full.json")" "[10,20,30]"
t_check "the reason in JSON" "$(jq -r '.absent["fuse-overlayfs"]' "$T_TMP/bench/full.json")" "not installed"
[[ -n $(jq -r .kernel "$T_TMP/bench/full.json") ]] || fail "no kernel in full.json"
python3 -c 'import sys, xml.dom.minidom as m
d = m.parse(sys.argv[1])
assert len(d.getElementsByTagName("circle")) > 60, "few dots"' "$T_TMP/bench/full.svg" || fail "full.svg"
cols=$(grep -v ' absent: ' "$T_TMP/bench/full.md" | sed 's,\\|,,g' | tr -cd '|\n' | sort -u)
t_check "columns of the Markdown table" "${#cols}" 11
ok "JSON, SVG, Markdown"

# shellcheck disable=SC2016 # for eval
bench 'bad spillfs tar "not verified: planted"; bad mergerfs seq-write "planted"; bad native du "planted"
	bad unionfs-fuse ops "planted"'
t_check "exit code when ours did not verify" $? 1
t_check "ours did not verify" "$(line_of 'tar x')" "tar x - - ms - - not verified 2.000 3.000 4.000 absent"
t_check "a rival failed" "$(line_of 'sequential write')" \
	"sequential write 20 20 MiB/s 1.000 >= 0.95 met failed 3.000 4.000 absent"
t_check "the reference failed" "$(line_of 'du, the second')" "du, the second - - ms - - not verified failed failed failed absent"
t_check "one failure of opbench is one of all its phases" "$(line_of rename)" "rename 20 20 us 1.000 - - 2.000 3.000 failed absent"
t_check "the reason in JSON" "$(jq -r '.not_verified["tar spillfs"]' "$T_TMP/bench/full.json")" "not verified: planted"
ok "no ratio without proof"

# shellcheck disable=SC2016 # for eval
bench 'R[cp spillfs]=" 50 100 150"; R[rm spillfs]=" 35 70 105"; R[rm mergerfs]=" 50 100 150"; R[rm bindfs]=" 50 100 150"'
t_check "slower than a rival" "$(line_of 'cp -a')" "cp -a 100 20 ms 5.000 rivals, 3.00 missed 2.000 3.000 4.000 absent"
t_check "faster than the rivals, not within the aim" "$(line_of 'rm -rf')" \
	"rm -rf 70 20 ms 3.500 rivals, 3.00 met, not 3 5.000 5.000 4.000 absent"
ok "rivals"

# shellcheck disable=SC2016 # for eval
bench 'CAN["die spillfs"]="no: planted"; absent docker "not installed"'
t_check "what ours could not do" "$(line_of 'goes on when its daemon is killed')" \
	"goes on when its daemon is killed no yes - yes missed yes - - absent"
t_check "why not, in JSON" "$(jq -r '.can["die spillfs"]' "$T_TMP/bench/full.json")" "no: planted"
t_check "no row of an engine that is not there" "$(line_of 'docker load')" ""
ok "abilities, engines"
