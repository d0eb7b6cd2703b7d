# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Helpers for the tests that need a mount (tests/{diff,mount,crash}/*.sh).
#
#	. "$(dirname "$0")/../lib/lib.sh"
#	t_init
#	t_fs ext4 512M "$T_TMP/hot"
#	t_spillfs "$T_TMP/store" "$T_TMP/hot"
#	...
#	ok "what was shown"
#
# What it keeps: a test leaves nothing behind. It runs in a mount namespace of its own, with a run directory
# of its own (SPILLFS_RUN_DIR), and its EXIT trap unmounts what it mounted, aborts FUSE connections that do not
# answer, and ends the daemons it started, by pid and only those.
#
# A test exits 0 (passed), 1 (failed) or 77 (cannot run here; says why). With SPILLFS_TEST_PLAIN=1 the mount
# is a plain bind mount: to test the tests without a daemon.

set -u
shopt -s nullglob

T_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
T_BUILD=${BUILD:-build}
[[ $T_BUILD == /* ]] || T_BUILD=$T_TOP/$T_BUILD
SPILLFS=${SPILLFS:-$T_BUILD/spillfs}
SPILLCTL=${SPILLCTL:-$T_BUILD/spillctl}
T_NAME=$(basename "$0" .sh)
T_DAEMONS=() # "pid starttime" of every daemon seen
T_JOBS=()    # pids of background jobs (t_bg)

fail()
{
	echo "FAIL $T_NAME: $*" >&2
	exit 1
}
skip()
{
	echo "SKIP $T_NAME: $*"
	exit 77
}
ok()
{
	echo "ok $T_NAME: $*"
}

# t_check WHAT GOT WANT: equal strings.
t_check()
{
	[[ $2 == "$3" ]] || fail "$1: got '$2', want '$3'"
}

# t_must COMMAND...: it succeeds; t_errno NAME COMMAND...: it fails with that message of strerror(3).
t_must()
{
	"$@" || fail "command failed ($?): $*"
}
t_errno()
{
	local want=$1 out
	shift
	out=$(LC_ALL=C "$@" 2>&1) && fail "should fail with '$want' but succeeds: $*"
	[[ $out == *"$want"* ]] || fail "should fail with '$want': $*: $out"
}

t_plain()
{
	[[ ${SPILLFS_TEST_PLAIN:-} == 1 ]]
}
# For tests that make no sense without the daemon.
t_need_daemon()
{
	t_plain && skip "plain mode: nothing can be spilled"
	[[ -x $SPILLFS && -x $SPILLCTL ]] || fail "$SPILLFS or $SPILLCTL is not built"
}
t_need()
{
	local c
	for c; do
		command -v "$c" >/dev/null || skip "$c is not installed"
	done
}
# t_need_tool NAME...: test programs of tests/tools.
t_need_tool()
{
	local c
	for c; do
		[[ -x $T_BUILD/tools/$c ]] || fail "$T_BUILD/tools/$c is not built (make tools)"
	done
}

# Enter a private mount namespace unless the runner did so; make the temporary directory; set the trap.
t_init()
{
	[[ $(id -u) == 0 ]] || skip "needs root"
	local first
	first=$(readlink /proc/1/ns/mnt) # may be hidden from us
	if [[ $(readlink /proc/self/ns/mnt) == "$first" || (-z $first && -z ${T_UNSHARED:-}) ]]; then
		[[ -z ${T_UNSHARED:-} ]] || skip "cannot leave the mount namespace of pid 1"
		T_UNSHARED=1 exec unshare -m --propagation private "$0" "${T_ARGS[@]}"
	fi
	[[ -c /dev/fuse ]] || t_plain || skip "no /dev/fuse"
	mount --make-rprivate / || fail "cannot make mounts private"
	T_TMP=$(mktemp -d "${TMPDIR:-/tmp}/spilltest.XXXXXX") || fail "mktemp"
	# Not below /run/spillfs: who removes that directory elsewhere takes our mounts on it away.
	export T_RUN=$T_TMP/.run SPILLFS_RUN_DIR=$T_TMP/.run
	mkdir "$T_RUN" || fail "mkdir $T_RUN"
	mount -t tmpfs -o mode=0700 spilltest "$T_RUN" || fail "tmpfs on $T_RUN"
	trap t_cleanup EXIT
	trap 'exit 143' TERM
	trap 'exit 130' INT
	cd / || exit 1
}
T_ARGS=("$@")

# ---- clean-up -------------------------------------------------------------------------------------

t_cleanup()
{
	local rc=$? p m
	trap - EXIT
	trap '' INT TERM
	for p in ${T_JOBS[@]+"${T_JOBS[@]}"}; do
		kill "$p" 2>/dev/null
	done
	t_note_daemons
	[[ $rc == 1 ]] && t_show_logs
	# Topmost mounts first; a connection that does not answer is aborted, then detached.
	while m=$(t_mounts_below | tail -n 1) && [[ -n $m ]]; do
		timeout -k 1 20 umount "$m" 2>/dev/null || {
			t_abort_fuse "$m"
			umount -l "$m" 2>/dev/null || break
		}
	done
	for p in ${T_DAEMONS[@]+"${T_DAEMONS[@]}"}; do
		t_wait_gone "$p" 5 || kill -9 "${p% *}" 2>/dev/null
	done
	for p in ${T_LOOPS[@]+"${T_LOOPS[@]}"}; do
		losetup -d "$p" 2>/dev/null
	done
	# Runs last: what is busy now is a leak and would show as a left-over directory.
	rm -rf --one-file-system "$T_TMP"
	exit "$rc"
}
T_LOOPS=()

# Mount points of this test, oldest first (mountinfo writes blank as \040).
t_mounts_below()
{
	awk -v a="$T_TMP/" 'index($5, a) == 1 { print $5 }' /proc/self/mountinfo |
		while IFS= read -r m; do printf '%b\n' "${m//\\/\\0}"; done
}

# Tell the kernel that the daemon of a mount is gone; every waiter then gets ENOTCONN.
t_abort_fuse()
{
	local dev
	dev=$(awk -v p="$1" '$5 == p && $9 ~ /^fuse/ { d = $3 } $5 == p && $8 ~ /^fuse/ { d = $3 }
		$5 == p && $10 ~ /^fuse/ { d = $3 } END { print d }' /proc/self/mountinfo)
	[[ -n $dev ]] || return 0
	mkdir -p "$T_RUN/.ctl" && mount -t fusectl none "$T_RUN/.ctl" 2>/dev/null || return 0
	echo 1 >"$T_RUN/.ctl/${dev#*:}/abort" 2>/dev/null
	umount "$T_RUN/.ctl"
}

# "pid starttime" names a process for ever; comm makes sure that it is one of ours.
t_proc_id()
{
	local st
	{ read -r st <"/proc/$1/stat"; } 2>/dev/null || return 1
	[[ $st == *"(spillfs"* ]] || return 1
	st=${st##*) }
	# a dead one that nobody has collected (its other threads end after the first)
	local tasks=("/proc/$1/task"/*)
	[[ $st != Z* ]] || ((${#tasks[@]} > 1)) || return 1
	# shellcheck disable=SC2086
	set -- "$1" $st
	echo "$1 ${21}"
}
t_note_daemons()
{
	local f id
	for f in "$T_RUN"/*/pid; do
		id=$(t_proc_id "$(<"$f")") || continue
		[[ " ${T_DAEMONS[*]-} " == *" $id "* ]] || T_DAEMONS+=("$id")
	done
}
# t_wait_gone "PID STARTTIME" SECONDS
t_wait_gone()
{
	local end=$((SECONDS + $2 + 1))
	while [[ $(t_proc_id "${1% *}") == "$1" ]]; do
		((SECONDS < end)) || return 1
		sleep 0.01
	done
}
t_show_logs()
{
	local f
	for f in "$T_TMP"/*.log; do
		echo "--- ${f##*/} (last lines)"
		tail -n 30 "$f"
	done
}
# Run in the background; ended by the trap. The pid is in $!.
t_bg()
{
	"$@" &
	T_JOBS+=($!)
}

