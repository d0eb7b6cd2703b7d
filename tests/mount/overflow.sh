#!/bin/bash
# SPDX-License-Identifier: MIT
# One file of three times the hot tier, written in one go, sparsely, and at random; what a partial file can do; spilled
# afterwards, and opened for writing again.
# timeout: 240
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool treesum
HOT=$T_TMP/hot DIR=$T_TMP/hot/dir STORE=$T_TMP/store
INGEST=$DIR/io.containerd.content.v1.content/ingest/1
mkdir "$HOT" "$STORE"
t_fs ext4 64M "$HOT"
t_fs ext4 600M "$STORE"
mkdir "$DIR"
state()
{
	t_ctl info --json "$1" | jq -r '.state // .[0].state // .files[0].state'
}
none_left()
{
	[[ -z $(find "$STORE/overflow" -type f) ]]
}
grows()
{
	(($(stat -c %s "$INGEST/killed" 2>/dev/null || echo 0) > 100 << 20))
}
used()
{
	df --output=pcent "$HOT" | tail -n 1 | tr -dc 0-9
}
t_spillfs "$STORE" "$DIR" auto=on,interval=1s,min-age=1h
mkdir -p "$INGEST"

# ---- in one go, as containerd's ingest does: create, write, fsync, rename
t_data 1 $((180 << 20)) >"$T_TMP/big"
cp "$T_TMP/big" "$INGEST/data" || fail "a file of three times the hot tier"
sync "$INGEST/data"
t_check "state" "$(state "$INGEST/data")" partial
(($(used) <= 90)) || fail "the hot tier is $(used)% full"
cmp "$T_TMP/big" "$INGEST/data" || fail "not as written"
t_check "st_blocks" "$(($(stat -c %b "$INGEST/data") * 512 >= 180 << 20))" 1
blobs=$DIR/io.containerd.content.v1.content/blobs/sha256
mkdir -p "$blobs"
blob=$blobs/$(sha256sum <"$T_TMP/big" | cut -c 1-64)
mv "$INGEST/data" "$blob"
cmp "$T_TMP/big" "$blob" || fail "not as written after a rename"

# ---- what a partial file can do: the same on it and on a plain copy
both()
{
	"$@" "$blob" && "$@" "$T_TMP/big"
}
printf NEW | dd of="$blob" bs=1 seek=100000000 conv=notrunc status=none
printf NEW | dd of="$T_TMP/big" bs=1 seek=100000000 conv=notrunc status=none
both truncate -s 150000001
cmp "$T_TMP/big" "$blob" || fail "after truncation"
both truncate -s 160000000
cmp "$T_TMP/big" "$blob" || fail "after truncation to more"
both fallocate -p -o 70000000 -l 20000000
both fallocate -z -o 1000 -l 5000000
cmp "$T_TMP/big" "$blob" || fail "after punching"
both fallocate -l 161000000
cmp "$T_TMP/big" "$blob" || fail "after fallocate"
t_check "state" "$(state "$blob")" partial
cp --sparse=always "$blob" "$T_TMP/again"
cmp "$T_TMP/big" "$T_TMP/again" || fail "a copy by holes"
mtime=$(stat -c %Y "$blob")
touch -d '2004-04-04 04:04:04 UTC' "$blob"
t_check "mtime" "$(stat -c %Y "$blob")" 1081051444
((mtime > 1600000000)) || fail "mtime of a partial file: $mtime"
chmod 4755 "$blob"
setpriv --reuid 12345 --clear-groups dd if=/dev/zero bs=1 count=1 seek=150000000 conv=notrunc status=none 1<>"$blob" ||
	fail "cannot write as another user"
t_check "setuid after a write of somebody else" "$(stat -c %a "$blob")" 755
printf '\0' | dd of="$T_TMP/big" bs=1 seek=150000000 conv=notrunc status=none

