# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What a CI job builds: similar images, again and again, never pushed. Each is a real `docker build` on a shared
# base: changed packages, changed code, and what the build makes of both; then `docker save | ctr image import`,
# as one hands it to the node's containerd. Sourced after images.sh and engines.sh.
#
#   sci_inputs           base image and packages, from Debian's; digests of every file that goes in
#   sci_base             the base image into both engines
#   sci_build N          build image N, import it into containerd, start a container of it there. Says what failed in SCI_WHY
#   sci_start N          containers of image N, in both engines, print what they must
#   sci_verify N         every file of image N has the digest it had before it went in, in both engines
#   sci_up N, sci_down   one container of image N in each engine goes on running, until sci_down
#   sci_missing N...     the images (ENGINE/NAME) that should be there and are not, one a line
#   sci_blobs            every blob of containerd's content store has the digest that is its name

SCI_WHY=
SCI_PER_IMAGE=3          # packages of each build
SCI_DEB_KB=(200 3000)    # a package of the pool has at least and at most this much
SCI_POOL_PKGS=(python3 file less nano jq curl zstd xz-utils e2fsprogs bc tcl vim-tiny)

# Names that a container engine mounts over.
sci_sums()
{
	img_digest "$1" "$2.all" && grep -vE '  \./etc/(hosts|hostname|resolv\.conf|mtab)$' "$2.all" >"$2"
}

