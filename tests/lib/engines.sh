# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the engine tests share: one scenario, run by a real engine first on a plain file system and then on a
# spillfs mount where everything cold is spilled all the time; the files that containers see must be the same.
#
# A test defines these for its engine and calls e_main:
#	x_start ROOT RUN  x_stop		1 and a reason in ENG_WHY when it does not start
#	x_load ARCHIVE  x_images
#	x_run IMAGE CMD...			a container of its own, removed after; /mnt is $E_MNT, read-only
#	x_up IMAGE ID  x_exec ID CMD...  x_down ID	one that goes on
#	x_commit ID IMAGE  x_build IMAGE	new images: what the container changed; what a build makes
#	x_rmi IMAGE  x_prune
# E_FS is the hot tier's file system, E_SUB the engine's directory below the image root.

. "$T_TOP/scripts/lib/images.sh"
. "$T_TOP/scripts/lib/engines.sh"

E_FS=ext4
E_SUB=engine
E_SPILL_OPTS=auto=on,high=30,low=10,min-age=1s,interval=1s

# A pid namespace around all: shims leave their parents, and must not outlive the test. Then t_init's mount
# namespace, and a private /run in it.
e_init()
{
	if [[ -z ${E_INNER:-} ]]; then
		[[ $(id -u) == 0 ]] || skip "needs root"
		# sh stays pid 1 so that t_init sees a mount namespace to leave.
		E_INNER=1 exec env -u T_UNSHARED unshare --mount --pid --fork --kill-child --mount-proc \
			sh -c '"$0" "$@"; exit $?' "$0" "${T_ARGS[@]}"
	fi
	[[ -n ${T_UNSHARED:-} ]] || eng_private_run || fail "no private /run"
	t_init
	trap e_cleanup EXIT
	E_MNT=$T_TMP/mnt
	E_LOOP=
	mkdir -p "$E_MNT"
}

e_cleanup()
{
	local rc=$?
	[[ -z $E_LOOP ]] || { kill "$E_LOOP"; wait "$E_LOOP"; } 2>/dev/null
	[[ $rc == 0 || $rc == 77 ]] || tail -n 15 "$T_TMP"/run*/log 2>/dev/null
	eng_stop_all
	(exit "$rc")
	t_cleanup
}

# ---- images ------------------------------------------------------------------------------------------------

e_images()
{
	local t
	IMG_BASE_PKGS=(base-files base-passwd bash coreutils dash findutils grep sed tar gzip mawk util-linux
		libcap2-bin attr)
	img_init "$T_TMP/images"
	img_want base && img_want python python3 && img_download && img_unpack base && img_unpack python ||
		skip "no packages to make images of: $(tail -n 1 "$T_TMP/images/apt/log" 2>/dev/null)"
	e_odd_below "$IMG_DIR/trees/base"
	e_odd "$IMG_DIR/trees/odd"
	for t in base python odd; do
		img_layer "$IMG_DIR/trees/$t" "$IMG_DIR/archives/$t.layer" || fail "tar of $t"
	done
	img_archive "$IMG_DIR/archives/base.tar" spill/base:1 '["/bin/sh"]' "$IMG_DIR"/archives/base.layer &&
		img_archive "$IMG_DIR/archives/odd.tar" spill/odd:1 '["/bin/sh"]' \
			"$IMG_DIR"/archives/{base,python,odd}.layer || fail "cannot make the archives"
	e_scripts
}

# What the odd layer hides and replaces.
e_odd_below()
{
	mkdir -p "$1"/odd/{hidden,replaced/old}
	echo hidden >"$1/odd/hidden/file"
	echo below >"$1/odd/whited-out"
	echo below >"$1/odd/replaced/old/file"
	echo below >"$1/odd/changed"
}

