#!/bin/bash
# SPDX-License-Identifier: MIT
# Freeing the space of premigrated files (one of each kind, one of them changed since), the daemon dying at each durable
# step: the copies were made by a daemon before, are believed without being read again, and every file is whole.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	c_kinds "$1/t"
	t_data 7 30000 >"$1/t/changed"
	"$SPILLCTL" premigrate "$1/t" >"$T_TMP/ctl.out" 2>&1 || fail "premigrate: $(cat "$T_TMP/ctl.out")"
	t_data 8 30000 >"$1/t/changed"
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
