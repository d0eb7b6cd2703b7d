# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# "The node with the tiny disk": a small image root on a loop device, a store on the big disk, spillfs between
# them. Sourced by the demo and the benchmark; the caller has `set -u` and a private mount namespace.
#
# SPILLFS_TEST_PLAIN=1 puts a plain bind mount in place of spillfs (on a disk that is large enough), to prove
# the scripts themselves.
#
#   node_make DIR MB [ext4|xfs]  DIR/disk.img, DIR/node (the image root), DIR/bare (the disk itself), DIR/store
#                                ($NODE_INODES: inodes of an ext4)
#   node_mount [OPTIONS]         spillfs over NODE
#   node_umount                  spillfs off again (the guard stays); returns when the daemon has ended
#   node_used_pct                percent of the small disk in use, as kubelet counts (100 - free*100/total)
#   node_spill PATH..., node_recall PATH...   spillctl; files in use may stay. Its answer is in NODE_CTL
#   node_status, node_state PATH              (all of these have nothing to do in plain mode)
#   node_done                    everything off

NODE=
NODE_BARE=
NODE_STORE=
NODE_CTL=
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
	ext4) mkfs.ext4 -q -F -m 0 -E lazy_itable_init=0,lazy_journal_init=0 ${NODE_INODES:+-N "$NODE_INODES"} "$dir/disk.img" ;;
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
	local pid i
	pid=$(node_main)
	SPILLFS_UMOUNT_WAIT=60 "${BASH_SOURCE[0]%/*}/../umount.fuse.spillfs" "$NODE" || {
		! command -v fuser >/dev/null || fuser -vm "$NODE" >&2
		return 1
	}
	[ -n "$pid" ] || return 0
	for ((i = 0; i < 600; i++)); do
		[ -d "/proc/$pid" ] || return 0
		sleep 0.1
	done
	echo "node: the daemon, pid $pid, does not end" >&2
	return 1
}

node_used_pct()
{
	local total free
	read -r total free < <(stat -f -c '%b %a' "$NODE_BARE")
	echo $((100 - free * 100 / total))
}

# -m: an engine's bind mount of its own root onto itself (dockerd) must not hide which mount is meant.
node_ctl()
{
	local rc
	node_plain && return 0
	NODE_CTL=$("$NODE_BIN/spillctl" -m "$NODE" --json "$@" 2>/dev/null)
	rc=$?
	# Files in use may stay (23, with nothing in errors or failed).
	[ $rc = 0 ] && return 0
	[ $rc = 23 ] && [ "$(jq '.errors == [] and .files_failed == 0' <<<"$NODE_CTL")" = true ] && return 0
	echo "node: spillctl $1: exit $rc: $(jq -c '[.errors, .failed]' <<<"$NODE_CTL" | cut -c1-300)" >&2
	return 1
}
node_spill()
{
	node_ctl spill "$@"
}
node_recall()
{
	node_ctl recall "$@"
}
node_state()
{
	"$NODE_BIN/spillctl" info --json "$1" | jq -r .state
}

node_status()
{
	node_plain && return 1
	"$NODE_BIN/spillctl" -m "$NODE" status "$@"
}

# Pid of the process whose end is the end of the mount (the supervisor), and of the daemon that serves it.
node_main()
{
	node_pid pid
}
node_daemon()
{
	node_pid daemon
}
# node_pid NAME: from the run directory of $NODE; those of earlier mounts stay as long as their guards.
node_pid()
{
	local dir
	for dir in "${SPILLFS_RUN_DIR:-/run/spillfs}"/*/; do
		[ "$(cat "$dir/dir" 2>/dev/null)" != "$NODE" ] || cat "$dir/$1" 2>/dev/null
	done
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
