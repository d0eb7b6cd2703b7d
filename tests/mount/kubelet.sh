#!/bin/bash
# SPDX-License-Identifier: MIT
# What kubelet gets to see (tests/tools/cadvisor.c, in both its forms): the numbers of both tiers, wherever DIR is
# and whichever path below it is asked for; the guard after umount; nothing where there is no anchor, which the
# start says, or refuses (kubelet=anchor).
# timeout: 300
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq
t_need_tool cadvisor
[[ -c /dev/loop-control ]] || skip "no loop devices"

CADVISOR=$T_BUILD/tools/cadvisor
FORMS=(--old --new)

# look FORM [OPTIONS] DIR: the answer's words in SEEN, or exit 1 and why in $T_TMP/seen.err.
look()
{
	local form=$1 out
	shift
	[[ $form == --new ]] && set -- --new "$@"
	out=$("$CADVISOR" "$@" 2>"$T_TMP/seen.err") || return 1
	read -ra SEEN <<<"$out" # device, mount point, type, capacity, available, inodes, free
}
# statfs(2) of a mount, in the same words. Nothing spills or is written meanwhile, so it stands still.
numbers()
{
	local s f b a c d
	read -r s f b a c d < <(stat -f -c '%S %s %b %a %c %d' "$1")
	t_check "f_frsize of $1" "$s" "$f"
	echo "$((s * b)) $((s * a)) $c $d"
}
hot_bytes()
{
	stat -f -c '%S %b' "$(t_hot "$1")" | { read -r s b && echo $((s * b)); }
}
source_of()
{
	awk -v p="$1" '$5 == p { for (i = 7; $i != "-"; i++); s = $(i + 1) " " $(i + 2) } END { print s }' \
		/proc/self/mountinfo
}
# sees MOUNT [OPTIONS] PATH: both forms find MOUNT from PATH and get its numbers, which are those of both tiers.
sees()
{
	local mount=$1 form want
	shift
	want=$(numbers "$mount")
	for form in "${FORMS[@]}"; do
		look "$form" "$@" || fail "$form $*: $(cat "$T_TMP/seen.err")"
		t_check "$form $*: where kubelet asks" "${SEEN[1]}" "$mount"
		t_check "$form $*: the numbers" "${SEEN[*]:3}" "$want"
		((SEEN[3] > $(hot_bytes "$mount"))) || fail "$form $*: ${SEEN[3]} are not both tiers"
		t_check "$form $*: the device" "${SEEN[0]}" "$(source_of "$mount" | cut -d' ' -f2)"
	done
}
# blind WORD [OPTIONS] PATH: neither form finds anything.
blind()
{
	local word=$1 form
	shift
	for form in "${FORMS[@]}"; do
		look "$form" "$@" && fail "$form $*: is found: ${SEEN[*]}"
		[[ $(cat "$T_TMP/seen.err") == *"$word"* ]] || fail "$form $*: should say '$word': $(cat "$T_TMP/seen.err")"
	done
}
anchored() # MOUNT: its source is the guard's loop device
{
	local src
	src=$(source_of "$1")
	[[ $src == "fuse.spillfs /dev/loop"* ]] || fail "$1: type and source are '$src'"
	src=${src#* }
	[[ -b $src ]] || fail "$src is no device"
	t_check "behind $src" "$(cat "/sys/block/${src#/dev/}/loop/backing_file")" "$(t_run_dir "$1")/guard.img"
	t_check "status" "$(t_status "$1" '.kubelet | "\(.sees) \(.source) \(.point)"')" "anchor $src $1"
	t_ctl status -m "$1" >"$T_TMP/status.out" || fail "status $1"
	grep -q "anchor     kubelet sees both tiers, by $src\$" "$T_TMP/status.out" || fail "$(cat "$T_TMP/status.out")"
}
unguard()
{
	t_ctl unguard "$1" >"$T_TMP/ctl.out" 2>&1 || fail "unguard $1: $? $(cat "$T_TMP/ctl.out")"
	[[ $(</proc/self/mountinfo) != *" $1 "* || ${2:-} == partition ]] || fail "$1: still mounted on"
}

t_fs ext4 64M "$T_TMP/disk"    # a small disk that holds directories
t_fs ext4 48M "$T_TMP/part"    # one that is an image root itself
t_fs ext4 256M "$T_TMP/big"    # the store's
DISK=$T_TMP/disk

# ---- the naive mount -----------------------------------------------------------------------------------------------
d=$DISK/naive
mkdir -p "$d/sub"
t_spillfs "$T_TMP/big/naive" "$d" kubelet=off
t_check "type and source" "$(source_of "$d")" "fuse.spillfs $T_TMP/big/naive"
blind "in cached partitions map" "$d"
blind "in cached partitions map" "$d/sub"
blind "in cached partitions map" --docker "$d" "$d" # the engine's label goes to the guard, which is first
t_check "status" "$(t_status "$d" '.kubelet | "\(.option) \(.sees)"')" "off nothing"
ln -s "$SPILLFS" "$T_TMP/mount.spillfs"
t_must "$T_TMP/mount.spillfs" "$T_TMP/big/naive" "$d" -o kubelet=auto 2>"$T_TMP/again.err" # as mount -a again
t_check "mounts" "$(awk -v p="$d" '$5 == p' /proc/self/mountinfo | wc -l)" 2
t_umount "$d"
unguard "$d"
ok "kubelet=off: STORE is the source, kubelet finds nothing"

# ---- a plain directory: k3s, Docker, bind mounts ---------------------------------------------------------------------
d=$DISK/var/lib/rancher/k3s/agent/containerd
snap=io.containerd.snapshotter.v1.overlayfs
mkdir -p "$d/$snap"
t_spillfs "$T_TMP/big/k3s" "$d"
anchored "$d"
sees "$d" "$d"
sees "$d" "$d/$snap" # what containerd tells kubelet
mkdir "$T_TMP/bound"
mount --bind "$d/$snap" "$T_TMP/bound" || fail "bind"
sees "$d" "$T_TMP/bound"
# The table as kubelet read it at its start still leads here: after umount to the guard, after a mount to us again.
cat /proc/self/mountinfo >"$T_TMP/table"
umount "$T_TMP/bound"
t_umount "$d"
for form in "${FORMS[@]}"; do
	for table in /proc/self/mountinfo "$T_TMP/table"; do
		look "$form" --table "$table" "$d" || fail "$form: after umount: $(cat "$T_TMP/seen.err")"
		t_check "$form: where kubelet asks after umount" "${SEEN[1]}" "$d"
		((SEEN[3] <= 65536 && SEEN[4] * 100 > SEEN[3] * 20 && SEEN[6] * 100 > SEEN[5] * 10)) ||
			fail "$form: the guard shows ${SEEN[*]}: a reason to delete"
	done
done
t_errno "Read-only file system" touch "$d/x"
t_spillfs "$T_TMP/big/k3s" "$d" kubelet=anchor
anchored "$d"
sees "$d" --table "$T_TMP/table" "$d/$snap"
t_umount "$d"
unguard "$d"
ok "a directory, k3s' root, a bind mount of a part of it, the guard after umount, a table read before"

d=$DISK/var/lib/docker
mkdir -p "$d/overlay2"
t_spillfs "$T_TMP/big/docker" "$d"
anchored "$d"
sees "$d" "$d"
sees "$d" --docker "$d" "$d"
sees "$d" --docker "$d" "$d/overlay2"
mount --bind "$d" "$d" || fail "bind" # as dockerd does
sees "$d" --docker "$d" "$d"
umount "$d"
sees "$d" --crio "$d" "$d"
# A copy of the namespace has its own order of mounts (a kubelet in a container, or a unit with PrivateMounts).
t_check "in another namespace" "$(unshare -m --propagation slave "$CADVISOR" --new "$d/overlay2")" \
	"$("$CADVISOR" --new "$d")"
# A symbolic link on the way is the one thing that hides us: to the disk it lies on.
ln -s "$d" "$T_TMP/link"
if look --new "$T_TMP/link" && [[ ${SEEN[1]} == "$d" ]]; then
	fail "a link is seen through: the documentation says it is not"
fi
t_umount "$d"
unguard "$d"
ok "Docker's root, with its label; CRI-O's"

# ---- all of /var -----------------------------------------------------------------------------------------------------
d=$DISK/var
mkdir -p "$d/lib/kubelet/pods" "$d/lib/containerd" "$d/log"
t_spillfs "$T_TMP/big/var" "$d"
anchored "$d"
for p in "" /lib/kubelet /lib/kubelet/pods /lib/containerd /log; do
	sees "$d" --docker "$d/lib/docker" "$d$p"
done
t_umount "$d"
unguard "$d"
ok "all of /var: the root directory of kubelet, its logs and the images"

# ---- a partition's own mount point ---------------------------------------------------------------------------------------
d=$T_TMP/part
mkdir "$d/overlay2"
t_spillfs "$T_TMP/big/part" "$d"
anchored "$d"
sees "$d" "$d/overlay2"
sees "$d" --docker "$d" "$d/overlay2"
t_umount "$d"
unguard "$d" partition
ok "a partition's own mount point"

# ---- without loop devices ----------------------------------------------------------------------------------------------
part=$(source_of "$d" | cut -d' ' -f2)
mount --bind /dev/null /dev/loop-control || fail "cannot hide /dev/loop-control"
for opt in auto anchor; do
	: >"$T_TMP/spillfs.log"
	t_spillfs "$T_TMP/big/part" "$d" kubelet=$opt
	t_check "type and source" "$(source_of "$d")" "fuse.spillfs $part"
	t_check "lines about kubelet" "$(grep -c "kubelet finds it by its partition, $part" "$T_TMP/spillfs.log")" 1
	sees "$d" "$d/overlay2"
	sees "$d" --docker "$d" "$d/overlay2"
	t_check "status" "$(t_status "$d" '.kubelet | "\(.sees) \(.source)"')" "partition $part"
	t_umount "$d"
	t_errno "Read-only file system" touch "$d/x"
done
unguard "$d" partition

d=$DISK/plain
mkdir "$d"
echo keep >"$d/keep"
: >"$T_TMP/spillfs.log"
t_spillfs "$T_TMP/big/plain" "$d"
t_check "type and source" "$(source_of "$d")" "fuse.spillfs $T_TMP/big/plain"
t_check "lines about kubelet" "$(grep -c "kubelet will not find $d: no loop device: " "$T_TMP/spillfs.log")" 1
blind "in cached partitions map" "$d"
t_check "status" "$(t_status "$d" '.kubelet | "\(.option) \(.sees)"')" "auto nothing"
t_ctl status -m "$d" | grep -q 'anchor     kubelet does NOT find this mount' || fail "status does not say so"
t_umount "$d"
for _ in 1 2; do
	: >"$T_TMP/spillfs.log"
	t_spillfs_try "$T_TMP/big/plain" "$d" kubelet=anchor
	t_check "exit code of kubelet=anchor" $? 27
	t_check "lines" "$(wc -l <"$T_TMP/spillfs.log")" 1
	grep -q "kubelet=anchor: .*no loop device: .*load the loop module.*guard" "$T_TMP/spillfs.log" ||
		fail "kubelet=anchor says: $(cat "$T_TMP/spillfs.log")"
	t_errno "Read-only file system" touch "$d/x"
done
t_spillfs_try "$T_TMP/big/plain" "$d" kubelet=yes
t_check "exit code of nonsense" $? 1
grep -q "kubelet=yes: must be auto, anchor or off" "$T_TMP/spillfs.log" || fail "$(cat "$T_TMP/spillfs.log")"
ok "no loop devices: the partition's device, or one line that says so, or a refusal"

# They come later: over the tmpfs guard goes the anchor.
umount /dev/loop-control
t_spillfs "$T_TMP/big/plain" "$d" kubelet=anchor
anchored "$d"
sees "$d" "$d"
t_check "content" "$(cat "$d/keep")" keep
t_umount "$d"
t_errno "Read-only file system" touch "$d/x"
umount "$(t_hot "$d")" # found again below both guards
t_spillfs "$T_TMP/big/plain" "$d"
t_check "content" "$(cat "$d/keep")" keep
sees "$d" "$d"
t_umount "$d"
unguard "$d"
t_check "content" "$(cat "$d/keep")" keep
no_loops()
{
	! grep -qsF "$T_RUN/" /sys/block/loop*/loop/backing_file
}
t_until 10 no_loops || fail "loop devices are left"
ok "loop devices that come later"
