#!/bin/bash
# SPDX-License-Identifier: MIT
# Every bad start ends with its exit code and one line that says what to do; from the moment STORE is looked at,
# DIR is under the read-only guard, and the next good start goes on from there. (Exit codes: include/spill/exit.h.)
# timeout: 300
. "$(dirname "$0")/../lib/lib.sh"
t_init
T_SUPERVISOR=off # the daemon itself is what is killed or stopped
t_need_daemon
t_need findmnt flock

LOG=$T_TMP/start.out

# want CODE WORD COMMAND...: exit CODE, nothing on stdout, one line on stderr with WORD in it.
want()
{
	local code=$1 word=$2 rc
	shift 2
	timeout -k 1 60 "$@" >"$LOG.1" 2>"$LOG" </dev/null
	rc=$?
	[[ $rc == "$code" ]] || fail "exit $rc, should be $code: $* ($(cat "$LOG"))"
	[[ ! -s $LOG.1 ]] || fail "writes to stdout: $*"
	[[ $(wc -l <"$LOG") == 1 ]] || fail "should say one line: $*: $(cat "$LOG")"
	[[ $(cat "$LOG") == *"$word"* ]] || fail "should say '$word': $*: $(cat "$LOG")"
}
mounts_at()
{
	awk -v p="$1" '$5 == p' /proc/self/mountinfo | wc -l
}
# Nothing was mounted.
bare()
{
	t_check "mounts at $1" "$(mounts_at "$1")" 0
	[[ ! -e $(t_run_dir "$1")/hot ]] || fail "$1: a hot bind was left behind"
}
# Our guard and nothing else; what is below it is out of sight but for the hot bind.
guarded()
{
	t_check "mounts at $1" "$(mounts_at "$1")" 1
	[[ ! -e $1/keep ]] || fail "$1: the bare directory can be seen"
	t_errno "Read-only file system" touch "$1/x"
	t_check "content below the guard" "$(cat "$(t_hot "$1")/keep")" "$1"
	t_check "mode of the run directory" "$(stat -c %a "$(t_run_dir "$1")")" 700
	[[ ! -e $(t_run_dir "$1")/pid ]] || fail "$1: a pid file was left behind"
	[[ $(cat "$LOG") == *guard* ]] || fail "the message does not speak of the guard: $(cat "$LOG")"
}
unguard()
{
	t_ctl unguard "$1" >"$T_TMP/ctl.out" 2>&1 || fail "unguard $1: $? $(cat "$T_TMP/ctl.out")"
	bare "$1"
	t_check "content after unguard" "$(cat "$1/keep")" "$1"
}
newdir()
{
	mkdir -p "$HOT/$1"
	echo "$HOT/$1" >"$HOT/$1/keep"
	D=$HOT/$1
}

HOT=$T_TMP/hot
S=$T_TMP/store
mkdir "$S"
t_fs ext4 64M "$HOT"

# ---- the command line ------------------------------------------------------------------------------------------
newdir cmd
want 1 "STORE and DIR" "$SPILLFS"
want 1 "STORE and DIR" "$SPILLFS" "$S"
want 1 "STORE and DIR" "$SPILLFS" "$S" "$D" "$D"
want 1 "-x" "$SPILLFS" -x "$S" "$D"
want 1 "-o" "$SPILLFS" "$S" "$D" -o
want 1 "nonsense" "$SPILLFS" "$S" "$D" -o nonsense
want 1 "high" "$SPILLFS" "$S" "$D" -o high=101
want 1 "low" "$SPILLFS" "$S" "$D" -o high=50,low=60
want 1 "level" "$SPILLFS" "$S" "$D" -o level=99
bare "$D"
ok "bad options and arguments"

# ---- DIR ---------------------------------------------------------------------------------------------------------
newdir real
ln -s "$D" "$HOT/link"
echo x >"$HOT/file"
want 17 "does not exist" "$SPILLFS" "$S" "$HOT/none"
want 17 "does not exist" "$SPILLFS" "$S" "$HOT/none/none"
want 17 "symbolic link" "$SPILLFS" "$S" "$HOT/link"
want 17 "not a directory" "$SPILLFS" "$S" "$HOT/file"
want 17 "root" "$SPILLFS" "$S" /
mkdir "$D/sub" && mount -t tmpfs spilltest "$D/sub" || fail "tmpfs"
want 18 "$D/sub" "$SPILLFS" "$S" "$D"
umount "$D/sub"
bare "$D"
t_check "entries of the store directory" "$(ls -A "$S")" ""
ok "missing, link, file, root, submount"

