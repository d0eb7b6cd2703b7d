# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # what other parts set
# The table, the same as JSON, Markdown and points of the chart. Sourced by scripts/bench.
#
#   report             all of it, to stdout and $OUT/$MODE.*; returns 1 when something of ours did not verify. WAKEUPS is
#                      what tests/tools/wakeups said
#
# Ratios are medians of the rounds' own ratios: ours to the reference, of rates (more is better) or of times (less is
# better). What failed or did not verify in any round has no figures at all.

ROWS=() # what, ours, reference, unit, ratio, target, verdict; tabs between
MET=0 JUDGED=0

# key|what|unit|rate or time|target: a number is a bound for the ratio to native; "rivals" is to be better than every one
# of them, and aims at three times native; "-" is none
HOT_ROWS=(
	"seq-read|sequential read, in memory|MiB/s|rate|0.95"
	"rand-read|random read 4K, in memory|IOPS|rate|0.95"
	"mmap-read|mmap, random loads 4K|IOPS|rate|0.95"
	"direct-read|O_DIRECT sequential read|MiB/s|rate|0.95"
	"seq-write|sequential write|MiB/s|rate|0.95"
	"rand-write|random write 4K|IOPS|rate|0.95"
	"mmap-write|mmap, random stores 4K|IOPS|rate|0.95"
	"direct-write|O_DIRECT sequential write|MiB/s|rate|0.95"
	"direct-rand|O_DIRECT random 4K, 70/30|IOPS|rate|0.95"
	"mixed|random 4K, 70/30|IOPS|rate|0.95"
	"fsync|4K appends, fsync each|IOPS|rate|0.95"
	"stat_cached|stat, cached|us|time|1.15"
	"find|find, the second|ms|time|1.15"
	"du|du, the second|ms|time|1.15"
	"create_write|create + write 1 KB|us|time|rivals"
	"open_read_close|open + read + close|us|time|rivals"
	"stat_after_write|write + stat|us|time|rivals"
	"tar|tar x|ms|time|rivals"
	"cp|cp -a|ms|time|rivals"
	"rm|rm -rf|ms|time|rivals"
	"small-files|small files of 16 KiB, fio|IOPS|rate|-"
	"rename|rename|us|time|-"
	"unlink|unlink|us|time|-"
	"spilling|random 4K, 70/30, while spilling|IOPS|rate|-"
	"docker-load|docker load|ms|time|1.25"
	"docker-build|docker build|ms|time|1.25"
	"docker-run|docker run, layers in memory|ms|time|1.10"
)
# what|the row
ABILITY_ROWS=(
	"overlay|holds an overlayfs upper directory"
	"die|goes on when its daemon is killed"
)

