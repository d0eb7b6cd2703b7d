# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # what other parts set
# What is timed on each of the file systems of bench-hot.sh: fio jobs, small operations, a tree. One piece of work is
# done on all of them, one after the other, before the next begins, and who is first changes with the round.
# The ext4 and spillfs do it REPEATS times in turns, and the median is the round's figure: what is written ends on a disk
# whose speed is not ours, and some jobs take milliseconds. Sourced by scripts/bench.
#
#   jobs_init          sizes, by $SCALE; the archive of the tree
#   jobs_round N       one round of everything; R["KEY NAME"] has the figures, BAD those that count for nothing
#   fio_run JOB SECTION   in FIO_DIR; what fio says goes to FIO_JSON. Returns 1 with FIO_WHY
#   fio_value JOB      the figure in FIO_JSON
#
# What was not verified is not a figure: each function returns 1 with WHY when anything failed or differed.

FIO_JOBS=(seq-read rand-read seq-write rand-write mixed mmap-read mmap-write direct-read direct-write direct-rand fsync
	small-files)
REPEATS=3
declare -A TRIES # of the round: values by "KEY NAME"
JOB_LIMIT=300 # seconds; a rival that hangs must not hold up the others
WHY=

jobs_init()
{
	FIO_SIZE=$(scaled 256 4)M FIO_SMALL_SIZE=$(scaled 64 1)M FIO_SYNC_SIZE=$(($(scaled 512 16) * 4))k
	FIO_COUNT=$(scaled 2000 50) FIO_SEC=$(scaled 1000 200)ms
	export FIO_SIZE FIO_SMALL_SIZE FIO_SYNC_SIZE FIO_COUNT FIO_SEC
	OPS=$(scaled 5000 200)
	FIO_JSON=$NS_WORK/fio.json
	TREE_TAR=$NS_WORK/tree.tar
	tar -C "$TREE" -cf "$TREE_TAR" python || die "cannot pack the tree"
	TREE_SUM=$("$TREEREAD" -d "$TREE/python") || die "cannot read the tree"
	TREE_SUM=${TREE_SUM##* }
	TREE_NAMES=$(find "$TREE/python" | wc -l)
}

limited()
{
	timeout --foreground -k 5 "$JOB_LIMIT" "$@"
}

# ---- fio ---------------------------------------------------------------------------------------------------

fio_run()
{
	local log=$NS_WORK/fio.log
	rm -f "$FIO_JSON"
	limited fio --section="$2" --output-format=json --output="$FIO_JSON" "$top/scripts/fio/$1.fio" >"$log" 2>&1 && return 0
	FIO_WHY=$(cat "$log" "$FIO_JSON" 2>/dev/null |
		sed -n 's/.*error on file [^ ]*: \([^:]*\):.*/\1/p; s/^fio: //p; s/^pattern: //p' | head -n 1 | cut -c1-120)
	FIO_WHY="fio $2: ${FIO_WHY:-failed}"
	return 1
}

# MiB/s for the jobs of large blocks, operations a second for the others.
fio_value()
{
	local what='(.read.iops + .write.iops)'
	[[ $1 == seq-* || $1 == direct-read || $1 == direct-write || $1 == cold-seq-read ]] &&
		what='((.read.bw_bytes + .write.bw_bytes) / 1048576)'
	jq -r ".jobs[0] | $what | . * 10 | round / 10" "$FIO_JSON"
}

# The file of the read jobs is written once and stays: it is verified each time.
fio_job()
{
	local name=$1 job=$2 value
	export FIO_DIR=${MNT[$name]}/fio
	mkdir -p "$FIO_DIR"
	if grep -q '^\[prepare\]' "$top/scripts/fio/$job.fio"; then
		if ! { grep -q '^filename=data$' "$top/scripts/fio/$job.fio" && [ -e "$FIO_DIR/data" ]; }; then
			fio_run "$job" prepare || { WHY=$FIO_WHY && return 1; }
			sync -f "$FIO_DIR"
		fi
	fi
	[ "$job" != small-files ] || mkdir -p "$FIO_DIR/small-files"
	fio_run "$job" run || { WHY=$FIO_WHY && return 1; }
	value=$(fio_value "$job")
	# What is dirty could not be dropped, and reading it back would prove nothing about what was written.
	sync -f "$FIO_DIR"
	fio_run "$job" verify || { WHY="not verified: $FIO_WHY" && return 1; }
	find "$FIO_DIR" -mindepth 1 ! -name data -delete
	sync -f "$FIO_DIR"
	try "$job $name" "$value"
}

# ---- small operations --------------------------------------------------------------------------------------

ops_job()
{
	local name=$1 dir=${MNT[$1]}/ops log=$NS_WORK/ops.log phase us
	rm -rf "$dir" && mkdir "$dir" || { WHY="cannot make a directory" && return 1; }
	if ! limited "$OPBENCH" -n "$OPS" "$dir" >"$log" 2>&1; then
		WHY="not verified: $(tail -n 1 "$log")"
		return 1
	fi
	while read -r phase _ _ _ _ us _; do
		try "$phase $name" "$us"
	done <"$log"
	rmdir "$dir"
	sync -f "${MNT[$name]}"
}

# ---- a tree ------------------------------------------------------------------------------------------------

# timed KEY NAME COMMAND...: its milliseconds go to ELAPSED; 1 with WHY when it fails
timed()
{
	local t log=$NS_WORK/tree.log
	t=$(now_s)
	limited "$@" >"$log" 2>&1 || { WHY="$1: $(tail -n 1 "$log" | cut -c1-120)" && return 1; }
	ELAPSED=$(awk -v s="$t" -v e="$(now_s)" 'BEGIN { printf "%.2f", (e - s) * 1000 }')
}

same_tree()
{
	local line
	line=$(limited "$TREEREAD" -d "$1" 2>&1) && [ "${line##* }" = "$TREE_SUM" ] && return 0
	WHY="not verified: $1 is not what was written"
	return 1
}

tree_tar()
{
	local dir=${MNT[$1]}
	timed tar -C "$dir" -xpf "$TREE_TAR" || return 1
	same_tree "$dir/python" && add "tar $1" "$ELAPSED"
}
tree_cp()
{
	local dir=${MNT[$1]}
	timed cp -a "$dir/python" "$dir/copy" || return 1
	same_tree "$dir/copy" && add "cp $1" "$ELAPSED"
}
# Five times: once is a few milliseconds. The first look, before, is not timed.
tree_find()
{
	local dir=${MNT[$1]} n
	n=$(find "$dir/python" | wc -l)
	[ "$n" = "$TREE_NAMES" ] || { WHY="not verified: find sees $n names" && return 1; }
	# shellcheck disable=SC2016 # the inner shell's
	timed sh -c 'for i in 1 2 3 4 5; do find "$1/python" -type f; done' sh "$dir" || return 1
	n=$(sort -u "$NS_WORK/tree.log" | wc -l)
	[ "$n" = "$(find "$TREE/python" -type f | wc -l)" ] || { WHY="not verified: find sees $n files" && return 1; }
	add "find $1" "$(awk -v t="$ELAPSED" 'BEGIN { printf "%.3f", t / 5 }')"
}
# -l: hard links are counted each time, whatever inode numbers a file system shows.
tree_du()
{
	local dir=${MNT[$1]} below seen
	below=$(du -sl "${RAW[$1]}/python" | cut -f1)
	du -sl "$dir/python" >/dev/null
	# shellcheck disable=SC2016 # the inner shell's
	timed sh -c 'for i in 1 2 3 4 5; do du -sl "$1/python"; done' sh "$dir" || return 1
	seen=$(cut -f1 "$NS_WORK/tree.log" | sort -u)
	[ "$seen" = "$below" ] || { WHY="not verified: du says $seen, $below are there" && return 1; }
	add "du $1" "$(awk -v t="$ELAPSED" 'BEGIN { printf "%.3f", t / 5 }')"
}
tree_rm()
{
	local dir=${MNT[$1]}
	timed rm -rf "$dir/copy" || return 1
	# Below a union a whiteout may stay, but no directory.
	[ ! -e "$dir/copy" ] && [ ! -d "${RAW[$1]}/copy" ] && add "rm $1" "$ELAPSED" && return 0
	WHY="not verified: the directory is still there"
	return 1
}
tree_clear()
{
	rm -rf "${MNT[$1]}/python" "${MNT[$1]}/copy"
}

# ---- a round -----------------------------------------------------------------------------------------------

try()
{
	TRIES[$1]="${TRIES[$1]:-} $2"
}

# on_these N KEY COMMAND...: COMMAND NAME for each of THESE in the order of round N, but for those that failed at KEY
# before
on_these()
{
	local n=$1 key=$2 name
	shift 2
	for name in $(rotated "$n" "${THESE[@]}"); do
		[ -z "${BAD["$key $name"]:-}" ] || continue
		WHY=
		"$1" "$name" "${@:2}" || bad "$name" "$key" "$WHY"
		sync -f "${MNT[$name]}" 2>/dev/null
	done
}
on_all()
{
	local THESE=("${HOT[@]}")
	on_these "$@"
}

# repeated N KEY COMMAND...: on all, and REPEATS times on ours and the reference; COMMAND tries, the medians are added
repeated()
{
	local n=$1 i key THESE=(native spillfs)
	TRIES=()
	on_all "$@"
	for ((i = 1; i < REPEATS; i++)); do
		on_these $((n + i)) "${@:2}"
	done
	for key in "${!TRIES[@]}"; do
		# shellcheck disable=SC2086 # a list
		[ -n "${BAD["$2 ${key#* }"]:-}" ] || add "$key" "$(median ${TRIES[$key]})"
	done
}

jobs_round()
{
	local n=$1 job
	for job in "${FIO_JOBS[@]}"; do
		repeated "$n" "$job" fio_job "$job"
	done
	repeated "$n" ops ops_job
	for job in tar find du cp rm; do
		on_all "$n" "$job" "tree_$job"
	done
	for job in "${HOT[@]}"; do
		tree_clear "$job"
	done
	say "round $n of the same work on ${#HOT[@]} file systems is done"
}
