# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034 # what other parts read
# The file systems on which the same work is timed, each on an ext4 of its own on a loop device, all alike: the ext4
# itself, spillfs over it with nothing spilled, and the FUSE file systems of Debian packages over a plain directory of
# it, with the options they need for the work and no others. Sourced by scripts/bench.
#
#   hot_start          mounts them all: HOT (names), MNT[name], RAW[name] (the directory below, on the ext4)
#   hot_stop           unmounts them all

RIVALS=(mergerfs bindfs unionfs-fuse fuse-overlayfs)
HOT=()
declare -A MNT RAW
HOT_MB=4096

# The commands go to the background by themselves; what they say is in the log. mergerfs by default writes nothing to
# a disk with less than 4 GB free.
hot_rival()
{
	local name=$1 dir=$2
	case $name in
	mergerfs) mergerfs -o minfreespace=16M "$dir/disk/raw" "$dir/mnt" ;;
	bindfs) bindfs "$dir/disk/raw" "$dir/mnt" ;;
	unionfs-fuse) unionfs-fuse -o cow "$dir/disk/raw=RW" "$dir/mnt" ;;
	fuse-overlayfs)
		mkdir "$dir"/disk/{lower,work} &&
			fuse-overlayfs -o "lowerdir=$dir/disk/lower,upperdir=$dir/disk/raw,workdir=$dir/disk/work" "$dir/mnt"
		;;
	esac </dev/null >"$dir/log" 2>&1
}

hot_start_rival()
{
	local name=$1 dir=$NS_WORK/hot/$1 rc
	command -v "$name" >/dev/null || {
		absent "$name" "not installed: this release has no such package"
		return
	}
	mkdir -p "$dir"/{disk,mnt}
	make_disk "$dir/disk.img" "$dir/disk" "$HOT_MB" || die "cannot make a disk for $name"
	mkdir "$dir/disk/raw"
	hot_rival "$name" "$dir"
	rc=$?
	if [ $rc != 0 ] || ! mountpoint -q "$dir/mnt"; then
		absent "$name" "does not start (exit code $rc): $(tail -n 1 "$dir/log" | cut -c1-120)"
		return
	fi
	if ! { echo probe >"$dir/mnt/probe" && grep -q probe "$dir/disk/raw/probe" && rm "$dir/mnt/probe"; } 2>>"$dir/log"; then
		absent "$name" "is mounted but cannot write a file: $(tail -n 1 "$dir/log" | cut -c1-120)"
		return
	fi
	HOT+=("$name") MNT[$name]=$dir/mnt RAW[$name]=$dir/disk/raw
}

hot_start()
{
	local dir=$NS_WORK/hot name
	# All paths are equally deep: each directory in one costs a look-up.
	mkdir -p "$dir"/native/mnt "$dir"/spillfs
	make_disk "$dir/native.img" "$dir/native/mnt" "$HOT_MB" || die "cannot make a disk"
	node_make "$dir/spillfs" "$HOT_MB" || die "cannot make a disk"
	node_mount high=75,low=65 || die "spillfs does not mount"
	HOT=(native spillfs)
	MNT=([native]=$dir/native/mnt [spillfs]=$NODE)
	RAW=([native]=$dir/native/mnt [spillfs]=$NODE_BARE)
	for name in "${RIVALS[@]}"; do
		hot_start_rival "$name"
	done
	say "side by side: ${HOT[*]}"
}

hot_stop()
{
	local name dir i
	[ -d "$NS_WORK/hot" ] || return 0
	for name in "${RIVALS[@]}"; do
		dir=$NS_WORK/hot/$name
		umount "$dir/mnt" || umount -l "$dir/mnt"
		# The daemon ends a moment later, and holds the disk until then.
		for ((i = 0; i < 50; i++)); do
			umount "$dir/disk" && break
			mountpoint -q "$dir/disk" || break
			sleep 0.1
		done
		umount -l "$dir/disk"
	done 2>/dev/null
	umount -l "$NS_WORK/hot/native/mnt" 2>/dev/null
	node_done
	rm -rf --one-file-system "$NS_WORK/hot"
}