# row WHAT OURS REFERENCE UNIT RATIO TARGET VERDICT [CELL...]
row()
{
	local verdict=$7 cell
	node_plain && verdict=plain # says nothing about spillfs
	case $verdict in
	met*) MET=$((MET + 1)) JUDGED=$((JUDGED + 1)) ;;
	missed*) JUDGED=$((JUDGED + 1)) ;;
	esac
	printf '%-40s %10s %10s %-6s %8s  %-12s %-12s' "$1" "$2" "$3" "$4" "$5" "$6" "$verdict"
	[ $# = 7 ] || printf ' %10s' "${@:8}"
	printf '\n'
	printf '| %s ' "${1//|/\\|}" "$2 $4" "$3 $4" "$5" "$6" "$verdict" "${@:8}" >>"$OUT/$MODE.md"
	for ((cell = $#; cell < 7 + ${#CELL_NAMES[@]}; cell++)); do
		printf '| ' >>"$OUT/$MODE.md"
	done
	printf '|\n' >>"$OUT/$MODE.md"
	ROWS+=("$(IFS=$'\t' && echo "${*:1:6}")"$'\t'"$verdict")
}
# judged RATIO OP LIMIT
judged()
{
	[ "$(holds "$1" "$2" "$3")" = 1 ] && echo met || echo missed
}

head_line()
{
	printf '\n%-40s %10s %10s %-6s %8s  %-12s %-12s' "median of $RUNS round(s)" spillfs "$1" unit ratio target ""
	[ $# = 1 ] || printf ' %10s' "${@:2}"
	printf '\n'
}

# ---- hot ---------------------------------------------------------------------------------------------------

# The name under which a failure of KEY on NAME was recorded: opbench does several in one go.
bad_at()
{
	local key=$1
	[[ $key == *_* || $key == rename || $key == unlink ]] && key=ops
	[ -n "${BAD["$key $2"]:-}" ] && return 0
	[ -z "${R["$1 $2"]:-}" ]
}

# beats KIND KEY: is our figure better than that of every rival that has one? "none" when none has.
beats()
{
	local name q some=
	for name in "${RIVALS[@]}"; do
		bad_at "$2" "$name" && continue
		some=1
		q=$(rounds_ratio "$2 spillfs" "$2 $name")
		if [ "$1" = rate ]; then
			[ "$(holds "$q" '>' 1)" = 1 ] || { echo missed && return; }
		else
			[ "$(holds "$q" '<' 1)" = 1 ] || { echo missed && return; }
		fi
	done
	[ -n "$some" ] && echo met || echo none
}

# point PANEL WHAT NAME SPEED TARGET: for the chart; speed and target as multiples of the reference
point()
{
	printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$POINTS"
}
speed()
{
	awk -v k="$1" -v q="$2" 'BEGIN { printf "%.4f", k == "rate" ? q : q ? 1 / q : 0 }'
}

hot_row()
{
	local key=$1 what=$2 unit=$3 kind=$4 target=$5 q verdict text=$5 goal="" name cells=()
	[[ $key != docker-* || -z ${WHY_NOT[docker]:-} ]] || return 0
	for name in "${RIVALS[@]}"; do
		if [[ $key == spilling || $key == docker-* ]]; then
			cells+=("")
		elif [ -n "${WHY_NOT[$name]:-}" ]; then
			cells+=(absent)
		elif bad_at "$key" "$name" || bad_at "$key" native; then
			cells+=(failed)
		else
			q=$(rounds_ratio "$key $name" "$key native")
			cells+=("$q")
			point hot "$what" "$name" "$(speed "$kind" "$q")" ""
		fi
	done
	if bad_at "$key" spillfs || bad_at "$key" native; then
		row "$what" - - "$unit" - - "not verified" "${cells[@]}"
		return
	fi
	q=$(rounds_ratio "$key spillfs" "$key native")
	case $target in
	-) verdict=- ;;
	rivals)
		text="rivals, 3.00" goal=0.3333
		verdict=$(beats "$kind" "$key")
		[ "$verdict" != met ] || [ "$(holds "$(speed "$kind" "$q")" '>=' 0.3333)" = 1 ] || verdict="met, not 3"
		;;
	*)
		goal=$(speed "$kind" "$target")
		if [ "$kind" = rate ]; then
			text=">= $target" verdict=$(judged "$q" '>=' "$target")
		else
			text="<= $target" verdict=$(judged "$q" '<=' "$target")
		fi
		;;
	esac
	point hot "$what" spillfs "$(speed "$kind" "$q")" "$goal"
	row "$what" "$(med "$key spillfs")" "$(med "$key native")" "$unit" "$q" "$text" "$verdict" "${cells[@]}"
}

hot_rows()
{
	local line key what unit kind target
	head_line ext4 mergerfs bindfs unionfs fuse-ovl
	for line in "${HOT_ROWS[@]}"; do
		IFS='|' read -r key what unit kind target <<<"$line"
		hot_row "$key" "$what" "$unit" "$kind" "$target"
	done
	ability_rows
}

