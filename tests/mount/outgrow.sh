#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 420
# Writers faster than spilling wait and do not fail, as long as the store has room: tar x of five times the hot tier; one
# file of three times the hot tier, made and written in one go, sparsely, and at random, in a plain directory of a
# layer; meanwhile nobody waits in a create, and deletes get through. Says how fast it was beside the slower of the
# store's disk and zstd -3.
#
# On a tier this small a file may not pass us by at all while there is pressure (policy_roomy), so tar is bound by one
# request for every 6 KiB. With OUTGROW_MIB=7168 the hot tier has the size of the disks this is for; then only tar is
# run, five times as much of it again, in 60 GB below $TMPDIR, for longer than tests/run lets it.
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool fill treesum
t_need zstd fio tar
FILL=$T_BUILD/tools/fill
HOT=${OUTGROW_MIB:-200}
TAR=1000 # MiB, of what is unpacked again and again
DIR=$T_TMP/hot STORE=$T_TMP/store
LAYER=$DIR/overlay2/$(printf 'a%.0s' {1..64})/diff
t_fs ext4 ${HOT}M "$DIR"
t_fs ext4 $((HOT * 25 / 2))M "$STORE"

us()
{
	echo "${EPOCHREALTIME/./}"
}
# rate BYTES FROM TO: MB/s
rate()
{
	awk -v b="$1" -v t=$(($3 - $2)) 'BEGIN { printf "%.0f", b / t }'
}
value() # NAME LINE
{
	local v=" $2"
	v=${v#* "$1"=}
	echo "${v%% *}"
}

# ---- what is written, and how fast it could be
# what N: a tar of its own, so that nothing is in the store already
what()
{
	local j
	rm -rf "$T_TMP/src"
	mkdir -p "$T_TMP/src/small"
	"$FILL" write -w 1 -s 4096:3000000 -z 50 -b $((TAR * 4 / 5 << 20)) "$T_TMP/src" "1$1" >/dev/null || fail "cannot make the files"
	for j in {1..1500}; do
		echo "$1 $j" >"$T_TMP/src/small/$j"
	done
	"$FILL" write -w 1 -s 30000000 -z 50 -b $((TAR / 5 << 20)) "$T_TMP/src/small" "3$1" >/dev/null || fail "cannot make the files"
	tar -C "$T_TMP/src" -cf "$T_TMP/src.tar" . || fail tar
}
what 1
bytes=$(stat -c %s "$T_TMP/src.tar")
((bytes >= TAR << 20)) || fail "only $bytes bytes"
cat "$T_TMP/src.tar" >/dev/null
a=$(us)
zstd -q -3 -T0 -c "$T_TMP/src.tar" >/dev/null || fail zstd
b=$(us)
zstd_rate=$(rate "$bytes" "$a" "$b")
# disk: how fast the store's disk is now, in MB/s. A disk that was just written to a lot is slower than before: it is
# asked before and after each of the runs below.
disk()
{
	local a b
	sync
	a=$(us)
	dd if="$T_TMP/src.tar" of="$STORE/speed" bs=1M count=400 conv=fsync status=none || fail dd
	b=$(us)
	rm "$STORE/speed"
	rate $((400 << 20)) "$a" "$b"
}
# told WHAT BYTES FROM TO: beside the disk before ($disk_before) and now
told()
{
	local r disk_rate slower
	disk_rate=$((($(disk) + disk_before) / 2))
	slower=$((zstd_rate < disk_rate ? zstd_rate : disk_rate))
	r=$(rate "$2" "$3" "$4")
	echo "$1: $r MB/s; the store's disk $disk_rate, zstd -3 $zstd_rate:" \
		"$(awk -v r="$r" -v s="$slower" 'BEGIN { printf "%.2f", r / s }') of the slower"
}

t_spillfs "$STORE/s" "$DIR" auto=on,interval=1s
mkdir -p "$LAYER"

# ---- tar x of five times the hot tier, and somebody who makes and deletes files meanwhile
mkdir "$DIR/other"
names()
{
	local t0 t1 t2 i=0 most=0
	while [[ ! -e $T_TMP/names.stop ]]; do
		if [[ -e $T_TMP/names.rest ]]; then # the disk is being measured
			sleep 0.05
			continue
		fi
		t0=$(us)
		: >"$DIR/other/$((i % 50))" || return 1
		t1=$(us)
		rm "$DIR/other/$((i++ % 50))" || return 1
		t2=$(us)
		most=$((t1 - t0 > most ? t1 - t0 : most))
		most=$((t2 - t1 > most ? t2 - t1 : most))
		sleep 0.02
	done
	echo "$most $i" >"$T_TMP/names.most"
}
t_bg names
names=$!
rounds=$((5 * HOT / TAR + !!(5 * HOT % TAR)))
for ((i = 1; i <= rounds; i++)); do
	mkdir "$LAYER/$i"
	((i == 1)) || what "$i"
	: >"$T_TMP/names.rest"
	sleep 0.2
	disk_before=$(disk)
	rm "$T_TMP/names.rest"
	a=$(us)
	tar -C "$LAYER/$i" -xf "$T_TMP/src.tar" || fail "tar x of 5 times the hot tier, part $i of $rounds"
	b=$(us)
	: >"$T_TMP/names.rest"
	sleep 0.2
	told "tar x of $((bytes >> 20)) MiB into a hot tier of $HOT MiB, $i of $rounds" "$bytes" "$a" "$b"
done
: >"$T_TMP/names.stop"
rm "$T_TMP/names.rest"
wait "$names" || fail "a create or a delete failed meanwhile"
read -r most n <"$T_TMP/names.most"
echo "meanwhile $n files were made and deleted, the slowest of these took $((most / 1000)) ms"
((most < 5000000)) || fail "a create or a delete took $((most / 1000)) ms"
for ((i = 1; i <= rounds; i++)); do
	"$FILL" verify -z 50 "$LAYER/$i" "1$i" >"$T_TMP/verify" || fail "not as written: $(head -n 3 "$T_TMP/verify")"
	"$FILL" verify -z 50 "$LAYER/$i/small" "3$i" >"$T_TMP/verify" || fail "not as written: $(head -n 3 "$T_TMP/verify")"
	for j in {1..1500}; do
		echo "$i $j"
	done | cmp - <(for j in {1..1500}; do cat "$LAYER/$i/small/$j"; done) || fail "the small files differ"
done
ok "tar x of five times the hot tier"
if [[ -n ${OUTGROW_MIB:-} ]]; then
	t_ctl check -m "$DIR" >"$T_TMP/check" || fail "check: $(head -n 3 "$T_TMP/check")"
	t_umount "$DIR"
	exit 0
fi
rm -rf "${LAYER:?}"/* || fail "cannot delete"

# ---- many writers
disk_before=$(disk)
a=$(us)
line=$("$FILL" write -w 6 -s 4096:8000000 -z 30 -b $((5 * HOT << 20)) "$LAYER" 5) || fail "6 writers: $line"
b=$(us)
told "6 writers, $((5 * HOT)) MiB" $((5 * HOT << 20)) "$a" "$b"
echo "6 writers: $line"
t_check "ENOSPC" "$(value enospc_ms "$line")" -
awk -v ms="$(value create_max_ms "$line")" 'BEGIN { exit !(ms < 5000) }' || fail "a create waited: $line"
"$FILL" verify -z 30 "$LAYER" 5 >"$T_TMP/verify" || fail "not as written: $(head -n 3 "$T_TMP/verify")"
ok "6 writers of five times the hot tier"
rm -rf "${LAYER:?}"/*

# ---- one file of three times the hot tier, in one go: a download into a hot tier that is empty, and, in a layer, opened
# above the high mark, which is held by files that may not be spilled
INGEST=$DIR/io.containerd.content.v1.content/ingest/1
mkdir -p "$INGEST"
cat "$T_TMP/src.tar" "$T_TMP/src.tar" | head -c $((3 * HOT << 20)) >"$T_TMP/big"
disk_before=$(disk)
a=$(us)
cp "$T_TMP/big" "$INGEST/data" || fail "a file of three times the hot tier"
b=$(us)
told "one file of $((3 * HOT)) MiB" $((3 * HOT << 20)) "$a" "$b"
cmp "$T_TMP/big" "$INGEST/data" || fail "the large file is not as written"
rm "$INGEST/data"
head -c $((HOT * 77 / 100 << 20)) "$T_TMP/big" >"$DIR/other/held"
high()
{
	(($(t_status "$DIR" .used_percent) >= 75))
}
t_until 10 high || fail "the hot tier is at $(t_status "$DIR" .used_percent)%"
cp "$T_TMP/big" "$LAYER/big" || fail "a file of three times the hot tier, above the high mark"
cmp "$T_TMP/big" "$LAYER/big" || fail "the large file in a layer is not as written"
rm "$LAYER/big"
a=$(us)
fio --name=random --filename="$LAYER/random" --rw=randwrite --bs=256k --size=$((3 * HOT))m --verify=crc32c --do_verify=1 \
	--verify_fatal=1 --randseed=7 --verify_state_save=0 --fallocate=none >"$T_TMP/fio.out" 2>&1 ||
	fail "random writes: $(tail -n 3 "$T_TMP/fio.out")"
b=$(us)
echo "random writes of $((3 * HOT)) MiB, and read back: $(((b - a) / 1000)) ms"
rm "$LAYER/random"
truncate -s 40G "$LAYER/sparse"
for i in {1..300}; do
	dd if="$T_TMP/big" of="$LAYER/sparse" bs=1M count=2 skip="$i" seek=$((i * 100)) conv=notrunc status=none ||
		fail "sparse writes"
done
for i in {1..300}; do
	cmp -n $((2 << 20)) -i $((i << 20)):$(((i * 100) << 20)) "$T_TMP/big" "$LAYER/sparse" || fail "sparse"
done
rm "$LAYER/sparse"
ok "one file of three times the hot tier"

t_ctl check -m "$DIR" >"$T_TMP/check.out" || fail "check: $(head -n 3 "$T_TMP/check.out")"
t_umount "$DIR"
