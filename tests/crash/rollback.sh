#!/bin/bash
# SPDX-License-Identifier: MIT
# One tier is put back to an older copy (a snapshot, a backup), the other is not. That is noticed; nothing is spilled or
# freed then; and what is read is right or an I/O error, never another file's bytes or zeros. Both put back to copies
# of the same moment are fine.
# timeout: 300
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
T_SUPERVISOR=off # a death is a crash here; takeover.sh has the other kind
t_need_daemon
t_need_tool treesum
t_need jq sqlite3
HOT=$T_TMP/hot DIR=$T_TMP/hot/dir STORE=$T_TMP/store

save() # NAME: both tiers, unmounted
{
	t_umount "$DIR"
	t_expose "$DIR"
	t_unfs "$HOT"
	mkdir "$T_TMP/$1"
	cp --sparse=always "$HOT.img" "$T_TMP/$1/hot.img"
	cp -a "$STORE" "$T_TMP/$1/store"
}
load() # HOT-FROM STORE-FROM: mount these
{
	rm -f "$HOT.img" # not in place: the kernel may still be detaching its loop device
	cp --sparse=always "$T_TMP/$1/hot.img" "$HOT.img"
	rm -rf "$STORE"
	cp -a "$T_TMP/$2/store" "$STORE"
	t_mount_img "$HOT.img" "$HOT"
	t_spillfs "$STORE" "$DIR"
}
drop()
{
	t_umount "$DIR"
	t_expose "$DIR"
	t_unfs "$HOT"
}
# Every file of DIR is as in one of the given plain copies, or cannot be read.
right_or_eio()
{
	local f name good was rc n_ok=0 n_eio=0
	for f in "$DIR"/*; do
		name=${f##*/}
		good=
		cat "$f" >"$T_TMP/got" 2>"$T_TMP/got.err"
		rc=$?
		if ((rc)); then
			[[ $(cat "$T_TMP/got.err") == *"Input/output error"* ]] || fail "$name: $(cat "$T_TMP/got.err")"
			n_eio=$((n_eio + 1))
			continue
		fi
		for was; do
			cmp -s "$T_TMP/got" "$T_TMP/$was/$name" && good=1
		done
		[[ -n $good ]] || fail "$name holds what it never held (size $(stat -c %s "$f"))"
		n_ok=$((n_ok + 1))
	done
	echo "right: $n_ok, I/O error: $n_eio"
	((n_ok > 0)) || fail "nothing can be read any more"
}
frozen_and_still()
{
	local before after stored
	t_check frozen "$(t_status "$DIR" .frozen)" true
	before=$(t_status "$DIR" .objects) stored=$(t_status "$DIR" .backing.stored_bytes)
	t_data 4711 100000 >"$DIR/fresh"
	t_ctl spill "$DIR" >"$T_TMP/ctl.out" 2>&1 && fail "spill is not refused"
	t_check "a fresh file" "$(t_state "$DIR/fresh")" resident
	rm "$DIR/fresh" "$DIR/both-3"
	: >"$DIR/both-4"
	sleep 4
	after=$(t_status "$DIR" .objects)
	((after >= before)) || fail "objects were freed: $before -> $after"
	(($(t_status "$DIR" .backing.stored_bytes) >= stored)) || fail "the store shrinks"
}

t_fs ext4 128M "$HOT"
mkdir "$DIR" "$T_TMP/one" "$T_TMP/two" "$T_TMP/emptied"
: >"$T_TMP/emptied/both-4"
t_spillfs "$STORE" "$DIR"

# State one: both-*, changed-* and recalled-* spilled, late-* resident.
for i in {1..8}; do
	for k in both changed recalled late; do
		t_data "$i${#k}" $((i * 11000)) >"$T_TMP/one/$k-$i"
	done
