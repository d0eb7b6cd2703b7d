# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The daemon dies (SIGKILL) right before its Nth durable effect, for every N from the first effect of an operation to
# the last and once more after it. What is left is looked at three times:
#
#	killed		the machine went on: mounted again over the dead mount
#	cut		power failed right there: only what the two disks had received is left
#	ahead		the same, but the hot tier's journal had just been committed, as any fsync there does: metadata
#			of everything, data only of what was synced
#
# Each time every byte is compared, `spillctl check` must find nothing, and all is recalled and compared once more in
# the bare hot tier.
#
# A test defines
#	c_prepare DIR	fill the mounted DIR (once; it is unmounted and copied after)
#	c_op DIR	the operation; its exit code 0 means that it was done, and durably: c_op syncs what it must
#	c_verify DIR DONE [-x]	compare; DONE is 1 when c_op said 0; -x when DIR is bare (no spillfs is mounted)
# and calls crash_main. A c_op of several steps says with c_did and c_synced how far it came, for c_old_or_new. Programs
# are what takes the time: c_verify should start few.
#
# Effects are counted by the daemon (SPILLFS_FAULT, include/spill/durable.h) from its start; CRASH_FROM=1 sweeps the
# mount too, otherwise the sweep starts where the operation does. Every place is tried, however long that takes. For
# working on one, CRASH_AT="7 8" tries these only and CRASH_EVERY=10 each tenth; then the test counts as skipped.
#
# A power cut is copied from the images behind the loop devices: they hold what a disk would, while nothing in the page
# caches of the file systems on them counts. commit= keeps ext4 from committing its journal by itself, so that only a
# sync makes anything durable.

NOW=0
WAY=killed
CRASH_OPTS=${CRASH_OPTS:-auto=off}
T_SUPERVISOR=off # a death is a crash here; takeover.sh has the other kind

crash_main()
{
	local n total from places=0 tried=0 died=0 dead=1
	t_init
	t_need_daemon
	t_need_tool treesum fileop
	HOT=$T_TMP/hot DIR=$T_TMP/hot/dir STORE=$T_TMP/store IMG=$T_TMP/img
	RUN=$(t_run_dir "$DIR")
	mkdir "$HOT" "$STORE" "$IMG"
	# Images in memory: disks whose flush costs nothing.
	mount -t tmpfs -o size=1g,mode=0700 spilltest "$IMG" || fail "tmpfs on $IMG"

	# The state before the operation, as two images that are copied for each N.
	mkdir "$IMG/base"
	crash_mkfs 48M "$IMG/base/hot"
	crash_mkfs 48M "$IMG/base/store"
	crash_disks base
	mkdir "$DIR"
	t_spillfs "$STORE" "$DIR" "$CRASH_OPTS"
	c_prepare "$DIR"
	if crash_alive; then t_umount "$DIR"; else umount -l "$DIR"; fi
	crash_away base keep

	# Once without a fault, to count.
	crash_start 0 || fail "mount"
	crash_steps
	from=$STEPS
	c_op "$DIR" >"$T_TMP/op.log" 2>&1 || fail "the operation fails without a fault: $(tail -n 3 "$T_TMP/op.log")"
	crash_steps
	n=$STEPS
	crash_umount || fail "the daemon does not end"
	crash_steps
	total=$STEPS
	crash_verify 1 "no fault"
	crash_away "now.$NOW"
	((n > from || ${CRASH_NO_STEPS:-0})) || fail "the operation has no durable effect ($from of $total)"
	echo "effects: $from before, $((n - from)) of the operation, $((total - n)) at the end"
	from=${CRASH_FROM:-$((from + 1))}

	# What happens in the background varies a little: at least as many as were counted, and on until the daemon lives.
	for ((n = from; n <= total || dead; n++)); do
		dead=0
		if crash_wanted "$n"; then
			crash_at "$n"
			dead=$?
			((dead || n > total)) || echo "effect $n did not come: this time there were fewer"
			died=$((died + dead)) tried=$((tried + 1))
		fi
		places=$((n - from + 1)) # the last: after all is done
	done
	[[ -z ${CRASH_AT:-}${CRASH_EVERY:-} ]] || skip "a sample: $tried of $places places"
	# Tests of the test.
	((tried == places)) || fail "only $tried of $places places were tried"
	((died * 10 >= places * 9)) || fail "the daemon died at $died of $places places only"
	ok "$tried of $places places: nothing was lost when the daemon died there ($died times) or power failed"
}

