#!/bin/bash
# SPDX-License-Identifier: MIT
# spillctl doctor over nodes made up of files (a good one, and each thing wrong with it), then over a real mount
# whose node is made up around it; and the line about kubelet in spillctl status.
# timeout: 240
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq

out=$T_TMP/out err=$T_TMP/err
want()
{
	local code=$1 rc
	shift
	t_ctl "$@" >"$out" 2>"$err"
	rc=$?
	[[ $rc == "$code" ]] || fail "spillctl $*: exit $rc, want $code: $(cat "$out" "$err")"
}
says()
{
	grep -qF -- "$1" "$out" "$err" || fail "no '$1' in: $(cat "$out" "$err")"
}
# level ID: the worst one of that finding in $out (JSON), or "none"
level()
{
	jq -r --arg id "$1" '[.findings[] | select(.id == $id) | .level] |
		if index("FAIL") then "FAIL" elif index("WARN") then "WARN" elif length > 0 then "OK" else "none" end' "$out"
}

# ---- a good node, of files only ----------------------------------------------------------------------
root=$T_TMP/node
# put FILE: standard input into the node's file
put()
{
	[[ -d $root/${1%/*} ]] || mkdir -p "$root/${1%/*}"
	cat >"$root/$1"
}
# proc PID COMM START ARG...
proc()
{
	local pid=$1 comm=$2 start=$3
	shift 3
	printf '%s\n' "$comm" | put "proc/$pid/comm"
	printf '%s\0' "$@" | put "proc/$pid/cmdline"
	printf '%s (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %s 0 0\n' "$pid" "$comm" "$start" |
		put "proc/$pid/stat"
}
make_good_node()
{
	mkdir -p "$root"/{dev,var/lib/containerd,sys/block/loop0/loop}
	touch "$root"/dev/{fuse,loop-control}
	put sys/block/loop0/loop/backing_file <<</run/spillfs/var-lib-containerd/guard.img
	put proc/sys/kernel/osrelease <<<6.12.1
	put proc/filesystems <<<$'nodev\tfuse\nnodev\toverlay\n\text4'
	put proc/self/mountinfo <<-X
		22 1 254:0 / / rw - ext4 /dev/vda rw
		40 22 7:0 / /var/lib/containerd ro - ext2 /dev/loop0 ro
		41 40 0:41 / /var/lib/containerd rw - fuse.spillfs /dev/loop0 rw
	X
	proc 10 spillfs 500 spillfs /big /var/lib/containerd
	put run/spillfs/var-lib-containerd/pid <<<10
	put run/spillfs/var-lib-containerd/dir <<</var/lib/containerd
	proc 20 kubelet 900 /usr/bin/kubelet --config=/var/lib/kubelet/config.yaml
	put var/lib/kubelet/config.yaml <<-X
		kind: KubeletConfiguration
		imageGCHighThresholdPercent: 85
	X
	put etc/containerd/config.toml <<-X
		version = 2
		[plugins."io.containerd.grpc.v1.cri".containerd]
		  discard_unpacked_layers = true
	X
	put lib/systemd/system/containerd.service <<<'[Unit]'
	put etc/systemd/system/containerd.service.d/spillfs.conf <<-X
		[Unit]
		After=spillfs@var-lib-containerd.service
		AssertPathIsMountPoint=/var/lib/containerd
	X
	put etc/fstab <<-X
		/big /var/lib/containerd spillfs nofail,x-systemd.before=containerd.service 0 0
	X
	mv "$root" "$T_TMP/good"
}
good_node()
{
	rm -rf "$root"
	cp -a "$T_TMP/good" "$root"
}
make_good_node
good_node
want 0 doctor --json --root "$root"
t_check "a good node" "$(jq -c '[.warnings, .failures]' "$out")" '[0,0]'
(($(jq .ok "$out") >= 14)) || fail "too few findings: $(cat "$out")"
want 0 doctor --root "$root"
says 'image GC deletes unused images from 85% used down to 80%'
says ' ok, 0 warnings, 0 wrong'
want 0 doctor -q --root "$root"
t_check "nothing to say" "$(cat "$out")" ""
want 0 doctor --root "$root" /var/lib/containerd/
want 21 doctor --root "$root" /var/lib/docker
says 'not a spillfs mount'
want 1 doctor --root "$root/nonesuch"
want 1 doctor --root "$root" -m a b
want 1 status --probe
want 1 check --root /
ok "a good node"

# wrong ID LEVEL CODE: the node as it is now has that, and the text says why and what to do
wrong()
{
	want "$3" doctor --json --root "$root"
	t_check "$1 (and why, and what to do)" "$(jq -r --arg id "$1" '[.findings[] | select(.id == $id and
		.level != "OK")][0] | .level, (.why, .do | length > 0)' "$out")" "$2"$'\ntrue\ntrue'
	good_node
}
put proc/sys/kernel/osrelease <<<6.1.0-13-amd64
wrong kernel.version WARN 0
put proc/filesystems <<<$'nodev\tproc'
wrong kernel.fuse FAIL 26
rm "$root/dev/loop-control"
wrong kernel.loop WARN 0
# halts DRIVER GOVERNOR NS: cpuidle's, and for how long a guest polls before it halts
halts()
{
	put sys/devices/system/cpu/cpuidle/current_driver <<<"$1"
	put sys/devices/system/cpu/cpuidle/current_governor <<<"$2"
	put sys/module/haltpoll/parameters/guest_halt_poll_ns <<<"$3"
	want 0 doctor --json --root "$root"
	t_check "halt-poll with $*" "$(level kernel.halt-poll)" "$4"
}
halts haltpoll haltpoll 200000 none
halts none haltpoll 0 none
halts acpi_idle menu 0 none
halts haltpoll haltpoll 0 WARN
wrong kernel.halt-poll WARN 0
put etc/containerd/config.toml <<<$'version = 2\nroot = "/var/lib/containerd'
want 0 doctor --root "$root"
says '/etc/containerd/config.toml:2: a string without end'
wrong config.broken WARN 0
put var/lib/kubelet/config.yaml <<<$'a: 1\n b: 2'
want 0 doctor --root "$root"
says '/var/lib/kubelet/config.yaml:2: '
wrong config.broken WARN 0
mkdir -p "$root/etc/docker" && mkfifo "$root/etc/docker/daemon.json"
wrong config.broken WARN 0
put var/lib/kubelet/config.yaml <<<$'imageGCHighThresholdPercent: 60\nimageGCLowThresholdPercent: 70'
wrong kubelet.image-gc FAIL 26
proc 20 kubelet 900 kubelet '--eviction-hard=imagefs.available<40%'
wrong kubelet.eviction WARN 0
proc 20 kubelet 900 kubelet '--eviction-hard=imagefs.inodesFree<40%'
wrong kubelet.eviction-inodes WARN 0
put var/lib/kubelet/config.yaml <<<'imageMaximumGCAge: 72h'
wrong kubelet.max-age WARN 0
proc 20 kubelet 400 kubelet
wrong kubelet.started-before FAIL 26
sed -i 's,fuse.spillfs /dev/loop0,fuse.spillfs spillfs,' "$root/proc/self/mountinfo"
wrong kubelet.sees-mount FAIL 26
rm "$root/sys/block/loop0/loop/backing_file"
wrong kubelet.sees-mount FAIL 26
put etc/docker/daemon.json <<<'{"storage-driver": "zfs"}'
wrong engine.driver WARN 0
mkdir -p "$root/var/lib/docker"
wrong engine.root WARN 0
put etc/containerd/config.toml <<<'root = "/c"'
ln -s /var/lib/containerd "$root/c"
wrong engine.symlink WARN 0
put etc/containerd/config.toml <<<''
wrong engine.discard-unpacked WARN 0
rm "$root"/etc/systemd/system/containerd.service.d/spillfs.conf
wrong boot.order WARN 0
: >"$root/etc/fstab"
want 0 doctor --root "$root"
grep -qF "n=\$(systemd-escape --path '/var/lib/containerd')" "$out" || fail "boot.mount: $(cat "$out")"
wrong boot.mount WARN 0
rm "$root"/etc/fstab "$root"/etc/systemd/system/containerd.service.d/spillfs.conf
wrong boot.mount FAIL 26
sed -i 's/,x-systemd.before=[^ ]*//' "$root/etc/fstab"
wrong boot.mount WARN 0
sed -i '/fuse.spillfs/d' "$root/proc/self/mountinfo"
wrong mount.state FAIL 26
put proc/self/mountinfo <<<$'22 1 254:0 / / rw - ext4 /dev/vda rw\n42 22 254:0 /c /run/spillfs/var-lib-containerd/hot rw - ext4 /dev/vda rw'
wrong mount.state FAIL 26
rm -rf "$root/proc/self" "$root/run"
wrong mount.none WARN 0
ok "each thing that can be wrong"

# ---- k3s ---------------------------------------------------------------------------------------------
rm -r "$root"/proc/20 "$root"/var/lib/kubelet
proc 30 k3s-server 900 /usr/local/bin/k3s server
put etc/rancher/k3s/config.yaml <<<$'kubelet-arg:\n- "image-gc-high-threshold=90"'
mkdir -p "$root/var/lib/rancher/k3s/agent/containerd"
want 0 doctor --root "$root"
says 'from 90% used down to 80%'
says 'imagefs 5%, nodefs 5%'
says "k3s' containerd: image root /var/lib/rancher/k3s/agent/containerd is not on a spillfs"
ok "k3s"

# ---- a real mount, on a node made up around it -------------------------------------------------------
dir=$T_TMP/hot store=$T_TMP/store
t_fs ext4 128M "$dir"
t_spillfs "$store" "$dir" auto=on,high=75
rm -rf "$root"
mkdir -p "$root/run"
ln -s /proc "$root/proc"
ln -s /sys "$root/sys"
ln -s /dev "$root/dev"
ln -s "$T_RUN" "$root/run/spillfs"
ln -s / "$root/host"
mkdir -p "$root$(dirname "$dir")"
ln -s "$dir" "$root$dir" # leads to itself: not resolved, so by its name
put etc/docker/daemon.json <<<"{\"data-root\": \"$dir\"}"
put etc/fstab <<<"$store $dir spillfs defaults 0 0"
want 0 doctor --json --probe --root "$root" "$dir"
t_check "the mount" "$(level mount.state)" OK
t_check "space" "$(level hot.watermarks) $(level hot.space) $(level hot.inodes)" "OK OK OK"
t_check "boot" "$(level boot.mount)" OK
t_check "overlay" "$(level mount.overlay)" OK
[[ -z $(find "$dir" -name '.spillctl-probe*') ]] || fail "the probe left something behind"
# no probe: nothing is written
(cd "$(dirname "$dir")" && t_ctl doctor "./$(basename "$dir")" >"$T_TMP/relative" 2>&1)
grep -q "$dir: " "$T_TMP/relative" || fail "doctor of a relative DIR: $(cat "$T_TMP/relative")"
want 0 doctor --json -m "$dir" --root "$root"
t_check "no probe" "$(level mount.overlay)" none

# An eviction line below the marks.
put var/lib/kubelet/config.yaml <<<$'kind: KubeletConfiguration\nimageGCHighThresholdPercent: 72\nimageGCLowThresholdPercent: 70'
t_ctl doctor --json --root "$root" "$dir" >"$out" 2>&1
t_check "marks" "$(level hot.watermarks)" WARN

# A daemon that is stopped: nobody waits for it for ever.
want 0 status -m "$dir" --json
pid=$(<"$(t_run_dir "$dir")/daemon")
kill -STOP "$pid"
t0=$SECONDS
t_ctl doctor --json --root "$root" "$dir" >"$out" 2>&1
rc=$?
took=$((SECONDS - t0))
kill -CONT "$pid"
t_check "exit code" "$rc" 26
t_check "stopped" "$(level mount.state)" FAIL
((took <= 60)) || fail "doctor took $took s"
ok "a real mount (a stopped daemon: $took s)"

# ---- status ------------------------------------------------------------------------------------------
want 0 status -m "$dir" --json
t_check "used" "$(jq '.kubelet.used_percent == 100 - (.statfs.available_bytes * 100 / .statfs.total_bytes | floor)' "$out")" true
t_check "line" "$(jq '.kubelet | .bytes_until_gc > 0 and .gc_at_percent > 0 and .gc_at_percent <= 100' "$out")" true
t_check "forecast" "$(jq '.forecast | has("bytes_per_hour") and has("seconds_until_gc") and .watched_sec >= 0' "$out")" true
want 0 status -m "$dir"
says '  kubelet    sees '
says ' to go'
t_umount "$dir"
ok "status"