# ---- a new mount finds it; check says nothing
t_umount "$DIR"
# A copy of a chunk that a kill or a power cut ended half-way does not count: chunk 0 stayed in the hot tier, as there
# was room when it was written.
over=$(echo "$STORE"/overflow/*)
dd if=/dev/urandom of="$over" bs=64K count=3 conv=notrunc status=none
# Put together without a daemon.
t_want 0 export --store "$STORE" --hot "$(t_hot "$DIR")" "$T_TMP/exported"
cmp "$T_TMP/big" "$T_TMP/exported/${blob#"$DIR"/}" || fail "not as written in an offline export"
rm -r "$T_TMP/exported"
t_spillfs "$STORE" "$DIR" auto=on,interval=1s,min-age=1h
t_check "state after mounting again" "$(state "$blob")" partial
cmp "$T_TMP/big" "$blob" || fail "not as written after mounting again (or half a chunk counts)"
t_ctl check -m "$DIR" >"$T_TMP/check.out" || fail "check: $(head -n 3 "$T_TMP/check.out")"

# ---- spilled as any file, read, and opened for writing although it does not fit
t_spill "$blob"
t_check "state" "$(state "$blob")" spilled
t_check "overflow files" "$(find "$STORE/overflow" -type f | wc -l)" 0
cmp "$T_TMP/big" "$blob" || fail "not as written after spilling"
printf AGAIN | dd of="$blob" bs=1 seek=120000000 conv=notrunc status=none || fail "a stub larger than the hot tier"
printf AGAIN | dd of="$T_TMP/big" bs=1 seek=120000000 conv=notrunc status=none
t_check "state" "$(state "$blob")" partial
cmp "$T_TMP/big" "$blob" || fail "not as written after opening for writing"

# ---- an open partial file that is emptied, and deleted: the store gets its space back
: >"$blob"
t_check "size" "$(stat -c %s "$blob")" 0
t_check "overflow files" "$(find "$STORE/overflow" -type f | wc -l)" 0
rm "$blob" "$T_TMP/again"
t_must dd if="$T_TMP/big" of="$INGEST/data" bs=1M status=none
t_check "state" "$(state "$INGEST/data")" partial
rm "$INGEST/data"
t_until 20 none_left || fail "the overflow of a deleted file stays"

# ---- what a reader has mapped, opened past us, stays as it is while the file is written to
roomy()
{
	(($(t_status "$DIR" .used_percent) < 30))
}
t_until 10 roomy || fail "the hot tier is still full" # so that opens are passed through
sleep 1.5
for i in {0..7}; do # holes: a write into one wants space
	dd if="$T_TMP/big" of="$DIR/mapped" bs=64K count=1 skip=$((i * 16)) seek=$((i * 16)) conv=notrunc status=none
done
truncate -s 8M "$DIR/mapped"
sleep 0.5 # the last RELEASE
python3 - "$DIR/mapped" "$DIR/filler" <<'EOF' || fail "a mapping shows other bytes"
import ctypes, os, sys, time
path, filler = sys.argv[1:]
fd = os.open(path, os.O_RDONLY)
want = os.pread(fd, 8 << 20, 0)
libc = ctypes.CDLL(None, use_errno=True) # the module mmap keeps a descriptor
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
at = libc.mmap(None, 8 << 20, 1, 1, fd, 0) # PROT_READ, MAP_SHARED
assert at != ctypes.c_void_p(-1).value
m = (ctypes.c_char * (8 << 20)).from_address(at)
os.close(fd)
assert m[:] == want
with open(filler, "wb", buffering=0) as f: # the disk gets full, and the file wants more
    for size in 1 << 20, 65536, 4096, 1024, 4096, 1024:
        try:
            while True:
                f.write(b"x" * size)
        except OSError:
            os.fsync(f.fileno())
time.sleep(2) # until that is seen, opens are passed through
fd = os.open(path, os.O_WRONLY)
try:
    for c in range(1, 8):
        os.pwrite(fd, b"z" * 900000, (c << 20) + 65536)
except OSError as e:
    print("the write:", e)
os.close(fd)
for c in range(8): # what was there before
    assert m[c << 20:(c << 20) + 65536] == want[c << 20:(c << 20) + 65536], c
EOF
rm "$DIR/filler" "$DIR/mapped"
t_until 20 none_left || fail "the overflow of a deleted file stays"

# ---- the daemon dies meanwhile
T_DEATHS=1
cp "$T_TMP/big" "$INGEST/killed" &
copy=$!
t_until 20 grows || fail "no overflow file comes"
kill -9 "$(cat "$(t_run_dir "$DIR")/daemon")" || fail "no daemon"
wait $copy || fail "writing a file while the daemon dies"
cmp "$T_TMP/big" "$INGEST/killed" || fail "not as written when the daemon died meanwhile"
t_check "state" "$(state "$INGEST/killed")" partial
rm "$INGEST/killed"

# ---- sparse, and at random, over what is there
fio --name=random --filename="$INGEST/random" --rw=randwrite --bs=64k --size=180m --verify=crc32c --do_verify=1 \
	--verify_fatal=1 --randseed=7 --verify_state_save=0 --fallocate=none >"$T_TMP/fio.out" 2>&1 ||
	fail "random writes: $(tail -n 3 "$T_TMP/fio.out")"
t_check "state" "$(state "$INGEST/random")" partial
truncate -s 300G "$INGEST/sparse"
for i in {1..60}; do
	dd if="$T_TMP/big" of="$INGEST/sparse" bs=1M count=2 skip=$i seek=$((i * 5000)) conv=notrunc status=none ||
		fail "sparse writes"
done
for i in {1..60}; do
	cmp -n $((2 << 20)) -i $((i << 20)):$(((i * 5000) << 20)) "$T_TMP/big" "$INGEST/sparse" || fail "sparse"
done
rm "$INGEST"/*

# ---- both full: ENOSPC, promptly, everything readable; goes on when there is space again
t_until 20 none_left || fail "the overflow of a deleted file stays"
start=$SECONDS
dd if=/dev/urandom of="$INGEST/full" bs=1M status=none 2>"$T_TMP/dd.err" && fail "more than there is"
grep -q 'No space left' "$T_TMP/dd.err" || fail "not ENOSPC: $(cat "$T_TMP/dd.err")"
echo "full after $((SECONDS - start)) s at $(($(stat -c %s "$INGEST/full") >> 20)) MiB"
(($(stat -c %s "$INGEST/full") > 450 << 20)) || fail "full too early"
t_must cat "$INGEST/full" >/dev/null
rm "$INGEST/full"
t_until 20 none_left || fail "the overflow of a deleted file stays"
cp "$T_TMP/big" "$INGEST/data" || fail "not again after it was full"
cmp "$T_TMP/big" "$INGEST/data" || fail "wrong after it was full"
t_ctl check -m "$DIR" >"$T_TMP/check.out" || fail "check: $(head -n 3 "$T_TMP/check.out")"
t_umount "$DIR"
ok
