#!/bin/bash
# SPDX-License-Identifier: MIT
# Pins: what is pinned is spilled neither by the policy nor on request, by whatever name; it is recalled, or
# refused with numbers when that does not fit; pins outlive mounts; layers and images by their names.
# timeout: 200
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need jq sha256sum

dir=$T_TMP/hot store=$T_TMP/store out=$T_TMP/out

t_fs ext4 200M "$dir"

# ---- a Docker root with two images that share a layer --------------------------------------------
layer() # ID: files of a layer
{
	mkdir -p "$dir/overlay2/$1/diff/sub"
	t_data "$1a" 3000000 >"$dir/overlay2/$1/diff/big"
	t_data "$1b" 50000 >"$dir/overlay2/$1/diff/sub/small"
}
chain=
image() # NAME ID DIFF-IDS...: with layers in layerdb under their chain ids
{
	local name=$1 id=$2 d list=() cfg
	shift 2
	chain=
	for d; do
		list+=("\"sha256:$d\"")
		if [[ -z $chain ]]; then chain=$d; else
			chain=$(printf 'sha256:%s sha256:%s' "$chain" "$d" | sha256sum | cut -d' ' -f1)
		fi
		mkdir -p "$dir/image/overlay2/layerdb/sha256/$chain"
		printf %s "$(h "cache $d")" >"$dir/image/overlay2/layerdb/sha256/$chain/cache-id"
		[[ -d $dir/overlay2/$(h "cache $d") ]] || layer "$(h "cache $d")"
	done
	mkdir -p "$dir/image/overlay2/imagedb/content/sha256"
	cfg=$dir/image/overlay2/imagedb/content/sha256/$id
	printf '{"rootfs":{"diff_ids":[%s]}}' "$(IFS=,; echo "${list[*]}")" >"$cfg"
	repos+=("\"${name%:*}\":{\"$name\":\"sha256:$id\"}")
}
h() # a digest from a word
{
	printf %s "$1" | sha256sum | cut -d' ' -f1
}
repos=()
base=$(h base) app=$(h app) other=$(h other)
image app:1 "$(h cfg-app)" "$base" "$app"
image registry:5000/team/other:latest "$(h cfg-other)" "$base" "$other"
printf '{"Repositories":{%s}}' "$(IFS=,; echo "${repos[*]}")" >"$dir/image/overlay2/repositories.json"
mkdir "$dir/plain"
t_data 1 100000 >"$dir/plain/f"
ln "$dir/plain/f" "$dir/plain/link"
t_data 2 100000 >"$dir/plain/g"
base=$(h "cache $base") app=$(h "cache $app") other=$(h "cache $other")
t_spillfs "$store" "$dir" min-age=0
t_digest "$dir" >"$T_TMP/want"
sleep 0.1

# ---- paths ---------------------------------------------------------------------------------------
t_want 24 pin "$dir/nonesuch"
t_says 'No such file'
t_want 24 pin "$dir/no/such"
t_want 0 pins -m "$dir"
t_says 'nothing is pinned'
t_want 0 pin "$dir/plain/f" "$dir/overlay2/$app/diff"
t_want 0 pin "$dir/plain/f"
t_says 'pinned before'
t_want 23 spill --json "$dir"
t_want_state "$dir/plain/f" resident
t_want_state "$dir/plain/link" resident
t_want_state "$dir/overlay2/$app/diff/sub/small" resident
t_want_state "$dir/overlay2/$base/diff/big" spilled
t_check "pinned files left alone" "$(jq .files_pinned "$out")" 4
t_want 23 spill "$dir/plain/link" # by its other name
t_says '1 pinned'
t_want 0 why --json "$dir/plain/link"
t_check "why" "$(jq -r '.pinned, .reasons[0].text' "$out")" $'true\npinned by another name of it (hard link)'
t_want 0 pins --json -m "$dir"
t_check "pins" "$(jq -c '[.[] | [.path, .files, .spilled_files, .missing]]' "$out")" \
	"[[\"overlay2/$app/diff\",2,0,false],[\"plain/f\",1,0,false]]"
ok "what is pinned is not spilled"

# A pinned file that is replaced: the path is what is pinned.
t_data 3 100000 >"$dir/plain/new"
mv "$dir/plain/new" "$dir/plain/f"
t_want 23 spill "$dir/plain/f"
t_want_state "$dir/plain/f" resident
t_want 0 unpin "$dir/plain/f"
sleep 0.1
t_spill "$dir/plain/f"
t_want 24 unpin "$dir/plain/f"
t_says 'not pinned'
t_want 24 unpin "$dir/overlay2/$app/diff/big"
t_says "pinned through overlay2/$app/diff"
ok "replace, unpin"