# A layer of everything that an archive can hold and a file system can get wrong.
e_odd()
{
	local o=$1/odd long
	long=$(printf 'n%.0s' {1..200})
	mkdir -p "$o"/{replaced,dir,sticky,setgid,gone}
	: >"$o/.wh.whited-out"
	: >"$o/.wh.hidden"
	: >"$o/replaced/.wh..wh..opq"
	echo new >"$o/replaced/new"
	echo above >"$o/changed"
	t_data 1 300000 >"$o/plain"
	ln "$o/plain" "$o/hardlink"
	ln "$o/plain" "$o/dir/hardlink"
	t_data 2 131072 >"$o/frame"
	t_data 3 131073 >"$o/frame+1"
	t_data 4 5000000 >"$o/big"
	: >"$o/empty"
	printf x >"$o/one"
	truncate -s 20M "$o/sparse"
	printf end >>"$o/sparse"
	echo to-be-removed >"$o/gone/file"
	t_data 5 70000 >"$o/$long"
	ln -s ../odd/plain "$o/symlink"
	mkfifo "$o/fifo"
	cp "$IMG_DIR/trees/base/usr/bin/id" "$o/suid-id"
	cp "$IMG_DIR/trees/base/usr/bin/true" "$o/capable"
	chown -R 0:0 "$o"
	chown 33:44 "$o/one" "$o/setgid"
	setfattr -n user.spill.test -v "a value" "$o/frame"
	setcap cap_net_raw,cap_net_bind_service+ep "$o/capable"
	chmod 4755 "$o/suid-id"
	chmod 1777 "$o/sticky"
	chmod 2775 "$o/setgid"
	chmod 0400 "$o/big"
	find "$1" -exec touch -h -d '2020-02-02 02:02:02.123456789' {} +
}

# ---- what runs inside containers -----------------------------------------------------------------------

e_scripts()
{
	# One line for each thing a container sees; times only where no run made them anew.
	cat >"$E_MNT/sum.sh" <<-'EOT'
	export LC_ALL=C
	cd /
	list() {
		find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./mnt \
			-o -path ./etc/hosts -o -path ./etc/hostname -o -path ./etc/resolv.conf -o -path ./etc/mtab \
			-o -path ./.dockerenv -o -path ./tmp \) -prune -o "$@"
	}
	list \( -type d -printf 'd %m %U:%G %p\n' -o -mmin -600 -printf '%y %m %U:%G %n %s new %p %l\n' \
		-o -printf '%y %m %U:%G %n %s %T@ %p %l\n' \) | sort
	list -type f -print0 | sort -z | xargs -0 sha256sum
	# Names of one inode, as groups.
	list -type f -links +1 -printf '%i %p\n' | sort | awk '
		{ g[$1] = g[$1] " " $2 } END { for (i in g) print "same file:" g[i] }' | sort
	getcap -r /odd 2>/dev/null | sort
	find odd -print0 | sort -z | xargs -0 getfattr -h -d -m '^(user|security)' 2>/dev/null | grep -v '^$'
	/odd/capable && echo capable runs
	setpriv --reuid=99 --regid=99 --clear-groups /odd/suid-id -u
	EOT
	# A working container: copy-up of spilled files, renames, whiteouts, a database.
	cat >"$E_MNT/work.sh" <<-'EOT'
	set -e
	cd /odd
	echo more >>plain
	printf patched | dd of=big bs=1 seek=2500000 conv=notrunc 2>/dev/null
	: >frame
	truncate -s 100000 frame+1
	rm -r gone
	mkdir gone
	echo again >gone/new
	mv dir renamed
	ln one one-more
	chmod 0711 capable
	chown 7:8 changed
	setfattr -n user.later -v 1 symlink 2>/dev/null || setfattr -n user.later -v 1 one
	cp -a /usr/lib/python3 /odd/copied
	mv -f empty sparse
	python3 - <<-'PY'
	import sqlite3, mmap
	db = sqlite3.connect("/odd/test.db")
	assert db.execute("pragma journal_mode=wal").fetchone()[0] == "wal"
	db.execute("create table t(a integer primary key, b text)")
	for n in range(20):
	    with db:
	        db.executemany("insert into t(b) values(?)", [("row %d" % i,) for i in range(500)])
	assert db.execute("select count(*), sum(length(b)) from t").fetchone() == (10000, 67800)
	db.execute("pragma wal_checkpoint(truncate)")
	assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
	db.close()
	with open("/odd/mapped", "w+b") as f:
	    f.truncate(1 << 20)
	    m = mmap.mmap(f.fileno(), 0)
	    m[4096 * 7:4096 * 7 + 5] = b"store"
	    m.flush()
	PY
	EOT
	mkdir -p "$T_TMP/ctx"
	t_data 9 400000 >"$T_TMP/ctx/data"
	cat >"$T_TMP/ctx/Dockerfile" <<-'EOT'
	FROM spill/odd:1
	COPY data /srv/data
	RUN python3 -c "open('/srv/made', 'w').write('made' * 50000)" && rm -r /odd/replaced && mv /srv/made /srv/kept
	RUN echo appended >>/odd/hardlink && cp -a /usr/lib/python3 /srv/python3
	EOT
}

