#!/bin/bash
# SPDX-License-Identifier: MIT
# The line for fstab, with mount -a: mounts, a second time changes nothing, umount leaves the guard, and again.
# timeout: 120
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq

# mount(8) looks for helpers in /sbin only. Over it goes, in this namespace alone, a layer with ours in it.
sbin=$(readlink -f /sbin)
mkdir "$T_TMP/upper" "$T_TMP/work"
if mount -t overlay -o "lowerdir=$sbin,upperdir=$T_TMP/upper,workdir=$T_TMP/work" none "$sbin" 2>"$T_TMP/err"; then
	ln -sf "$SPILLFS" "$sbin/mount.spillfs"
else
	[[ -x /sbin/mount.spillfs ]] || skip "no overlayfs for /sbin: $(cat "$T_TMP/err")"
fi
leave()
{
	local rc=$?
	umount -l "$sbin" 2>/dev/null
	(exit $rc)
	t_cleanup
}
trap leave EXIT

t_fs ext4 300M "$T_TMP/hot"
dir=$T_TMP/hot/docker
mkdir "$dir" "$T_TMP/store"
echo "$T_TMP/store $dir spillfs high=75,low=65,auto=off,x-systemd.before=docker.service 0 0" >"$T_TMP/fstab"
mounts()
{
	awk -v d="$dir" '$5 == d' /proc/self/mountinfo | grep -c 'fuse.spillfs'
}

mount -a -T "$T_TMP/fstab" >"$T_TMP/mount.log" 2>&1 || fail "mount -a: exit $?: $(cat "$T_TMP/mount.log")"
t_note_daemons
t_check "mounts" "$(mounts)" 1
t_check "watermarks" "$(t_status "$dir" '"\(.watermarks.high) \(.watermarks.low)"')" "75 65"
pid=$(t_pid "$dir")
echo content >"$dir/file"
mount -a -T "$T_TMP/fstab" >"$T_TMP/mount.log" 2>&1 || fail "second mount -a: exit $?: $(cat "$T_TMP/mount.log")"
t_note_daemons
t_check "mounts after the second" "$(mounts)" 1
t_check "the daemon" "$(t_pid "$dir")" "$pid"
t_check "content" "$(cat "$dir/file")" content
t_spill "$dir/file"
t_umount "$dir"
t_check "mounts after umount" "$(mounts)" 0
t_errno "Read-only file system" touch "$dir/x"

mount -a -T "$T_TMP/fstab" >"$T_TMP/mount.log" 2>&1 || fail "mount -a again: exit $?: $(cat "$T_TMP/mount.log")"
t_note_daemons
t_check "content" "$(cat "$dir/file")" content
t_umount "$dir"
mount -T "$T_TMP/fstab" "$dir" >"$T_TMP/mount.log" 2>&1 || fail "mount DIR: exit $?: $(cat "$T_TMP/mount.log")"
t_note_daemons
t_check "content" "$(cat "$dir/file")" content
t_umount "$dir"

# An option that is none: mount -a fails, says so, and mounts nothing.
sed -i 's/high=75/hihg=75/' "$T_TMP/fstab"
mount -a -T "$T_TMP/fstab" >"$T_TMP/mount.log" 2>&1 && fail "a wrong option is accepted"
grep -q hihg "$T_TMP/mount.log" || fail "the wrong option is not named: $(cat "$T_TMP/mount.log")"
t_check "mounts" "$(mounts)" 0
ok "fstab, mount -a, twice, umount, again"
