# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Real container images out of Debian packages: root file systems and application layers unpacked by
# dpkg-deb, and docker-archive files made of them, which ctr, docker and podman all import.
#
# Packages come from the machine's own apt sources; nothing of its state is changed (an empty dpkg status,
# a private archive directory), but for `apt-get update` where it was never run. Maintainer scripts do not run: what an image needs of them is done in
# img_finish. Sourced; the caller has `set -u`. All functions return non-zero with a line on stderr.
#
#   img_init DIR             work directory: DIR/debs, DIR/lists, DIR/trees, DIR/archives
#   img_pick LIST            the list with each "a|b" replaced by the first that this release of Debian has
#   img_want APP PKG...      name an application and its packages ("base" first)
#   img_download             fetch all packages of all applications named so far
#   img_unpack APP           DIR/trees/APP, from the packages that base does not have (base: everything it has)
#   img_digest TREE OUT      sha256sum lines of every regular file of a tree, paths relative ("./usr/...")
#   img_layer TREE OUT.tar   a reproducible layer tar with xattrs
#   img_archive OUT.tar NAME:TAG CMD LAYER.tar...   docker-archive of one image

IMG_DIR=
IMG_BASE_PKGS=("?essential" ca-certificates libcap2-bin attr)

img_init()
{
	IMG_DIR=$1
	mkdir -p "$IMG_DIR"/{debs/partial,apt,lists,trees,archives} || return 1
	# What the machine has already need not be fetched again; apt checks size and hash of each.
	local deb
	for deb in /var/cache/apt/archives/*.deb; do
		[ -f "$deb" ] && ln -sf "$deb" "$IMG_DIR/debs/"
	done
	# The one thing that may be asked of the machine: to know what packages there are.
	img_closure base-files >/dev/null 2>&1 || apt-get -qq update >&2
	return 0
}

img_apt()
{
	apt-get -qq -y -o Dir::State::status=/dev/null -o Dir::Cache::archives="$IMG_DIR/$1" \
		-o Dir::Cache::pkgcache="$IMG_DIR/apt/pkgcache.bin" \
		-o Dir::Cache::srcpkgcache="$IMG_DIR/apt/srcpkgcache.bin" \
		-o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Debug::NoLocking=1 \
		-o Acquire::Retries=3 "${@:2}"
}

# File names of the packages that an installation of these on an empty system takes, one a line.
img_closure()
{
	local out
	# Against an empty archive directory: --print-uris leaves out what is there.
	mkdir -p "$IMG_DIR/none/partial"
	out=$(img_apt none --print-uris install "$@") || return 1
	awk '{ print $2 }' <<<"$out" | sort
}

# Not apt-cache show: it knows every name that another package mentions.
img_pick()
{
	local p alt list=()
	for p in $1; do
		for alt in ${p//|/ }; do
			LC_ALL=C apt-cache policy "$alt" | grep -q 'Candidate: [0-9]' && break
		done
		list+=("$alt")
	done
	echo "${list[*]}"
}

img_want()
{
	local app=$1 base=
	shift
	[ "$app" = base ] || base=$IMG_DIR/lists/base
	img_closure "${IMG_BASE_PKGS[@]}" "$@" >"$IMG_DIR/lists/$app.all" || {
		echo "images: no such packages: $*" >&2
		return 1
	}
	comm -23 "$IMG_DIR/lists/$app.all" "${base:-/dev/null}" >"$IMG_DIR/lists/$app"
	printf '%s\n' "$@" >>"$IMG_DIR/lists/packages"
}

img_download()
{
	local pkgs deb
	mapfile -t pkgs <"$IMG_DIR/lists/packages"
	img_apt debs --download-only install "${IMG_BASE_PKGS[@]}" "${pkgs[@]}" >"$IMG_DIR/apt/log" 2>&1 || {
		tail -n 3 "$IMG_DIR/apt/log" >&2
		return 1
	}
	cat "$IMG_DIR"/lists/*.all | sort -u | while read -r deb; do
		[ -e "$IMG_DIR/debs/$deb" ] && continue
		echo "images: apt did not fetch $deb" >&2
		return 1
	done
}

# Debian's merged /usr: the links must be there before any package is unpacked.
img_skeleton()
{
	local d
	mkdir -p "$1"/{usr/local/bin,etc,proc,sys,dev,run,tmp,root,var/tmp}
	for d in bin sbin lib lib64; do
		mkdir -p "$1/usr/$d"
		[ -e "$1/$d" ] || ln -s "usr/$d" "$1/$d"
	done
	chmod 1777 "$1/tmp" "$1/var/tmp"
}

# What maintainer scripts would have done and a container needs.
img_finish()
{
	local t=$1
	if [ -e "$t/usr/share/base-passwd/passwd.master" ]; then
		cp "$t/usr/share/base-passwd/passwd.master" "$t/etc/passwd"
		cp "$t/usr/share/base-passwd/group.master" "$t/etc/group"
		[ -e "$t/usr/bin/sh" ] || ln -s dash "$t/usr/bin/sh"
		[ -e "$t/usr/bin/awk" ] || ln -s mawk "$t/usr/bin/awk"
		: >"$t/etc/resolv.conf"
		echo 127.0.0.1 localhost >"$t/etc/hosts"
	fi
	# Alternatives that the maintainer scripts of libblas3 and liblapack3 set.
	local lib
	for lib in "$t"/usr/lib/*/{blas,lapack}/lib*.so.3; do
		[ -e "$lib" ] && ln -s "$(basename "$(dirname "$lib")")/${lib##*/}" "${lib%/*/*}/${lib##*/}"
	done
	return 0
}