# ---- the scenario ------------------------------------------------------------------------------------------

e_step()
{
	# "$@" >FILE, with the step's name when it fails.
	local what=$1 out=$2
	shift 2
	"$@" >"$out" 2>"$T_TMP/step.out" || fail "$E_WHERE: $what: $(tail -n 3 "$T_TMP/step.out" "$out" | cut -c1-1500)"
}

# e_check_mounted COUNT: the layers that are mounted are those that the mount table names for containers below the root,
# and as many as that; none, when COUNT is 0.
e_check_mounted()
{
	local n
	[[ $E_WHERE == spillfs* ]] && ! t_plain || return 0
	n=$(grep -F ' - overlay ' /proc/self/mountinfo | grep -F "upperdir=$T_TMP/hot/" | tr ',' '\n' |
		sed -n 's/^\(lowerdir+\{0,1\}\|upperdir\)=//p' | tr : '\n' | sort -u | wc -l)
	"$SPILLCTL" layers --json -m "$T_TMP/hot" >"$T_TMP/layers" || fail "layers"
	t_check "layers that are mounted" "$(jq '[.[] | select(.mounted)] | length' "$T_TMP/layers")" "$n"
	if (($1)); then
		((n >= $1)) || fail "the mount table names $n layers only"
		t_check "kinds of them" "$(jq -r '[.[] | select(.mounted).kind] | unique | join(" ")' "$T_TMP/layers")" \
			'snapshot writable'
	else
		t_check "mounted layers without a container" "$n" 0
	fi
}

# e_scenario WHERE ROOT RUN OUT: leaves what containers saw in OUT, images in place and the engine running.
e_scenario()
{
	local out=$4
	E_WHERE=$1
	mkdir -p "$3" "$out"
	x_start "$2" "$3" || return 1
	e_step "import base" /dev/null x_load "$IMG_DIR/archives/base.tar"
	e_step "import" /dev/null x_load "$IMG_DIR/archives/odd.tar"
	e_step "run" "$out/image" x_run spill/odd:1 sh /mnt/sum.sh
	e_step "start a container" /dev/null x_up spill/odd:1 worker
	e_check_mounted 3
	e_step "exec, a working container" /dev/null x_exec worker sh /mnt/work.sh
	e_step "exec" "$out/container" x_exec worker sh /mnt/sum.sh
	e_step "commit" /dev/null x_commit worker spill/committed:1
	e_step "run of the committed image" "$out/committed" x_run spill/committed:1 sh /mnt/sum.sh
	e_step "build" /dev/null x_build spill/built:1
	e_step "run of the built image" "$out/built" x_run spill/built:1 sh /mnt/sum.sh
	e_step "exec again" "$out/container2" x_exec worker sh /mnt/sum.sh
	e_step "remove the container" /dev/null x_down worker
	e_check_mounted 0
	e_step "remove an image" /dev/null x_rmi spill/committed:1
	e_step "prune" /dev/null x_prune
	e_step "images" "$out/images" x_images
	e_step "run after removals" "$out/after" x_run spill/built:1 sh /mnt/sum.sh
}

# Spill all that can be, for ever; a failure other than "some files are in use" ends the test.
e_spill_loop()
{
	local rc
	while sleep 0.5; do
		"$SPILLCTL" spill "$1" >"$T_TMP/loop.out" 2>&1 </dev/null
		rc=$?
		[[ $rc == 0 || $rc == 23 ]] || { echo "$rc" >"$T_TMP/loop.failed"; return; }
	done
}

e_compare()
{
	local f
	for f in "$T_TMP"/native/*; do
		f=${f##*/}
		[[ -s $T_TMP/native/$f ]] || fail "the native run saw nothing: $f"
		diff "$T_TMP/native/$f" "$1/$f" >"$T_TMP/diff" ||
			fail "$f differs on $2:"$'\n'"$(head -n 30 "$T_TMP/diff")"
		ok "$2: $f: $(wc -l <"$1/$f") lines as on the plain file system"
	done
}

