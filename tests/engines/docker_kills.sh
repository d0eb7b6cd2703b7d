#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# A Docker script (import, run, exec, commit, save, load, build, rmi, prune) over and over, with dockerd's data root on a
# spillfs mount where everything is spilled and recalled in turn, while the daemon is killed at random times and the next one
# takes over. No command of docker may fail, no file may differ from what the same steps make of a plain directory.
#
# TAKEOVER_KILLS: kills (12, and up to five times as many until one meets a request; the evidence in the notes is from
# 200, which takes ten minutes: run the script itself, tests/run ends it sooner). The test fails when no kill met a
# request, or met no step of the script: then it has shown nothing.
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/engines.sh"
. "$T_TOP/tests/lib/kills.sh"
e_init
t_need_daemon
t_need dockerd docker jq
kills=${TAKEOVER_KILLS:-12}
T_DEATHS=1

# ---- what each step must come to, made without an engine and without spillfs

# A small Debian of this machine's own programs: no network, no minute for apt.
tree=$T_TMP/tree
declare -A real=()
{
	dpkg -L base-files bash coreutils dash findutils grep sed tar gzip mawk | grep -E '^(/usr)?/(bin|sbin|lib)/|^/etc/'
	find /usr/bin/{bash,dash,sha256sum,cp,mv,ls,find,grep,sed,tar,mawk} -exec ldd {} + | grep -o '/[^ ]*\.so[^ ]*'
} | sort -u | while read -r f; do
	[[ -f $f ]] || continue
	d=${f%/*}
	real[$d]=${real[$d]-$(readlink -f "$d")} # /lib is /usr/lib
	echo "${real[$d]}/${f##*/}"
	[[ ! -L $f ]] || readlink -f "$f"
done | sort -u >"$T_TMP/files"
mkdir -p "$tree"/usr/{bin,sbin,lib,lib64} "$tree"/{dev,etc,mnt,proc,run,srv,sys,tmp,root}
for f in bin sbin lib lib64; do [[ ! -L /$f ]] || ln -s "usr/$f" "$tree/$f"; done
tar -C / --no-recursion -cf - -T "$T_TMP/files" 2>"$T_TMP/tar.err" | tar -C "$tree" --keep-directory-symlink -xpf - &&
	ln -sf dash "$tree/usr/bin/sh" && ln -sf mawk "$tree/usr/bin/awk" && echo root:x:0:0:root:/root:/bin/bash >"$tree/etc/passwd" ||
	fail "cannot make an image: $(tail -n 3 "$T_TMP/tar.err")"
chroot "$tree" sh -c 'sha256sum /usr/bin/find && mkdir /tmp/a && rmdir /tmp/a && ls /' >"$T_TMP/tree.out" 2>&1 ||
	fail "the image does not run: $(tail -n 3 "$T_TMP/tree.out")"
mkdir "$T_TMP/image"
IMG_DIR=$T_TMP/image
img_layer "$tree" "$IMG_DIR/base.tar" || fail "tar of the image"

cat >"$E_MNT/sum.sh" <<'EOT'
export LC_ALL=C
cd /
find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./mnt -o -path ./etc/hosts \
	-o -path ./etc/hostname -o -path ./etc/resolv.conf -o -path ./etc/mtab -o -path ./.dockerenv \) -prune -o -printf '%y %m %U:%G %p %l\n' | sort
find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./mnt -o -path ./etc/hosts \
	-o -path ./etc/hostname -o -path ./etc/resolv.conf -o -path ./etc/mtab -o -path ./.dockerenv \) -prune -o -type f -print0 |
	sort -z | xargs -0 sha256sum
EOT
cat >"$E_MNT/work.sh" <<'EOT'
set -e
cp -a /usr/bin /srv/bin
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	mkdir -p /srv/d/$i
	cat /usr/bin/bash /usr/bin/sed | head -c $((i * 7919)) >/srv/d/$i/new
	mv /srv/d/$i/new /srv/d/$i/file
	ln /srv/d/$i/file /srv/d/$i/link
	echo line $i >>/srv/lines
done
rm -r /srv/d/7 /srv/bin/tar
mv /srv/d /srv/e
printf patched | dd of=/usr/bin/grep bs=1 seek=70000 conv=notrunc 2>/dev/null
: >/usr/bin/mawk
chmod 0711 /usr/bin/grep
rm /usr/bin/sed
EOT
mkdir "$T_TMP/ctx"
t_data 9 400000 >"$T_TMP/ctx/data"
cat >"$T_TMP/ctx/build.sh" <<'EOT'
set -e
cp -a /usr/lib /srv/lib
cat /srv/data /usr/bin/tar >/srv/made
rm /usr/bin/tar /srv/data
EOT
cat >"$T_TMP/ctx/Dockerfile" <<'EOT'
FROM kills/base:1
COPY data build.sh /srv/
RUN sh /srv/build.sh && mv /srv/made /srv/kept
RUN cat /srv/kept >>/etc/passwd
EOT
truth()
{
	local d=$T_TMP/truth.tree
	cp -a "$tree" "$d" && mknod "$d/dev/null" c 1 3 || return 1
	eval "$2" && chroot "$d" sh -s <"$E_MNT/sum.sh" >"$T_TMP/truth.$1"
	rm -r "$d"
	[[ -s $T_TMP/truth.$1 ]] || fail "no truth of $1"
	(($(wc -l <"$T_TMP/truth.$1") > 300)) || fail "no truth of $1"
}
# shellcheck disable=SC2016 # eval
truth base true
# shellcheck disable=SC2016
truth work 'chroot "$d" bash -s <"$E_MNT/work.sh"'
# shellcheck disable=SC2016
truth built 'cp "$T_TMP"/ctx/{data,build.sh} "$d/srv/" && chroot "$d" sh /srv/build.sh && mv "$d/srv/made" "$d/srv/kept" &&
	cat "$d/srv/kept" >>"$d/etc/passwd"'

