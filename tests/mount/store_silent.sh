#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 120
# The store's disk stops answering (a loop device whose file is behind a stopped FUSE server): df keeps what it said
# for store-grace=, then shows the hot tier alone, and both again when the disk is back; at any time it answers at
# once, and what is in the hot tier can be read and written.
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq

t_gated_fs ext4 300M "$T_TMP/disk"
t_fs ext4 200M "$T_TMP/hot"
t_spillfs "$T_TMP/disk/spill" "$T_TMP/hot" store-grace=14s
dir=$T_TMP/hot
t_data 1 20000000 >"$dir/cold"
t_data 2 1000000 >"$dir/warm"
sum=$(sha256sum <"$dir/cold")
t_spill "$dir/cold"
t_want_state "$dir/cold" spilled
sync -f "$dir/warm"
sleep 0.5

blocks()
{
	stat -f -c '%b' "$dir"
}
# Blocks and what is available, in MiB; how long it took must be nothing to speak of.
seen()
{
	local t0=${EPOCHREALTIME/./}
	stat -f -c '%b %a %S' "$dir" | awk '{ printf "%d %d\n", $1 * $3 / 1048576, $2 * $3 / 1048576 }'
	((${EPOCHREALTIME/./} - t0 < 1500000)) || fail "statfs took $((${EPOCHREALTIME/./} - t0)) us"
}
hot=$(stat -f -c '%b' "$(t_hot "$dir")")
before=$(seen)
both=$(blocks)
((both > hot + 50000)) || fail "df shows $both blocks, the hot tier has $hot"

kill -STOP $T_GATE
t0=$SECONDS
while ((SECONDS - t0 < 11)); do
	now=$(seen)
	t_check "what df shows while the store is silent" "${now% *}" "${before% *}"
	((${now#* } >= ${before#* } - 1)) || fail "available went from ${before#* } to ${now#* } MiB while the store is silent"
	sleep 0.5
done
t_check "reading what is hot" "$(sha256sum <"$dir/warm")" "$(t_data 2 1000000 | sha256sum)"
echo new >"$dir/new" || fail "writing to the hot tier"
ok "a silent store is held for the grace period"

# Another look at its disk is due after 10 seconds at the latest, then the grace period runs.
counted_out()
{
	(($(blocks) == hot))
}
t_until 25 counted_out || fail "after the grace period df still shows $(blocks) blocks, the hot tier has $hot"
seen >/dev/null
(($(t_status "$dir" .backing.silent_sec) >= 10)) || fail "status does not say that the store is silent"
t_ctl status "$dir" >"$T_TMP/status" || fail "status"
grep -q 'STORE .*not answered' "$T_TMP/status" || fail "status says: $(cat "$T_TMP/status")"
ok "then it is counted out, and status says so"

kill -CONT $T_GATE
both_again()
{
	(($(blocks) > hot + 50000))
}
t_until 10 both_again || fail "the store is back, df shows $(blocks) blocks"
t_check "the spilled file" "$(sha256sum <"$dir/cold")" "$sum"
ok "it is back, and counts again"
t_umount "$dir"
t_unfs "$T_TMP/disk"
