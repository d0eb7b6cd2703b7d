#!/bin/bash
# SPDX-License-Identifier: MIT
# The daemon is killed at random times, again and again, under each kind of load; the next one takes the mount over,
# and nobody notices: no error, no operation lost or done twice, no request left hanging, contents right.
# Also open files without a name, a stub's reader, a recall in the middle, a planned restart.
#
# TAKEOVER_KILLS: kills under each load (12; the evidence in the notes is from 200). The test fails when no kill met a
# request: then it has shown nothing.
# timeout: 500
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool metastress treesum fileop
t_need jq fio
t_fs ext4 1G "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
kills=${TAKEOVER_KILLS:-12}
T_DEATHS=1
t_spillfs "$T_TMP/store" "$dir" min-age=0
run=$(t_run_dir "$dir")

lives()
{
	t_until 20 t_status "$dir" .daemons || fail "no daemon answers"
}
# Kill the daemon `kills` times with random pauses while process $1 runs, until it ends; it must end well.
under()
{
	local pid=$1 what=$2 n=0 pause=() t a before
	before=$(t_status "$dir" .requests_again)
	while kill -0 "$pid" 2>/dev/null && ((n < kills)); do
		sleep "$((RANDOM % 2)).$((100 + RANDOM % 900))"
		kill -9 "$(<"$run/daemon")" 2>/dev/null || continue
		t=$(date +%s%N)
		stat "$dir/no.$what.$n" >/dev/null 2>&1
		pause+=($((($(date +%s%N) - t) / 1000000)))
		n=$((n + 1))
	done
	touch "$T_TMP/stop"
	wait "$pid" || fail "$what failed (exit $?) after $n kills: $(tail -n 5 "$T_TMP/$what.log")"
	rm -f "$T_TMP/stop"
	((n)) || fail "$what ended before the first kill"
	a=$(($(lives >/dev/null; t_status "$dir" .requests_again) - before))
	echo "$what: $n kills, $a requests taken over, pause median $(printf '%s\n' "${pause[@]}" | sort -n |
		sed -n "$(((n + 1) / 2))p") ms, longest $(printf '%s\n' "${pause[@]}" | sort -n | tail -n 1) ms"
	met=$((met + a))
}
met=0

# ---- changes of names
secs=$((kills * 3 / 2 + 5))
"$T_BUILD/tools/metastress" "$dir" $secs 4 >"$T_TMP/metastress.log" 2>&1 &
under $! metastress
((met)) || fail "no kill met a request: this shows nothing"
ok "four writers of names: $(<"$T_TMP/metastress.log")"

# ---- data through us and past us
for mode in randwrite write; do
	fio --name=$mode --directory="$dir" --size=24m --bs=16k --rw=$mode --fsync=20 --verify=crc32c --do_verify=1 --verify_state_save=0 \
		--time_based=0 --loops=$((kills / 2 + 1)) --thinktime=2ms --output="$T_TMP/fio-$mode.log" >/dev/null 2>&1 &
	under $! fio-$mode
