#!/bin/bash
# SPDX-License-Identifier: MIT
# The first daemon is killed between two steps of one operation (SPILLFS_FAULT_POINT): between a backing id and its
# handle and the reverse (the inode's space must not be lost), between a chown that drops a file capability and its
# restoring, after the last name of an open file has gone.
# timeout: 120
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq setfattr getfattr
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
T_DEATHS=1

used_kb()
{
	sync -f "$T_TMP/fs"
	df --output=used -k "$T_TMP/fs" | tail -n 1
}
# begin POINT [OPTIONS]
begin()
{
	SPILLFS_FAULT_POINT=$1 t_spillfs "$T_TMP/store" "$dir" "min-age=0${2:+,$2}"
	t_check "daemons before $1" "$(t_status "$dir" .daemons)" 1
}
# over WHAT: exactly one daemon has died
over()
{
	t_check "daemons after: $1" "$(t_until 20 t_status "$dir" .daemons)" 2
	t_check "files lost: $1" "$(t_status "$dir" .files_lost)" 0
	t_umount "$dir"
	ok "$1"
}
freed() # BEFORE: 19 MiB of the 20 are free again
{
	(($(used_kb) < $1 - 19456))
}

mkdir "$T_TMP/lower" "$T_TMP/merged" "$dir/upper" "$dir/work"
for point in backing release; do
	dd if=/dev/urandom of="$dir/big.$point" bs=1M count=20 status=none
done
for point in backing release; do
	before=$(used_kb)
	begin $point
	[[ $(t_status "$dir" .passthrough) == true ]] || skip "the kernel has no passthrough"
	cmp "$dir/big.$point" "$(t_hot "$dir")/big.$point" || fail "$point: the file cannot be read"
	t_until 10 t_status "$dir" .daemons >/dev/null
	cmp "$dir/big.$point" "$(t_hot "$dir")/big.$point" || fail "$point: the file cannot be read again"
	rm "$dir/big.$point"
	t_until 10 freed "$before" || fail "$point: space is lost: $before KiB were used, $(used_kb) are"
	over "killed at $point: no space is lost"
done

# overlayfs sets owner and size last when it copies a file up
echo program >"$T_TMP/lower/tool"
cap=0x0100000200040000000000000000000000000000
setfattr -n security.capability -v $cap "$T_TMP/lower/tool"
chown 1000:1000 "$T_TMP/lower/tool"
setfattr -n security.capability -v $cap "$T_TMP/lower/tool"
begin caps
mount -t overlay overlay -o "lowerdir=$T_TMP/lower,upperdir=$dir/upper,workdir=$dir/work" "$T_TMP/merged" ||
	fail "cannot mount an overlay"
touch "$T_TMP/merged/tool"
t_check "the capability of a file copied up" \
	"$(getfattr -e hex --only-values -n security.capability "$dir/upper/tool" | od -An -tx1 | tr -d ' \n')" "${cap#0x}"
umount "$T_TMP/merged"
over "killed while a capability is missing"

for point in unlink rename; do
	begin $point passthrough=off
	echo text >"$dir/other"
	exec 8<>"$dir/open"
	echo first >&8
	if [[ $point == unlink ]]; then rm "$dir/open"; else mv "$dir/other" "$dir/open"; fi
	t_check "$point: the file is read" "$(cat /proc/self/fd/8)" first
	echo second >&8
	t_check "$point: and written" "$(cat /proc/self/fd/8)" $'first\nsecond'
	exec 8>&-
	over "killed after the last name of an open file went ($point)"
	rm -f "$dir/open" "$dir/other"
done