# ---- file systems and mounts --------------------------------------------------------------------------

# t_mkfs TYPE SIZE IMAGE
t_mkfs()
{
	truncate -s "$2" "$3" || return 1
	case $1 in
	ext4) mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,nodiscard "$3" ;;
	xfs) mkfs.xfs -q -f -K "$3" ;;
	btrfs) mkfs.btrfs -q -f -K "$3" ;;
	*) return 1 ;;
	esac
}

# t_fs TYPE SIZE DIR [OPTIONS]: a new file system on a loop device, mounted at DIR. The image is DIR.img.
t_fs()
{
	t_need "mkfs.$1"
	grep -qw "$1" /proc/filesystems || modprobe -q "$1" 2>/dev/null || skip "the kernel has no $1"
	mkdir -p "$3"
	t_mkfs "$1" "$2" "$3.img" >"$T_TMP/mkfs.out" 2>&1 || fail "mkfs.$1: $(cat "$T_TMP/mkfs.out")"
	t_mount_img "$3.img" "$3" "${4:-}"
}
t_mount_img()
{
	local i
	# A free loop device can be taken by somebody else between asking and using it.
	for i in 1 2 3 4 5; do
		mount -o "loop${3:+,$3}" "$1" "$2" 2>"$T_TMP/mount.err" && return 0
		sleep "0.$i"
	done
	[[ $(cat "$T_TMP/mount.err") == *"loop device"* ]] && skip "$(cat "$T_TMP/mount.err")"
	fail "mount $1: $(cat "$T_TMP/mount.err")"
}

