#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# Whom the kernel serves by itself waits too. A file that was opened for writing while the hot tier was half full, and
# that fits only if everything else is spilled meanwhile: written at full speed it succeeds, past the daemon. Others
# are not held up by it. Where nothing can be freed, or spilling is paused, it ends with ENOSPC, soon. Killed with
# writers waiting, the daemon leaves nobody behind.
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fill
t_need jq
FILL=$T_BUILD/tools/fill
MIB=400
DIR=$T_TMP/hot STORE=$T_TMP/store
LAYER=$DIR/overlay2/$(printf 'a%.0s' {1..64})/diff
t_fs ext4 ${MIB}M "$DIR"
t_fs ext4 $((5 * MIB))M "$STORE"
big=$((MIB * 3 / 4))
t_data 7 $((big << 20)) >"$T_TMP/big"
t_spillfs "$STORE/s" "$DIR" auto=on,interval=1s

gate=$(t_status "$DIR" .gate)
IFS=.- read -r major minor _ < <(uname -r)
if [[ $gate = none ]] && ((major * 100 + minor < 614)); then
	skip "the kernel is older than Linux 6.14"
fi
t_check "the gate, with nobody there" "$gate" open
# What was open when the daemon started is not kept open by its thread: whoever reads its output would wait for ever.
for task in /proc/"$(cat "$(t_run_dir "$DIR")/daemon")"/task/*; do
	[[ $(<"$task/comm") != hold ]] || fds=$(ls "$task/fd" | wc -l)
done
t_check "descriptors of the thread that holds" "$fds" 3

used()
{
	t_status "$DIR" .used_percent
}
half() # which: half full, of files that can be spilled (LAYER) or not
{
	local i=0
	rm -rf "$LAYER" "$DIR/other"
	mkdir -p "$LAYER" "$DIR/other"
	t_until 20 below || fail "the hot tier is at $(used)%"
	"$FILL" write -w 1 -s 4096:1000000 -z 50 -b $((MIB * 3 / 8 << 20)) "$1" 1 >/dev/null || fail "cannot fill"
	while (($(used) < 53)); do
		i=$((i + 1))
		head -c 4000000 "$T_TMP/big" >"$1/more.$i" || fail "cannot fill"
	done
	(($(used) <= 57)) || fail "the hot tier is at $(used)%"
}
below()
{
	(($(used) < 10))
}
# Beside a writer: names are made and deleted, and the file that it writes is read.
most=0
beside()
{
	local t0 i=0 us worst=0
	while [[ ! -e $T_TMP/stop ]]; do
		t0=${EPOCHREALTIME/./}
		: >"$DIR/other/$((i % 9))" && rm "$DIR/other/$((i++ % 9))" || return 1
		[[ ! -e $DIR/big ]] || head -c 4096 "$DIR/big" >/dev/null || return 1
		us=$((${EPOCHREALTIME/./} - t0))
		worst=$((us > worst ? us : worst))
		sleep 0.01
	done
	echo $worst >"$T_TMP/most"
}

closed()
{
	[[ $(t_status "$DIR" .gate) = closed ]]
}
# Files that are open for writing until the gate closes, and are spilled then, while they are held: what the daemon does
# to them is not to wait for itself.
early()
{
	local i pids=()
	for i in {1..8}; do
		(
			exec 9>"$LAYER/early.$i"
			head -c 500000 "$T_TMP/big" >&9 || exit 1
			t_until 30 closed
		) &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || return 1
	done
}

# ---- it fits if the rest is spilled
half "$LAYER"
before=$(t_status "$DIR" .requests.WRITE)
t_bg beside
other=$!
t_bg early
early=$!
t_until 10 test -s "$LAYER/early.8" || fail "no files"
start=${EPOCHREALTIME/./}
dd if="$T_TMP/big" of="$DIR/big" bs=64k status=none || fail "$big MiB, with $((MIB * 43 / 100)) free and as much to be spilled"
: >"$T_TMP/stop"
wait "$other" || fail "a create, a delete or a read beside it"
wait "$early" || fail "files that were open when the gate closed"
ms=$(((${EPOCHREALTIME/./} - start) / 1000))
((ms < 40000)) || fail "it took $ms ms: is a lease in the way?"
most=$(<"$T_TMP/most")
echo "the slowest create, delete and read meanwhile took $((most / 1000)) ms together"
((most < 5000000)) || fail "a create, a delete or a read took $((most / 1000)) ms"
t_check "WRITEs" "$(t_status "$DIR" .requests.WRITE)" "$before"
cmp "$T_TMP/big" "$DIR/big" || fail "not as written"
for i in {1..8}; do
	cmp -n 500000 "$T_TMP/big" "$LAYER/early.$i" || fail "not as written: a file that was open when the gate closed"
	t_check "early.$i" "$(t_state "$LAYER/early.$i")" spilled
done
"$FILL" verify -z 50 "$LAYER" 1 >"$T_TMP/verify" || fail "what was spilled: $(head -n 3 "$T_TMP/verify")"
opened()
{
	[[ $(t_status "$DIR" .gate) = open ]]
}
t_until 5 opened || fail "the gate is $(t_status "$DIR" .gate) with nobody there"
rm "$DIR/big"
ok "a file that needs what spilling frees"

# ---- nothing can be freed; spilling is paused
full() # what
{
	local t0=${EPOCHREALTIME/./} ms
	dd if="$T_TMP/big" of="$DIR/big" bs=64k 2>"$T_TMP/dd.err" && fail "$1: $big MiB on a disk with less"
	ms=$(((${EPOCHREALTIME/./} - t0) / 1000))
	grep -q "No space left" "$T_TMP/dd.err" || fail "$1: $(<"$T_TMP/dd.err")"
	echo "$1: ENOSPC after $ms ms"
	((ms < 20000)) || fail "$1: ENOSPC took $ms ms"
	cmp -n "$(stat -c %s "$DIR/big")" "$T_TMP/big" "$DIR/big" || fail "$1: not as written"
	rm "$DIR/big"
	echo again >"$DIR/other/again" || fail "$1: no room after the delete"
}
half "$DIR/other"
full "nothing can be spilled"
half "$LAYER"
t_ctl pause --for 1h -m "$DIR" >/dev/null || fail pause
full "spilling is paused"
"$FILL" verify -z 50 "$LAYER" 1 >"$T_TMP/verify" || fail "while paused: $(head -n 3 "$T_TMP/verify")"
t_ctl resume -m "$DIR" >/dev/null || fail resume
ok "ENOSPC where waiting helps nobody"

# ---- the daemon is killed while it holds a writer
slow() # so slow that the disk is not full before the next daemon is there
{
	local i
	exec 9>"$DIR/big"
	for ((i = 0; i < big; i += 2)); do
		dd if="$T_TMP/big" bs=1M count=2 skip="$i" status=none >&9 || return 1
		sleep 0.01
	done
}
half "$LAYER"
t_bg slow
writer=$!
T_DEATHS=1
t_until 30 closed || fail "the gate is never closed"
kill -9 "$(cat "$(t_run_dir "$DIR")/daemon")" || fail "no daemon"
t_until 30 closed || fail "the next daemon's gate is never closed"
wait "$writer" || fail "the writer, when the daemon was killed"
cmp "$T_TMP/big" "$DIR/big" || fail "not as written"
"$FILL" verify -z 50 "$LAYER" 1 >"$T_TMP/verify" || fail "what was spilled: $(head -n 3 "$T_TMP/verify")"
ok "killed while a writer waits"

t_ctl check -m "$DIR" >"$T_TMP/check" || fail "check: $(head -n 3 "$T_TMP/check")"
t_umount "$DIR"