# ---- the engine on the mount

root=$T_TMP/hot
t_fs ext4 2G "$root"
t_spillfs "$T_TMP/store" "$root" min-age=0
eng_dockerd_start "$root/docker" "$T_TMP/run" || skip "does not start here: $ENG_WHY"

# d WHAT ARGS...: a command of docker; its words are kept.
d()
{
	local what=$1
	shift
	echo "$what" >"$T_TMP/step"
	dock "$@" >"$T_TMP/dock.out" 2>&1 </dev/null && return
	echo "$what: exit $?: $(tail -n 3 "$T_TMP/dock.out" | cut -c1-1000)"
	return 1
}
RUN=(--pull=never --network=none -v "$E_MNT:/mnt:ro")
# sees WHAT WANTED docker arguments...
sees()
{
	local what=$1 want=$2
	shift 2
	d "$what" "$@" && diff "$T_TMP/truth.$want" "$T_TMP/dock.out" >"$T_TMP/seen.diff" && return
	echo "$what: differs: $(head -n 6 "$T_TMP/seen.diff")"
	return 1
}
# Every layer of an archive is what the engine says it is.
archive()
{
	local want got
	rm -rf "$T_TMP/save" && mkdir "$T_TMP/save" && tar xf "$T_TMP/saved.tar" -C "$T_TMP/save" || return 1
	want=$(dock image inspect -f '{{range .RootFS.Layers}}{{println .}}{{end}}' kills/committed:1 | grep . | cut -d: -f2)
	got=$(cd "$T_TMP/save" && jq -r '.[0].Layers[]' manifest.json | while read -r l; do sha256sum <"$l"; done | cut -d' ' -f1)
	[[ -n $want && $got == "$want" ]] || { echo "saved layers: $got, want $want"; return 1; }
}
round()
{
	d import import "$IMG_DIR/base.tar" kills/base:1 &&
		sees run base run --rm "${RUN[@]}" kills/base:1 sh /mnt/sum.sh &&
		d up run -d --name worker "${RUN[@]}" kills/base:1 sleep 1000 &&
		d work exec worker bash /mnt/work.sh &&
		sees exec work exec worker sh /mnt/sum.sh &&
		d commit commit worker kills/committed:1 &&
		d save save -o "$T_TMP/saved.tar" kills/committed:1 &&
		archive &&
		d down rm -f worker &&
		d rmi rmi kills/committed:1 &&
		d load load -q -i "$T_TMP/saved.tar" &&
		sees "run of what was loaded" work run --rm "${RUN[@]}" kills/committed:1 sh /mnt/sum.sh &&
		d build build --network=none --no-cache -t kills/built:1 "$T_TMP/ctx" &&
		sees "run of what was built" built run --rm "${RUN[@]}" kills/built:1 sh /mnt/sum.sh &&
		sees "run of the first again" base run --rm "${RUN[@]}" kills/base:1 sh /mnt/sum.sh &&
		d "rmi of all" rmi kills/built:1 kills/committed:1 kills/base:1 &&
		d prune system prune -f || return 1
	echo >>"$T_TMP/rounds"
}
moves()
{
	local rc verb
	while [[ ! -e $T_TMP/stop ]]; do
		for verb in spill recall; do
			t_ctl $verb "$root" >"$T_TMP/moves.out" 2>&1
			rc=$?
			# the daemon that was asked may be the one that dies
			[[ $rc = 0 || $rc = 21 || $rc = 23 ]] || { echo "$verb: exit $rc"; cat "$T_TMP/moves.out"; return 1; }
			((rc == 21)) || echo >>"$T_TMP/moved.$verb"
		done
	done
}
script()
{
	local mover rc=0
	moves >"$T_TMP/moves.log" 2>&1 &
	mover=$!
	until [[ -e $T_TMP/stop && -s $T_TMP/rounds ]]; do
		round || { rc=1; break; }
	done
	touch "$T_TMP/stop"
	wait $mover || { cat "$T_TMP/moves.log"; rc=2; }
	return $rc
}
lines()
{
	if [[ -e $1 ]]; then wc -l <"$1"; else echo 0; fi
}

script >"$T_TMP/script.log" 2>&1 &
K_MAX=$((5 * kills))
k_under "$root" "$kills" $! script
k_alive "$root"
((K_KILLS >= kills)) || fail "only $K_KILLS kills while the script ran"
((K_MET)) || fail "no kill met a request: this shows nothing"
((${#K_STEPS[@]} > 1 || kills < 5)) || fail "all kills came in one step: ${!K_STEPS[*]}"
echo "kills by step:$(for s in "${!K_STEPS[@]}"; do printf ' %s %s,' "$s" "${K_STEPS[$s]}"; done)"
echo "rounds of the script: $(lines "$T_TMP/rounds"), spilled $(lines "$T_TMP/moved.spill") times, recalled $(
	lines "$T_TMP/moved.recall"
) times"
t_check "errors counted" "$(t_status "$root" .errors)" 0
(($(lines "$T_TMP/moved.spill") && $(lines "$T_TMP/moved.recall"))) || fail "nothing was spilled and recalled meanwhile"
bad=$(grep -Ei 'input/output error|transport endpoint|stale file handle|too many open files|bad file descriptor' "$T_TMP/run/log")
[[ -z $bad ]] || fail "dockerd's log: $(head -n 3 <<<"$bad")"
ok "docker under $K_KILLS kills"

t_ctl check -m "$root" >"$T_TMP/check.out" 2>&1 || fail "check: exit $?: $(tail -n 3 "$T_TMP/check.out")"
eng_dockerd_stop
t_umount "$root"