# t_gated_fs TYPE SIZE DIR: the same on a disk with a gate (tests/tools/gatedisk.c): kill -STOP $T_GATE closes it, -CONT
# opens it.
t_gated_fs()
{
	t_need_tool gatedisk
	mkdir "$3" "$3.gate"
	t_mkfs "$1" "$2" "$3.img" >"$T_TMP/mkfs.out" 2>&1 || fail "mkfs.$1: $(cat "$T_TMP/mkfs.out")"
	t_bg setsid "$T_BUILD/tools/gatedisk" "$3.img" "$3.gate"
	T_GATE=$!
	# An open gate before the clean-up: whoever waits for the disk must be able to end.
	trap 'rc=$?; kill -CONT $T_GATE; (exit $rc); t_cleanup' EXIT
	t_until 10 test -e "$3.gate/disk" || fail "gatedisk does not come up"
	t_mount_img "$3.gate/disk" "$3"
}

# As systemd-escape --path, which is asked only for unusual names.
t_escape()
{
	if [[ $1 =~ ^(/[A-Za-z0-9_:-][A-Za-z0-9_:.-]*)+$ ]] || ! command -v systemd-escape >/dev/null; then
		local p=${1#/}
		p=${p//-/\\x2d}
		echo "${p//\//-}"
	else
		systemd-escape --path "$1"
	fi
}
t_run_dir()
{
	echo "$T_RUN/$(t_escape "$1")"
}
# The hot directory of a mount, below it.
t_hot()
{
	if t_plain; then echo "$1"; else echo "$(t_run_dir "$1")/hot"; fi
}
t_pid()
{
	local f
	f=$(t_run_dir "$1")/pid
	[[ -r $f ]] && echo "$(<"$f")"
}

# t_spillfs STORE DIR [OPTIONS]: mount; nothing spills by itself unless OPTIONS say auto=on.
# t_spillfs_try: the same but returns spillfs' exit code; its words are in $T_TMP/spillfs.log.
t_spillfs()
{
	t_spillfs_try "$@" || fail "spillfs $*: exit $?: $(tail -n 5 "$T_TMP/spillfs.log")"
}
t_spillfs_try()
{
	local store=$1 dir=$2 opts=${3:-} rc
	[[ -d $store ]] || mkdir -p "$store"
	if t_plain; then
		mount --bind "$dir" "$dir"
		return
	fi
	[[ ,$opts, == *,auto=* ]] || opts=auto=off${opts:+,$opts}
	[[ ,$opts, == *,supervisor=* ]] || opts=$opts,supervisor=${T_SUPERVISOR:-on}
	timeout -k 1 60 "$SPILLFS" "$store" "$dir" -o "$opts" >>"$T_TMP/spillfs.log" 2>&1 </dev/null
	rc=$?
	t_note_daemons
	return $rc
}

# Unmount and wait until the daemon has ended.
t_umount()
{
	local id= lives
	# A daemon that died unasked was replaced: nobody else would notice.
	if ! t_plain && [[ -z ${T_DEATHS:-} ]] && lives=$(t_status "$1" .daemons 2>/dev/null); then
		t_check "daemons of $1" "$lives" 1
	fi
	t_plain || id=$(t_proc_id "$(t_pid "$1" 2>/dev/null)")
	# As umount(8) does where it is installed: a mount that somebody is just asking is not busy.
	SPILLFS_UMOUNT_WAIT=60 timeout -k 1 90 "$T_TOP/scripts/umount.fuse.spillfs" "$1" || fail "umount $1"
	[[ -z $id ]] || t_wait_gone "$id" 60 || fail "the daemon of $1 does not end after umount"
}

# Kill the daemon as a crash would, and wait until it is gone.
t_kill9()
{
	local id
	id=$(t_proc_id "$(t_pid "$1")") || fail "no daemon for $1"
	kill -9 "${id% *}"
	t_wait_gone "$id" 20 || fail "pid ${id% *} survives SIGKILL"
}

# Take the guard (and anything dead) away so that a mount point can be used bare.
t_expose()
{
	local _
	for _ in 1 2 3 4; do
		[[ $(</proc/self/mountinfo) == *" $1 "* ]] || break
		umount "$1" 2>/dev/null || umount -l "$1"
	done
	umount "$(t_run_dir "$1")/hot" 2>/dev/null
	return 0
}

# Unmount a file system that t_fs or t_mount_img mounted; no lazy unmount, since that would go on writing.
t_unfs()
{
	t_until 20 umount "$1" 2>/dev/null || fail "umount $1: still in use: $(grep -F "$1" /proc/self/mountinfo)"
}

# ---- spillctl ----------------------------------------------------------------------------------------

t_ctl()
{
	timeout -k 1 "${T_CTL_TIMEOUT:-300}" "$SPILLCTL" "$@" </dev/null
}
# t_want CODE VERB...: spillctl exits with it; what it says goes to $T_TMP/out. t_says TEXT: it said that.
t_want()
{
	local code=$1 rc
	shift
	t_ctl "$@" >"$T_TMP/out" 2>&1
	rc=$?
	[[ $rc == "$code" ]] || fail "spillctl $*: exit $rc, want $code: $(cat "$T_TMP/out")"
}
t_says()
{
	grep -qF -- "$1" "$T_TMP/out" || fail "no '$1' in: $(cat "$T_TMP/out")"
}
# Spill (or recall) and insist that every file was done.
t_spill()
{
	t_plain && return 0
	t_ctl spill "$@" >"$T_TMP/ctl.out" 2>&1 || fail "spillctl spill $*: exit $?: $(cat "$T_TMP/ctl.out")"
}
t_recall()
{
	t_plain && return 0
	t_ctl recall "$@" >"$T_TMP/ctl.out" 2>&1 || fail "spillctl recall $*: exit $?: $(cat "$T_TMP/ctl.out")"
}
# Spill as far as possible: files in use may stay (exit code 23).
t_spill_some()
{
	local rc
	t_plain && return 0
	t_ctl spill "$@" >"$T_TMP/ctl.out" 2>&1
	rc=$?
	[[ $rc == 0 || $rc == 23 ]] || fail "spillctl spill $*: exit $rc: $(cat "$T_TMP/ctl.out")"
}
t_state()
{
	local out
	if t_plain; then
		echo resident
		return
	fi
	out=$(t_ctl info --json "$1") || return
	jq -r .state <<<"$out"
}
# t_status DIR JQ-EXPRESSION
t_status()
{
	local out
	out=$(t_ctl status --json -m "$1" 2>"$T_TMP/status.err") || return
	jq -r "$2" <<<"$out"
}
t_want_state()
{
	local s
	t_plain && return 0
	s=$(t_state "$1")
	[[ " $2 " == *" $s "* ]] || fail "$1 is '$s', should be '$2'"
}
# t_until SECONDS COMMAND...: until it succeeds.
t_until()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}

# ---- contents ----------------------------------------------------------------------------------------

# One line for each file of a tree: type, mode, owner, links, size, mtime, content, xattrs and ACLs, hard links.
t_digest()
{
	t_need_tool treesum
	"$T_BUILD/tools/treesum" "$@"
}
# t_same WANTED-DIGEST-FILE DIR WHAT [treesum options]
t_same()
{
	local want=$1 dir=$2 what=$3
	shift 3
	t_digest "$@" "$dir" >"$T_TMP/digest.now" || fail "$what: $dir cannot be read"
	diff -u "$want" "$T_TMP/digest.now" >"$T_TMP/digest.diff" ||
		fail "$what: $dir differs:"$'\n'"$(head -n 40 "$T_TMP/digest.diff")"
}
# t_data SEED BYTES: the same bytes for the same seed; half of them compress well.
t_data()
{
	t_need_tool treesum
	"$T_BUILD/tools/treesum" --data "$1" "$2"
}
