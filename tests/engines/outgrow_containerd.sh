#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 420
# `ctr image import` of an image of five times the hot tier: its blobs and its snapshots; see ../lib/outgrow.sh.
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/outgrow.sh"

x_start() { eng_containerd_start "$1" "$2"; }
x_stop() { eng_containerd_stop; }
x_load() { ctrd image import "$1"; }
x_layers() { printf '%s\n' "$1"/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs; }
x_blobs() { printf '%s\n' "$1"/io.containerd.content.v1.content/blobs/sha256/*; }

e_init
t_need containerd ctr
t_need_daemon
t_need_tool fill
o_main
