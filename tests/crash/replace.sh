#!/bin/bash
# SPDX-License-Identifier: MIT
# Renaming a file over a stub, a stub over a file, and a stub over a stub, and waiting until what was replaced is freed,
# the daemon dying at each durable step.
# timeout: 600
# parallel: yes
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
	c_plain "$T_TMP/old"/*
}
c_op()
{
	local t=$1/t # no cd: it would keep the mount busy
	mv -f "$t/file1" "$t/stub1" && c_did 1 && mv -f "$t/stub2" "$t/file2" && c_did 2 &&
		mv -f "$t/stub3" "$t/stub4" && c_did 3 && rm "$t/kept-too" && c_did rm &&
		t_until 30 c_objects 3 && sync "$t" && c_synced $'1\n2\n3\nrm'
}
c_verify()
{
	local old=$T_TMP/old
	c_sums "$1/t"
	c_is kept "$old/kept" &&
		c_old_or_new 1 stub1 "$old/stub1" "$old/file1" &&
		c_old_or_new 1 file1 "$old/file1" - &&
		c_old_or_new 2 file2 "$old/file2" "$old/stub2" &&
		c_old_or_new 2 stub2 "$old/stub2" - &&
		c_old_or_new 3 stub4 "$old/stub4" "$old/stub3" &&
		c_old_or_new 3 stub3 "$old/stub3" - &&
		c_old_or_new rm kept-too "$old/kept" - &&
		# a rename is done as a whole or not at all
		c_one_of stub1 file1 "$old/file1" && c_one_of file2 stub2 "$old/stub2" &&
		c_one_of stub4 stub3 "$old/stub3"
}
CRASH_NO_STEPS=1 crash_main