# Spilled: pin recalls, or does not.
t_want 0 pin --no-recall "$dir/plain/g"
t_says 'stay in the store'
t_want_state "$dir/plain/g" spilled
t_want 0 pin "$dir/plain/g"
t_says 'recalled 1 file'
t_want_state "$dir/plain/g" 'premigrated resident'
t_want 0 unpin "$dir/plain/g"
t_want 0 unpin "$dir/overlay2/$app/diff"
ok "recall"

# ---- layers and images ---------------------------------------------------------------------------
t_want 24 pin -m "$dir" --image nonesuch
t_says 'no engine there has an image of this name'
t_want 24 pin -m "$dir" --layer nonesuch
t_want 0 pin -m "$dir" --layer "${base:0:12}"
t_want 0 pin -m "$dir" --image app:1
t_want 0 pin -m "$dir" --image registry:5000/team/other # :latest
t_want 0 pins --json -m "$dir"
t_check "layers pinned" "$(jq -r '.[] | [.path, .image // "-"] | join(" ")' "$out" | sort)" "$(sort <<END
overlay2/$base/diff -
overlay2/$base/diff app:1
overlay2/$app/diff app:1
overlay2/$base/diff registry:5000/team/other:latest
overlay2/$other/diff registry:5000/team/other:latest
END
)"
for l in "$base" "$app" "$other"; do
	t_want_state "$dir/overlay2/$l/diff/big" 'premigrated resident'
done
t_want 24 unpin "$dir/overlay2/$app/diff"
t_says 'pinned with the image app:1'
t_want 0 unpin -m "$dir" --image app:1
t_want 0 unpin -m "$dir" --layer "${base:0:12}"
t_spill "$dir/overlay2/$app"
t_want 23 spill "$dir/overlay2/$base" # still the other image's
t_want 0 status --json -m "$dir"
t_check "pins in status" "$(jq '.pins.count, (.pins.hot_bytes > 6000000), .pins.above_low' "$out")" $'2\ntrue\nfalse'
rm "$dir/image/overlay2/imagedb/content/sha256/"*
t_want 24 pin -m "$dir" --image app:1
t_says 'could not be understood'
ok "layers, images"

# ---- another mount, and a policy that has to spill ------------------------------------------------
rm -r "$dir/image"
t_umount "$dir"
t_spillfs "$store" "$dir" auto=on,spill=all,min-age=0,high=3,low=2,critical=90
t_until 30 t_ctl spill -q "$dir/plain" || fail "plain"
gone()
{
	[[ $(t_status "$dir" .files.spilled) -ge 5 ]]
}
t_until 40 gone || fail "the policy spills nothing: $(t_ctl status "$dir")"
t_until 20 t_ctl wait -m "$dir" --timeout 15s || fail "never idle: $(t_ctl status "$dir")"
for l in "$base" "$other"; do
	t_want_state "$dir/overlay2/$l/diff/big" 'premigrated resident'
	t_want_state "$dir/overlay2/$l/diff/sub/small" 'premigrated resident'
done
t_want_state "$dir/overlay2/$app/diff/big" spilled
t_want 0 status -m "$dir" # 6 MiB of 200 are above 2%
t_says 'PINNED     more than the low mark of 2%'
grep -q 'pinned files take' "$T_TMP/spillfs.log" "$T_TMP"/*.log || ok "(the daemon's warning goes to syslog)"
ok "pins outlive the mount; the policy keeps to them"

# What does not fit is refused, and nothing is pinned. A pin whose path is gone can be taken away.
t_want 29 pin "$dir/overlay2/$app/diff"
t_says 'below the high mark of 3%'
t_want 0 pins --json -m "$dir"
t_check "nothing was added" "$(jq length "$out")" 2
rm -r "$dir/overlay2/$other"
t_want 0 pins -m "$dir"
t_says gone
t_want 0 unpin -m "$dir" --image registry:5000/team/other:latest
t_want 0 pin --no-recall "$dir/plain"
rm -r "$dir/plain"
t_want 0 unpin "$dir/plain/"
t_want 0 pins -m "$dir"
t_says 'nothing is pinned'
t_recall "$dir"
t_ctl check -m "$dir" >"$out" 2>&1 || fail "check: $(cat "$out")"
ok "refusals"
t_umount "$dir"