# As t_spillfs_try and t_umount, with fewer programs.
crash_mount()
{
	local rc
	"$SPILLFS" "$STORE" "$DIR" -o "$CRASH_OPTS,supervisor=$T_SUPERVISOR" >"$T_TMP/spillfs.log" 2>&1 </dev/null
	rc=$?
	t_note_daemons
	return $rc
}
crash_alive() # sets ID
{
	[[ -r $RUN/pid ]] && ID=$(t_proc_id "$(<"$RUN/pid")")
}
crash_umount()
{
	crash_alive || return 0
	umount "$DIR" 2>/dev/null || umount -l "$DIR"
	t_wait_gone "$ID" 30
}
crash_wanted()
{
	[[ -z ${CRASH_AT:-} || " $CRASH_AT " == *" $1 "* ]] && (($1 % ${CRASH_EVERY:-1} == 0))
}

# STEPS: number of durable effects of the present daemon so far; LAST: the last of them.
crash_steps()
{
	local -a lines=()
	[[ ! -s $T_TMP/trace ]] || mapfile -t lines <"$T_TMP/trace"
	STEPS=${#lines[@]} LAST=
	((STEPS == 0)) || LAST=${lines[-1]}
}

# crash_mkfs SIZE IMAGE. Blocks as on a large disk; nothing left for the kernel to initialize in the background.
crash_mkfs()
{
	truncate -s "$1" "$2"
	mkfs.ext4 -q -F -m 0 -b 4096 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$2" >"$T_TMP/mkfs.out" 2>&1 ||
		fail "mkfs.ext4: $(cat "$T_TMP/mkfs.out")"
}

# crash_disks NAME: mount the two disks of that name.
crash_disks()
{
	t_mount_img "$IMG/$1/hot" "$HOT" commit=900
	t_mount_img "$IMG/$1/store" "$STORE" commit=900
}
# crash_away NAME [keep]: everything but spillfs unmounted, the images deleted.
crash_away()
{
	t_expose "$DIR"
	t_unfs "$HOT"
	t_unfs "$STORE"
	[[ -n ${2:-} ]] || rm -r "${IMG:?}/$1"
}

# Fresh copies of everything, mounted; N 0: no fault. Returns the exit code of spillfs. A new name each time, here and
# below: the kernel may still be detaching the loop device of the last one.
crash_start()
{
	local rc
	NOW=$((NOW + 1))
	cp -r --sparse=always "$IMG/base" "$IMG/now.$NOW" || fail "cp"
	crash_disks "now.$NOW"
	rm -f "$T_TMP"/{trace,did,synced}
	export SPILLFS_FAULT_TRACE=$T_TMP/trace
	(($1)) && export SPILLFS_FAULT=$1:kill
	crash_mount
	rc=$?
	unset SPILLFS_FAULT SPILLFS_FAULT_TRACE
	return $rc
}

# One place. Returns 1 when the daemon died there, 0 when it lived.
crash_at()
{
	local n=$1 done_=0 dead=1 what
	if crash_start "$n"; then
		c_op "$DIR" >"$T_TMP/op.log" 2>&1 && done_=1
		crash_umount || fail "effect $n: the daemon does not end"
	fi
	crash_steps
	((STEPS >= n)) || dead=0
	what="effect $n ($LAST)"

	cp -r --sparse=always "$IMG/now.$NOW" "$IMG/cut.$n" || fail "cp"
	: >"$HOT/other" && sync "$HOT/other"
	cp -r --sparse=always "$IMG/now.$NOW" "$IMG/ahead.$n" || fail "cp"
	cp --sparse=always "$IMG/cut.$n/store" "$IMG/ahead.$n/" || fail "cp"

	WAY=killed
	crash_verify $done_ "$what"
	crash_away "now.$NOW"
	for WAY in cut ahead; do
		crash_disks "$WAY.$n"
		crash_verify $done_ "$what, power failed ($WAY)"
		crash_away "$WAY.$n" keep
	done
	rm -r "$IMG"/{cut,ahead}".$n"
	return $dead
}

# crash_verify DONE WHAT: mount, compare, check, recall all, unmount, compare.
crash_verify()
{
	local done_=$1 what=$2 status
	crash_mount || fail "$what: cannot mount: exit $?: $(tail -n 3 "$T_TMP/spillfs.log")"
	(c_verify "$DIR" "$done_") || fail "$what: wrong after mounting again"
	status=$("$SPILLCTL" status --json -m "$DIR") || fail "$what: status: exit $?"
	[[ $status == *'"frozen": false'* && $status == *'"errors": 0'[^0-9]* ]] || fail "$what: status: $status"
	"$SPILLCTL" check -m "$DIR" >"$T_TMP/check.log" 2>&1 || fail "$what: check: exit $?: $(head -n 5 "$T_TMP/check.log")"
	"$SPILLCTL" recall "$DIR" >"$T_TMP/ctl.out" 2>&1 || fail "$what: recall: exit $?: $(head -n 5 "$T_TMP/ctl.out")"
	crash_alive || fail "$what: the daemon has died"
	crash_umount || fail "$what: the daemon does not end"
	# Bare: no stub is left, so what the hot tier holds is all there is.
	t_expose "$DIR"
	(c_verify "$DIR" "$done_" -x) || fail "$what: wrong in the hot tier itself after recalling all"
}

# ---- for c_op -----------------------------------------------------------------------------------------

# c_did STEP, c_synced STEP: a step of c_op returned success; what it did was synced.
c_did()
{
	echo "$1" >>"$T_TMP/did"
}
c_synced()
{
	echo "$1" >>"$T_TMP/synced"
}

# c_scanned: wait until the scan after a mount has seen everything; fails when the daemon is dead.
c_scanned()
{
	local out
	while out=$("$SPILLCTL" status --json -m "$DIR") && [[ $out == *'"resident": null'* ]]; do
		sleep 0.02
	done
	[[ -n $out ]]
}

# ---- for c_verify -------------------------------------------------------------------------------------

# c_sums DIR: SUM[NAME] is the checksum of DIR/NAME, or unset.
declare -A SUM=()
c_sums()
{
	local sum name
	SUM=()
	while read -r sum name; do
		SUM[${name##*/}]=$sum
	done < <(md5sum "$1"/*)
}

# c_plain FILE...: what c_is shall compare with; called in c_prepare.
declare -A PLAIN=([-]='')
c_plain()
{
	local sum name
	while read -r sum name; do
		PLAIN[$name]=$sum
	done < <(md5sum "$@")
}

# c_is NAME FILE...: after c_sums, NAME is as one of FILE; "-" stands for no file.
c_is()
{
	local name=$1 f
	shift
	for f; do
		[[ ${SUM[$name]-} != "${PLAIN[$f]}" ]] || return 0
	done
	echo "$name (${SUM[$name]-none}) is not as $*" >&2
	return 1
}

# c_tree DIR [-x]: the tree is as it was when c_want DIR was called in c_prepare.
c_want()
{
	WANT=$("$T_BUILD/tools/treesum" -T "$1") || fail "treesum"
}
c_tree()
{
	local now
	now=$("$T_BUILD/tools/treesum" -T ${2:+"$2"} "$1") || return 1
	[[ $now == "$WANT" ]] || diff <(echo "$WANT") <(echo "$now") >&2
}

# c_tree_in DIR DONE STATES [-x]: the tree is whole, and in one of the states when the operation was done. (The bare hot
# tier has no states.)
c_tree_in()
{
	c_tree "$1" ${4:+"$4"} || return 1
	(($2 == 0)) || [[ -n ${4:-} ]] || c_states "$1" "$3"
}

# c_one_of NAME NAME FILE: after c_sums, exactly one of two names has the content of FILE.
c_one_of()
{
	local has=0 name
	for name in "$1" "$2"; do
		[[ ${SUM[$name]-} != "${PLAIN[$3]}" ]] || has=$((has + 1))
	done
	((has == 1)) || echo "$has of $1 and $2 are as $3" >&2
	((has == 1))
}

# c_must STEP: it must have happened.
c_must()
{
	local said=$T_TMP/did
	[[ $WAY == killed ]] || said=$T_TMP/synced
	[[ -e $said && $'\n'$(<"$said")$'\n' == *$'\n'"$1"$'\n'* ]]
}

# c_old_or_new STEP NAME OLD NEW: NAME is as NEW, or as OLD if STEP need not have happened.
c_old_or_new()
{
	if c_must "$1"; then
		c_is "$2" "$4"
	else
		c_is "$2" "$3" "$4"
	fi
}

# c_states DIR STATES: every file in DIR is in one of the states.
c_states()
{
	local out state files=("$1"/*) n=0
	out=$("$SPILLCTL" info --json "${files[@]}") || return 1
	while read -r state; do
		[[ " $2 " != *" $state "* ]] || n=$((n + 1))
	done < <(grep -o '"state": *"[a-z]*"' <<<"$out" | cut -d '"' -f 4)
	((n == ${#files[@]})) || echo "$n of ${#files[@]} files are $2: $out" >&2
	((n == ${#files[@]}))
}

# c_objects N: no more objects than N are left, or nobody is there to ask.
c_objects()
{
	local out
	out=$("$SPILLCTL" status --json -m "$DIR" 2>"$T_TMP/status.err") || return 0
	[[ $out =~ \"objects\":\ ([0-9]+) ]] && ((BASH_REMATCH[1] <= $1))
}

# ---- for c_prepare ------------------------------------------------------------------------------------

# c_die_before EFFECT COMMAND...: COMMAND 1 is done, with a new daemon, then COMMAND 2 with another that dies right
# before the first EFFECT (as COMMAND 1 had it). The dead mount is left.
c_die_before()
{
	local effect=$1 n
	shift
	t_umount "$DIR"
	SPILLFS_FAULT_TRACE=$T_TMP/trace t_spillfs "$STORE" "$DIR"
	"$@" 1 || fail "$* 1 fails"
	n=$(grep -m 1 " $effect" "$T_TMP/trace" | cut -d ' ' -f 1)
	t_umount "$DIR"
	rm "$T_TMP/trace"
	SPILLFS_FAULT=$n:kill SPILLFS_FAULT_TRACE=$T_TMP/trace t_spillfs "$STORE" "$DIR"
	"$@" 2 && fail "$* 2 does not fail"
	crash_steps
	t_check "the last effect of $* 2" "$LAST" "$n $effect"
	t_until 10 eval '! crash_alive' || fail "$* 2: the daemon does not end"
}

# c_kinds DIR: a file of each kind that takes steps of its own: two that share a frame, one of several frames, one with
# holes, one with the content of another, one with two names.
c_kinds()
{
	mkdir "$1"
	t_data 1 9000 >"$1/small"
	t_data 2 4097 >"$1/smaller"
	t_data 3 300000 >"$1/large"
	t_data 4 70001 | dd of="$1/sparse" bs=65536 seek=9 status=none iflag=fullblock
	t_data 5 5000 | dd of="$1/sparse" bs=4096 seek=3 conv=notrunc status=none iflag=fullblock
	truncate -s 1000003 "$1/sparse"
	cp "$1/small" "$1/twin"
	t_data 6 40000 >"$1/linked"
	ln "$1/linked" "$1/linked-too"
	touch -d '2001-02-03 04:05:06.7 UTC' "$1"/*
}