sci_inputs()
{
	local deb n=0 kb
	if [ -n "${SC_INPUTS-}" ] && [ -e "$SC_INPUTS/ready" ]; then
		IMG_DIR=$SC_INPUTS
		mapfile -t SCI_POOL <"$IMG_DIR/lists/chosen"
		return 0
	fi
	IMG_BASE_PKGS=(base-files base-passwd bash coreutils dash findutils grep sed tar gzip mawk dpkg python3-minimal)
	img_init "${SC_INPUTS:-$NS_WORK/images}" && img_want base && img_want pool "${SCI_POOL_PKGS[@]}" && img_download || return 1
	img_unpack base && sci_sums "$IMG_DIR/trees/base" "$IMG_DIR/base.sums" || return 1
	img_layer "$IMG_DIR/trees/base" "$IMG_DIR/archives/base.layer" || return 1
	SCI_POOL=()
	mkdir -p "$IMG_DIR/sums"
	while read -r deb; do
		kb=$(($(stat -L -c %s "$IMG_DIR/debs/$deb") / 1024))
		[ $kb -ge "${SCI_DEB_KB[0]}" ] && [ $kb -le "${SCI_DEB_KB[1]}" ] || continue
		n=$((n + 1))
		img_skeleton "$IMG_DIR/trees/deb" &&
			dpkg-deb --fsys-tarfile "$IMG_DIR/debs/$deb" |
			tar -C "$IMG_DIR/trees/deb" --keep-directory-symlink -xpf - &&
			img_digest "$IMG_DIR/trees/deb" "$IMG_DIR/sums/$n" || return 1
		rm -rf "$IMG_DIR/trees/deb"
		SCI_POOL+=("$deb")
	done <"$IMG_DIR/lists/pool"
	[ ${#SCI_POOL[@]} -gt "$SCI_PER_IMAGE" ] && printf '%s\n' "${SCI_POOL[@]}" >"$IMG_DIR/lists/chosen" &&
		: >"$IMG_DIR/ready"
}

sci_context()
{
	local n=$1 ctx=$2 i k deb
	mkdir -p "$ctx/pkg" "$ctx/src/lib"
	cp "$IMG_DIR/base.sums" "$IMG_DIR/sums/app-$n"
	for ((i = 0; i < SCI_PER_IMAGE; i++)); do
		k=$(((n + i) % ${#SCI_POOL[@]}))
		deb=${SCI_POOL[k]}
		cp -L "$IMG_DIR/debs/$deb" "$ctx/pkg/$i.deb"
		cat "$IMG_DIR/sums/$((k + 1))" >>"$IMG_DIR/sums/app-$n"
	done
	# Code: most of it as in the last build, some of it new, and an asset that is.
	awk -v n="$n" -v dir="$ctx/src/lib" 'BEGIN {
		for (m = 0; m < 60; m++) {
			f = dir "/mod" m ".py"
			for (l = 0; l < 200; l++)
				printf "def f%d(x):\n    return x * %d + %d\n", l, m * l, (m < 50 ? m : n) >f
			close(f)
		}
	}'
	head -c 1000000 /dev/urandom >"$ctx/src/asset"
	cat >"$ctx/src/main.py" <<-EOT
	import sys
	sys.path.insert(0, "/app/lib")
	import mod3, mod55
	made = open("/app/made").read() if len(sys.argv) < 2 else ""
	print("build $n", mod3.f2(1), mod55.f1(0), len(made))
	if len(sys.argv) > 1:
	    open("/app/made", "w").write("".join("%d %d\n" % (i, i * $n) for i in range(60000)))
	EOT
	cat >"$ctx/Dockerfile" <<-EOT
	FROM scenario/base:1
	ENV BUILD=$n
	COPY pkg/ /tmp/pkg/
	RUN for d in /tmp/pkg/*.deb; do dpkg-deb --fsys-tarfile \$d | tar -C / --keep-directory-symlink -xf - || exit 1; done
	COPY src/ /app/
	RUN mkdir /app/venv && cp -a /usr/lib/python3* /app/venv/ && python3 -B /app/main.py --build
	CMD ["python3", "-B", "/app/main.py"]
	EOT
	(cd "$ctx" && sha256sum pkg/*) | sed 's,  ,  ./tmp/,' >>"$IMG_DIR/sums/app-$n"
	(cd "$ctx/src" && find . -type f -exec sha256sum {} +) | sed 's,  \./,  ./app/,' >>"$IMG_DIR/sums/app-$n"
	sed -n 's,  \./usr/lib/python3,  ./app/venv/python3,p' "$IMG_DIR/base.sums" >>"$IMG_DIR/sums/app-$n"
	made=$(awk -v n="$n" 'BEGIN { for (i = 0; i < 60000; i++) printf "%d %d\n", i, i * n }' |
		tee "$NS_WORK/made" | sha256sum | cut -d' ' -f1)
	echo "$made  ./app/made" >>"$IMG_DIR/sums/app-$n"
	echo "build $n 9 $n $(stat -c %s "$NS_WORK/made")" >"$IMG_DIR/sums/says-$n"
}

# sci_try WHAT COMMAND...: its last words in SCI_WHY when it fails.
sci_try()
{
	local what=$1
	shift
	"$@" >"$NS_WORK/try.log" 2>&1 && return 0
	SCI_WHY="$what: $(tail -n 2 "$NS_WORK/try.log" | tr '\n' ' ' | tail -c 400)"
	return 1
}
sci_transfer()
{
	set -o pipefail
	dock save "scenario/app:$1" | ctrd image import -
	local rc=$?
	set +o pipefail
	return $rc
}

sci_base()
{
	sci_try "docker import" dock import "$IMG_DIR/archives/base.layer" scenario/base:1
}

sci_build()
{
	local n=$1 ctx=$NS_WORK/ctx
	rm -rf "$ctx"
	sci_context "$n" "$ctx"
	sci_try "docker build" dock build -q --network=none -t "scenario/app:$n" "$ctx" &&
		sci_try "docker save | ctr image import" sci_transfer "$n" &&
		sci_says "$(<"$IMG_DIR/sums/says-$n")" sci_run_containerd "$n" python3 -B /app/main.py
}

sci_run_containerd()
{
	local n=$1
	shift
	eng_ctr_run "docker.io/scenario/app:$n" "run-$n-$RANDOM" \
		--mount "type=bind,src=$IMG_DIR/sums/app-$n,dst=/mnt,options=rbind:ro" -- "$@"
}
sci_run_docker()
{
	local n=$1
	shift
	dock run --rm --pull=never --network=none -v "$IMG_DIR/sums/app-$n:/mnt:ro" "scenario/app:$n" "$@"
}
# says WANTED COMMAND...
sci_says()
{
	local want=$1 got
	shift
	got=$("$@" 2>&1)
	[ "$got" = "$want" ] && return 0
	SCI_WHY="$1 $2: wanted '$want', got '$(tail -n 3 <<<"$got" | cut -c1-300)'"
	return 1
}
sci_start()
{
	local want
	want=$(<"$IMG_DIR/sums/says-$1")
	sci_says "$want" sci_run_containerd "$1" python3 -B /app/main.py &&
		sci_says "$want" sci_run_docker "$1" python3 -B /app/main.py
}
sci_verify()
{
	local cmd='cd / && sha256sum --quiet -c /mnt && echo all-the-same'
	sci_says all-the-same sci_run_containerd "$1" sh -c "$cmd" &&
		sci_says all-the-same sci_run_docker "$1" sh -c "$cmd"
}

sci_up()
{
	sci_try "ctr run" ctrd run -d --cgroup "/$ENG_CGROUP/deployed" "docker.io/scenario/app:$1" deployed sleep 1000000 &&
		sci_try "docker run" dock run -d --pull=never --network=none --name deployed "scenario/app:$1" sleep 1000000
}
sci_stopped()
{
	! ctrd task ls | grep -q "^deployed .*RUNNING"
}
sci_down()
{
	dock rm -f deployed >/dev/null 2>&1
	ctrd task kill -s KILL deployed >/dev/null 2>&1
	eng_wait 10 $$ sci_stopped
	ctrd task rm deployed >/dev/null 2>&1
	ctrd container rm deployed >/dev/null 2>&1
}

sci_missing()
{
	local n
	for n; do
		echo "containerd/docker.io/scenario/app:$n"
		echo "docker/scenario/app:$n"
	done | sort >"$NS_WORK/wanted"
	"$here/lib/scenario-hook" list 2>/dev/null | cut -d' ' -f1 | sort >"$NS_WORK/there"
	comm -23 "$NS_WORK/wanted" "$NS_WORK/there"
}

sci_blobs()
{
	local bad
	# shellcheck disable=SC2012
	bad=$(cd "$1/io.containerd.content.v1.content/blobs/sha256" && sha256sum -- * | awk '$1 != $2 { print $2 }') || return 1
	SCI_WHY="blobs that are not what their name says: $bad"
	[ -z "$bad" ]
}
