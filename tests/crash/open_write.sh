#!/bin/bash
# SPDX-License-Identifier: MIT
# Opening stubs for writing (which brings their data back) and writing into one, the daemon dying at each durable step.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	mkdir "$1/t" "$T_TMP/old"
	t_data 1 300000 >"$T_TMP/old/dense"
	t_data 2 70001 | dd of="$T_TMP/old/sparse" bs=65536 seek=9 status=none iflag=fullblock
	truncate -s 2000000 "$T_TMP/old/sparse"
	t_data 3 100000 >"$T_TMP/old/written"
	t_data 4 5000 >"$T_TMP/old/other"
	cp "$T_TMP/old/written" "$T_TMP/new"
	printf NEW | dd of="$T_TMP/new" bs=1 seek=50000 conv=notrunc status=none
	cp --sparse=always "$T_TMP/old"/* "$1/t/"
	touch -d '2003-03-03 03:03:03.3 UTC' "$1/t"/*
	c_plain "$T_TMP/old"/* "$T_TMP/new"
	t_spill "$1/t"
}
c_op()
{
	: 5<>"$1/t/dense" && : 5<>"$1/t/sparse" &&
		printf NEW | dd of="$1/t/written" bs=1 seek=50000 conv=notrunc status=none && c_did write &&
		sync "$1/t/written" && c_synced write
}
c_verify()
{
	local f
	c_sums "$1/t"
	for f in dense sparse other; do
		c_is $f "$T_TMP/old/$f" || return 1
	done
	[[ $(stat -c %Y "$1/t"/{dense,sparse,other} | uniq) == 1046660583 ]] || {
		stat -c '%n: mtime %y' "$1/t"/* >&2
		return 1
	}
	c_old_or_new write written "$T_TMP/old/written" "$T_TMP/new"
}
crash_main
