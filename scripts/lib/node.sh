# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# "The node with the tiny disk": a small image root on a loop device, a store on the big disk, spillfs between
# them. Sourced by the demo and the benchmark; the caller has `set -u` and a private mount namespace.
#
# SPILLFS_TEST_PLAIN=1 puts a plain bind mount in place of spillfs (on a disk that is large enough), to prove
# the scripts themselves.
#
#   node_make DIR MB [ext4|xfs]  DIR/disk.img, DIR/node (the image root), DIR/bare (the disk itself), DIR/store
#   node_mount [OPTIONS]         spillfs over NODE
#   node_umount                  spillfs off again (the guard stays)
#   node_used_pct                percent of the small disk in use, as kubelet counts (100 - free*100/total)
#   node_spill PATH..., node_recall PATH..., node_status   spillctl; nothing to do in plain mode
#   node_done                    everything off

NODE=
NODE_BARE=
NODE_STORE=
NODE_BIN=${NODE_BIN:-}

node_plain()
{
	[ "${SPILLFS_TEST_PLAIN:-0}" = 1 ]
}

node_make()
{
	local dir=$1 mb=$2 fs=${3:-ext4}
	NODE=$dir/node NODE_BARE=$dir/bare NODE_STORE=$dir/store
	mkdir -p "$NODE" "$NODE_BARE" "$NODE_STORE" || return 1
	truncate -s "${mb}M" "$dir/disk.img" || return 1
	case $fs in
	ext4) mkfs.ext4 -q -F -m 0 "$dir/disk.img" ;;
	xfs) mkfs.xfs -q -f "$dir/disk.img" ;;
	esac || return 1
	# -o loop: the loop device goes when the mount goes, however this script ends.
	mount -o loop "$dir/disk.img" "$NODE" && mount --bind "$NODE" "$NODE_BARE"
}

node_mount()
{
	if node_plain; then
		mount --bind "$NODE_BARE" "$NODE"
	else
		"$NODE_BIN/spillfs" "$NODE_STORE" "$NODE" -o "$1"
	fi
}

node_umount()
{
	umount "$NODE"
}

node_used_pct()
{
	set -- $(stat -f -c '%b %a' "$NODE_BARE")
	echo $((100 - $2 * 100 / $1))
}

node_spill()
{
	node_plain || "$NODE_BIN/spillctl" spill --json "$@" >>"$NODE_STORE.ctl.log" 2>&1
}

node_recall()
{
	node_plain || "$NODE_BIN/spillctl" recall --json "$@" >>"$NODE_STORE.ctl.log" 2>&1
}

node_status()
{
	node_plain && return 1
	"$NODE_BIN/spillctl" -m "$NODE" status "$@"
}

# Pid of the daemon that serves the mount.
node_daemon()
{
	cat "${SPILLFS_RUN_DIR:-/run/spillfs}"/*/pid 2>/dev/null | head -n 1
}

node_done()
{
	local i
	[ -n "$NODE" ] || return 0
	for ((i = 0; i < 8; i++)); do
		umount "$NODE" 2>/dev/null || break
	done
	umount -l "$NODE" 2>/dev/null
	umount "$NODE_BARE" 2>/dev/null || umount -l "$NODE_BARE" 2>/dev/null
	NODE=
	return 0
}
