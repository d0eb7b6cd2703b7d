#!/bin/bash
# SPDX-License-Identifier: MIT
# A restart with another binary under the name of the running one, while names are changed and files are open: one of
# another version takes the mount over, daemon and then supervisor, and nobody notices. One that is missing, no program,
# ends at once, does not know the state's layout, hangs while it starts, or dies soon after its start, does not: the old one
# goes on, and spillctl restart's exit code says so.
# timeout: 120
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool metastress
t_need jq
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir bin=$T_TMP/bin
mkdir "$dir" "$bin"
T_DEATHS=1
built=$SPILLFS
SPILLFS=$bin/spillfs
export SPILLFS_TRIAL_MS=4000
for v in 0.9.8 0.9.9; do
	sed "s/0\.1\.0/$v/g" "$built" >"$bin/$v"
	chmod +x "$bin/$v"
	t_check "version of a changed copy" "$("$bin/$v" -V)" "spillfs $v"
done
sed "s/spillfs state 1/spillfs state 0/" "$built" >"$bin/state"
cmp -s "$built" "$bin/state" && fail "the state's layout has another name now: change this test with it"
# it stops at its first durable effect, after its hello
sed "s/SPILLFS_FAULT\x00/SPILLFS_FAUL2\x00/" "$built" >"$bin/hangs"
cmp -s "$built" "$bin/hangs" && fail "the fault's variable has another name now: change this test with it"
export SPILLFS_FAULT_EARLY=1 SPILLFS_FAUL2=1:stop SPILLFS_READY_MS=5000
cp /bin/false "$bin/ends"
echo text >"$bin/text"
chmod +x "$bin/state" "$bin/ends" "$bin/hangs"

# install FILE: as make install does, a new file under the name
install()
{
	cp -p "$1" "$bin/new" && mv "$bin/new" "$SPILLFS"
}
# restart WANTED-CODE: its words are in $T_TMP/ctl.out
restart()
{
	local rc
	t_ctl restart "$dir" >"$T_TMP/ctl.out" 2>&1
	rc=$?
	t_check "exit code of restart ($(<"$T_TMP/ctl.out"))" "$rc" "$1"
}
version()
{
	t_until 20 t_status "$dir" .version
}
runs() # PID FILE: the process executes it
{
	[[ "/proc/$1/exe" -ef $2 ]]
}

install "$built"
t_spillfs "$T_TMP/store" "$dir" min-age=0
run=$(t_run_dir "$dir")
super=$(t_pid "$dir")
t_check "version at first" "$(version)" 0.1.0

# open over all of it: a stub that has lost its name (the supervisor keeps it), and a file written now and then
t_data 1 50000 >"$dir/stub"
t_spill "$dir/stub"
exec 7<"$dir/stub" 8<>"$dir/nameless"
rm "$dir/stub" "$dir/nameless"
"$T_BUILD/tools/metastress" "$dir" 100 3 >"$T_TMP/metastress.log" 2>&1 &
stress=$!
echo 1 >&8

# ---- what cannot take over
bad()
{
	local want=$1
	restart 30
	grep -q "$want" "$T_TMP/ctl.out" || fail "restart says: $(<"$T_TMP/ctl.out")"
	t_check "version that goes on" "$(version)" 0.1.0
	t_check "what status says" "$(t_status "$dir" .upgrade_refused | grep -c "$SPILLFS does not take")" 1
	runs "$(<"$run/daemon")" "$SPILLFS" && fail "it runs all the same"
	t_check "the supervisor" "$(t_pid "$dir")" "$super"
}
cp -p "$built" "$bin/kept" # the running one's inode goes with its name
rm "$SPILLFS"
bad "No such file"
install "$bin/text"
bad "Permission denied"
chmod +x "$SPILLFS"
bad "Exec format"
install "$built"
chmod go+w "$SPILLFS"
bad "can be changed by others"
install "$bin/ends"
bad "the daemon ended (1)"
install "$bin/state"
bad "of a version that"
install "$bin/hangs"
bad "killed by signal 9 while it started"
ok "binaries that cannot take over"

# ---- one that dies soon
install "$bin/0.9.8"
restart 0
t_check "version after a restart" "$(version)" 0.9.8
kill -9 "$(<"$run/daemon")"
t_check "version after its early death" "$(version)" 0.1.0
t_status "$dir" .upgrade_refused | grep -q "died soon" || fail "status does not say that it died"
ok "a binary that dies soon after its start"

# ---- and one that can
install "$bin/0.9.9"
restart 0
t_check "what status says" "$(t_status "$dir" .upgrade_refused)" null
t_check "version after a restart" "$(version)" 0.9.9
runs "$(<"$run/daemon")" "$bin/spillfs" || fail "the daemon is not what was installed"
t_until 10 runs "$super" "$SPILLFS" || fail "the supervisor does not become the new binary"
t_check "the supervisor's pid" "$(t_pid "$dir")" "$super"
t_check "the supervisor's name" "$(<"/proc/$super/comm")" spillfs
echo 2 >&8
cmp <(cat <&7) <(t_data 1 50000) || fail "a stub without a name, after an upgrade"
kill -9 "$(<"$run/daemon")"
t_check "version after a death" "$(version)" 0.9.9
t_check "a file without a name" "$(cat /proc/self/fd/8)" $'1\n2'
install "$built"
restart 0
t_check "version after going back" "$(version)" 0.1.0
t_until 10 runs "$super" "$SPILLFS" || fail "the supervisor does not go back"
kill -0 "$stress" 2>/dev/null || fail "metastress ended too early: nothing was in flight"
kill -TERM "$stress"
wait "$stress" || fail "metastress: $(<"$T_TMP/metastress.log")"
ok "upgrades under load: $(<"$T_TMP/metastress.log"), $(t_status "$dir" .daemons) daemons"
t_check "restarts under metastress leave" "$(t_status "$dir" .errors)" 0
exec 7<&- 8>&-

kill -TERM "$super"
t_until 20 eval '! kill -0 "$super" 2>/dev/null' || fail "SIGTERM does not end the supervisor after an upgrade"
ok "the end"
