#!/bin/bash
# SPDX-License-Identifier: MIT
# spillctl on a real mount: finding the mount from a path, moving data and saying what was moved, check with
# and without the daemon, and the guard that only goes when nothing is hidden behind it.
# timeout: 300
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
T_SUPERVISOR=off # the daemon itself is what is killed or stopped
t_need_daemon
t_need jq

dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out err=$T_TMP/err
want()
{
	local code=$1 rc
	shift
	t_ctl "$@" >"$out" 2>"$err"
	rc=$?
	[[ $rc == "$code" ]] || fail "spillctl $*: exit $rc, want $code: $(cat "$out" "$err")"
}
says()
{
	grep -qF -- "$1" "$out" "$err" || fail "no '$1' in: $(cat "$out" "$err")"
}
json()
{
	t_check "$1" "$(jq -r "$1" "$out")" "$2"
}

t_fs ext4 256M "$dir"
t_spillfs "$store" "$dir"
mkdir "$dir/d"
weird=$'n\xff\e[1m'
for i in 1 2 3 4; do
	t_data "$i" 200000 >"$dir/d/f$i"
done
cp "$dir/d/f1" "$dir/d/$weird"
ln -s f1 "$dir/d/link"
find "$dir/d" -type f -exec sha256sum {} + | sort >"$T_TMP/sums"
sleep 0.1 # a file changed this instant is not snapshotted

# The only mount needs no -m (this machine may have others); a path names its mount.
if (($(grep -c ' - fuse\.spillfs ' /proc/self/mountinfo) == 1)); then
	want 0 status --json
else
	want 1 status
	says "$dir"
	want 0 status --json -m "$dir"
fi
json '.mount, .store, .frozen, .files.spilled' "$dir"$'\n'"$store"$'\nfalse\n0'
want 21 info /proc/self/status
want 0 info --json "$dir/d/f1"
json '.path, .state, .size_bytes, .object' "$dir/d/f1"$'\nresident\n200000\nnull'
ok "status, info"

exec {held}>>"$dir/d/f4"
want 23 spill "$dir/d"
says '1 busy, 0 failed'
says "$dir/d/f4: "
exec {held}>&-
want 0 info --json "$dir/d/f1"
json '.path, .state, .size_bytes, .refs' "$dir/d/f1"$'\nspilled\n200000\n2'
json '.sha256_prefix' "$(sha256sum <"$dir/d/f1" | cut -c 1-32)"
[[ $(jq '.object, .stored_bytes' "$out") != *null* ]] || fail "no object"
want 0 info --json "$dir/d/$weird"
json .state spilled
want 0 info --json "$dir/d/link"
json '.type, .state' $'symlink\nresident'
want 0 ls "$dir/d"
says 'n\xff\x1b[1m'
want 0 ls --json "$dir/d"
json '[.[] | select(.state == "spilled")] | length' 4
(cd "$dir/d" && want 0 spill --json f4 && json '.files_done, .files_busy' $'1\n0') || exit 1
want 0 status --json -m "$dir"
json '.files.spilled, .bytes.spilled_logical' $'5\n1000000'
ok "spill"

want 0 recall --json "$dir/d/f2"
json '.files_done, .bytes_done' $'1\n200000'
want 0 info --json "$dir/d/f2"
[[ $(jq -r .state "$out") == @(premigrated|resident) ]] || fail "recalled but $(jq -r .state "$out")"
find "$dir/d" -type f -exec sha256sum {} + | sort | diff "$T_TMP/sums" - || fail "contents changed"
ok "recall"

want 24 spill "$dir/nonesuch"
mkdir "$dir/sub"
t_must mount -t tmpfs none "$dir/sub"
touch "$dir/sub/f"
want 24 spill "$dir/sub/f"
says 'another file system'
t_must umount "$dir/sub"

want 0 check -m "$dir"
says 'no problems found'
want 0 check --quick "$dir"
want 13 check --store "$store"
want 13 check "$store"
want 0 check "$store" "$dir" # through the daemon
want 19 unguard "$dir"
want 0 layers --json -m "$dir"
json length 0
ok "check, online"

t_umount "$dir"
want 21 status -m "$dir"
says 'guard'
want 21 check "$dir"
want 0 check "$store"
want 0 check --json "$store" "$dir"
json '.mode, .problems, .stubs' $'offline\n0\n4'
want 25 unguard "$dir"
says '4 files are spilled'
grep -q " $dir " /proc/self/mountinfo || fail "the guard is gone"
[[ ! -e $dir/d ]] || fail "the guard shows what it hides"

# A damaged pack is found, and named.
pack=$(find "$store/packs" -type f -size +64k | head -n 1)
cp "$pack" "$T_TMP/pack"
printf 'damage' | dd of="$pack" bs=1 seek=20000 conv=notrunc status=none
want 22 check --store "$store" --hot "$dir"
want 22 check --json --store "$store" --hot "$dir"
[[ $(jq '.found | length' "$out") -gt 0 ]] || fail "nothing named"
cp "$T_TMP/pack" "$pack"
want 0 check --store "$store" --hot "$dir"
ok "check, offline"

# A daemon that is stopped: nobody waits for it for ever, whatever is asked.
t_spillfs "$store" "$dir"
pid=$(t_pid "$dir")
kill -STOP "$pid"
silent()
{
	local t0=$SECONDS
	want 21 "$@"
	says 'does not answer'
	((SECONDS - t0 <= 20)) || fail "spillctl $*: $((SECONDS - t0)) s"
}
silent status -m "$dir"
silent info "$dir/d/f1"
silent check "$dir"
kill -CONT "$pid"
want 0 status -m "$dir"
want 0 info "$dir/d/f1"
ok "a daemon that is stopped"
t_umount "$dir"
want 0 unguard --expose "$dir"
says 'read as zeros'
[[ -e $dir/d/f1 ]] || fail "unguard left the guard"
want 0 unguard "$dir"
says 'no guard'
t_spillfs "$store" "$dir"
want 0 recall "$dir"
find "$dir/d" -type f -exec sha256sum {} + | sort | diff "$T_TMP/sums" - || fail "contents changed"
t_umount "$dir"
want 0 unguard "$dir"
find "$dir/d" -type f -exec sha256sum {} + | sort | diff "$T_TMP/sums" - || fail "bare contents differ"
ok "unguard"