# ---- one inside the other ------------------------------------------------------------------------------------------
newdir nest
mkdir "$D/store" "$T_TMP/bound"
want 16 "inside" "$SPILLFS" "$D/store" "$D"
want 16 "inside" "$SPILLFS" "$D/not/there" "$D"
want 16 "same" "$SPILLFS" "$D" "$D"
want 16 "inside" "$SPILLFS" "$HOT" "$D"
ln -s "$D/store" "$T_TMP/in-link"
want 16 "inside" "$SPILLFS" "$T_TMP/in-link" "$D"
mount --bind "$D" "$T_TMP/bound" || fail "bind"
want 16 "inside" "$SPILLFS" "$T_TMP/bound/store" "$D"
umount "$T_TMP/bound"
bare "$D"
ok "STORE inside DIR and the other way round, by name, link and bind mount"

# ---- STORE ---------------------------------------------------------------------------------------------------------
# bad NAME CODE WORD STORE: start, look for the guard, start again (the guard does not pile up), take it away.
bad()
{
	newdir "$1"
	want "$2" "$3" "$SPILLFS" "$4" "$D"
	guarded "$D"
	want "$2" "$3" "$SPILLFS" "$4" "$D"
	guarded "$D"
	unguard "$D"
}
bad missing 10 "does not exist" "$T_TMP/no/store"
echo x >"$T_TMP/afile"
bad isfile 10 "not a directory" "$T_TMP/afile"
mkdir "$T_TMP/foreign"
echo x >"$T_TMP/foreign/somebodys.txt"
bad foreign 11 "other files" "$T_TMP/foreign"
t_check "the foreign directory" "$(ls "$T_TMP/foreign")" somebodys.txt

mkdir "$T_TMP/ro" "$T_TMP/full"
mount -t tmpfs -o ro spilltest "$T_TMP/ro" || fail "tmpfs"
bad readonly 14 "read-only" "$T_TMP/ro"
mount -t tmpfs -o size=64k spilltest "$T_TMP/full" || fail "tmpfs"
mkdir "$T_TMP/full/store"
cat /dev/zero >"$T_TMP/full/fill" 2>/dev/null
bad full 15 "full" "$T_TMP/full/store"
ok "missing, file, foreign, read-only and full stores leave the guard"
newdir told
want 10 "does not exist" "$SPILLFS" "$T_TMP/no/store" "$D"
t_ctl doctor >"$T_TMP/doctor.out" 2>&1
grep -q "$D: only the guard is there" "$T_TMP/doctor.out" || fail "doctor: $(cat "$T_TMP/doctor.out")"
unguard "$D"
t_ctl doctor >"$T_TMP/doctor.out" 2>&1
grep -q " ok, .* warnings, " "$T_TMP/doctor.out" || fail "doctor: $(cat "$T_TMP/doctor.out")"
! grep -q "guard is there" "$T_TMP/doctor.out" || fail "doctor after unguard: $(cat "$T_TMP/doctor.out")"
newdir used
mkdir "$T_TMP/used-store"
t_spillfs "$T_TMP/used-store" "$D"
t_umount "$D"
mv "$T_TMP/used-store" "$T_TMP/used-away"
want 10 "does not exist; mount the disk it is on, or" "$SPILLFS" "$T_TMP/used-store" "$D"
guarded "$D"
unguard "$D"
ok "a store that was there once is not to be made anew"
newdir lost
want 10 "does not exist" "$SPILLFS" "$T_TMP/no/store" "$D"
umount "$D" || fail "umount of the guard"
t_ctl doctor >"$T_TMP/doctor.out" 2>&1
grep -q "$D: neither spillfs nor its guard is there" "$T_TMP/doctor.out" || fail "doctor: $(cat "$T_TMP/doctor.out")"
umount "$(t_hot "$D")"
ok "doctor tells of a guard that a start left"

# ---- a store of ours -------------------------------------------------------------------------------------------------
newdir main
rc=0
t_spillfs_try "$S" "$D" || rc=$?
[[ $rc == 0 ]] || fail "a good start: exit $rc: $(cat "$T_TMP/spillfs.log")"
t_check "content through the mount" "$(cat "$D/keep")" "$D"
want 19 "already" "$SPILLFS" "$S" "$D"
want 19 "already" "$SPILLFS" "$T_TMP/other" "$D"
ln -s "$SPILLFS" "$T_TMP/mount.spillfs"
want 0 "already" "$T_TMP/mount.spillfs" "$S" "$D" -o rw
want 19 "already" "$T_TMP/mount.spillfs" "$T_TMP/other" "$D"
newdir second
want 13 "in use" "$SPILLFS" "$S" "$D"
guarded "$D"
unguard "$D"
t_umount "$HOT/main"
D=$HOT/main
echo guard >"$LOG"
guarded "$D"
ok "already mounted, store in use, umount leaves the guard"

