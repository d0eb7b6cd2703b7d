#!/bin/bash
# SPDX-License-Identifier: MIT
# The loop device below a mount: its node stays for as long as the mount stands (systemd unmounts us otherwise), and
# no stop, crash or failed start leaves one more of it, or a mount.
# timeout: 300
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq losetup
[[ -c /dev/loop-control ]] || skip "no loop devices"

t_fs ext4 64M "$T_TMP/disk"
D=$T_TMP/disk/dir
S=$T_TMP/store
mkdir "$D" "$S"
echo keep >"$D/keep"

loops()
{
	grep -lsF "$(t_run_dir "$D")/" /sys/block/loop*/loop/backing_file
}
# autoclear runs a moment after the last close, and udev may look into a new device.
count_is()
{
	[[ $(loops | wc -l) == "$1" ]]
}
# want LOOPS MOUNTS WHEN
want()
{
	t_until 10 count_is "$1" || fail "$3: loop devices: $(loops)"
	t_check "$3: mounts at DIR" "$(awk -v p="$D" '$5 == p' /proc/self/mountinfo | wc -l)" "$2"
	t_check "$3: hot binds" "$(awk -v p="$(t_hot "$D")" '$5 == p' /proc/self/mountinfo | wc -l)" $((${2} > 0))
}
device() # the mount's source, and that it is there
{
	local dev
	dev=$(awk -v p="$D" '$5 == p && / - fuse.spillfs / { for (i = 7; $i != "-"; i++); print $(i + 2) }' \
		/proc/self/mountinfo)
	[[ -b $dev && -e /sys/block/${dev#/dev/}/loop/backing_file ]] || fail "the source '$dev' is no attached device"
	echo "$dev"
}

# Mounted with this store, by this start or one before.
started()
{
	"$T_TMP/mount.spillfs" "$S" "$D" -o auto=off,supervisor=off >>"$T_TMP/spillfs.log" 2>&1 </dev/null || return
	t_note_daemons
}
ln -s "$SPILLFS" "$T_TMP/mount.spillfs"

# ---- the node ----------------------------------------------------------------------------------------------------------
t_spillfs "$S" "$D"
dev=$(device)
want 1 2 "mounted"
kill -9 "$(cat "$(t_run_dir "$D")/daemon")"
second_daemon()
{
	[[ $(t_status "$D" .daemons) == 2 ]]
}
t_until 20 second_daemon || fail "no second daemon"
t_check "the source after the daemon's death" "$(device)" "$dev"
losetup -d "$dev" 2>/dev/null # as a clumsy script does: the device is in use and stays
losetup -D 2>/dev/null
t_check "the source after losetup -d" "$(device)" "$dev"
rm "$(t_run_dir "$D")/guard.img" # and somebody tidies /run up
t_check "the source without the image's name" "$(device)" "$dev"
t_check "content" "$(cat "$D/keep")" keep
T_DEATHS=1 t_umount "$D"
want 1 1 "guarded"
t_errno "Read-only file system" touch "$D/x"
t_spillfs "$S" "$D"
t_check "the source of the next mount" "$(device)" "$dev"
want 1 2 "mounted again"
ok "the device node stays"

# ---- stops and crashes ---------------------------------------------------------------------------------------------------
kill -TERM "$(t_pid "$D")"
t_until 20 test ! -e "$(t_run_dir "$D")/pid" || fail "SIGTERM does not end it"
want 1 1 "SIGTERM"
t_spillfs "$S" "$D"
# A umount that writes down its calls, and runs $T_TMP/third after the third.
mkdir "$T_TMP/bin"
cat >"$T_TMP/bin/umount" <<-EOT
	#!/bin/sh
	echo x >>"$T_TMP/calls"
	$(command -v umount) "\$@"
	rc=\$?
	[ "\$(wc -l <"$T_TMP/calls")" != 3 ] || . "$T_TMP/third"
	exit \$rc
EOT
chmod +x "$T_TMP/bin/umount"
helper() # THIRD DIR...: the helper with that umount
{
	echo "$1" >"$T_TMP/third"
	: >"$T_TMP/calls"
	shift
	PATH=$T_TMP/bin:$PATH "$T_TOP/scripts/umount.fuse.spillfs" "$@" 9<&- 2>&1
}
exec 9<"$D/keep"
out=$(helper : "$D")
t_check "umount.fuse.spillfs while a file is open" "$?:${out##* }" "32:busy."
t_check "how often it tried" "$(wc -l <"$T_TMP/calls")" 10
exec 9<&-
sleep 1000 9<"$D/keep" &
holder=$!
T_JOBS+=("$holder")
out=$(helper "kill $holder; while kill -0 $holder 2>/dev/null; do sleep 0.05; done" "$D" -r) # -r: as systemd calls it
t_check "umount.fuse.spillfs while a file is open for a moment" "$?:$out" 0:
t_check "how often it tried" "$(wc -l <"$T_TMP/calls")" 4
wait "$holder" 2>/dev/null
[[ ! -e $(t_run_dir "$D")/pid ]] || fail "umount.fuse.spillfs did not wait for the daemon"
want 1 1 "umount.fuse.spillfs after a while"
t_spillfs "$S" "$D"
# Another umount comes between: what lies on top then is the guard, which is not busy.
sleep 1000 9<"$D/keep" &
holder=$!
T_JOBS+=("$holder")
out=$(SPILLFS_UMOUNT_WAIT=0 helper "$(command -v umount) -l '$D'; kill $holder" "$D")
want 1 1 "umount.fuse.spillfs beside another umount: $out"
t_errno "Read-only file system" touch "$D/x"
wait "$holder" 2>/dev/null
t_until 20 test ! -e "$(t_run_dir "$D")/pid" || fail "the daemon does not end after a lazy umount"
t_spillfs "$S" "$D"
"$T_TOP/scripts/umount.fuse.spillfs" "$D" -r || fail "umount.fuse.spillfs: exit $?"
[[ ! -e $(t_run_dir "$D")/pid ]] || fail "umount.fuse.spillfs did not wait for the daemon"
want 1 1 "umount.fuse.spillfs"
t_spillfs "$S" "$D"
exec 9<"$D/keep"
umount -l "$D" || fail "umount -l"
want 1 1 "lazy umount"
exec 9<&-
t_until 20 test ! -e "$(t_run_dir "$D")/pid" || fail "the daemon does not end after a lazy umount"
for _ in 1 2 3; do
	T_SUPERVISOR=off t_spillfs "$S" "$D"
	t_kill9 "$D"
	want 1 2 "dead"
done
t_spillfs "$S" "$D"
want 1 2 "mounted over a dead mount"
t_umount "$D"
ok "SIGTERM, umount(8)'s helper, umount -l, kill -9"

# ---- starts that fail -----------------------------------------------------------------------------------------------------
for _ in 1 2 3; do
	timeout 20 "$SPILLFS" "$T_TMP/none/store" "$D" -o kubelet=anchor >/dev/null 2>&1 && fail "a missing store is mounted"
	want 1 1 "failed start"
	t_ctl unguard "$D" >/dev/null || fail "unguard"
	want 0 0 "unguarded"
	timeout 20 "$SPILLFS" "$T_TMP/none/store" "$D" >/dev/null 2>&1 && fail "a missing store is mounted"
	want 1 1 "failed start of a bare directory"
done
t_ctl unguard "$D" >/dev/null || fail "unguard"
# Killed at any time: what is there is the guard, or less, or all of it; the next start goes on from there.
killed=0
for ms in 0 1 2 4 7 10 15 20 30 60; do
	setsid "$SPILLFS" "$S" "$D" -o auto=off,supervisor=off >>"$T_TMP/spillfs.log" 2>&1 </dev/null &
	pid=$!
	sleep "$(printf '0.%03d' "$ms")"
	kill -9 "$pid" 2>/dev/null && killed=$((killed + 1))
	wait "$pid" 2>/dev/null
	t_note_daemons
	# Whoever comes next may find the old one still ending (19), or find that it made it.
	t_until 20 started || fail "killed after $ms ms, then no start: $(tail -n 3 "$T_TMP/spillfs.log")"
	want 1 2 "killed after $ms ms, started again"
	t_umount "$D"
	want 1 1 "killed after $ms ms, ended"
	if ((ms % 2)); then continue; fi
	t_ctl unguard "$D" >/dev/null || fail "unguard"
	want 0 0 "killed after $ms ms, unguarded"
	t_check "content" "$(cat "$D/keep")" keep
done
((killed > 3)) || fail "only $killed starts were killed"
ok "failed starts, and $killed killed ones"