done
cp "$T_TMP/one"/* "$DIR/"
for k in both changed recalled; do
	t_spill "$DIR/$k"-*
done
save first

# State two: changed-* have new content and are spilled again; recalled-* back; late-* spilled; new-* made and spilled.
t_mount_img "$HOT.img" "$HOT"
t_spillfs "$STORE" "$DIR"
cp "$T_TMP/one"/* "$T_TMP/two/"
for i in {1..8}; do
	t_data "99$i" $((i * 11000)) >"$T_TMP/two/changed-$i"
	t_data "88$i" $((i * 7000)) >"$T_TMP/two/new-$i"
	cp "$T_TMP/two/changed-$i" "$T_TMP/two/new-$i" "$DIR/"
done
t_recall "$DIR"/recalled-*
t_spill "$DIR"/changed-* "$DIR"/late-* "$DIR"/new-*
sleep 3 # objects of the old contents are freed
save second

load first first
t_check "frozen, both from the first" "$(t_status "$DIR" .frozen)" false
right_or_eio one
t_check "errors, both from the first" "$(t_status "$DIR" .errors)" 0
drop
load second second
t_check "frozen, both from the second" "$(t_status "$DIR" .frozen)" false
right_or_eio two
t_check "errors, both from the second" "$(t_status "$DIR" .errors)" 0
drop
ok "both tiers from the same moment are fine"

load first second
right_or_eio one
frozen_and_still
right_or_eio one emptied
drop
ok "older hot tier: noticed, nothing freed, nothing wrong served"

load second first
right_or_eio two one
frozen_and_still
drop
ok "older store: noticed, nothing freed, nothing wrong served"

# It stays noticed after another mount.
load second first
drop
t_mount_img "$HOT.img" "$HOT"
t_spillfs "$STORE" "$DIR"
t_check "frozen after mounting again" "$(t_status "$DIR" .frozen)" true
right_or_eio two one
drop
ok "and stays so"

# Died right before the punch, and only an older store is left: the data below the marker is the only copy.
t_data 4712 300000 >"$T_TMP/one/only"
for try in trace kill; do
	load first first
	cp "$T_TMP/one/only" "$DIR/"
	t_umount "$DIR"
	if [[ $try == trace ]]; then
		SPILLFS_FAULT_TRACE=$T_TMP/trace t_spillfs "$STORE" "$DIR"
		t_spill "$DIR/only"
		n=$(grep -m 1 ' punch' "$T_TMP/trace" | cut -d ' ' -f 1)
		drop
	else
		SPILLFS_FAULT=$n:kill t_spillfs "$STORE" "$DIR"
		t_ctl spill "$DIR/only" >"$T_TMP/ctl.out" 2>&1 && fail "the daemon does not die at the punch"
		umount "$DIR" 2>/dev/null || umount -l "$DIR"
	fi
done
rm -rf "$STORE"
cp -a "$T_TMP/first/store" "$STORE"
sqlite3 "$STORE/index.db" "UPDATE meta SET v = 0 WHERE k = 'clean'" # as in a snapshot taken while it was mounted
t_spillfs "$STORE" "$DIR"
t_check "frozen, died at the punch" "$(t_status "$DIR" .frozen)" true
scanned()
{
	[[ $(t_status "$DIR" .files.resident) != null ]]
}
t_until 20 scanned || fail "the scan does not end"
cmp "$(t_run_dir "$DIR")/hot/only" "$T_TMP/one/only" || fail "the only copy is gone"
right_or_eio one
drop
ok "older store after a crash at the punch: the hot data stays"

# A store copied while a file went on there, and more was written after: an older copy, too.
load first first
drop
t_mount_img "$HOT.img" "$HOT"
T_OPTS=auto=on,low=1,high=2,critical=3,interval=1h,min-age=1h
t_spillfs "$STORE" "$DIR" "$T_OPTS"
t_data 4713 20000000 >"$DIR/grows" || fail "write"
sync "$DIR/grows"
t_check "state of a file that grew" "$(t_state "$DIR/grows")" partial
sleep 3 # a new epoch comes within a second or two of the last write
rm -rf "$T_TMP/first/store"
cp -a "$STORE" "$T_TMP/first/store"
t_data 4714 5000000 | dd of="$DIR/grows" bs=1M seek=8 conv=notrunc status=none || fail "write"
sync "$DIR/grows"
sleep 3
t_kill9 "$DIR"
umount "$DIR" 2>/dev/null || umount -l "$DIR"
rm -rf "$STORE"
cp -a "$T_TMP/first/store" "$STORE"
t_spillfs "$STORE" "$DIR" "$T_OPTS"
t_check "frozen, an older copy of what a file had there" "$(t_status "$DIR" .frozen)" true
t_errno "Input/output error" cat "$DIR/grows"
drop
ok "older store with a partial file: noticed, and not served"
