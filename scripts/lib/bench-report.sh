# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The table and the raw results. Sourced by scripts/bench.

MISSED=0
row() # WHAT OURS REFERENCE UNIT RATIO TARGET MET(0/1)
{
	local verdict=met
	[ "$7" = 1 ] || { verdict=missed && MISSED=$((MISSED + 1)); }
	node_plain && verdict=plain # says nothing about spillfs
	printf '%-34s %10s %10s %-6s %8s  %-9s %s\n' "$1" "$2" "$3" "$4" "$5" "$6" "$verdict"
	ROWS+=("$(jq -nc --arg name "$1" --arg ours "$2" --arg ref "$3" --arg unit "$4" --arg ratio "$5" \
		--arg target "$6" --arg verdict "$verdict" '$ARGS.named')")
}
ROWS=()
report()
{
	local q squash spill zstd
	printf '\n%-34s %10s %10s %-6s %8s  %-9s\n' "median of $RUNS rounds" spillfs reference unit ratio target
	q=$(rounds_ratio read_all_spill read_all_squash)
	row "cold read, all files (squashfs)" "$(med read_all_spill)" "$(med read_all_squash)" MiB/s \
		"$q" ">= 1.00" "$(holds "$q" '>=' 1)"
	q=$(rounds_ratio read_large_spill read_large_squash)
	row "cold read, large files (squashfs)" "$(med read_large_spill)" "$(med read_large_squash)" MiB/s \
		"$q" ">= 1.00" "$(holds "$q" '>=' 1)"
	spill=$(awk -v b="$BYTES" -v s="$(med spill_s)" 'BEGIN { printf "%.1f", b / 1048576 / (s + 1e-9) }')
	zstd=$(awk -v b="$BYTES" -v s="$(med zstd_s)" 'BEGIN { printf "%.1f", b / 1048576 / s }')
	q=$(rounds_ratio zstd_s spill_s)
	row "spill (tar | zstd -3 -T$(nproc))" "$spill" "$zstd" MiB/s "$q" ">= 0.70" "$(holds "$q" '>=' 0.7)"
	squash=$(stat -c %s "$SQUASH")
	q=$(ratio "$(med stored)" "$squash")
	row "stored size, with index (squashfs)" "$(($(med stored | cut -d. -f1) >> 10))" "$((squash >> 10))" KiB \
		"$q" "<= 1.02" "$(holds "$q" '<=' 1.02)"
	row "memory, $FILES files known" "$RSS" "$MEM_LIMIT_MIB" MiB "$(ratio "$RSS" $MEM_LIMIT_MIB)" "<= 1.00" \
		"$(holds "$RSS" '<=' $MEM_LIMIT_MIB)"
	printf '%-34s %10s\n' "  its highest (VmHWM)" "$HWM MiB"
	{
		printf '%s\n' "${ROWS[@]}" | jq -s '{rows: .}'
		for q in "${!R[@]}"; do
			jq -n --arg k "$q" --arg v "${R[$q]}" '{rounds: {($k): ($v | split(" ") | map(select(. != "") | tonumber))}}'
		done
		jq -n --argjson bytes "$BYTES" --argjson squash "$squash" --argjson hwm "$HWM" --arg kernel "$(uname -r)" \
			--argjson cores "$(nproc)" --arg load "$(cut -d' ' -f1-3 /proc/loadavg)" \
			--arg plain "${SPILLFS_TEST_PLAIN:-0}" \
			'{bytes: $bytes, squashfs_bytes: $squash, hwm_mib: $hwm, kernel: $kernel, cores: $cores,
			load: $load, plain: ($plain == "1")}'
	} | jq -s 'reduce .[] as $x ({}; . * $x)' >"$OUT/quick.json"
	printf '\nbench: %d of %d targets met; load %s; raw results in %s\n' $((${#ROWS[@]} - MISSED)) "${#ROWS[@]}" \
		"$(cut -d' ' -f1-3 /proc/loadavg)" "${OUT#"$top"/}/quick.json"
}
