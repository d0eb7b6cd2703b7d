#!/bin/bash
# SPDX-License-Identifier: MIT
# Recalling one file of each kind, the daemon dying at each durable step.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	c_kinds "$1/t"
	c_want "$1/t"
	t_spill "$1/t"
	c_tree "$1/t" || fail "not the same when spilled"
}
c_op()
{
	"$SPILLCTL" recall "$1/t"
}
c_verify()
{
	c_tree_in "$1/t" "$2" 'resident premigrated' ${3:+"$3"}
}
crash_main