done
grep -q "err= 0" "$T_TMP/fio-write.log" || fail "fio: $(tail -n 20 "$T_TMP/fio-write.log")"
rm -f "$dir"/*.0.0
ok "fio --verify"

# ---- a tree written and compared
mkdir "$T_TMP/src"
for i in $(seq 300); do t_data "$i" $((i * 97 % 40000 + 1)) >"$T_TMP/src/$i"; done
tar cf "$T_TMP/src.tar" -C "$T_TMP" src
trees()
{
	while [[ ! -e $T_TMP/stop ]]; do
		tar xf "$T_TMP/src.tar" -C "$dir" || return 1
		diff -r "$T_TMP/src" "$dir/src" || return 2
		rm -r "$dir/src" || return 3
	done
}
trees >"$T_TMP/trees.log" 2>&1 &
under $! trees
ok "tar, diff, rm"

# ---- spilled and recalled meanwhile
cp -r "$T_TMP/src" "$dir/cold"
moves()
{
	local rc
	while [[ ! -e $T_TMP/stop ]]; do
		for verb in spill recall; do
			t_ctl $verb "$dir/cold" >"$T_TMP/moves.out" 2>&1
			rc=$?
			# the daemon that was asked may be the one that dies
			[[ $rc = 0 || $rc = 21 || $rc = 23 ]] || { cat "$T_TMP/moves.out"; return 4; }
			diff -r "$T_TMP/src" "$dir/cold" || return 5
		done
	done
}
moves >"$T_TMP/moves.log" 2>&1 &
under $! moves
lives >/dev/null
t_check "errors counted" "$(t_status "$dir" .errors)" 0
ok "spill, recall, compare"

# ---- what is open stays open
# A recall that a kill cut short is put straight in the background: its file is in use until then.
t_until 20 t_ctl spill "$dir/cold" >"$T_TMP/ctl.out" 2>&1 || fail "spillctl spill: $(cat "$T_TMP/ctl.out")"
exec 7<"$dir/cold/300" 8<>"$dir/nameless" 9<"$dir/cold/299"
dd bs=100 count=1 <&7 >/dev/null 2>&1
echo text >&8
rm "$dir/nameless" "$dir/cold/299"
kill -9 "$(<"$run/daemon")"
lives >/dev/null
t_check "an open file without a name" "$(cat /proc/self/fd/8)" text
echo more >&8
t_check "its size" "$(stat -Lc %s /proc/self/fd/8)" 10
cmp <(cat <&9) "$T_TMP/src/299" || fail "a stub without a name"
cmp <(cat <&7) <(tail -c +101 "$T_TMP/src/300") || fail "a stub that was open"
exec 7<&- 8>&- 9<&-
ok "open files"

t_must_ctl() { t_ctl "$@" >"$T_TMP/ctl.out" 2>&1 || fail "spillctl $*: exit $?: $(cat "$T_TMP/ctl.out")"; }
before=$(lives)
echo one >"$dir/kept"
exec 8<>"$dir/kept"
t_must_ctl restart "$dir"
t_check "a file that was open, opened again" "$(cat "$dir/kept")" one
echo ONE >&8
t_check "written by the old descriptor" "$(cat "$dir/kept")" ONE
exec 8>&-
rm "$dir/kept"
t_check "daemons after a restart" "$(lives)" $((before + 1))
diff -r "$T_TMP/src" "$dir/cold" >"$T_TMP/diff.log"
t_check "what differs" "$(<"$T_TMP/diff.log")" "Only in $T_TMP/src: 299"
ok "a planned restart"

# ---- a mapping without a descriptor
t_data 7 9000 >"$dir/mapped"
coproc KEEP { exec "$T_BUILD/tools/fileop" keep "$dir/mapped"; }
keep_in=${KEEP[1]} keep_out=${KEEP[0]} keep_pid=$KEEP_PID
read -r -t 10 _ <&"$keep_out"
kill -9 "$(<"$run/daemon")"
lives >/dev/null
exec 8>>"$dir/mapped"
head -c 1 "$dir/mapped" >/dev/null
for c in a b; do
	printf $c >&"$keep_in"
	read -r -t 10 _ <&"$keep_out"
	t_check "a byte stored through the mapping" "$(head -c 1 "$dir/mapped")" $c
done
exec 8>&- {keep_in}>&-
wait "$keep_pid"
rm "$dir/mapped"
ok "a mapping that outlives its descriptor and a daemon"

# ---- a daemon that hangs
t_must_ctl check -m "$dir"
t_umount "$dir"
SPILLFS_HANG_SEC=3 t_spillfs "$T_TMP/store" "$dir"
mountpoint -q /sys/fs/fuse/connections || mount -t fusectl none /sys/fs/fuse/connections
kill -STOP "$(<"$run/daemon")"
t=$SECONDS
timeout 30 stat "$dir/nobody.has.asked.for.this" >/dev/null 2>&1
t_check "stat while the daemon hangs" $? 1
t_check "daemons after a hang" "$(lives)" 2
((SECONDS - t >= 2)) || fail "replaced after $((SECONDS - t)) s"
ok "a daemon that hangs"

# ---- unmounted while there is no daemon
kill -9 "$(<"$run/daemon")"
t_umount "$dir"
ok "umount between two daemons"

t_spillfs "$T_TMP/store" "$dir"
kill -9 "$(<"$run/daemon")"
kill -TERM "$(t_pid "$dir")"
t_until 20 eval '! kill -0 "$(t_pid "$dir")" 2>/dev/null' || fail "SIGTERM between two daemons is without effect"
ok "SIGTERM between two daemons"

t_spillfs "$T_TMP/store" "$dir"
t_must_ctl check -m "$dir"
t_umount "$dir"
echo "daemons: $before, requests taken over: $met"
