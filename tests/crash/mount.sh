#!/bin/bash
# SPDX-License-Identifier: MIT
# Mounting after an unclean stop, killed at each durable step of the recovery itself, again and again.
# timeout: 400
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/awkward.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	t_awkward "$1/tree" small
	t_digest -T "$1/tree" >"$T_TMP/want"
	t_spill "$1/tree"
	t_recall "$1/tree/sub"
	t_data 99 5000 >"$1/gone"
	t_spill "$1/gone"
	rm "$1/gone"
	t_kill9 "$1" # nothing is clean
	umount -l "$1"
}
# crash_main unmounts after c_prepare: the daemon is dead already, the guard is what is left.
t_umount()
{
	local id
	id=$(t_proc_id "$(t_pid "$1" 2>/dev/null)")
	umount "$1" 2>/dev/null || umount -l "$1" || fail "umount $1"
	[[ -z $id ]] || t_wait_gone "$id" 60 || fail "the daemon does not end"
}
c_op()
{
	ls "$1/tree" >/dev/null
}
c_verify()
{
	t_same "$T_TMP/want" "$1/tree" "the tree" -T ${3:+"$3"} && [[ ! -e $1/gone ]]
}
# Count from before the tiers are opened.
export SPILLFS_FAULT_EARLY=1
CRASH_NO_STEPS=1 CRASH_FROM=1 crash_main
