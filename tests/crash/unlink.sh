#!/bin/bash
# SPDX-License-Identifier: MIT
# Deleting stubs, and waiting until their objects are freed, the daemon dying at each durable step: what was deleted
# stays deleted, what was not keeps its data, and no object leaks for ever.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	mkdir "$1/t" "$T_TMP/old"
	t_data 1 9000 >"$T_TMP/old/small" # in one frame with what is kept
	t_data 2 9000 >"$T_TMP/old/kept"
	t_data 3 300000 >"$T_TMP/old/large"
	t_data 4 50000 >"$T_TMP/old/twin"
	cp "$T_TMP/old/twin" "$T_TMP/old/twin-kept" # one object for two files
	t_data 5 40000 >"$T_TMP/old/linked"
	cp "$T_TMP/old"/* "$1/t/"
	ln "$1/t/linked" "$1/t/linked-too"
	c_plain "$T_TMP/old"/*
	t_spill "$1/t"
	t_until 5 c_objects 5 || fail "not 5 objects"
}
c_op()
{
	rm "$1/t"/{small,large,twin,linked} && c_did rm && t_until 30 c_objects 3 && sync "$1/t" && c_synced rm
}
c_verify()
{
	local f
	c_sums "$1/t"
	for f in kept twin-kept; do
		c_is $f "$T_TMP/old/$f" || return 1
	done
	c_is linked-too "$T_TMP/old/linked" || return 1
	for f in small large twin linked; do
		c_old_or_new rm $f "$T_TMP/old/$f" - || return 1
	done
	# Freeing takes its time: waited for only once at each place.
	if [[ $WAY == cut && -z ${3:-} ]] && c_must rm; then
		t_until 10 c_objects 3 || fail "an object of a deleted file is still there: $(t_status "$1" .objects)"
	fi
}
CRASH_NO_STEPS=1 crash_main