# can WHAT NAME: yes, no, or - where it was not tried
can()
{
	local said=${CAN["$1 $2"]:--}
	echo "${said%%:*}"
}
ability_rows()
{
	local line what text name cells ours
	for line in "${ABILITY_ROWS[@]}"; do
		IFS='|' read -r what text <<<"$line"
		cells=()
		for name in "${RIVALS[@]}"; do
			[ -n "${WHY_NOT[$name]:-}" ] && cells+=(absent) || cells+=("$(can "$what" "$name")")
		done
		ours=$(can "$what" spillfs)
		row "$text" "$ours" "$(can "$what" native)" "" - yes "$([ "$ours" = yes ] && echo met || echo missed)" "${cells[@]}"
	done
}

# ---- cold --------------------------------------------------------------------------------------------------

# cold_rows KEY WHAT UNIT TARGET: a row for each file system that we are compared with
cold_rows()
{
	local key=$1 what=$2 unit=$3 target=$4 side q verdict=- text=-
	for side in "${COLD[@]}"; do
		q=$(rounds_ratio "${key}_$side" "${key}_squash")
		point cold "$what" "$side" "$q" "$([ "$side" != spill ] || echo "${target#-}")"
		[ "$side" != spill ] || continue
		q=$(rounds_ratio "${key}_spill" "${key}_$side")
		[ "$target" = - ] || text=">= $target" verdict=$(judged "$q" '>=' "$target")
		row "$what (${COLD_LABEL[$side]})" "$(med "${key}_spill")" "$(med "${key}_$side")" "$unit" "$q" "$text" "$verdict"
	done
}

spill_row()
{
	local spill zstd q
	spill=$(awk -v b="$BYTES" -v s="$(med spill_s)" 'BEGIN { printf "%.1f", b / 1048576 / (s + 1e-9) }')
	zstd=$(awk -v b="$BYTES" -v s="$(med zstd_s)" 'BEGIN { printf "%.1f", b / 1048576 / s }')
	q=$(rounds_ratio zstd_s spill_s)
	row "spill (tar | zstd -3 -T$(nproc))" "$spill" "$zstd" MiB/s "$q" ">= 0.70" "$(judged "$q" '>=' 0.7)"
}

size_row()
{
	local squash q
	squash=$(stat -c %s "$SQUASH")
	q=$(ratio "$(med stored)" "$squash")
	row "stored size, with index (squashfs)" "$(($(med stored | cut -d. -f1) >> 10))" "$((squash >> 10))" KiB \
		"$q" "<= 1.02" "$(judged "$q" '<=' 1.02)"
}

memory_row()
{
	row "memory, $FILES files known" "$RSS" "$MEM_LIMIT_MIB" MiB "$(ratio "$RSS" $MEM_LIMIT_MIB)" "<= 1.00" \
		"$(judged "$RSS" '<=' $MEM_LIMIT_MIB)"
	printf '%-40s %10s\n' "  its highest (VmHWM)" "$HWM MiB"
}

# ---- all ---------------------------------------------------------------------------------------------------

machine_json()
{
	local rivals="" p
	for p in "${RIVALS[@]}" erofs-utils btrfs-progs squashfs-tools fio; do
		rivals+=$(dpkg-query -W -f='${Package} ${Version}\n' "$p" 2>/dev/null)$'\n'
	done
	jq -n --arg cpu "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)" --argjson cores "$(nproc)" \
		--argjson memory "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" --arg kernel "$(uname -r)" \
		--arg os "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)" \
		--arg disk "$(stat -f -c %T "$NS_WORK")" --arg load "$(cut -d' ' -f1-3 /proc/loadavg)" --arg p "$rivals" \
		'{cpu: $cpu, cores: $cores, memory_mib: $memory, kernel: $kernel, os: $os, below_the_loop_devices: $disk,
		load: $load, packages: ($p | split("\n") | map(select(. != "") | split(" ") | {(.[0]): .[1]}) | add)}'
}

# pairs NAME: {NAME: {KEY: VALUE, ...}} of lines "KEY<tab>VALUE"
pairs()
{
	jq -Rn --arg name "$1" '{($name): ([inputs | select(. != "") | split("\t") | {(.[0]): .[1]}] | add // {})}'
}

