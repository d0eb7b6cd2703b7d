#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 900
# dockerd (overlay2) with its data root on a spillfs mount: load, run, exec, commit, build, prune and rmi while
# everything cold is spilled; see ../lib/engines.sh for what is compared.
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/engines.sh"
E_SUB=docker

x_start() { eng_dockerd_start "$1" "$2"; }
x_stop() { eng_dockerd_stop; }
x_load() { dock load -q -i "$1"; }
x_images() { dock images --format '{{.Repository}}:{{.Tag}}' | sort; }
x_run() { dock run --rm --pull=never --network=none -v "$E_MNT:/mnt:ro" "$@"; }
x_up() { dock run -d --pull=never --network=none -v "$E_MNT:/mnt:ro" --name "$2" "$1" sleep 1000; }
x_exec() { dock exec "$@"; }
x_down() { dock rm -f "$1"; }
x_commit() { dock commit "$@"; }
x_build() { dock build --network=none -t "$1" "$T_TMP/ctx"; }
x_rmi() { dock rmi "$1"; }
x_prune() { dock system prune -f; }

e_init
t_need dockerd docker jq setcap setfattr
e_images
e_main
