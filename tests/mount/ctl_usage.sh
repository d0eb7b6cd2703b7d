#!/bin/bash
# SPDX-License-Identifier: MIT
# spillctl without a mount: command lines, exit codes, and the output of every verb against a pretended
# daemon (tests/tools/ctl_fake.c), with names that must not reach a terminal.
# timeout: 120
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_need jq
t_need_tool ctl_fake
[[ -x $SPILLCTL ]] || fail "$SPILLCTL is not built"
[[ $(id -u) == 0 ]] || skip "needs root"

T_TMP=$(mktemp -d "${TMPDIR:-/tmp}/spilltest.XXXXXX") || fail "mktemp"
dir=$T_TMP/m out=$T_TMP/out err=$T_TMP/err
export SPILLFS_RUN_DIR=$T_TMP/run
fake=
trap '[[ -z $fake ]] || exec {FAKE_IN}>&-; [[ -z $fake ]] || wait "$fake"; rm -rf "$T_TMP"' EXIT
mkdir "$dir" "$SPILLFS_RUN_DIR"

# want CODE ARGS...: run spillctl, compare the exit code; output in $out and $err
want()
{
	local code=$1
	shift
	timeout -k 1 60 "$SPILLCTL" "$@" >"$out" 2>"$err" </dev/null
	local rc=$?
	[[ $rc == "$code" ]] || fail "spillctl $*: exit $rc, want $code: $(cat "$out" "$err")"
	! LC_ALL=C grep -q $'[\x01-\x08\x0b-\x1f\x7f\xff]' "$out" "$err" ||
		fail "spillctl $*: control characters or raw bytes in the output"
}
says()
{
	grep -qF -- "$1" "$out" "$err" || fail "no '$1' in: $(cat "$out" "$err")"
}
# json FILTER WANT: of the last output, which is one JSON document
json()
{
	t_check "$1" "$(jq -r "$1" "$out")" "$2"
}

# ---- command lines ---------------------------------------------------------------------------------
want 1
want 0 --help
want 0 help
want 0 -h spill
says 'Usage: spillctl spill PATH...'
want 0 help check
want 1 help nonesuch
want 1 nonesuch
says "unknown verb 'nonesuch'"
want 1 nonesuch --json
json .code 1
want 1 --nonsense status
want 1 status a b
want 1 -m a status b
want 1 layers extra
says '-m DIR'
want 1 info
want 1 spill
want 1 unguard
want 1 unguard a b
want 1 check a b c
want 1 status --quick
says 'status takes no option --quick'
want 1 spill --expose x
want 1 ls --store x
want 1 check --hot x
want 1 check --store x y
want 1 -m x check y
want 0 --version
says 'spillctl '
want 0 version --json
json .daemon null
ok "command lines"

# ---- no mount, no daemon ---------------------------------------------------------------------------
want 21 -m "$dir" status
says 'not a spillfs mount'
want 21 status "$dir"
says 'not a spillfs mount'
want 21 -m "$dir" status --json
json .code 21
want 21 -m "$T_TMP/nonesuch" status
want 21 info "$dir"
says 'not on a spillfs mount'
want 21 info "$dir/nonesuch"
want 24 info "$dir/no/such"
want 21 spill "$dir"
want 21 -m "$dir" recall "$dir"
want 21 -m "$dir" layers
want 21 -m "$dir" check
want 21 check "$dir"
want 1 -m "$dir" info /proc
want 21 -m "$dir" version
want 24 check /nonesuch
want 10 check --store "$T_TMP/nonesuch"
want 11 check --store "$dir"
want 17 unguard "$dir/nonesuch"
want 0 unguard "$dir"
says 'there is no guard'
# A dead daemon's socket.
run=$SPILLFS_RUN_DIR/$(t_escape "$dir")
mkdir "$run"
: >"$run/sock"
want 21 -m "$dir" status
rm "$run/sock"
ok "no daemon"

# ---- a pretended daemon ----------------------------------------------------------------------------
mkfifo "$T_TMP/in"
"$T_BUILD/tools/ctl_fake" "$dir" <"$T_TMP/in" >"$T_TMP/fake.out" 2>"$T_TMP/fake.err" &
fake=$!
exec {FAKE_IN}>"$T_TMP/in"
for ((i = 0; i < 200; i++)); do
	grep -q ready "$T_TMP/fake.out" && break
	sleep 0.05
