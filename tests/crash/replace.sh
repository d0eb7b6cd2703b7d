#!/bin/bash
# SPDX-License-Identifier: MIT
# Renaming a file over a stub, a stub over a file, and a stub over a stub, killed at each durable step.
# timeout: 400
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	local f
	mkdir "$1/t" "$T_TMP/old"
	for f in stub1 stub2 stub3 stub4 kept; do
		t_data "${f#stub}1" 200000 >"$T_TMP/old/$f"
	done
	cp "$T_TMP/old"/* "$1/t/"
	ln "$1/t/kept" "$1/t/kept-too"
	t_spill "$1/t"
	for f in file1 file2; do
		t_data "${f#file}7" 30000 >"$T_TMP/old/$f"
		cp "$T_TMP/old/$f" "$1/t/"
	done
}
c_op()
{
	local t=$1/t # no cd: it would keep the mount busy
	mv -f "$t/file1" "$t/stub1" && mv -f "$t/stub2" "$t/file2" && mv -f "$t/stub3" "$t/stub4" &&
		rm "$t/kept-too"
}
c_verify()
{
	local t=$1/t old=$T_TMP/old
	cmp "$t/kept" "$old/kept" || return 1
	c_old_or_new "$2" "$t/stub1" "$old/stub1" "$old/file1" &&
		c_old_or_new "$2" "$t/file1" "$old/file1" - &&
		c_old_or_new "$2" "$t/file2" "$old/file2" "$old/stub2" &&
		c_old_or_new "$2" "$t/stub2" "$old/stub2" - &&
		c_old_or_new "$2" "$t/stub4" "$old/stub4" "$old/stub3" &&
		c_old_or_new "$2" "$t/stub3" "$old/stub3" -
}
# Freeing happens in its own time: a rename need not wait for a durable step of ours.
CRASH_NO_STEPS=1 CRASH_FROM=1 crash_main
