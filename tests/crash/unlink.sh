#!/bin/bash
# SPDX-License-Identifier: MIT
# Deleting stubs, and waiting until their objects are freed, killed at each durable step: what was deleted stays
# deleted, what was not keeps its data, and no object leaks for ever.
# timeout: 400
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	local i
	mkdir "$1/t" "$T_TMP/old"
	for i in {1..12}; do
		t_data "$i" $((i * 9000)) >"$T_TMP/old/$i"
	done
	cp "$T_TMP/old/1" "$T_TMP/old/1-twin" # one object for two files
	cp "$T_TMP/old"/* "$1/t/"
	ln "$1/t/2" "$1/t/2-too"
	t_spill "$1/t"
}
few_objects()
{
	local n
	n=$(t_status "$DIR" .objects) || return 0 # dead: no need to wait
	((n <= 8))
}
c_op()
{
	rm "$1/t"/{1,2,3,4,5,6} && t_until 30 few_objects
}
c_verify()
{
	local i
	for i in 7 8 9 10 11 12 1-twin; do
		cmp "$1/t/$i" "$T_TMP/old/$i" || return 1
	done
	cmp "$1/t/2-too" "$T_TMP/old/2" || return 1
	for i in 1 2 3 4 5 6; do
		c_old_or_new "$2" "$1/t/$i" "$T_TMP/old/$i" - || return 1
	done
}
CRASH_NO_STEPS=1 crash_main
