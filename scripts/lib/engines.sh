# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Start and stop real container engines on a given image root, side by side with any that the machine runs
# itself. Sourced; the caller has `set -u` and a private mount namespace with an empty tmpfs on /run (shims and
# ctr keep sockets and fifos at fixed paths there), see eng_private_run.
#
#   eng_private_run          make that /run; keeps what name look-ups need
#   eng_containerd_start ROOT RUN   containerd; then `ctrd ARGS...` is ctr on it
#   eng_containerd_stop
#   eng_dockerd_start ROOT RUN [TMP]   dockerd with overlay2 and no network; then `dock ARGS...`. Uploads go
#                                   to TMP instead of ROOT/tmp
#   eng_dockerd_stop
#   eng_podman ARGS...       podman on ENG_PODMAN_ROOT, ENG_PODMAN_RUN
#   eng_stop_all             stops what is left, containers included, and removes their cgroups
#
# Start functions return 1 and leave the engine's last words in ENG_WHY when the engine does not come up.

ENG_WHY=
ENG_CTD_PID=
ENG_DOCK_PID=
ENG_CTD_RUN=
ENG_DOCK_RUN=
ENG_DOCK_CLI=docker
ENG_CGROUP=spillfs-$$
ENG_PODMAN_ROOT=
ENG_PODMAN_RUN=

