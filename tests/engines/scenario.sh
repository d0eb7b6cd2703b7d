#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 420
# scripts/scenario in its short form: similar images built by a real dockerd and imported into a real containerd on a
# disk that is too small, with a stand-in for kubelet's image GC and eviction; lost without spillfs, kept with it,
# also while the store is away, the daemon is killed, and after a start without the store. It makes namespaces of its
# own, and says SKIP (77) when the engines do not run here.
. "$(dirname "$0")/../lib/lib.sh"
[[ $(id -u) == 0 ]] || skip "needs root"
t_need containerd ctr dockerd docker runc jq
t_need_tool kubeletgc gatedisk
unset SPILLFS_RUN_DIR T_UNSHARED
TMPDIR=${TMPDIR:-/var/tmp} BUILD=$T_BUILD exec "$T_TOP/scripts/scenario" --short
