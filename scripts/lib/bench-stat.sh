# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What every part of the benchmark needs: messages, the clock, medians and ratios. Sourced by scripts/bench.
#
#   R[NAME]            what was measured, one value per round; add NAME VALUE
#   median, med NAME   of values, of R[NAME]
#   rounds_ratio A B   the median of the rounds' own R[A]/R[B]: what slowed one whole round is in neither

declare -A R

die()
{
	printf 'bench: %s\n' "$*" >&2
	exit 1
}
say()
{
	printf 'bench: %s\n' "$*"
}
now_s()
{
	date +%s.%N
}
since()
{
	awk -v a="$1" -v b="$(now_s)" 'BEGIN { printf "%.3f", b - a }'
}
drop_caches()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
}
add()
{
	R[$1]="${R[$1]:-} $2"
}
median()
{
	printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 }
		END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
med()
{
	# shellcheck disable=SC2086 # a list
	median ${R[$1]}
}
ratio()
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", b ? a / b : 0 }'
}
rounds_ratio()
{
	local a b i out=()
	read -ra a <<<"${R[$1]}"
	read -ra b <<<"${R[$2]}"
	for i in "${!a[@]}"; do
		out+=("$(ratio "${a[i]}" "${b[i]}")")
	done
	median "${out[@]}"
}
holds() # A OP B
{
	awk -v a="$1" -v b="$3" "BEGIN { print (a $2 b) ? 1 : 0 }"
}
