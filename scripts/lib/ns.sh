# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Run a script in a mount and pid namespace of its own and leave nothing behind, however it ends: when the
# namespace's first process dies the kernel ends every process and takes every mount in it, loop devices of
# mounts included. What is left is one work directory, which the outside removes.
#
#   ns_run SCRIPT WORK ARGS...   SCRIPT ARGS with NS_WORK=WORK inside; its exit status. Handles INT, TERM, HUP.

ns_run()
{
	local script=$1 work=$2 child status sig=
	shift 2
	set -m # the child is a process group of its own: signals reach it through us, once
	NS_WORK=$work unshare --mount --pid --fork --kill-child --mount-proc bash "$script" "$@" </dev/null &
	child=$!
	set +m
	trap '[ -n "$sig" ] || echo "cleaning up" >&2; sig=INT; kill -TERM -- "-$child" 2>/dev/null' INT TERM HUP
	wait "$child"
	status=$?
	if [ -n "$sig" ]; then
		local i
		for ((i = 0; i < 200; i++)); do
			kill -0 "$child" 2>/dev/null || break
			sleep 0.1
		done
		kill -9 "$child" 2>/dev/null # --kill-child takes the rest along
		wait "$child" 2>/dev/null
		status=130
	fi
	trap - INT TERM HUP
	rm -rf --one-file-system "$work"
	return "$status"
}
