#!/bin/bash
# SPDX-License-Identifier: MIT
# Random operations give the same results on the mount as on plain btrfs.
# timeout: 700
# parallel: yes
. "$(dirname "$0")/../lib/diff.sh"
diff_main btrfs
