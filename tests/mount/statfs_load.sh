#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
# How long statfs(2) takes, and that it always answers, while files are written, spilled, read cold, recalled and
# deleted (so that frames are freed). kubelet gives up after 2 seconds; the aim is a 99.9th percentile below 5 ms. One
# who asks waits for the answer, and then for a CPU, and there is none to spare here: so a second one asks with real-time
# priority, and has the answers' time alone. Machines that run tests are shared: only a clear break of that one fails.
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fill statwatch treesum
FILL=$T_BUILD/tools/fill
DIR=$T_TMP/hot STORE=$T_TMP/store
ROUNDS=3 SECONDS_EACH=12
t_fs ext4 300M "$DIR"
t_fs ext4 1500M "$STORE"
t_spillfs "$STORE/s" "$DIR" auto=on,spill=all,interval=1s,min-age=1h
mkdir -p "$DIR"/{cold,back,new}
for i in {1..30}; do
	t_data "$i" 3000000 >"$DIR/cold/$i"
	t_data "8$i" 500000 >"$DIR/back/$i"
done
t_spill "$DIR/cold" "$DIR/back"

# Each loop ends when $T_TMP/stop is there; what fails says so in $T_TMP/broken.
until_stop()
{
	while [[ ! -e $T_TMP/stop ]]; do
		"$@" || { echo "$*" >>"$T_TMP/broken"; return; }
	done
}
writes()
{
	rm -rf "$DIR/new/w0" "$DIR/new/w1"
	"$FILL" write -w 2 -s 4096:6000000 -z 40 -b 120000000 "$DIR/new" $RANDOM >"$T_TMP/fill"
}
reads()
{
	cat "$DIR"/cold/* >/dev/null
}
moves()
{
	t_ctl recall "$DIR/back" >/dev/null 2>&1
	t_ctl spill "$DIR/back" >/dev/null 2>&1
	return 0 # files may be busy
}
moved()
{
	t_status "$DIR" '.bytes | "\(.spilled_since_mount) \(.recalled_since_mount)"'
}
median=()
rt=(-r) limit=50000
chrt -f 1 true 2>/dev/null || {
	echo "no real-time priority for us on this machine: both wait for a CPU"
	rt=() limit=100000
}
for ((round = 1; round <= ROUNDS; round++)); do
	rm -f "$T_TMP/stop"
	read -r spilled recalled < <(moved)
	jobs=()
	for j in writes reads moves; do
		t_bg until_stop $j
		jobs+=($!)
	done
	"$T_BUILD/tools/statwatch" "${rt[@]}" -i 1000 "$DIR" >"$T_TMP/watch" &
	watch=$!
	"$T_BUILD/tools/statwatch" -i 1000 "$DIR" >"$T_TMP/watch.fair" &
	fair=$!
	T_JOBS+=("$watch" "$fair")
	sleep $SECONDS_EACH
	kill "$watch" "$fair"
	wait "$watch" || fail "statfs failed: $(cat "$T_TMP/watch")"
	wait "$fair" || fail "statfs failed: $(cat "$T_TMP/watch.fair")"
	: >"$T_TMP/stop"
	wait "${jobs[@]}"
	[[ ! -s $T_TMP/broken ]] || fail "failed meanwhile: $(cat "$T_TMP/broken")"
	read -r spilled_now recalled_now < <(moved)
	((spilled_now > spilled + (20 << 20) && recalled_now > recalled)) ||
		fail "next to nothing was moved: spilled $spilled, then $spilled_now; recalled $recalled, then $recalled_now"
	line=$(cut -d' ' -f1-5 "$T_TMP/watch")
	echo "round $round, without real-time priority: $(cut -d' ' -f1-5 "$T_TMP/watch.fair")"
	echo "round $round: $line; load $(cut -d' ' -f1 /proc/loadavg) on $(nproc) CPUs"
	v=${line#*p999_us=}
	median+=("${v%% *}")
	v=$(sed 's/.*p999_us=//; s/ .*//' "$T_TMP/watch.fair")
	awk -v us="$v" 'BEGIN { exit !(us < 100000) }' || fail "for who waits for a CPU too the 99.9th percentile is $v us"
	v=${line##*max_us=}
	w=$(sed 's/.*max_us=//; s/ .*//' "$T_TMP/watch.fair")
	awk -v us="$v" -v w="$w" 'BEGIN { exit !(us < 2000000 && w < 2000000) }' || fail "a statfs took $v or $w us: kubelet gives up after 2 s"
done
mid=$(printf '%s\n' "${median[@]}" | sort -g | sed -n 2p)
echo "99.9th percentile, median of $ROUNDS rounds: $mid us; the aim is 5000"
awk -v us="$mid" -v limit=$limit 'BEGIN { exit !(us < limit) }' || fail "the 99.9th percentile is $mid us"
t_umount "$DIR"