done
((i < 200)) || fail "ctl_fake: $(cat "$T_TMP/fake.err")"

ctl=(-m "$dir")
weird=$'esc\x1b[31m\xffname'
echo hello >"$dir/a.spilled"
head -c 100000 /dev/zero >"$dir/b"
ln -s b "$dir/link"
mkdir "$dir/sub" "$dir/empty" "$dir/stop" "$dir/slow.d"
echo x >"$dir/sub/c.busy"
echo x >"$dir/sub/d.bad"
echo x >"$dir/sub/$weird"
echo x >"$dir/stop/a"
echo x >"$dir/stop/full"
echo x >"$dir/slow.d/slow"

want 0 "${ctl[@]}" status
says '71%'
says '34,567 spilled'
says 'trouble    none'
says '1,234 requests; passthrough off; daemon no. 2, 3 requests taken over'
want 1 "${ctl[@]}" restart
says 'no supervisor'
want 0 "${ctl[@]}" status --json
json '.requests.LOOKUP, .daemons, .requests_again' $'1234\n2\n3'
json .mount "$dir"
json .hot.total_bytes 7000000000
json '.hot.used_bytes + .hot.free_bytes' 7000000000
json '.backing | .total_bytes, .free_bytes, .stored_bytes' $'100000000000\n60000000000\n3000000000'
json '.files | .resident, .premigrated, .spilled, .partial' $'1234\n12\n34567\n0'
json .bytes.spilled_logical 9000000000
json '.frozen, .parked' $'false\nnull'
json .store_hex "$(printf '/fake/st\xffore' | od -An -v -tx1 | tr -d ' \n')"
json '.kubelet | .used_percent' 43
if [[ $(jq .kubelet.configured "$out") == false ]]; then # else it is this machine's kubelet that counts
	json '.kubelet | .gc_at_percent, .bytes_until_gc' $'85\n44400640000'
	json '.forecast | .seconds_until_gc, .seconds_until_inodes' $'79921\nnull'
	want 0 "${ctl[@]}" status
	says 'sees 43% used, deletes images from 85% on (default): 41 GiB to go, in 22 h 12 min at this rate; fills by 1.9 GiB an hour'
fi
touch "$dir/fresh"
want 0 "${ctl[@]}" status --json
json '.forecast | .watched_sec, .bytes_per_hour, .seconds_until_gc' $'600\nnull\nnull'
rm "$dir/fresh"
touch "$dir/frozen" "$dir/parked" "$dir/uncounted" "$dir/damaged"
want 0 status "$dir"
says 'FROZEN'
want 0 status "${ctl[@]}"
says 'FROZEN'
says 'PARKED     the store is full: \x1b[31m'
says 'ERRORS     3'
want 0 "${ctl[@]}" status --json
json '.frozen, .files.resident, .errors' $'true\nnull\n3'
rm "$dir"/{frozen,parked,uncounted,damaged}
touch "$dir/broken"
want 24 "${ctl[@]}" status
want 24 "${ctl[@]}" --json status
json .code 24
rm "$dir/broken"
ok "status"

want 0 "${ctl[@]}" ls "$dir"
says 'spilled'
says 'link -> b'
want 0 "${ctl[@]}" ls
want 0 "${ctl[@]}" ls "$dir/sub"
says 'esc\x1b[31m\xffname'
want 0 "${ctl[@]}" ls --json "$dir/sub"
json length 3
json '.[2].path_hex' "$(printf %s "$dir/sub/$weird" | od -An -v -tx1 | tr -d ' \n')"
want 0 "${ctl[@]}" ls --json "$dir/b" "$dir/link" "$dir/empty"
json '.[].path' "$dir/b"$'\n'"$dir/link"
want 23 "${ctl[@]}" ls "$dir/b" "$dir/nonesuch"
mkdir "$dir/many"
(cd "$dir/many" && for ((i = 0; i < 1000; i++)); do : >"$(printf 'f%04d' "$i")"; done)
want 0 "${ctl[@]}" ls --json "$dir/many"
json 'length, .[0].name, .[999].name' $'1000\nf0000\nf0999'
rm -r "$dir/many"
ok "ls"