# Overlay on the mount, directly: no feature of the upper file system may be missed by the kernel.
e_overlay()
{
	local d=$1/overlay-test msg try
	mkdir -p "$d"/{lower,upper,work,merged}
	echo lower >"$d/lower/file"
	[[ $2 == spilled ]] && t_spill "$d/lower"
	for try in 1 2 3; do
		dmesg >"$T_TMP/dmesg.before" 2>/dev/null || break
		mount -t overlay overlay -o "lowerdir=$d/lower,upperdir=$d/upper,workdir=$d/work" "$d/merged" ||
			fail "overlay with lower and upper on $E_FS, $2, does not mount"
		echo more >>"$d/merged/file" && rm "$d/merged/file" && echo again >"$d/merged/file" ||
			fail "overlay on the mount"
		umount "$d/merged"
		msg=$(dmesg | diff "$T_TMP/dmesg.before" - | grep -E '^>.*overlayfs:' |
			grep -Ei 'not support|fall|fail|missing|degrad|invalid')
		rm -rf "$d"/{upper,work}/*
		# Others' overlays speak in the same log: only what comes each time is ours.
		[[ -n $msg ]] || break
	done
	[[ -z $msg ]] || fail "overlay on the mount, the kernel says: $msg"
	rm -rf "$d"
	ok "overlayfs takes the mount as lower and upper ($2)"
}

# After umount the guard lies over the root: nothing can be read or written there, and the engine fails.
e_fail_closed()
{
	local root=$1
	x_stop
	kill "$E_LOOP" && wait "$E_LOOP" 2>/dev/null
	E_LOOP=
	t_umount "$root"
	t_errno "Read-only file system" touch "$root/new"
	t_errno "Read-only file system" mkdir "$root/$E_SUB"
	[[ ! -e $root/$E_SUB ]] || fail "stubs are visible after umount"
	if x_start "$root/$E_SUB" "$T_TMP/run-guard"; then
		x_run spill/built:1 true && fail "the engine works on the guard"
		x_load "$IMG_DIR/archives/base.tar" >/dev/null 2>&1 && fail "the engine can write on the guard"
		x_stop
	fi
	ok "after umount the engine cannot start or write, and no stub is to be seen"
}

# e_main: native, then the mount.
e_main()
{
	local root=$T_TMP/hot before
	t_fs ext4 2G "$T_TMP/plain"
	e_scenario "plain ext4" "$T_TMP/plain/$E_SUB" "$T_TMP/run-native" "$T_TMP/native" ||
		skip "does not start here, on a plain file system either: $ENG_WHY"
	x_stop
	(($(wc -l <"$T_TMP/native/built") > 3000)) || fail "the plain run saw next to nothing"
	ok "the scenario works on plain ext4"

	t_fs "$E_FS" 1G "$root"
	t_spillfs "$T_TMP/store" "$root" "$E_SPILL_OPTS"
	e_overlay "$root" resident
	if ! t_plain; then
		e_spill_loop "$root" &
		E_LOOP=$!
	fi
	e_scenario "spillfs on $E_FS" "$root/$E_SUB" "$T_TMP/run-mount" "$T_TMP/spilled" ||
		fail "starts on a plain file system but not on the mount: $ENG_WHY"
	[[ ! -e $T_TMP/loop.failed ]] || fail "spilling failed: exit $(cat "$T_TMP/loop.failed"): $(tail -n 3 "$T_TMP/loop.out")"
	e_compare "$T_TMP/spilled" "spillfs on $E_FS"
	t_plain && return

	e_overlay "$root" spilled
	before=$(t_status "$root" .files.spilled)
	((before > 1000)) || fail "only $before files were spilled: this shows nothing"
	e_fail_closed "$root"
	t_spillfs "$T_TMP/store" "$root" "$E_SPILL_OPTS"
	# podman's database insists on the run root it was made with.
	x_start "$root/$E_SUB" "$T_TMP/run-mount" || fail "after a new mount: $ENG_WHY"
	e_step "run after a new mount" "$T_TMP/again" x_run spill/built:1 sh /mnt/sum.sh
	cmp "$T_TMP/again" "$T_TMP/native/built" || fail "after a new mount the image differs"
	ok "mounted again, the image is the same"
	x_rmi spill/built:1 && x_rmi spill/odd:1 && x_rmi spill/base:1 && x_prune || fail "rmi of all images"
	x_stop
	t_until 60 e_freed "$root" $((before / 4)) ||
		fail "images removed, $(t_status "$root" .files.spilled) of $before spilled files are still counted"
	ok "removing the images freed their spilled files"
	t_umount "$root"
}
e_freed()
{
	(($(t_status "$1" .files.spilled) < $2))
}