# umount returns before the daemon has ended: a mount right after it waits.
flock "$(t_run_dir "$D")/hot" sleep 1 &
T_JOBS+=("$!")
sleep 0.2
t0=${EPOCHREALTIME/./}
t_spillfs "$S" "$D"
((${EPOCHREALTIME/./} - t0 >= 500000)) || fail "the lock of a daemon that ends was not waited for"
t_umount "$D"
guarded "$D"
ok "a mount waits for a daemon that ends"

mkdir "$T_TMP/empty" "$T_TMP/s2"
want 10 "is empty" "$SPILLFS" "$T_TMP/empty" "$D"
guarded "$D"
newdir third
t_spillfs "$T_TMP/s2" "$D"
t_umount "$D"
D=$HOT/main
want 11 "belongs to another" "$SPILLFS" "$T_TMP/s2" "$D"
guarded "$D"
want 13 "in use" flock "$S/LOCK" "$SPILLFS" "$S" "$D"
guarded "$D"
cp -a "$S" "$T_TMP/broken"
head -c -10 "$S/STORE" >"$T_TMP/broken/STORE"
want 12 "damaged" "$SPILLFS" "$T_TMP/broken" "$D"
guarded "$D"
cp "$S/STORE" "$T_TMP/broken/STORE"
head -c 5000 /dev/urandom >"$T_TMP/broken/index.db"
rm -f "$T_TMP"/broken/index.db-*
want 12 "index.db" "$SPILLFS" "$T_TMP/broken" "$D"
guarded "$D"
ok "empty instead of known, another's, locked, damaged"

# ---- and from the guard to a good start -----------------------------------------------------------------------------
t_spillfs "$S" "$D"
t_check "content after all of it" "$(cat "$D/keep")" "$D"
t_check "mounts at $D" "$(mounts_at "$D")" 2
t_kill9 "$D"
t_errno "Transport endpoint is not connected" ls "$D"
t_spillfs "$S" "$D"
t_check "content after a crash" "$(cat "$D/keep")" "$D"
t_check "mounts at $D" "$(mounts_at "$D")" 2
kill -TERM "$(t_pid "$D")"
t_until 20 test ! -e "$(t_run_dir "$D")/pid" || fail "SIGTERM does not end the daemon"
guarded "$D"
unguard "$D"
unguard "$HOT/third"
# Two starts at once, with stores A and B: one mounts, the other ends with one of CODES; nothing is left twice.
two_starts() # A B CODES
{
	local a b
	"$SPILLFS" "$1" "$D" -o auto=off >"$T_TMP/a.out" 2>&1 </dev/null &
	a=$!
	"$SPILLFS" "$2" "$D" -o auto=off >"$T_TMP/b.out" 2>&1 </dev/null
	b=$?
	wait $a
	a=$?
	t_note_daemons
	[[ ($a = 0 && " $3 " == *" $b "*) || ($b = 0 && " $3 " == *" $a "*) ]] ||
		fail "two starts at once: exit $a and $b: $(cat "$T_TMP/a.out" "$T_TMP/b.out")"
	t_check "mounts at $D after two starts" "$(mounts_at "$D")" 2
	t_umount "$D"
	guarded "$D"
	unguard "$D"
}
mkdir -p "$S"
for i in {1..10}; do # as by fstab and a unit
	two_starts "$S" "$S" "13 19"
done
for i in {1..4}; do # whoever comes second to the mount, or to the directory's own mark, is refused
	newdir "stores$i"
	mkdir "$T_TMP/a$i" "$T_TMP/b$i"
	two_starts "$T_TMP/a$i" "$T_TMP/b$i" "11 19"
done
# Of this test alone: others may run on the same machine.
no_loops()
{
	! grep -qsF "$T_RUN/$(t_escape "$T_TMP")" /sys/block/loop*/loop/backing_file
}
t_until 10 no_loops || fail "loop devices are left"
ok "good start over the guard, after a crash, end by SIGTERM, no loop device left"
