#!/bin/bash
# SPDX-License-Identifier: MIT
# Mounting after the daemon died in the middle of a recall (data written, the marker still there); the daemon dies at
# each durable step of the recovery, too.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
recall_half() # 1 or 2
{
	"$SPILLCTL" -q recall "$DIR/t/small$1" "$DIR/t/large$1"
}
c_prepare()
{
	local i
	mkdir "$1/t"
	for i in 1 2; do
		t_data "4$i" 300000 >"$1/t/large$i"
		t_data "5$i" 5000 >"$1/t/small$i"
	done
	touch -d '2001-02-03 04:05:06.7 UTC' "$1/t"/*
	c_want "$1/t"
	t_spill "$1/t"
	c_die_before fremovexattr recall_half >"$T_TMP/op.log" 2>&1
	export SPILLFS_FAULT_EARLY=1 # count from before the tiers are opened
}
c_op()
{
	c_scanned
}
c_verify()
{
	c_tree "$1/t" ${3:+"$3"}
}
CRASH_NO_STEPS=1 CRASH_FROM=1 crash_main
