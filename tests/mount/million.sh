#!/bin/bash
# SPDX-License-Identifier: MIT
# What the daemon's memory grows by for each inode that the kernel knows: at most 200 bytes, whatever it is (a file that is
# resident, a stub, a stub that was read, a directory), and at most 300 MB for a million. RLIMIT_NOFILE is 20,000: known
# inodes cost no descriptors.
#
# MILLION: how many (100000; the name's number takes about ten times as long). Stubs are half of that.
# timeout: 600
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fileop treeread
t_need jq prlimit
n=${MILLION:-100000}
per_dir=1000
fs=$T_TMP/fs dir=$T_TMP/fs/dir
mkdir "$fs"
truncate -s $((n * 6000 + 200000000)) "$fs.img"
mkfs.ext4 -q -F -m 0 -N $((n * 11 / 10 + 1000)) -E lazy_itable_init=1,nodiscard "$fs.img" || fail "mkfs.ext4"
t_mount_img "$fs.img" "$fs" nobarrier,data=writeback
mkdir -p "$dir/d"
for ((i = 0; i < n / per_dir; i++)); do
	mkdir "$dir/d/$i" && "$T_BUILD/tools/fileop" fill "$dir/d/$i" $((i * per_dir)) $per_dir || fail "cannot fill $dir/d/$i"
done

limit=$(ulimit -Hn)
((limit <= 20000)) || limit=20000
ulimit -n "$limit"
rss() # kB, of the daemon that serves
{
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$(<"$(t_run_dir "$dir")/daemon")/status"
}
# Where the kernel forgets what it knows, nothing is measured.
walk()
{
	find "$1" -printf '%s\n' | awk '{ s++ } END { print s }'
}
# measure WHAT COUNT COMMAND...: the growth by COMMAND, after which COUNT inodes are known.
measure()
{
	local what=$1 count=$2 known grown bounded=2
	shift 2
	"$@" >"$T_TMP/out" || fail "$what: $*"
	known=$(t_status "$dir" .nodes_known)
	((known >= count)) || fail "$what: only $known of $count inodes are known: the kernel has forgotten some, nothing is shown"
	grown=$(($(rss) - base)) known=$((known - base_known))
	echo "$what: $known inodes, $((grown / 1024)) MiB more, $((grown * 1024 / known)) bytes each; VmRSS $(($(rss) / 1024)) MiB, $(
		find "/proc/$(<"$(t_run_dir "$dir")/daemon")/fd" | wc -l
	) descriptors"
	# Bounded, whatever the number: what each thread's heap keeps (2 MiB); when files were opened, the ring of uses (2 MiB)
	# and the page cache of the index's writer, which writes the heat of all of them: 16 bytes each, at most 16 MiB.
	[[ $what != *read ]] || bounded=$((4 + (known >> 16 < 16 ? known >> 16 : 16)))
	((grown * 1024 <= known * 200 + (bounded << 20))) || fail "$what: more than 200 bytes each"
	(($(rss) * 1024 <= 300 * 1000000)) || fail "$what: more than 300 MB"
}
# A daemon that knows nothing yet, but has been at work.
fresh() # COUNT of files: sets base, base_known
{
	t_spillfs "$T_TMP/store" "$dir" min-age=0
	# the scan at mount is over
	t_until 60 eval '[[ $(t_status "$dir" .files.resident) != null ]]' || fail "the scan does not end"
	# Buffers of threads, what is kept of stubs that were read, and the index's page caches (four of 1 MiB): all bounded.
	cat "$dir"/d/[012]/* >/dev/null
	for ((i = 0; i < $1; i += 100)); do echo "$dir/d/$((i / per_dir))/$i"; done | xargs cat >/dev/null || fail "cannot read $dir/d"
	base=$(rss) base_known=$(t_status "$dir" .nodes_known)
}

t_spillfs "$T_TMP/store" "$dir" min-age=0
t_umount "$dir" # the store is made
fresh "$n"
measure "resident" "$n" walk "$dir/d"
t_check "files and directories" "$(<"$T_TMP/out")" $((n + n / per_dir + 1))
measure "renamed and listed again" "$n" mv "$dir/d" "$dir/e"
ok "$n inodes known"

stubs=$((n / 2 / per_dir * per_dir))
mkdir "$dir/d"
for ((i = 0; i < stubs / per_dir; i++)); do mv "$dir/e/$i" "$dir/d/"; done
t_spill "$dir/d"
t_umount "$dir"
fresh "$stubs"
measure "stubs" "$stubs" walk "$dir/d"
ok "$stubs stubs known"
measure "stubs that were read" "$stubs" sh -c 'find "$0" -type f -exec cat {} + | wc -c' "$dir/d"
t_check "bytes read" "$(<"$T_TMP/out")" "$(find "$dir/d" -type f -printf '%s\n' | awk '{ s += $1 } END { print s }')"
ok "$stubs stubs read"
t_umount "$dir"
