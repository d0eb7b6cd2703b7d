# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # what other parts set
# A real dockerd on the plain ext4 and one on spillfs, side by side, with nothing spilled: the same images, the same
# Dockerfile, in turns. And what the FUSE file systems can hold at all. Sourced by scripts/bench.
#
#   engines_start      the archive, the context of the build, a dockerd on each of MNT[native], MNT[spillfs]
#   engines_round N    docker-load, docker-build, docker-run (ms) in R, or BAD
#   engines_stop
#   abilities          CAN["overlay NAME"], CAN["die NAME"]: yes, or "no: why", for each of HOT. The rivals do not outlive
#                      it
#
# Loading is verified by the digests of the layers' trees, the build by what its program computes from what was copied and
# compiled, a start by its output. Layers are removed between rounds, untimed.

declare -A CAN
ENGINES=() # on which file systems a dockerd runs
declare -A ENGINE_PID
STARTS=5

# The variables by which engines.sh knows its one dockerd.
engine_use()
{
	ENG_DOCK_PID=${ENGINE_PID[$1]:-}
	ENG_DOCK_RUN=/run/bench-$1
	eng_dock_argv
}

# Two layers of the benchmark's tree as docker save writes them, and a Dockerfile as people write them: packages, code,
# something compiled, something removed.
engines_data()
{
	local name ctx=$NS_WORK/context
	for name in base python; do
		img_layer "$TREE/$name" "$IMG_DIR/archives/$name.layer" || return 1
	done
	LOAD_TAR=$IMG_DIR/archives/python.tar
	img_archive "$LOAD_TAR" bench/python:1 '["/bin/sh"]' "$IMG_DIR"/archives/{base,python}.layer || return 1
	mkdir -p "$ctx/app" || return 1
	cp -r "$TREE"/python/usr/lib/python3/dist-packages/numpy/lib "$ctx/app/vendored" || return 1
	cat >"$ctx/app/main.py" <<-EOT
	import glob, numpy
	print(len(glob.glob('/srv/app/vendored/**/*.pyc', recursive=True)), int(numpy.arange(1000).sum()))
	EOT
	cat >"$ctx/Dockerfile" <<-EOT
	FROM bench/python:1
	RUN ldconfig && mkdir -p /var/cache/app && cp -a /usr/lib/python3 /var/cache/app/
	COPY app /srv/app
	RUN python3 -m compileall -q /srv/app /usr/lib/python3 /usr/lib/python3.*
	RUN rm -r /var/cache/app /usr/share/doc
	CMD ["python3", "/srv/app/main.py"]
	EOT
	WANT_BUILT="$(find "$ctx/app/vendored" -name '*.py' | wc -l) 499500"
}

engines_start()
{
	local name
	command -v dockerd >/dev/null || { absent docker "not installed; 'scripts/setup bench' installs it" && return; }
	engines_data || { absent docker "its images could not be made" && return; }
	for name in native spillfs; do
		engine_use "$name"
		if ! eng_dockerd_start "${MNT[$name]}/docker" "$ENG_DOCK_RUN" "$NS_WORK/docker-tmp"; then
			absent docker "does not start on $name: $ENG_WHY"
			return
		fi
		ENGINE_PID[$name]=$ENG_DOCK_PID ENGINES+=("$name")
	done
}

engine_load()
{
	local name=$1 top below
	timed "${ENG_DOCK[@]}" load -i "$LOAD_TAR" || return 1
	read -r top below < <(dock image inspect -f '{{.GraphDriver.Data.UpperDir}} {{.GraphDriver.Data.LowerDir}}' bench/python:1)
	same_layer python "$top" && same_layer base "$below" && add "docker-load $name" "$ELAPSED"
}
same_layer()
{
	local want
	want=$("$TREEREAD" -d "$TREE/$1") && [ "$("$TREEREAD" -d "$2" | awk '{ print $2, $4, $NF }')" = "$(
		awk '{ print $2, $4, $NF }' <<<"$want")" ] && return 0
	WHY="not verified: the layer of $1 is not what was loaded"
	return 1
}

