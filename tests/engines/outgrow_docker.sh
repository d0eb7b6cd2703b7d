#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 420
# `docker load` of an image of five times the hot tier, with the upload in the data root too; see ../lib/outgrow.sh.
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/outgrow.sh"

x_start() { eng_dockerd_start "$1" "$2"; }
x_stop() { eng_dockerd_stop; }
x_load() { dock load -q -i "$1"; }
x_layers() { printf '%s\n' "$1"/overlay2/*/diff; }
x_blobs() { :; }

e_init
t_need dockerd docker
t_need_daemon
t_need_tool fill
o_main
