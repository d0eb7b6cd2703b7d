#!/bin/bash
# SPDX-License-Identifier: MIT
# Mounting after the daemon died in the middle of a spill (markers durable, nothing punched), with a deleted stub not
# freed yet; the daemon dies at each durable step of the recovery, too.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
spill_half() # 1 or 2
{
	rm "$DIR/gone$1" && "$SPILLCTL" -q spill "$DIR/t/large$1" "$DIR/t/small$1"
}
c_prepare()
{
	local i
	mkdir "$1/t"
	for i in 1 2; do
		t_data "4$i" 300000 >"$1/t/large$i"
		t_data "5$i" 5000 >"$1/t/small$i"
		t_data "6$i" 7000 >"$1/gone$i"
	done
	cp "$1/t/small1" "$1/t/kept"
	touch -d '2001-02-03 04:05:06.7 UTC' "$1/t"/*
	c_want "$1/t"
	t_spill "$1/t/kept" "$1"/gone*
	c_die_before punch spill_half >"$T_TMP/op.log" 2>&1
	export SPILLFS_FAULT_EARLY=1 # count from before the tiers are opened
}
c_op()
{
	c_scanned
}
c_verify()
{
	c_tree "$1/t" ${3:+"$3"} && [[ ! -e $1/gone1 && ! -e $1/gone2 ]]
}
CRASH_NO_STEPS=1 CRASH_FROM=1 crash_main
