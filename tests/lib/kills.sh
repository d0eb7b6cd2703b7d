# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Kill the daemon of a mount again and again while something uses the mount; a test sources lib.sh first.
#
#	k_under DIR KILLS PID NAME	kill the daemon KILLS times at random while PID runs; then $T_TMP/stop is made, upon
#				which PID ends by itself, and well. Its words are in $T_TMP/NAME.log. With K_MAX, up to
#				so many kills until one has found a request unanswered
#	k_alive DIR		wait until a daemon answers
#
# k_under prints a line and sets K_KILLS, K_MET (requests that a kill found unanswered: they were asked again) and, when
# the load writes what it is doing to $T_TMP/step, K_STEPS[STEP], kills by step.

declare -A K_STEPS=()
K_KILLS=0 K_MET=0

k_alive()
{
	t_until 20 t_status "$1" .daemons >/dev/null || fail "no daemon answers"
}

# k_again DIR: requests asked again since the mount.
k_again()
{
	k_alive "$1"
	t_status "$1" .requests_again
}

# k_of PERCENT NUMBER...
k_of()
{
	local p=$1
	shift
	printf '%s\n' "$@" | sort -n | sed -n "$((($# - 1) * p / 100 + 1))p"
}

k_under()
{
	local dir=$1 kills=$2 pid=$3 name=$4 pause=() t before step daemon
	daemon=$(t_run_dir "$dir")/daemon
	before=$(k_again "$dir")
	K_KILLS=0
	while kill -0 "$pid" 2>/dev/null &&
		((K_KILLS < kills || (K_KILLS < ${K_MAX:-0} && $(k_again "$dir") == before))); do
		sleep "$((RANDOM % 2)).$((100 + RANDOM % 900))"
		step=$(cat "$T_TMP/step" 2>/dev/null)
		kill -9 "$(<"$daemon")" 2>/dev/null || continue
		t=$(date +%s%N)
		stat "$dir/no.$name.$K_KILLS" >/dev/null 2>&1
		pause+=($((($(date +%s%N) - t) / 1000000)))
		K_KILLS=$((K_KILLS + 1))
		[[ -z $step ]] || K_STEPS[$step]=$((${K_STEPS[$step]:-0} + 1))
	done
	touch "$T_TMP/stop"
	wait "$pid" || fail "$name failed (exit $?) after $K_KILLS kills: $(tail -n 5 "$T_TMP/$name.log")"
	rm -f "$T_TMP/stop"
	((K_KILLS)) || fail "$name ended before the first kill"
	K_MET=$(($(k_again "$dir") - before))
	echo "$name: $K_KILLS kills, $K_MET requests taken over, pause median $(k_of 50 "${pause[@]}") ms, 90% $(
		k_of 90 "${pause[@]}"
	) ms, longest $(k_of 100 "${pause[@]}") ms"
}
