# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034 # what other parts read
# Spilled data: how fast it is read and made, how small it is, and what it takes to know many files. Sourced by
# scripts/bench.
#
#   cold_round N       one round of it on a new disk and a new store: nothing can be a duplicate of the round before
#   spilling_round N   a job on files that stay, while the tree next to them is spilled; on the ext4, while tar and zstd
#                      read and compress the same tree
#   memory             RSS, HWM: MiB of a daemon that knows $FILES files

COLD_FIO=(cold-seq-read cold-rand-read cold-mmap)
MEM_LIMIT_MIB=150
FILES=${BENCH_FILES:-300000}

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
	local side dir
	for side in $(rotated "$1" "${COLD[@]}"); do
		dir=$NODE/tree
		[ "$side" = spill ] || dir=${COLD_DIR[$side]}
		read_one "$dir" "$SUM_ALL"
		add "read_all_$side" "$RESULT"
		read_one "$dir" "$SUM_LARGE" -f "$LARGE"
		add "read_large_$side" "$RESULT"
		[ "$MODE" = quick ] || cold_fio "$side" "$dir"
	done
}

cold_fio()
{
	local side=$1 job
	export FIO_DIR=$2
	for job in "${COLD_FIO[@]}"; do
		drop_caches
		fio_run "$job" run || die "$side: $FIO_WHY: nothing to report"
		add "${job}_$side" "$(fio_value "$job")"
		check_large "$2"
	done
}

check_large()
{
	local line
	line=$("$TREEREAD" -d -f "$LARGE" "$1") && [ "${line##* }" = "$SUM_LARGE" ] ||
		die "$1: the data is not what was written: nothing to report"
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

spilling_load()
{
	if [ "$1" = spillfs ] && ! node_plain; then
		node_spill "$NODE/tree"
	else
		tar -C "$NS_WORK/plain" -cf - tree | zstd -3 -T"$(nproc)" -q -c >/dev/null
	fi
}

spilling_one()
{
	local name=$1 load value
	export FIO_DIR=$2/fio
	WHY=
	mkdir -p "$FIO_DIR"
	drop_caches
	fio_run spilling prepare || { WHY=$FIO_WHY && return 1; }
	sync -f "$FIO_DIR"
	spilling_load "$name" &
	load=$!
	sleep 0.3
	fio_run spilling run || WHY=$FIO_WHY
	kill -0 "$load" 2>/dev/null || WHY=${WHY:-the load ended before the job did}
	wait "$load" || WHY=${WHY:-the load failed}
	[ -z "$WHY" ] || return 1
	value=$(fio_value spilling)
	sync -f "$FIO_DIR"
	fio_run spilling verify || { WHY="not verified: $FIO_WHY" && return 1; }
	rm -rf "$FIO_DIR"
	add "spilling $name" "$value"
}

spilling_round()
{
	local dir=$NS_WORK/round name where
	mkdir -p "$dir"
	node_make "$dir" 3072 || die "cannot make the disk"
	cp -a "$TREE" "$NODE_BARE/tree" || die "cannot fill the disk"
	node_mount auto=off || die "spillfs does not mount"
	for name in $(rotated "$1" native spillfs); do
		where=$NODE
		[ "$name" = spillfs ] || where=$NS_WORK/plain
		[ -z "${BAD["spilling $name"]:-}" ] || continue
		spilling_one "$name" "$where" || bad "$name" spilling "$WHY"
	done
	check_large "$NODE/tree"
	node_done
	rm -rf --one-file-system "$dir"
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
