#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 900
# podman (containers-storage, overlay) with its storage on a spillfs mount over xfs: load, run, exec, commit, build,
# prune and rmi while everything cold is spilled; see ../lib/engines.sh for what is compared.
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/engines.sh"
E_SUB=containers
E_FS=xfs

# No daemon: starting is naming the storage and asking it something.
x_start()
{
	ENG_PODMAN_ROOT=$1 ENG_PODMAN_RUN=$2
	mkdir -p "$2"
	eng_podman info 2>"$2/log" >/dev/null || { ENG_WHY=$(tail -n 1 "$2/log"); return 1; }
}
x_stop()
{
	eng_podman rm -fa -t 0 >/dev/null 2>&1
	umount "$ENG_PODMAN_ROOT/overlay" 2>/dev/null # a bind mount of itself that it leaves
	return 0
}
x_load() { eng_podman load -q -i "$1"; }
x_images() { eng_podman images --format '{{.Repository}}:{{.Tag}}' | sort; }
x_run() { eng_podman run --rm --pull=never "${ENG_PODMAN_RUN_OPTS[@]}" -v "$E_MNT:/mnt:ro" "$@"; }
x_up()
{
	eng_podman run -d --pull=never "${ENG_PODMAN_RUN_OPTS[@]}" -v "$E_MNT:/mnt:ro" --name "$2" "$1" sleep 1000
}
x_exec() { eng_podman exec "$@"; }
x_down() { eng_podman rm -f -t 0 "$1"; }
x_commit() { eng_podman commit -q "$@"; }
x_build()
{
	eng_podman build --pull-never --isolation oci --network none --ulimit nofile=20000:20000 \
		--ulimit nproc=10000:10000 -t "$1" "$T_TMP/ctx"
}
x_rmi() { eng_podman rmi "$1"; }
x_prune() { eng_podman system prune -f; }

e_init
t_need podman runc jq setcap setfattr
e_images
e_main