img_unpack()
{
	local t=$IMG_DIR/trees/$1 deb
	rm -rf "$t" && img_skeleton "$t" || return 1
	while read -r deb; do
		dpkg-deb --fsys-tarfile "$IMG_DIR/debs/$deb" |
			tar -C "$t" --keep-directory-symlink --warning=no-timestamp -xpf - || return 1
	done <"$IMG_DIR/lists/$1"
	img_finish "$t"
}

img_digest()
{
	(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum) >"$2"
}

img_layer()
{
	tar -C "$1" --sort=name --numeric-owner --xattrs --xattrs-include='*' --format=pax \
		--pax-option=delete=atime,delete=ctime -cf "$2" .
}

# docker-archive: manifest.json, one config, one directory per layer. Layers are hard-linked, not copied, and
# the archive is written once.
img_archive()
{
	local out=$1 name=$2 cmd=$3 work ids=() layers=() history=() layer sum
	shift 3
	work=$(mktemp -d "$IMG_DIR/archives/tmp.XXXXXX") || return 1
	for layer in "$@"; do
		[ -e "$layer.sha256" ] || sha256sum <"$layer" | cut -d' ' -f1 >"$layer.sha256"
		sum=$(<"$layer.sha256")
		mkdir -p "$work/$sum" && ln -f "$layer" "$work/$sum/layer.tar" || return 1
		ids+=("\"sha256:$sum\"")
		layers+=("\"$sum/layer.tar\"")
		history+=("{\"created\":\"2024-01-01T00:00:00Z\",\"created_by\":\"$(basename "$layer")\"}")
	done
	local arch
	arch=$(dpkg --print-architecture)
	printf '{"architecture":"%s","os":"linux","created":"2024-01-01T00:00:00Z","config":{"Cmd":%s,%s},%s}' \
		"$arch" "$cmd" '"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]' \
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$(IFS=,; echo "${ids[*]}")]},$(
		)\"history\":[$(IFS=,; echo "${history[*]}")]" >"$work/config.json"
	sum=$(sha256sum <"$work/config.json" | cut -d' ' -f1)
	mv "$work/config.json" "$work/$sum.json"
	printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":[%s]}]' "$sum" "$name" \
		"$(IFS=,; echo "${layers[*]}")" >"$work/manifest.json"
	(cd "$work" && tar --hard-dereference -cf "$out" -- *) || return 1
	rm -rf "$work"
}
