# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034 # what other parts read
# Spilled data: how fast it is read and made, how small it is, and what it takes to know many files. Sourced by
# scripts/bench.
#
#   cold_round N       one round of it on a new disk and a new store: nothing can be a duplicate of the round before
#   memory             RSS, HWM: MiB of a daemon that knows $FILES files

# read_one DIR WANTED-SUM [treeread options]: MiB/s in RESULT; the pages just read are then verified.
read_one()
{
	local dir=$1 want=$2 line
	shift 2
	drop_caches
	line=$("$TREEREAD" "$@" "$dir") || die "reading $dir failed: nothing to report"
	RESULT=$(awk '{ print $8 }' <<<"$line")
	line=$("$TREEREAD" -d "$@" "$dir") || die "reading $dir failed: nothing to report"
	[ "${line##* }" = "$want" ] || die "$dir: the data is not what was written: nothing to report"
}

read_round()
{
	local order=(spill squash) side dir
	(($1 % 2)) && order=(squash spill)
	for side in "${order[@]}"; do
		dir=$NODE/tree
		[ "$side" = squash ] && dir=$NS_WORK/squash
		read_one "$dir" "$SUM_ALL"
		add "read_all_$side" "$RESULT"
		read_one "$dir" "$SUM_LARGE" -f "$LARGE"
		add "read_large_$side" "$RESULT"
	done
}

zstd_once()
{
	local t
	drop_caches
	t=$(now_s)
	tar -C "$NS_WORK/plain" -cf - tree | zstd -3 -T"$(nproc)" -q -c >/dev/null || die "tar | zstd failed"
	add zstd_s "$(since "$t")"
}
spill_once()
{
	local t
	drop_caches
	t=$(now_s)
	node_spill "$NODE/tree" || die "the tree could not be spilled"
	add spill_s "$(since "$t")"
	node_plain && return
	local n
	n=$(node_status --json | jq '.files.resident + .files.premigrated')
	[ "$n" = 0 ] || say "note: $n files were not spilled"
	add spilled_files "$(node_status --json | jq .files.spilled)"
}
stored_bytes()
{
	local f=("$NODE_STORE"/packs "$NODE_STORE"/index.db*)
	node_plain && f=("$SQUASH")
	du -sc -B1 "${f[@]}" | tail -n 1 | cut -f1
}

cold_round()
{
	local n=$1 dir=$NS_WORK/round
	mkdir -p "$dir"
	node_make "$dir" 3072 || die "cannot make the disk"
	cp -a "$TREE" "$NODE_BARE/tree" || die "cannot fill the disk"
	node_mount auto=off || die "spillfs does not mount"
	if ((n % 2)); then
		zstd_once
		spill_once
	else
		spill_once
		zstd_once
	fi
	sync
	add stored "$(stored_bytes)"
	read_round "$n"
	node_plain || [ "$(node_status --json | jq .files.spilled)" = "${R[spilled_files]##* }" ] ||
		die "reading recalled files: these were not cold reads"
	node_done
	rm -rf --one-file-system "$dir"
	say "round $n: read ${R[read_all_spill]##* } / ${R[read_all_squash]##* } MiB/s," \
		"large ${R[read_large_spill]##* } / ${R[read_large_squash]##* } MiB/s," \
		"spill ${R[spill_s]##* } / zstd ${R[zstd_s]##* } s"
}

vm_mib()
{
	awk -v k="$1:" '$1 == k { printf "%.1f", $2 / 1024 }' "/proc/$2/status"
}

memory()
{
	local dir=$NS_WORK/mem pid n
	say "$FILES small files, looked at through the mount"
	mkdir -p "$dir"
	NODE_INODES=$((FILES + FILES / 100 + 10000)) node_make "$dir" 3072 || die "cannot make the disk"
	perl -e 'my ($dir, $n) = @ARGV;
		for my $i (0 .. $n - 1) {
			my $d = sprintf("%s/%03d", $dir, $i / 1000);
			mkdir $d unless $i % 1000;
			open(my $f, ">", "$d/file-$i") or die "$d/file-$i: $!";
			print $f "contents of file $i\n";
		}' "$NODE_BARE" "$FILES" || die "cannot make $FILES files"
	node_mount auto=off || die "spillfs does not mount"
	pid=$(node_daemon)
	node_plain && pid=$$
	[ -n "$pid" ] || die "no daemon"
	n=$(find "$NODE" -type f -ls | wc -l)
	[ "$n" = "$FILES" ] || die "find sees $n files"
	n=$(find "$NODE" -type f -exec stat -c '%s %n' {} + | wc -l)
	[ "$n" = "$FILES" ] || die "stat sees $n files"
	RSS=$(vm_mib VmRSS "$pid") HWM=$(vm_mib VmHWM "$pid")
	node_done
}