want 0 "${ctl[@]}" info --json "$dir/a.spilled"
json '.path, .state, .size_bytes, .object, .stored_bytes, .refs' \
	"$dir/a.spilled"$'\nspilled\n6\n4711\n99\n2'
json .sha256_prefix a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5
want 0 "${ctl[@]}" info --json "$dir/b"
json '.state, .object, .layer, .sha256_prefix' $'resident\nnull\nnull\nnull'
want 0 "${ctl[@]}" info "$dir/sub/$weird"
says 'esc\x1b[31m\xffname'
want 0 "${ctl[@]}" info --json "$dir/sub/$weird"
json .size_bytes 2
want 0 "${ctl[@]}" info --json "$dir/link" # not followed
json .type symlink
want 0 "${ctl[@]}" info --json "$dir/"
json '.path, .type' "$dir"$'\ndirectory'
(cd "$dir/sub" && want 0 "${ctl[@]}" info --json ../b && json .path "$dir/b") || exit 1
want 23 "${ctl[@]}" info --json "$dir/b" "$dir/nonesuch"
json '.[1].code' 24
want 24 "${ctl[@]}" info "$dir/nonesuch"
mkdir "$dir/away"
mount -t tmpfs none "$dir/away" && {
	touch "$dir/away/f"
	want 24 "${ctl[@]}" info "$dir/away/f"
	umount "$dir/away"
	says 'on another file system'
}
ok "info"

want 0 "${ctl[@]}" spill "$dir/b"
says 'spilled 1 file, 98 KiB -> 24 KiB stored, freed 100 KiB; 0 busy, 0 failed'
want 0 "${ctl[@]}" recall "$dir/b" "$dir/a.spilled"
says 'recalled 1 file, 98 KiB; 0 busy, 0 failed'
want 0 "${ctl[@]}" premigrate "$dir/b"
says 'premigrated 1 file, 98 KiB -> 24 KiB stored; 0 busy, 0 failed'
want 0 "${ctl[@]}" -q spill "$dir/b"
[[ ! -s $out && ! -s $err ]] || fail "-q is not quiet"
want 23 "${ctl[@]}" spill "$dir/sub"
says 'spilled 1 file'
says '1 busy, 1 failed'
says "$dir/sub/c.busy: in use"
says "$dir/sub/d.bad: Input/output error"
want 23 "${ctl[@]}" spill --json "$dir/sub" "$dir/b"
json '.files_done, .files_busy, .files_failed, .busy[0].path, .interrupted' \
	$'2\n1\n1\n'"$dir/sub/c.busy"$'\nfalse'
want 23 "${ctl[@]}" spill "$dir/stop"
says 'No space left on device'
says 'spilled 1 file'
want 24 "${ctl[@]}" spill "$dir/stop/full"
want 23 "${ctl[@]}" spill "$dir/nonesuch" "$dir/b"
want 0 "${ctl[@]}" spill "$dir/empty"
ok "spill, recall"

# Ctrl-C: the daemon stops, the sum is said, the exit code is 130.
for args in "" --json; do
	# shellcheck disable=SC2086
	(trap - INT; exec "$SPILLCTL" "${ctl[@]}" $args spill "$dir/slow.d" >"$out" 2>"$err" {FAKE_IN}>&-) &
	pid=$!
	sleep 0.5
	kill -INT "$pid"
	wait "$pid"
	t_check "exit code after SIGINT" $? 130
done
json .interrupted true
ok "interrupt"

