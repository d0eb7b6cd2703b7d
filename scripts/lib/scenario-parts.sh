# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The parts of scripts/scenario, which sources this: the plain disk, then spillfs with what happens to it.

SC_IMAGES=() # numbers of the images that were built with spillfs
SC_ROWS=()   # the table

part_begin()
{
	scn_peak
	scn_kubelet "$1"
}
# part_end NAME EXPECTED-IMAGES...: row of the table. PART_LOST: images that are gone.
part_end()
{
	local name=$1 stored=-
	shift
	scn_kubelet_end
	scn_peak_end
	PART_LOST=0
	[ $# = 0 ] || PART_LOST=$(sci_missing "$@" | wc -l)
	node_plain || stored=$(du -sm "$NODE_STORE" 2>/dev/null | cut -f1)
	SC_ROWS+=("$name|$((2 * $#))|$PART_LOST|$(scn_saw samples)|$(scn_saw min_avail_pct)|$(scn_saw max_ms)|$(
		scn_saw gc_runs)+$(scn_saw evictions)|$(scn_saw deleted)|$SCN_PEAK|${stored:--}")
}
# What kubelet saw, when nothing may be deleted.
no_deletion()
{
	local k
	[ "$(scn_saw samples)" -gt 5 ] || SCI_WHY="it hardly ever looked"
	for k in gc_runs evictions deleted delete_failed; do
		[ "$(scn_saw $k)" = 0 ] || SCI_WHY="$k=$(scn_saw $k): $(grep -E 'GC|eviction' "$SCN_SUMMARY.log" | head -n 2 | tr '\n' ';')"
	done
	[ -z "$SCI_WHY" ]
}
part_no_reason()
{
	check "kubelet asked $(scn_saw samples) times, saw at least $(scn_saw min_avail_pct)% available, deleted nothing" no_deletion
	check "statfs always answered, at the latest after $(scn_saw max_ms) ms" \
		[ "$(scn_saw errors)$(scn_saw late)" = 00 ]
}

# builds FROM TO: each must succeed.
builds()
{
	local n why
	for ((n = $1; n <= $2; n++)); do
		if sci_build "$n"; then
			SC_IMAGES+=("$n")
			say "app:$n   disk $(node_used_pct)%"
		else
			why=$SCI_WHY
			check "app:$n: $why" false
		fi
	done
}

# ---- without spillfs ------------------------------------------------------------------------------------

part_plain()
{
	local n built=() why=
	step "Without spillfs: a $SC_DISK_MB MiB disk, builds until something is lost (at most $SC_PLAIN_MAX)"
	export SPILLFS_TEST_PLAIN=1
	mkdir -p "$NS_WORK/plain"
	scn_make "$NS_WORK/plain" "$SC_DISK_MB" && scn_mount || die "cannot make the disk"
	scn_engines || cannot "engines do not start here, on a plain file system: $ENG_WHY"
	part_begin plain
	if sci_base; then
		for ((n = 1; n <= SC_PLAIN_MAX; n++)); do
			if sci_build "$n"; then
				built+=("$n")
				say "app:$n   disk $(node_used_pct)%"
			else # the next job tries its luck, as a CI server's does
				why="build $n failed: $SCI_WHY"
				say "${why:0:160}"
				sleep $((SC_MIN_AGE_MS / 1000 + 1))
			fi
			[ -z "$(sci_missing "${built[@]}")" ] || break
		done
	else
		why=$SCI_WHY
		say "$why"
	fi
	# What is too young to be deleted now will not be in a while.
	sleep $((SC_MIN_AGE_MS / 1000 + SC_GC_MS / 1000 + 1))
	part_end "plain disk" "${built[@]}"
	check "images were lost: $PART_LOST of $((2 * ${#built[@]})) deleted by kubelet's rules${why:+, and a build failed}" \
		[ "$PART_LOST" -gt 0 ]
	[ "$(scn_saw deleted)" = 0 ] || grep deleted "$SCN_SUMMARY.log" | head -n 3 | sed 's/^/          /'
	scn_done
	unset SPILLFS_TEST_PLAIN
	rm -rf --one-file-system "$NS_WORK/plain"
}

# ---- with spillfs -----------------------------------------------------------------------------------------

part_spillfs()
{
	local last
	step "With spillfs: the same disk, its store on another, $SC_BUILDS builds"
	mkdir -p "$NS_WORK/spill"
	scn_make "$NS_WORK/spill" "$SC_DISK_MB" "$SC_STORE_MB" || die "cannot make the disks"
	scn_mount 2>>"$NS_WORK/spillfs.log" || die "spillfs does not mount: $(tail -n 2 "$NS_WORK/spillfs.log")"
	scn_engines || die "engines start on a plain file system, but not on spillfs: $ENG_WHY"
	part_begin builds
	check "base image" sci_base
	builds 1 1
	check "containers of app:1 run from now on" sci_up 1
	builds 2 "$SC_BUILDS"
	part_end builds "${SC_IMAGES[@]}"
	part_no_reason
	check "every image is there" [ "$PART_LOST" = 0 ]
	last=$SC_BUILDS

	! wanted store || part_store $((last + 1)) $((last + SC_STORE_BUILDS))
	last=$((last + SC_STORE_BUILDS))
	! wanted kills || part_kills $((last + 1)) $((last + SC_KILL_BUILDS))
	SC_LOGICAL_MB=$(du -sm "$NODE" 2>/dev/null | cut -f1)
	check "images use more than the disk has: $SC_LOGICAL_MB MiB on $SC_DISK_MB MiB" [ "$SC_LOGICAL_MB" -gt "$SC_DISK_MB" ]
	! wanted restart || part_restart
	! wanted verify || part_verify
	scn_done
}

part_store()
{
	local go
	step "The store's disk does not answer for $SC_AWAY seconds; builds $1 to $2 meanwhile"
	part_begin store
	scn_store_stop
	(
		sleep "$SC_AWAY"
		scn_store_go
	) &
	go=$!
	builds "$1" "$2"
	wait $go
	say "the store answers again"
	check "an image from before starts: app:1" sci_start 1
	part_end "store away" "${SC_IMAGES[@]}"
	part_no_reason
	check "every image is there" [ "$PART_LOST" = 0 ]
}

part_kills()
{
	step "The daemon is killed every $SC_KILL_EVERY seconds; builds $1 to $2 meanwhile"
	part_begin kills
	scn_killer $SC_KILL_EVERY
	builds "$1" "$2"
	check "an image from before starts: app:1" sci_start 1
	scn_killer_end
	part_end "daemon killed" "${SC_IMAGES[@]}"
	check "killed $SCN_KILLS times; $(node_status --json | jq -r .daemons) daemons so far" [ "$SCN_KILLS" -ge 2 ]
	part_no_reason
	check "every image is there" [ "$PART_LOST" = 0 ]
}

bare_list()
{
	find "$NODE_BARE" -xdev -printf '%i %y %s %P\n' | sort | sha256sum
}
fails_with() # RC COMMAND...
{
	local want=$1 rc
	shift
	"$@" >"$NS_WORK/fails.log" 2>&1
	rc=$?
	[ $rc = "$want" ] || say "exit code $rc: $(tail -n 2 "$NS_WORK/fails.log")"
	[ $rc = "$want" ]
}
read_only()
{
	LC_ALL=C touch "$NODE/x" 2>&1 | grep -q "Read-only file system"
}
no_engine()
{
	local up=0
	if eng_containerd_start "$NODE/containerd" /run/scenario-guard-ctd; then
		up=1
		eng_containerd_stop
	fi
	if eng_dockerd_start "$NODE/docker" /run/scenario-guard-dock; then
		up=1
		eng_dockerd_stop
	fi
	[ $up = 0 ] && ENG_WHY='' && return
	ENG_WHY="an engine came up on the guard"
	return 1
}

part_restart()
{
	local before after
	step "Restart without the store: everything stopped, the store's disk unmounted"
	sci_down
	eng_stop_all
	SC_CTD_RUN='' SC_DOCK_RUN=''
	part_begin restart
	check "umount" scn_umount
	check "the store's disk goes" scn_store_off
	before=$(bare_list)
	check "spillfs says that the store is missing (exit code 10)" fails_with 10 scn_mount
	check "the directory is read-only" read_only
	check "no file and no stub is to be seen there" [ -z "$(find "$NODE" -xdev -type f)" ]
	check "neither engine starts" no_engine
	sleep 3
	after=$(bare_list)
	check "nothing changed below" [ "$before" = "$after" ]
	step "The store is back"
	check "its disk" scn_store_on
	check "spillfs" scn_mount
	check "the engines" scn_engines
	sleep 2
	part_end "restart" "${SC_IMAGES[@]}"
	part_no_reason
	check "every image is there" [ "$PART_LOST" = 0 ]
}

part_verify()
{
	local n bad=0
	step "All ${#SC_IMAGES[@]} images, in both engines: start, and the digest of every file"
	for n in "${SC_IMAGES[@]}"; do
		sci_start "$n" && sci_verify "$n" || {
			say "app:$n: $SCI_WHY"
			bad=$((bad + 1))
		}
	done
	check "$((${#SC_IMAGES[@]} - bad)) of ${#SC_IMAGES[@]} start and have the digests of their $(
		cat "$IMG_DIR"/sums/app-* | wc -l) files" [ $bad = 0 ]
	check "containerd's blobs are what their names say" sci_blobs "$NODE/containerd"
	check "spillctl check finds nothing wrong" eval '"$NODE_BIN/spillctl" check -m "$NODE" >"$NS_WORK/check.log" 2>&1'
	eng_stop_all
	SC_CTD_RUN='' SC_DOCK_RUN=''
}

table()
{
	local r a
	step "Summary ($((SECONDS - T0)) s, disk $SC_DISK_MB MiB, images $SC_LOGICAL_MB MiB)"
	printf '    %-14s %6s %5s %7s %9s %7s %9s %7s %6s %7s\n' "" images lost samples 'min avail' 'max ms' 'gc+evict' \
		deleted 'disk %' 'stored'
	for r in "${SC_ROWS[@]}"; do
		IFS='|' read -ra a <<<"$r"
		printf '    %-14s %6s %5s %7s %8s%% %7s %9s %7s %6s %7s\n' "${a[@]}"
	done
}
