# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# An image of five times the hot tier, taken in by a real engine whose root is on the mount. Layers are made here: files
# of random and of compressible bytes, with their sums beside them. A test defines for its engine, as for
# ../lib/engines.sh:
#	x_start ROOT RUN  x_stop	1 and a reason in ENG_WHY when it does not start
#	x_load ARCHIVE			take it in, unpacked
#	x_layers ROOT			the directories of unpacked layers
#	x_blobs ROOT			files named by their SHA-256, if there are any
# and calls o_main.

. "$T_TOP/tests/lib/engines.sh"

O_HOT=200 # MiB
O_LAYERS=10

# o_image: $IMG_DIR/archives/image.tar, of O_LAYERS layers, one with one large file.
o_image()
{
	local i t layers=() size
	IMG_DIR=$T_TMP/images
	mkdir -p "$IMG_DIR"/{archives,trees}
	for ((i = 1; i <= O_LAYERS; i++)); do
		t=$IMG_DIR/trees/$i
		mkdir -p "$t/data$i"
		size=4096:2000000
		((i != 3)) || size=90000000 # one file, nearly half of the hot tier
		"$T_BUILD/tools/fill" write -s $size -z $((i % 2 * 60)) -b $((O_HOT * 5 / O_LAYERS << 20)) "$t/data$i" "$i" \
			>/dev/null || fail "cannot make a layer"
		(cd "$t/data$i" && sha256sum w0/* >sums) || fail "sha256sum"
		img_layer "$t" "$IMG_DIR/archives/$i.layer" || fail "tar of a layer"
		rm -rf "$t"
		layers+=("$IMG_DIR/archives/$i.layer")
	done
	img_archive "$IMG_DIR/archives/image.tar" spill/large:1 '["/none"]' "${layers[@]}" || fail "cannot make the archive"
	rm -f "${layers[@]}"
	(($(stat -c %s "$IMG_DIR/archives/image.tar") >= 5 * O_HOT << 20)) || fail "the image is too small"
}

# o_proved ROOT: every file of every layer, and every blob.
o_proved()
{
	local d n=0 f
	while read -r d; do
		for f in "$d"/data*/sums; do
			(cd "${f%/*}" && sha256sum --quiet -c sums) >"$T_TMP/sums" 2>&1 || fail "$d: $(head -n 3 "$T_TMP/sums")"
			n=$((n + 1))
		done
	done < <(x_layers "$1")
	t_check "layers with the right content" $n $O_LAYERS
	while read -r f; do
		t_check "SHA-256 of a blob" "$(sha256sum <"$f" | cut -d' ' -f1)" "${f##*/}"
	done < <(x_blobs "$1")
}

o_main()
{
	local root=$T_TMP/hot a b bytes native
	o_image
	bytes=$(stat -c %s "$IMG_DIR/archives/image.tar")
	t_fs ext4 400M "$T_TMP/plain"
	mkdir -p "$T_TMP/run-plain"
	x_start "$T_TMP/plain/engine" "$T_TMP/run-plain" || skip "does not start here, on a plain file system either: $ENG_WHY"
	x_load "$IMG_DIR/archives/image.tar" >"$T_TMP/load" 2>&1 && fail "it fits on the plain disk: this shows nothing"
	x_stop
	umount "$T_TMP/plain" || fail "umount"
	rm "$T_TMP/plain.img"

	# How fast the engine is where it fits: it reads, hashes and syncs more than it writes.
	t_fs ext4 4G "$T_TMP/large"
	mkdir -p "$T_TMP/run-large"
	x_start "$T_TMP/large/engine" "$T_TMP/run-large" || fail "does not start on a larger disk: $ENG_WHY"
	a=${EPOCHREALTIME/./}
	x_load "$IMG_DIR/archives/image.tar" >"$T_TMP/load" 2>&1 || fail "on a disk it fits on: $(tail -n 3 "$T_TMP/load")"
	b=${EPOCHREALTIME/./}
	native=$((b - a))
	x_stop
	umount "$T_TMP/large" || fail "umount"
	rm "$T_TMP/large.img"

	t_fs ext4 ${O_HOT}M "$root"
	t_fs ext4 4G "$T_TMP/disk"
	t_spillfs "$T_TMP/disk/store" "$root" auto=on
	mkdir -p "$T_TMP/run-mount"
	x_start "$root/engine" "$T_TMP/run-mount" || fail "starts on a plain file system but not on the mount: $ENG_WHY"
	a=${EPOCHREALTIME/./}
	x_load "$IMG_DIR/archives/image.tar" >"$T_TMP/load" 2>&1 ||
		fail "an image of five times the hot tier: $(tail -n 3 "$T_TMP/load"); $(tail -n 3 "$T_TMP/run-mount/log")"
	b=${EPOCHREALTIME/./}
	echo "an image of $((bytes >> 20)) MiB into a hot tier of $O_HOT MiB: $((bytes / (b - a))) MB/s; into an ext4 of 4 GiB:" \
		"$((bytes / native)) MB/s: $(awk -v a="$native" -v b=$((b - a)) 'BEGIN { printf "%.2f", a / b }') of that"
	ok "an image of five times the hot tier is taken in"
	o_proved "$root/engine"
	ok "every file of it has the right content"
	x_stop
	t_umount "$root"
	t_spillfs "$T_TMP/disk/store" "$root" auto=on
	o_proved "$root/engine"
	t_ctl check -m "$root" >"$T_TMP/check.out" || fail "check: $(head -n 3 "$T_TMP/check.out")"
	t_umount "$root"
	ok "also after a new mount"
}
