#!/bin/bash
# SPDX-License-Identifier: MIT
# A file is stored to through a mapping that passes us by, and let go, while others ask for its times: an answer from
# before the store is not kept by the kernel for later.
# timeout: 200
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool mapstat
t_need jq
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
t_data 1 100000 >"$dir/f"
t_spillfs "$T_TMP/store" "$dir"
[[ $(t_status "$dir" .passthrough) == true ]] || skip "this kernel has no FUSE passthrough"
"$T_BUILD/tools/mapstat" -n "${MAPSTAT_TURNS:-8000}" "$dir/f" "$(t_hot "$dir")/f" || fail "times are out of date"
ok "times are those of the last store"
t_umount "$dir"
