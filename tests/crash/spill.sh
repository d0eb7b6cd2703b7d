#!/bin/bash
# SPDX-License-Identifier: MIT
# Spilling one file of each kind, the daemon dying at each durable step: afterwards every file is whole, spilled or not.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	c_kinds "$1/t"
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