engine_build()
{
	local name=$1 said
	timed "${ENG_DOCK[@]}" build -q --network=none --no-cache -t bench/app:1 "$NS_WORK/context" || return 1
	said=$(dock run --rm --pull=never --network=none bench/app:1 2>&1)
	[ "$said" = "$WANT_BUILT" ] && add "docker-build $name" "$ELAPSED" && return 0
	WHY="not verified: the image says '$(head -c 80 <<<"$said")', not '$WANT_BUILT'"
	return 1
}

# The first was the one that verified the build: its layers are in memory.
engine_run()
{
	local name=$1 i all=0
	for ((i = 0; i < STARTS; i++)); do
		timed "${ENG_DOCK[@]}" run --rm --pull=never --network=none bench/app:1 || return 1
		[ "$(cat "$NS_WORK/tree.log")" = "$WANT_BUILT" ] || { WHY="not verified: what the container said" && return 1; }
		all=$(awk -v a="$all" -v b="$ELAPSED" 'BEGIN { print a + b }')
	done
	add "docker-run $name" "$(awk -v a="$all" -v n=$STARTS 'BEGIN { printf "%.1f", a / n }')"
}

engines_round()
{
	local n=$1 what name
	[ ${#ENGINES[@]} = 2 ] || return 0
	for what in load build run; do
		for name in $(rotated "$n" "${ENGINES[@]}"); do
			[ -z "${BAD["docker-$what $name"]:-}" ] || continue
			WHY=
			engine_use "$name"
			"engine_$what" "$name" || bad "$name" "docker-$what" "$WHY"
			sync -f "${MNT[$name]}"
		done
	done
	for name in "${ENGINES[@]}"; do
		engine_use "$name"
		dock image rm -f bench/app:1 bench/python:1 >/dev/null 2>&1
		dock image prune -af >/dev/null 2>&1
	done
	say "round $n of docker load, build and run on ${#ENGINES[@]} file systems is done"
}

engines_stop()
{
	local name
	for name in "${!ENGINE_PID[@]}"; do
		engine_use "$name"
		eng_dockerd_stop
	done
	eng_stop_all
}

# ---- what they can hold ------------------------------------------------------------------------------------

can_overlay()
{
	local dir=${MNT[$1]}/overlay at=$NS_WORK/overlay log=$NS_WORK/overlay.log
	mkdir -p "$dir"/{lower,upper,work} "$at" && echo below >"$dir/lower/file" &&
		mount -t overlay -o "lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work" overlay "$at" 2>"$log" ||
		{ WHY="no: $(head -n 1 "$log" | sed 's/.*: //' | cut -c1-60)" && return 1; }
	# A read-only mount is what overlayfs makes of an upper directory that it cannot use.
	{ echo above >>"$at/file" && rm "$at/file" && mkdir "$at/file" && [ -z "$(ls "$at/file")" ]; } 2>"$log" ||
		WHY="no: $(sed -n 's/.*: //; $p' "$log" | cut -c1-60)"
	umount -l "$at"
	[ -z "$WHY" ]
}

# The process that answers requests is killed, with a file open on the mount; the next look must be answered.
can_die()
{
	local name=$1 dir=${MNT[$1]} pid i
	echo still-there >"$dir/open"
	exec 9<"$dir/open"
	if [ "$name" = spillfs ]; then
		pid=$(node_daemon)
	else
		# In a pid namespace of our own: the one that was started for this directory.
		pid=$(pgrep -f -- "$dir" | head -n 1)
	fi
	[ -n "$pid" ] && kill -9 "$pid" || { WHY="no daemon was found" && exec 9<&- && return 1; }
	for ((i = 0; i < 50; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	if ! { [ "$(cat <&9)" = still-there ] && echo again >"$dir/new" && [ "$(cat "$dir/new")" = again ]; } 2>"$NS_WORK/die.log"; then
		WHY="no: $(sed -n 's/.*: //; $p' "$NS_WORK/die.log" | cut -c1-60)"
	fi
	exec 9<&-
	[ -z "$WHY" ]
}

abilities()
{
	local name what
	for what in overlay die; do
		for name in "${HOT[@]}"; do
			[ "$name" = native ] && [ "$what" = die ] && continue
			node_plain && [ "$name" = spillfs ] && continue
			WHY=
			"can_$what" "$name" && CAN["$what $name"]=yes || CAN["$what $name"]=${WHY:-no}
		done
	done
}