eng_private_run()
{
	local dns="" f
	# What /etc/resolv.conf may point into.
	for f in /run/systemd/resolve/*resolv.conf; do
		[ -f "$f" ] && dns+="$f "
	done
	mount --make-rprivate / || return 1
	# shellcheck disable=SC2086 # a list, usually empty
	[ -z "$dns" ] || dns=$(tar -C / -cf - ${dns} 2>/dev/null | base64 -w0)
	mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/lock || return 1
	[ -z "$dns" ] || base64 -d <<<"$dns" | tar -C / -xf -
}

# Wait until a command succeeds, at most SEC seconds and only while PID lives.
eng_wait()
{
	local sec=$1 pid=$2 i
	shift 2
	for ((i = 0; i < sec * 10; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}

# End a process: TERM, ten seconds, KILL. The process is our own child.
eng_end()
{
	local pid=$1 i
	kill "$pid" 2>/dev/null || return 0
	for ((i = 0; i < 100; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	return 0
}

eng_why()
{
	ENG_WHY="$1: $(grep -Ei 'level=(error|fatal)|failed|error|denied' "$2" | tail -n 1 | cut -c1-400)"
}

# ---- containerd ------------------------------------------------------------------------------------------

ctrd()
{
	ctr -a "$ENG_CTD_RUN/containerd.sock" "$@"
}

eng_containerd_start()
{
	local root=$1
	ENG_CTD_RUN=$2
	command -v containerd >/dev/null || { ENG_WHY="containerd: not installed"; return 1; }
	mkdir -p "$ENG_CTD_RUN" "$root" 2>/dev/null
	cat >"$ENG_CTD_RUN/config.toml" <<-EOT
	version = 2
	root = "$root"
	state = "$ENG_CTD_RUN/state"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	  address = "$ENG_CTD_RUN/containerd.sock"
	[debug]
	  level = "info"
	EOT
	containerd -c "$ENG_CTD_RUN/config.toml" >>"$ENG_CTD_RUN/log" 2>&1 &
	ENG_CTD_PID=$!
	if ! eng_wait 30 "$ENG_CTD_PID" ctrd version; then
		eng_why containerd "$ENG_CTD_RUN/log"
		eng_containerd_stop
		return 1
	fi
}

eng_containerd_stop()
{
	[ -n "$ENG_CTD_PID" ] || return 0
	eng_end "$ENG_CTD_PID"
	ENG_CTD_PID=
}

# eng_ctr_run IMAGE ID [ctr run options --] CMD...: one container, its output; cgroups below ours.
eng_ctr_run()
{
	local image=$1 id=$2 opts=()
	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		opts+=("$1")
		shift
	done
	[ "${1-}" = -- ] && shift
	ctrd run --rm --cgroup "/$ENG_CGROUP/$id" "${opts[@]}" "$image" "$id" "$@"
}

# ---- docker ----------------------------------------------------------------------------------------------

# The client's command, for those who need a command and not a function.
eng_dock_argv()
{
	ENG_DOCK=(env DOCKER_BUILDKIT=0 "DOCKER_CONFIG=$ENG_DOCK_RUN/config" "$ENG_DOCK_CLI" -H "unix://$ENG_DOCK_RUN/docker.sock")
}
dock()
{
	eng_dock_argv
	"${ENG_DOCK[@]}" "$@"
}

eng_dockerd_start()
{
	local root=$1
	ENG_DOCK_RUN=$2
	command -v dockerd >/dev/null || { ENG_WHY="dockerd: not installed"; return 1; }
	# The client of the same package when there is more than one.
	ENG_DOCK_CLI=/usr/bin/docker
	[ -x "$ENG_DOCK_CLI" ] || ENG_DOCK_CLI=$(command -v docker) || {
		ENG_WHY="docker: no client installed"
		return 1
	}
	mkdir -p "$ENG_DOCK_RUN/config" "$root" 2>/dev/null
	echo '{}' >"$ENG_DOCK_RUN/daemon.json"
	# The proxy is nobody: an image that is not there must fail, not be looked for on the network.
	HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 DOCKER_TMPDIR=${3-} dockerd --config-file "$ENG_DOCK_RUN/daemon.json" --data-root "$root" --exec-root "$ENG_DOCK_RUN/exec" \
		-p "$ENG_DOCK_RUN/docker.pid" -H "unix://$ENG_DOCK_RUN/docker.sock" \
		--iptables=false --ip6tables=false --bridge=none --ip-forward=false --ip-masq=false \
		--storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs \
		--cgroup-parent "/$ENG_CGROUP" >>"$ENG_DOCK_RUN/log" 2>&1 &
	ENG_DOCK_PID=$!
	if ! eng_wait 40 "$ENG_DOCK_PID" dock version; then
		eng_why dockerd "$ENG_DOCK_RUN/log"
		eng_dockerd_stop
		return 1
	fi
}

eng_dockerd_stop()
{
	[ -n "$ENG_DOCK_PID" ] || return 0
	eng_end "$ENG_DOCK_PID"
	ENG_DOCK_PID=
}

# ---- podman ----------------------------------------------------------------------------------------------

eng_podman()
{
	mkdir -p "$ENG_PODMAN_RUN"
	printf '[storage]\ndriver = "overlay"\nrunroot = "%s/runroot"\ngraphroot = "%s"\n' \
		"$ENG_PODMAN_RUN" "$ENG_PODMAN_ROOT" >"$ENG_PODMAN_RUN/storage.conf"
	CONTAINERS_STORAGE_CONF=$ENG_PODMAN_RUN/storage.conf podman --root "$ENG_PODMAN_ROOT" --runroot "$ENG_PODMAN_RUN/runroot" \
		--tmpdir "$ENG_PODMAN_RUN/tmp" --runtime runc --cgroup-manager cgroupfs --events-backend file \
		--storage-driver overlay "$@"
}

# Options that make `podman run` work without a network and below a modest RLIMIT_NOFILE.
ENG_PODMAN_RUN_OPTS=(--ulimit "nofile=20000:20000" --ulimit "nproc=10000:10000" --network=none)

# ---- end -------------------------------------------------------------------------------------------------

eng_stop_all()
{
	eng_dockerd_stop
	eng_containerd_stop
	local g pid
	for g in /sys/fs/cgroup/"$ENG_CGROUP" /sys/fs/cgroup/*/"$ENG_CGROUP"; do
		[ -d "$g" ] || continue
		find "$g" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | while read -r pid; do
			[ "$pid" -gt 1 ] && kill -9 "$pid" 2>/dev/null
		done
	done
	sleep 0.2
	for g in /sys/fs/cgroup/"$ENG_CGROUP" /sys/fs/cgroup/*/"$ENG_CGROUP"; do
		[ -d "$g" ] && find "$g" -depth -type d -exec rmdir {} \; 2>/dev/null
	done
	return 0
}
