#!/bin/bash
# SPDX-License-Identifier: MIT
# A file that goes on in the store while it is written, since the hot tier is above its critical mark; cut, written
# over, spilled, opened for writing again; the daemon dying at each durable step.
# timeout: 600
# parallel: yes
CRASH_OPTS=auto=on,interval=1h,min-age=1h,low=10,high=20,critical=30
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
c_prepare()
{
	mkdir -p "$1/io.containerd.content.v1.content/ingest/1" "$T_TMP/is"
	t_data 9 $((16 << 20)) >"$1/filler" # no layer: stays
	t_data 1 $((6 << 20)) >"$T_TMP/is/whole"
	head -c 3500000 "$T_TMP/is/whole" >"$T_TMP/is/cut"
	cp "$T_TMP/is/cut" "$T_TMP/is/over"
	printf NEW | dd of="$T_TMP/is/over" bs=1 seek=2500000 conv=notrunc status=none
	cp "$T_TMP/is/over" "$T_TMP/is/again"
	printf AGAIN | dd of="$T_TMP/is/again" bs=1 seek=1500000 conv=notrunc status=none
	head -c 1048576 "$T_TMP/is/whole" >"$T_TMP/is/first"
	: >"$T_TMP/is/none"
	c_plain "$T_TMP/is"/*
}
c_op()
{
	local d=$1/io.containerd.content.v1.content/ingest/1 log=$T_TMP/did
	dd if="$T_TMP/is/first" of="$d/f" bs=1M status=none && c_did first &&
		dd if="$T_TMP/is/whole" of="$d/f" bs=1M conv=notrunc status=none && c_did whole &&
		sync "$d/f" && c_synced whole &&
		truncate -s 3500000 "$d/f" && c_did cut && sync "$d/f" && c_synced cut &&
		printf NEW | dd of="$d/f" bs=1 seek=2500000 conv=notrunc status=none && c_did over &&
		sync "$d/f" && c_synced over &&
		t_ctl spill "$d/f" >>"$T_TMP/ctl.log" 2>&1 &&
		printf AGAIN | dd of="$d/f" bs=1 seek=1500000 conv=notrunc status=none && c_did again &&
		sync "$d/f" && c_synced again && [[ -s $log ]]
}
# Later states are always possible; an earlier one only when the step to the next need not have happened. While a
# write or a truncation that had no answer yet was under way, or was not synced when power failed, the file may be
# between two states: a mixture of both, judged byte by byte.
c_verify()
{
	local d=$1/io.containerd.content.v1.content/ingest/1 state=none from=1 s
	for s in whole cut over again; do
		! c_must $s || state=$s
	done
	[[ $state == none ]] || from=0
	for s in whole cut over again; do # most often it is one of them as a whole
		[[ $s != "$state" ]] || from=1
		((!from)) || ! cmp -s "$d/f" "$T_TMP/is/$s" || return 0
	done
	python3 - "$d/f" "$T_TMP/is" "$state" <<'EOF'
import sys
path, want, state = sys.argv[1:]
order = ["none", "whole", "cut", "over", "again"]
at = order.index(state)
read = lambda name: open(want + "/" + name, "rb").read()
try:
    got = open(path, "rb").read()
except FileNotFoundError:
    got = b""
if at >= 1 and not got:
    sys.exit("the file is gone or empty, at least %s was done" % state)
# Allowed: the last state that must be, any later one, and bytes of one or the other in between; before the
# first sync also zeros where a write had not arrived.
later = [read(n) for n in order[max(at, 1):]]
sizes = {len(d) for d in later}
if at == 0:
    if len(got) > 6 << 20:
        sys.exit("too large: %d" % len(got))
elif len(got) not in sizes:
    sys.exit("size %d, not one of %s" % (len(got), sizes))
for pos in range(0, len(got), 4096):
    piece = got[pos:pos + 4096]
    if any(piece == d[pos:pos + len(piece)] for d in later):
        continue
    for i, byte in enumerate(piece):
        if any(pos + i < len(d) and d[pos + i] == byte for d in later):
            continue
        if at == 0 and byte == 0:
            continue
        sys.exit("byte %d is %d: none of the states after %s" % (pos + i, byte, state))
EOF
}
crash_main
