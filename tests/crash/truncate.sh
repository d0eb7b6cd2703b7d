#!/bin/bash
# SPDX-License-Identifier: MIT
# O_TRUNC, truncate to less and to more of stubs, killed at each durable step: the old content or the new, never
# another, and the old only when the caller got an error.
# timeout: 400
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
	t_spill "$1/t"
}
c_op()
{
	: >"$1/t/emptied" && truncate -s 130000 "$1/t/less" && truncate -s 400000 "$1/t/more"
}
c_verify()
{
	local f
	for f in emptied less more; do
		c_old_or_new "$2" "$1/t/$f" "$T_TMP/old/$f" "$T_TMP/new/$f" || return 1
	done
	cmp "$1/t/other" "$T_TMP/old/other"
}
crash_main