want 0 "${ctl[@]}" pins
says 'img\x1b:1'
says 'gone\xff'
want 0 "${ctl[@]}" pins --json
json 'length, .[0].image, .[1].image, .[1].missing' $'2\nimg\u001b:1\nnull\ntrue'
touch "$dir/nopins"
want 0 "${ctl[@]}" pins
says 'nothing is pinned'
want 0 "${ctl[@]}" pin --no-recall "$dir/b"
says '1 files stay in the store'
touch "$dir/full"
want 29 "${ctl[@]}" pin "$dir/b"
says '3.0 MiB in the hot tier, which has 1.0 MiB left below the high mark'
want 29 "${ctl[@]}" drain
says 'do not fit'
rm "$dir/full"
want 24 "${ctl[@]}" unpin "$dir/b"
says 'pinned with the image img\x1b:1'
want 24 "${ctl[@]}" pin "$dir/nonesuch"
says 'No such file'
want 24 "${ctl[@]}" pin --image nothing
says 'no container engine'
want 24 "${ctl[@]}" pin --layer nothing
says 'no such layer'
want 1 "${ctl[@]}" pin --layer --image x
want 1 pin
want 1 "${ctl[@]}" spill --no-recall "$dir/b"
touch "$dir/pins" "$dir/paused"
want 0 "${ctl[@]}" status
says 'pinned     3 paths, 6.4 GiB in the hot tier'
says 'PINNED     more than the low mark'
says 'PAUSED '
rm "$dir/pins"
want 0 "${ctl[@]}" drain --json
json '.spilled_files, .fits, .drained, .files_done' $'1\ntrue\nfalse\n0'
want 0 "${ctl[@]}" why "$dir/b"
says 'pinned with the image img\x1b:1'
want 0 "${ctl[@]}" why --json "$dir/b" "$dir/link"
json '.[0].decision, (.[0].reasons | map(.reason) | join(" ")), .[1].state' $'stay\npinned young\nnone'
want 24 "${ctl[@]}" why "$dir/nonesuch"
ok "pins, why, drain"

want 0 "${ctl[@]}" resume
says 'spilling goes on'
want 24 "${ctl[@]}" wait --below 50
says 'spilling is paused'
rm "$dir/paused"
want 0 "${ctl[@]}" wait
want 0 "${ctl[@]}" wait --below 80
touch "$dir/busy"
want 28 "${ctl[@]}" wait --timeout 1s
says 'work is going on'
rm "$dir/busy"
want 1 "${ctl[@]}" wait --below 101
want 1 "${ctl[@]}" wait --below x
want 1 "${ctl[@]}" wait --timeout soon
want 1 "${ctl[@]}" pause --for 0s
want 1 "${ctl[@]}" pause --for -5m
want 0 "${ctl[@]}" pause --for 5m
says 'paused for 5 min'
want 0 "${ctl[@]}" pause --json
json '.paused, .until' $'true\nnull'
ok "pause, resume, wait"

want 0 "${ctl[@]}" layers
says 'overlay2/aaa/diff'
want 0 "${ctl[@]}" layers --json
json 'length, .[0].key, .[0].engine, .[0].kind, .[1].last_used' \
	$'2\noverlay2/aaa/diff\ndocker\nsnapshot\n0'
touch "$dir/nolayers"
want 0 "${ctl[@]}" layers
says 'no layers'
want 0 "${ctl[@]}" layers --json
json length 0
ok "layers"

want 0 "${ctl[@]}" check
says 'no problems found'
want 0 "${ctl[@]}" check --quick --json
json '.frames, .ok, .quick, .mode' $'0\ntrue\ntrue\nonline'
touch "$dir/damaged"
want 22 "${ctl[@]}" check
says 'frame 3 of pack 1: checksum mismatch'
says "marker without an object: $dir/dir/\\xfffile"
want 22 "${ctl[@]}" check --json
json '.problems, .ok, (.found | length)' $'2\nfalse\n2'
ok "check"

want 0 "${ctl[@]}" version --json
json '.version == .daemon.version, .protocol' $'true\n1'
# A daemon that ends while it works for us. (The client must not keep its stdin open.)
"$SPILLCTL" "${ctl[@]}" spill "$dir/slow.d" >"$out" 2>"$err" {FAKE_IN}>&- &
pid=$!
sleep 0.3
exec {FAKE_IN}>&-
wait "$fake"
t_check "the daemon's exit code" $? 0
fake=
wait "$pid"
t_check "exit code when the daemon stops" $? 24
want 21 "${ctl[@]}" status
ok "version, end of the daemon"
