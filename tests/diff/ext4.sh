#!/bin/bash
# SPDX-License-Identifier: MIT
# Random operations give the same results on the mount as on plain ext4.
# timeout: 700
# parallel: yes
. "$(dirname "$0")/../lib/diff.sh"
diff_main ext4
