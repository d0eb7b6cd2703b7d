# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The differential test on one type of hot file system; tests/diff/{ext4,xfs,btrfs}.sh name it.
#
# Two directories of one file system: A stays plain, over B is the mount. First nothing is spilled, then files of B
# are spilled and recalled between the operations. DIFF_TIME: seconds for each half (35); DIFF_SEED: the first
# seed (1), so that a soak can go on where the last one ended.
. "${BASH_SOURCE[0]%/*}/lib.sh"

diff_main()
{
	local fs=$1 each=${DIFF_TIME:-35} seed=${DIFF_SEED:-1} half opts passed
	local tool=$T_BUILD/tools/fsdiff

	t_init
	t_need_tool fsdiff
	t_fs "$fs" 2G "$T_TMP/$fs"
	mkdir "$T_TMP/$fs/a" "$T_TMP/$fs/b"

	# Half of the time with passthrough, where the kernel has it, half without; the kernel's writeback cache is the
	# same for all hot file systems.
	local modes=(passthrough=off)
	[[ $fs != ext4 ]] || modes+=(writeback=on)
	for opts in "${modes[@]}" ''; do
		passed=()
		[[ -n $opts ]] || passed=(--passthrough)
		[[ $opts != writeback=on ]] || passed=(--coarse)
		t_spillfs "$T_TMP/store" "$T_TMP/$fs/b" "$opts"
		timeout -k 5 $((each + 200)) "$tool" --seed "$seed" --seeds "${DIFF_SEEDS:-40}" --time $((each / 2)) \
			"${passed[@]}" "$T_TMP/$fs/a" "$T_TMP/$fs/b" ||
			fail "fsdiff on $fs, nothing spilled${opts:+, $opts} (exit $?)"
		ok "no difference, nothing spilled${opts:+, $opts}"
		[[ -z $opts ]] || t_umount "$T_TMP/$fs/b"
	done
	if t_plain; then
		t_umount "$T_TMP/$fs/b"
		return
	fi

	for half in 4 20; do
		timeout -k 5 $((each + 200)) "$tool" --seed "$seed" --seeds "${DIFF_SEEDS:-40}" --time $((each / 2)) \
			--every "$half" --passthrough --spill "$SPILLCTL spill %s" --spill "$SPILLCTL recall %s" \
			"$T_TMP/$fs/a" "$T_TMP/$fs/b" ||
			fail "fsdiff on $fs with a spill or recall each $half operations (exit $?)"
	done
	ok "no difference while files are spilled and recalled"
	t_check "errors counted by the daemon" "$(t_status "$T_TMP/$fs/b" .errors)" 0
	t_ctl check -m "$T_TMP/$fs/b" >"$T_TMP/check.log" 2>&1 || fail "spillctl check: exit $?"
	t_umount "$T_TMP/$fs/b"
	ok "check finds nothing"
}
