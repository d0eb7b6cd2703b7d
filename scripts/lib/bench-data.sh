# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034 # what other parts read
# The data of the benchmark: a tree of real files from Debian packages, plain on a disk and as squashfs. Sourced by
# scripts/bench.
#
#   make_tree          TREE, SQUASH, BYTES, SUM_ALL; of the files of 1 MiB and more LARGE (a list), BYTES_LARGE,
#                      SUM_LARGE; $NS_WORK/plain/tree, a copy on a disk like the hot tier
#   make_disk IMG DIR MB   an ext4 on a loop device, mounted
#   make_cold_rivals   the tree as erofs and as btrfs; COLD (names), COLD_DIR[name], COLD_LABEL[name]. One that this
#                      kernel or release lacks is absent (bench-hot.sh)

APPS=("python python3 python3-numpy" "perl perl git" "gcc gcc libc6-dev make" "node nodejs"
	"java openjdk-17-jre-headless|openjdk-21-jre-headless" "web nginx-light postgresql-client")
COLD=(spill squash)
declare -A COLD_DIR COLD_LABEL=([squash]=squashfs)

make_tree()
{
	local a name pkgs
	APPS=("${APPS[@]:0:$(scaled ${#APPS[@]} 1)}")
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
	COLD_DIR[squash]=$NS_WORK/squash
	# The tree on a disk like the hot tier, for zstd to read.
	mkdir -p "$NS_WORK/plain"
	make_disk "$NS_WORK/plain.img" "$NS_WORK/plain" 3072 && cp -a "$TREE" "$NS_WORK/plain/tree" || die "no disk"
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
	truncate -s "$3M" "$1" && mkfs.ext4 -q -F -m 0 -E lazy_itable_init=0,lazy_journal_init=0 "$1" &&
		mount -o loop "$1" "$2"
}

# Clusters of 128 KiB as in squashfs and our store; zstd where this mkfs.erofs has it (1.8).
make_erofs()
{
	local log=$NS_WORK/mkerofs.log z=lz4hc
	COLD_LABEL[erofs]="erofs $z"
	command -v mkfs.erofs >/dev/null || { absent erofs "not installed: this release has no such package" && return 1; }
	mkfs.erofs --help 2>&1 | grep -qw zstd && z=zstd,3
	COLD_LABEL[erofs]="erofs ${z%,*}"
	mkfs.erofs -z"$z" -C131072 "$NS_WORK/tree.erofs" "$TREE" >"$log" 2>&1 || {
		absent erofs "mkfs.erofs: $(tail -n 1 "$log" | cut -c1-120)"
		return 1
	}
	mkdir -p "$NS_WORK/erofs"
	mount -t erofs -o loop,ro "$NS_WORK/tree.erofs" "$NS_WORK/erofs" 2>"$log" || {
		absent erofs "does not mount: $(tail -n 1 "$log" | cut -c1-120)"
		return 1
	}
}

make_btrfs()
{
	local log=$NS_WORK/mkbtrfs.log
	COLD_LABEL[btrfs]="btrfs zstd:3"
	command -v mkfs.btrfs >/dev/null || { absent btrfs "not installed: this release has no such package" && return 1; }
	mkdir -p "$NS_WORK/btrfs"
	if ! { truncate -s 3G "$NS_WORK/btrfs.img" && mkfs.btrfs -q "$NS_WORK/btrfs.img" &&
		mount -t btrfs -o loop,compress=zstd:3 "$NS_WORK/btrfs.img" "$NS_WORK/btrfs"; } >"$log" 2>&1; then
		absent btrfs "does not mount: $(tail -n 1 "$log" | cut -c1-120)"
		return 1
	fi
	cp -a "$TREE/." "$NS_WORK/btrfs/" || die "cannot fill the btrfs"
}

make_cold_rivals()
{
	local name
	for name in erofs btrfs; do
		"make_$name" && COLD+=("$name") COLD_DIR[$name]=$NS_WORK/$name
	done
	# For fio: the largest files, about half of what is large.
	FIO_LIST=$(cd "$TREE" && xargs -d '\n' stat -c '%s %n' <"$LARGE" | grep -v '[: ].*[: ]' | sort -rn | head -n 16 |
		cut -d' ' -f2 | paste -sd:)
	export FIO_LIST
}
