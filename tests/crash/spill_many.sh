#!/bin/bash
# SPDX-License-Identifier: MIT
# Spilling more files at once than are synced one by one (FSYNC_EACH in release.c), the daemon dying at each durable
# step.
# timeout: 900
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	local i
	mkdir "$1/t"
	for i in {1..9}; do
		t_data "$i" $((i * 1700)) >"$1/t/$i"
	done
	c_want "$1/t"
}
c_op()
{
	"$SPILLCTL" spill "$1/t"
}
c_verify()
{
	c_tree_in "$1/t" "$2" spilled ${3:+"$3"}
}
crash_main
