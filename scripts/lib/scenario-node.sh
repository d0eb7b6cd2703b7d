# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The scenario's node: a small disk for images, a store on a disk of its own that can go away, the stand-in for
# kubelet, and what is done to the daemon. Sourced after node.sh and engines.sh; the caller has its own namespaces.
#
#   scn_make DIR MB STORE_MB     the small disk, empty; the store's disk behind a gate (tests/tools/gatedisk)
#   scn_mount, scn_umount        spillfs on it (plain mode: nothing between); engines are not touched
#   scn_engines                  start containerd and dockerd on it. 1: ENG_WHY
#   scn_store_stop, scn_store_go the store's disk stops answering, and answers again
#   scn_store_off, scn_store_on  its file system unmounted and mounted again
#   scn_kubelet NAME, scn_kubelet_end   the deleters; then scn_saw KEY gives a value of their summary
#   scn_peak, scn_peak_end       highest use of the small disk, in SCN_PEAK
#   scn_killer SEC, scn_killer_end      kill -9 of the daemon every SEC seconds; how many, in SCN_KILLS

SCN_GATE=
SCN_KUBELET=
SCN_KILLER=
SCN_KILLS=0
SCN_WATCH=
SCN_PEAK=0
SCN_DIR=

scn_make()
{
	local i
	SCN_DIR=$1
	mkdir -p "$SCN_DIR/gate" && node_make "$SCN_DIR" "$2" || return 1
	node_plain && return 0
	truncate -s "${3}M" "$SCN_DIR/store.img" &&
		mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$SCN_DIR/store.img" || return 1
	# In a session of its own: Ctrl-C must not take the disk away before what is on it.
	setsid "$NODE_BIN/tools/gatedisk" "$SCN_DIR/store.img" "$SCN_DIR/gate" >>"$NS_WORK/gate.log" 2>&1 &
	SCN_GATE=$!
	for ((i = 0; i < 100; i++)); do
		[ -e "$SCN_DIR/gate/disk" ] && break
		sleep 0.1
	done
	scn_store_on && mkdir "$NODE_STORE/spill" && NODE_STORE=$NODE_STORE/spill
}
scn_store_on()
{
	mount -o loop "$SCN_DIR/gate/disk" "$SCN_DIR/store"
}
scn_store_off()
{
	eng_wait 20 $$ umount "$SCN_DIR/store"
}
scn_store_stop()
{
	kill -STOP "$SCN_GATE"
}
scn_store_go()
{
	kill -CONT "$SCN_GATE" 2>/dev/null
}

scn_mount()
{
	node_mount "$SC_OPTS"
}
scn_umount()
{
	node_umount
}

scn_engines()
{
	eng_containerd_start "$NODE/containerd" /run/scenario-ctd || return 1
	# Uploads do not lie on the small disk: at this scale one image would be a third of it.
	eng_dockerd_start "$NODE/docker" /run/scenario-dock "$NS_WORK/docker-tmp" || return 1
	export SC_CTD_RUN=$ENG_CTD_RUN SC_DOCK_RUN=$ENG_DOCK_RUN SC_DOCK_CLI=$ENG_DOCK_CLI
}

# What kubelet asks is where its look-up in the mount table leads ($SC_LOOKUP, a command), else the image root.
scn_kubelet()
{
	SCN_SUMMARY=$NS_WORK/kubelet-$1
	"$NODE_BIN/tools/kubeletgc" gc="$SC_GC_MS" evict=500 min-age="$SC_MIN_AGE_MS" ${SC_LOOKUP:+"lookup=$SC_LOOKUP"} \
		log="$SCN_SUMMARY.log" summary="$SCN_SUMMARY" "$NODE" "$here/lib/scenario-hook" \
		>>"$SCN_SUMMARY.log" 2>&1 &
	SCN_KUBELET=$!
}
scn_kubelet_end()
{
	[ -n "$SCN_KUBELET" ] || return 0
	kill "$SCN_KUBELET" 2>/dev/null
	wait "$SCN_KUBELET" 2>/dev/null
	SCN_KUBELET=
}
scn_saw()
{
	sed -n "s/^$1=//p" "$SCN_SUMMARY"
}

scn_watch()
{
	local max=0 now
	while sleep 0.5; do
		now=$(node_used_pct)
		[ "$now" -gt "$max" ] && max=$now && echo "$max" >"$NS_WORK/peak"
	done
}
scn_peak()
{
	echo 0 >"$NS_WORK/peak"
	scn_watch &
	SCN_WATCH=$!
}
scn_peak_end()
{
	[ -n "$SCN_WATCH" ] || return 0
	kill "$SCN_WATCH" 2>/dev/null
	wait "$SCN_WATCH" 2>/dev/null
	SCN_WATCH=
	SCN_PEAK=$(<"$NS_WORK/peak")
}

scn_kill_loop()
{
	local pid last=
	while sleep "$1"; do
		pid=$(node_daemon)
		[ -n "$pid" ] && [ "$pid" != "$last" ] && kill -9 "$pid" && echo "$pid" >>"$NS_WORK/kills"
		last=$pid
	done
}
scn_killer()
{
	: >"$NS_WORK/kills"
	scn_kill_loop "$1" 2>/dev/null &
	SCN_KILLER=$!
}
scn_killer_end()
{
	[ -n "$SCN_KILLER" ] || return 0
	kill "$SCN_KILLER" 2>/dev/null
	wait "$SCN_KILLER" 2>/dev/null
	SCN_KILLER=
	SCN_KILLS=$(wc -l <"$NS_WORK/kills")
}

# All off, whatever state it is in. A gate that stands open first: who waits for the store goes on.
scn_done()
{
	scn_killer_end
	[ -z "$SCN_GATE" ] || scn_store_go
	scn_kubelet_end
	scn_peak_end
	eng_stop_all
	SC_CTD_RUN='' SC_DOCK_RUN=''
	node_done
	[ -n "$SCN_GATE" ] || return 0
	scn_store_off 2>/dev/null || umount -l "$SCN_DIR/store" 2>/dev/null
	umount "$SCN_DIR/gate" 2>/dev/null || umount -l "$SCN_DIR/gate"
	wait "$SCN_GATE" 2>/dev/null
	SCN_GATE=
}