write_json()
{
	local k
	{
		printf '%s\n' "${ROWS[@]}" | jq -Rn '{rows: [inputs | split("\t") |
			{name: .[0], ours: .[1], ref: .[2], unit: .[3], ratio: .[4], target: .[5], verdict: .[6]}]}'
		for k in "${!R[@]}"; do printf '%s\t%s\n' "$k" "${R[$k]}"; done | pairs rounds |
			jq '.rounds |= map_values(split(" ") | map(select(. != "") | tonumber))'
		for k in "${!WHY_NOT[@]}"; do printf '%s\t%s\n' "$k" "${WHY_NOT[$k]}"; done | pairs absent
		for k in "${!BAD[@]}"; do printf '%s\t%s\n' "$k" "${BAD[$k]}"; done | pairs not_verified
		for k in "${!CAN[@]}"; do printf '%s\t%s\n' "$k" "${CAN[$k]}"; done | pairs can
		echo "$MACHINE"
		jq -n --argjson bytes "$BYTES" --argjson squash "$(stat -c %s "$SQUASH")" --argjson hwm "$HWM" \
			--argjson scale "$SCALE" --arg plain "${SPILLFS_TEST_PLAIN:-0}" \
			--arg wakeups "$WAKEUPS" \
			'{bytes: $bytes, squashfs_bytes: $squash, hwm_mib: $hwm, wakeups: $wakeups, scale: $scale,
			plain: ($plain == "1")}'
	} | jq -s 'add' >"$OUT/$MODE.json"
}

report()
{
	local k ours=0 machine
	MACHINE=$(machine_json)
	machine=$(jq -r '"\(.cpu), \(.cores) cores, \(.memory_mib / 1024 | round) GiB, \(.os), Linux \(.kernel)"' <<<"$MACHINE")
	POINTS=$NS_WORK/points
	: >"$POINTS"
	: >"$OUT/$MODE.md"
	CELL_NAMES=()
	[ "$MODE" = quick ] || CELL_NAMES=("${RIVALS[@]}")
	printf '| %s ' "" spillfs reference ratio target "" "${CELL_NAMES[@]}" >>"$OUT/$MODE.md"
	printf '|\n' >>"$OUT/$MODE.md"
	printf '|---%.0s' "" spillfs reference ratio target "" "${CELL_NAMES[@]}" >>"$OUT/$MODE.md"
	printf '|\n' >>"$OUT/$MODE.md"
	printf '\n%s\n' "$machine"
	printf 'a byte to another process and back: %s\n' "$(sed 's/_/ /g; s/us two/us, two/' <<<"$WAKEUPS")"
	[ "$MODE" = quick ] || hot_rows
	head_line reference
	cold_rows read_all "cold read, all files" MiB/s 1.00
	cold_rows read_large "cold read, large files" MiB/s 1.00
	if [ "$MODE" != quick ]; then
		cold_rows cold-seq-read "cold sequential read, fio" MiB/s -
		cold_rows cold-rand-read "cold random read 4K, fio" IOPS -
		cold_rows cold-mmap "cold mmap loads 4K, fio" IOPS -
	fi
	spill_row
	size_row
	memory_row
	for k in "${!WHY_NOT[@]}"; do
		printf '%-40s %s\n' "$k" "absent: ${WHY_NOT[$k]}"
		printf '| %s | absent: %s |\n' "$k" "${WHY_NOT[$k]}" >>"$OUT/$MODE.md"
	done
	for k in "${!BAD[@]}"; do
		printf '%-40s %s\n' "$k" "failed: ${BAD[$k]}"
		[[ $k == *" spillfs" || $k == *" native" ]] && ours=1
	done
	write_json
	[ "$MODE" = quick ] || chart "$POINTS" "$machine" >"$OUT/$MODE.svg"
	printf '\nbench: %d of %d targets met; load %s; raw results in %s\n' "$MET" "$JUDGED" \
		"$(cut -d' ' -f1-3 /proc/loadavg)" "${OUT#"$top"/}/$MODE.json"
	[ "$ours" = 0 ]
}
