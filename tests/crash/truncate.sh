#!/bin/bash
# SPDX-License-Identifier: MIT
# O_TRUNC, truncate to less and to more of stubs, the daemon dying at each durable step: the old content or the new,
# never another, and the old only when the caller got an error (or power failed before a sync).
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	local f
	mkdir "$1/t" "$T_TMP/old" "$T_TMP/new"
	for f in emptied less more other; do
		t_data "${#f}" 250000 >"$T_TMP/old/$f"
	done
	cp "$T_TMP/old"/* "$T_TMP/new/"
	: >"$T_TMP/new/emptied"
	truncate -s 130000 "$T_TMP/new/less"
	truncate -s 400000 "$T_TMP/new/more"
	cp "$T_TMP/old"/* "$1/t/"
	c_plain "$T_TMP/old"/* "$T_TMP/new"/*
	t_spill "$1/t"
	t_until 5 c_objects 3 || fail "not 3 objects" # less and more have the same content
}
c_op()
{
	# Its object is freed before anything else syncs: by then the emptying must be durable.
	: >"$1/t/emptied" && c_did emptied && t_until 10 c_objects 2 && sync "$1/t/emptied" && c_synced emptied &&
		truncate -s 130000 "$1/t/less" && c_did less && sync "$1/t/less" && c_synced less &&
		truncate -s 400000 "$1/t/more" && c_did more && sync "$1/t/more" && c_synced more
}
c_verify()
{
	local f
	c_sums "$1/t"
	for f in emptied less more; do
		c_old_or_new $f $f "$T_TMP/old/$f" "$T_TMP/new/$f" || return 1
	done
	c_is other "$T_TMP/old/other"
}
crash_main
