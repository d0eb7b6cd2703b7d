#!/bin/bash
# SPDX-License-Identifier: MIT
# Spilling a mixed set of files, killed at each durable step: afterwards every file is whole, spilled or not.
# timeout: 400
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/awkward.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	t_awkward "$1/tree" small
	t_digest -T "$1/tree" >"$T_TMP/want"
	t_looks "$1/tree" >"$T_TMP/looks"
}
c_op()
{
	t_ctl spill "$1/tree"
}
c_verify()
{
	t_same "$T_TMP/want" "$1/tree" "the tree" -T ${3:+"$3"}
}
crash_main
