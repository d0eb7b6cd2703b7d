# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034 # what other parts read
# What every part of the benchmark needs: messages, the clock, medians and ratios. Sourced by scripts/bench.
#
#   R[NAME]            what was measured, one value per round; add NAME VALUE
#   median, med NAME   of values, of R[NAME]
#   rounds_ratio A B   the median of the rounds' own R[A]/R[B]: what slowed one whole round is in neither
#   absent NAME WHY    NAME takes no part: it is a row of the table, with the reason, which is in WHY_NOT[NAME]
#   bad NAME KEY WHY   what NAME did at KEY failed or did not verify: no figure of it is printed. BAD["KEY NAME"]
#   scaled N MIN       N times $SCALE, a whole number, at least MIN
#   rotated N NAME...  the names in the order of round N, one a line

declare -A R WHY_NOT BAD

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
absent()
{
	WHY_NOT[$1]=${2//"$NS_WORK/"/}
	say "$1 takes no part: ${WHY_NOT[$1]}"
}
bad()
{
	BAD["$2 $1"]=${3//"$NS_WORK/"/}
	unset "R[$2 $1]"
	say "$2 on $1: ${BAD["$2 $1"]}; no figure is printed"
}
# One process each: a table has hundreds of these.
median()
{
	awk 'BEGIN {
		for (n = 1; n < ARGC; n++) {
			for (i = n; i > 1 && v[i - 1] > ARGV[n] + 0; i--) v[i] = v[i - 1]
			v[i] = ARGV[n] + 0
		}
		n--
		print n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	}' "$@"
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
	awk -v a="${R[$1]}" -v b="${R[$2]}" 'BEGIN {
		n = split(a, x, " ")
		split(b, y, " ")
		for (k = 1; k <= n; k++) {
			q = y[k] ? x[k] / y[k] : 0
			for (i = k; i > 1 && v[i - 1] > q; i--) v[i] = v[i - 1]
			v[i] = q
		}
		printf "%.3f", n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	}'
}
holds() # A OP B
{
	awk -v a="$1" -v b="$3" "BEGIN { print (a $2 b) ? 1 : 0 }"
}
scaled()
{
	awk -v n="$1" -v s="$SCALE" -v min="$2" 'BEGIN { n = int(n * s); print n < min ? min : n }'
}
rotated()
{
	local n=$1 i
	shift
	for ((i = 0; i < $#; i++)); do
		echo "${@:(i + n) % $# + 1:1}"
	done
}
