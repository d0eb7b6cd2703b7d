# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034 # what other parts read
# The data of the benchmark: a tree of real files from Debian packages, plain on a disk and as squashfs. Sourced by
# scripts/bench.
#
#   make_tree          TREE, SQUASH, BYTES, SUM_ALL; LARGE (list of the files of 1 MiB and more), BYTES_LARGE, SUM_LARGE;
#                      $NS_WORK/plain/tree, a copy on a disk like the hot tier
#   make_disk IMG DIR  an ext4 on a loop device, mounted

APPS=("python python3 python3-numpy" "perl perl git" "gcc gcc libc6-dev make" "node nodejs"
	"java openjdk-17-jre-headless|openjdk-21-jre-headless" "web nginx-light postgresql-client")

make_tree()
{
	local a name pkgs
	say "a tree of real files from Debian packages"
	img_init "$NS_WORK/images" && img_want base || die "apt knows no packages (run apt-get update)"
	for a in "${APPS[@]}"; do
		read -r name pkgs <<<"$a"
		pkgs=$(img_pick "$pkgs")
		# shellcheck disable=SC2086 # a list
		img_want "$name" $pkgs || die "cannot resolve $pkgs"
	done
	img_download || die "cannot download packages"
	for name in base "${APPS[@]%% *}"; do
		img_unpack "$name" || die "cannot unpack $name"
	done
	TREE=$IMG_DIR/trees
	SQUASH=$NS_WORK/tree.squashfs
	mksquashfs "$TREE" "$SQUASH" -comp zstd -Xcompression-level 3 -b 128K -noappend -no-progress \
		>"$NS_WORK/mksquashfs.log" 2>&1 || die "mksquashfs: $(tail -n 1 "$NS_WORK/mksquashfs.log")"
	mkdir -p "$NS_WORK/squash"
	mount -t squashfs -o loop,ro "$SQUASH" "$NS_WORK/squash" || die "the kernel mounts no squashfs"
	# The tree on a disk like the hot tier, for zstd to read.
	mkdir -p "$NS_WORK/plain"
	make_disk "$NS_WORK/plain.img" "$NS_WORK/plain" && cp -a "$TREE" "$NS_WORK/plain/tree" || die "no disk"
	local line
	line=$("$TREEREAD" -d "$TREE") || die "cannot read the tree"
	BYTES=$(awk '{ print $2 }' <<<"$line") SUM_ALL=${line##* }
	LARGE=$NS_WORK/large
	(cd "$TREE" && find . -type f -size +1023k -printf '%P\n' | LC_ALL=C sort) >"$LARGE"
	SUM_LARGE=$("$TREEREAD" -d -f "$LARGE" "$TREE") || die "cannot read the tree"
	BYTES_LARGE=$(awk '{ print $2 }' <<<"$SUM_LARGE") SUM_LARGE=${SUM_LARGE##* }
	say "$(awk '{ print $4 }' <<<"$line") files, $((BYTES >> 20)) MiB; of 1 MiB and more: $((BYTES_LARGE >> 20)) MiB"
}

make_disk()
{
	truncate -s 3G "$1" && mkfs.ext4 -q -F -m 0 -E lazy_itable_init=0,lazy_journal_init=0 "$1" &&
		mount -o loop "$1" "$2"
}
