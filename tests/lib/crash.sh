# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The daemon dies (SIGKILL) right before its Nth durable effect, for each N from the first effect of an operation to
# the last; then it is mounted again, every byte is compared and `spillctl check` must find nothing.
#
# A test defines
#	c_prepare DIR	fill the mounted DIR (once; it is unmounted and copied after)
#	c_op DIR	the operation; its exit code 0 means that it was done
#	c_verify DIR DONE	compare; DONE is 1 when c_op said 0: then the new state must be there
# and calls crash_main. Effects are counted by the daemon (SPILLFS_FAULT, include/spill/durable.h) from its start;
# CRASH_FROM=1 sweeps the mount too, otherwise the sweep starts where the operation does. CRASH_TIME: seconds (130);
# when they do not suffice for all N, every second, third, ... is tried, beginning with another one each time.

NOW=0

crash_main()
{
	local fs=${1:-ext4} size=${2:-96M} n total from to step rc end tried=0 died=0
	t_init
	t_need_daemon
	t_need_tool treesum fileop
	t_need jq
	BASE=$T_TMP/base HOT=$T_TMP/hot DIR=$T_TMP/hot/dir STORE=$T_TMP/store
	end=$((SECONDS + ${CRASH_TIME:-130}))

	# The state before the operation, as an image and a store that are copied for each N.
	t_fs "$fs" "$size" "$HOT"
	mkdir "$DIR"
	t_spillfs "$STORE" "$DIR"
	c_prepare "$DIR"
	t_umount "$DIR"
	t_expose "$DIR"
	t_unfs "$HOT"
	mkdir "$BASE"
	cp --sparse=always "$HOT.img" "$BASE/hot.img"
	cp -a "$STORE" "$BASE/store"

	# Once without a fault, to count.
	crash_start 0 || fail "mount"
	from=$(crash_steps)
	c_op "$DIR" >"$T_TMP/op.log" 2>&1 || fail "the operation fails without a fault: $(tail -n 3 "$T_TMP/op.log")"
	to=$(crash_steps)
	t_umount "$DIR"
	total=$(crash_steps)
	crash_verify 0 1
	((to > from || ${CRASH_NO_STEPS:-0})) || fail "the operation has no durable effect ($from of $total)"
	((${CRASH_FROM:-0} > 0)) && from=$((CRASH_FROM - 1))
	echo "effects: $from before, $((to - from)) of the operation, $((total - to)) at the end"

	# A first round with a stride that fits the time, then what is left.
	step=$(((total - from) / 60 + 1))
	local first seen=' '
	for ((first = 1; first <= step && SECONDS < end; first++)); do
		for ((n = from + first; n <= total + 1 && SECONDS < end; n += step)); do
			[[ $seen != *" $n "* ]] || continue
			seen+="$n "
			crash_at "$n"
			rc=$?
			tried=$((tried + 1))
			died=$((died + rc))
		done
	done
	((died > 0)) || fail "the daemon never died"
	ok "the daemon died at $died of $tried places between effect $((from + 1)) and $total, and nothing was lost"
}

# Number of durable effects of the present daemon so far.
crash_steps()
{
	if [[ -s $T_TMP/trace ]]; then wc -l <"$T_TMP/trace"; else echo 0; fi
}

# A fresh copy of everything, mounted; N 0: no fault. Returns the exit code of spillfs.
crash_start()
{
	# A new name each time: the kernel may still be detaching the loop device of the last one.
	NOW=$((NOW + 1))
	cp --sparse=always "$BASE/hot.img" "$T_TMP/now.$NOW.img"
	rm -rf "$STORE" "$T_TMP/trace"
	cp -a "$BASE/store" "$STORE"
	t_mount_img "$T_TMP/now.$NOW.img" "$HOT"
	: >"$T_TMP/spillfs.log"
	export SPILLFS_FAULT_TRACE=$T_TMP/trace
	(($1)) && export SPILLFS_FAULT=$1:kill
	t_spillfs_try "$STORE" "$DIR"
	local rc=$?
	unset SPILLFS_FAULT SPILLFS_FAULT_TRACE
	return $rc
}

# One place. Returns 1 when the daemon died there, 0 when it lived.
crash_at()
{
	local n=$1 done_=0 id='' dead=1
	if crash_start "$n"; then
		id=$(t_proc_id "$(t_pid "$DIR" 2>/dev/null)")
		c_op "$DIR" >"$T_TMP/op.log" 2>&1 && done_=1
		if [[ -n $id && $(t_proc_id "${id% *}") == "$id" ]]; then
			timeout -k 1 30 umount "$DIR" 2>/dev/null || umount -l "$DIR"
			t_wait_gone "$id" 30 || fail "effect $n: the daemon does not end"
		fi
	else
		timeout -k 1 5 stat "$DIR" >/dev/null 2>&1
	fi
	(($(crash_steps) >= n)) || dead=0
	crash_verify "$n" $done_
	return $dead
}

# Mount again, compare, check, recall all, compare again, take everything away.
crash_verify()
{
	local n=$1 done_=$2 where
	where="effect $n ($(tail -n 1 "$T_TMP/trace" 2>/dev/null))"
	t_spillfs_try "$STORE" "$DIR" || fail "$where: cannot mount again: exit $?: $(tail -n 3 "$T_TMP/spillfs.log")"
	(c_verify "$DIR" "$done_") || fail "$where: wrong after mounting again"
	t_check "$where: frozen" "$(t_status "$DIR" .frozen)" false
	t_check "$where: errors" "$(t_status "$DIR" .errors)" 0
	t_ctl check -m "$DIR" >"$T_TMP/check.log" 2>&1 || fail "$where: check: exit $?: $(head -n 5 "$T_TMP/check.log")"
	t_recall "$DIR"
	(c_verify "$DIR" "$done_") || fail "$where: wrong after recalling all"
	t_umount "$DIR"
	# Bare: no stub is left, so what the hot tier holds is all there is.
	t_expose "$DIR"
	(c_verify "$DIR" "$done_" -x) || fail "$where: wrong in the hot tier itself after recalling all"
	t_unfs "$HOT"
	rm "$T_TMP/now.$NOW.img"
}

# c_old_or_new DONE FILE OLD NEW: FILE holds what OLD does, or NEW; "-" stands for no file.
c_old_or_new()
{
	local f
	for f in "$4" $( (($1)) || echo "$3"); do
		if [[ $f == - ]]; then
			[[ -e $2 ]] || return 0
		elif [[ -e $2 ]] && cmp -s "$2" "$f"; then
			return 0
		fi
	done
	echo "${2##*/}: size $(stat -c %s "$2" 2>&1), neither the old (${3##*/}) nor the new (${4##*/}) content" >&2
	return 1
}
