#!/bin/bash
# SPDX-License-Identifier: MIT
# What can be done to a stub: names, owners and attributes without bringing its data back; writes of each kind
# with the right data after; and its object is freed when the last name is gone.
# timeout: 300
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_daemon
t_need_tool treesum fileop
t_need setfattr getfattr jq
t_fs ext4 1G "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
t_spillfs "$T_TMP/store" "$dir"
hot=$(t_hot "$dir")
size=400000

# A new spilled file "f", its contents also in $T_TMP/f.
fresh()
{
	cd / || exit 1
	rm -rf "${dir:?}"/*
	seed=$((${seed:-0} + 1))
	t_data "$seed" $size >"$T_TMP/f"
	cp "$T_TMP/f" "$dir/f" || fail "cp"
	touch -d '2001-02-03 04:05:06.7 UTC' "$dir/f"
	t_spill "$dir/f"
	[[ $(t_state "$dir/f") == spilled ]] || fail "not spilled: $(cat "$T_TMP/ctl.out")"
	cd "$dir" || exit 1
}
# still a stub, and right
stub_is()
{
	t_want_state "$dir/$1" spilled
	t_check "hot blocks of $1" "$(stat -c %b "$hot/$1")" 0
	cmp "$T_TMP/f" "$1" || fail "$1 has other contents"
	t_check "mtime of $1" "$(stat -c %.Y "$1")" "$(date -d '2001-02-03 04:05:06.7 UTC' +%s.%N)"
}
# changed: no stub any more, same as $T_TMP/f to which the same was done
now_is()
{
	[[ $(t_state "$dir/$1") != spilled ]] || fail "$1 is still a stub after a change"
	cmp "$T_TMP/f" "$1" || fail "$1 has wrong contents after: $2"
	t_check "size of the hot file" "$(stat -c %s "$hot/$1")" "$(stat -c %s "$T_TMP/f")"
	cmp "$T_TMP/f" "$hot/$1" || fail "$1 in the hot tier has wrong contents after: $2"
	[[ $(stat -c %Y "$1") -gt 1500000000 ]] || fail "mtime did not move: $2"
	ok "$2"
}

fresh
t_must mv f g
stub_is g
mkdir d
t_must mv g d/g
t_must ln d/g h
t_must rm d/g
stub_is h
t_must chmod 4711 h
t_check mode "$(stat -c %a h)" 4711
t_must chown 1001:3000 h
t_check owner "$(stat -c '%u:%g %a' h)" "1001:3000 711"
t_must setfattr -n user.x -v 1 h
t_check xattr "$(getfattr --only-values -n user.x h)" 1
t_must setfattr -x user.x h
t_must mv h f
stub_is f
t_must touch -ha f
# touch(1) without -h opens for writing
t_must touch -h -d '2001-02-03 04:05:06.7 UTC' f
stub_is f
test -x f || fail "access"
ok "rename, link, unlink, chmod, chown, xattr, utimens leave the stub alone"

old=$(stat -c %Z f)
sleep 1.1
chmod 600 f
[[ $(stat -c %Z f) -gt $old ]] || fail "chmod of a stub does not move ctime"
ok "ctime moves with chmod"

patch() # FILE: the same change everywhere
{
	printf changed | dd of="$1" bs=1 seek=200001 conv=notrunc status=none
}
fresh; patch f; patch "$T_TMP/f"; now_is f "write in the middle"
fresh; printf end >>f; printf end >>"$T_TMP/f"; now_is f "append"
fresh; printf new >f; printf new >"$T_TMP/f"; now_is f "O_TRUNC and write"
fresh; : >f; : >"$T_TMP/f"; now_is f "O_TRUNC"
fresh; truncate -s 0 f; truncate -s 0 "$T_TMP/f"; now_is f "truncate to 0"
fresh; truncate -s 150000 f; truncate -s 150000 "$T_TMP/f"; now_is f "truncate to less"
fresh; truncate -s 900000 f; truncate -s 900000 "$T_TMP/f"; now_is f "truncate to more"
fresh; truncate -s $size f; now_is f "truncate to the same size"
fresh; fallocate -p -o 65536 -l 65536 f; fallocate -p -o 65536 -l 65536 "$T_TMP/f"; now_is f "punch"
fresh; fallocate -z -o 1000 -l 70000 f; fallocate -z -o 1000 -l 70000 "$T_TMP/f"; now_is f "zero range"
fresh; fallocate -l 1000000 f; truncate -s 1000000 "$T_TMP/f"; now_is f "fallocate to more"
fresh; dd if=/dev/zero of=f bs=4096 seek=3 count=2 conv=notrunc oflag=direct status=none
dd if=/dev/zero of="$T_TMP/f" bs=4096 seek=3 count=2 conv=notrunc status=none; now_is f "direct write"
fresh; cp --reflink=never "$T_TMP/f" src; t_must "$T_BUILD/tools/fileop" copy src f 100000 7 5000
"$T_BUILD/tools/fileop" copy src "$T_TMP/f" 100000 7 5000 ||
	dd if=src of="$T_TMP/f" iflag=skip_bytes,count_bytes oflag=seek_bytes skip=100000 seek=7 count=5000 \
		conv=notrunc status=none
now_is f "copy_file_range into a stub"
fresh; : >g; t_must "$T_BUILD/tools/fileop" copy f g 1000 0 300000
cmp <(tail -c +1001 "$T_TMP/f" | head -c 300000) g || fail "copy_file_range out of a stub"
ok "copy_file_range out of a stub"
fresh; t_must "$T_BUILD/tools/fileop" mwrite f 123456 mapped
printf mapped | dd of="$T_TMP/f" bs=1 seek=123456 conv=notrunc status=none; now_is f "store through a mapping"

# Without change: opening for writing may bring the data back but not move mtime.
fresh
exec 5<>f
exec 5>&-
t_check "mtime after open for writing and close" "$(stat -c %Y f)" "$(date -d '2001-02-03 04:05:06 UTC' +%s)"
cmp "$T_TMP/f" f || fail "open for writing changed the contents"
ok "open for writing and close"

# Unlinked while open: still readable, and still not freed.
fresh
exec 6<f
rm f
cmp "$T_TMP/f" /proc/self/fd/6 2>/dev/null || cmp "$T_TMP/f" - <&6 || fail "an unlinked open stub is not readable"
exec 6<&-
fresh
exec 6<>f
rm f
printf XX >&6
exec 6<&-
ok "unlinked while open"

# Rename of a file over a stub, and of a stub over a file.
fresh
echo other >g
t_must mv -f g f
t_check "renamed over a stub" "$(cat f)" other
fresh
echo other >g
t_must mv -f f g
stub_is g
ok "rename over"

# Freeing.
cd / || exit 1
rm -rf "${dir:?}"/*
fewer_objects()
{
	(($(t_status "$dir" .objects) <= $1))
}
t_until 60 fewer_objects 0 || fail "objects of deleted stubs stay: $(t_status "$dir" .objects)"
for i in {1..20}; do
	t_data $((1000 + i)) 50000 >"$dir/$i"
done
ln "$dir/1" "$dir/1-too"
t_spill "$dir"
t_check "objects" "$(t_status "$dir" .objects)" 20
rm "$dir/1" "$dir/2" "$dir/3"
: >"$dir/4"
cp "$T_TMP/f" "$T_TMP/g"
mv "$T_TMP/g" "$dir/5"
t_until 60 fewer_objects 16 || fail "deleted, truncated and replaced stubs keep $(t_status "$dir" .objects) objects"
sleep 2
t_check "objects that are still needed" "$(t_status "$dir" .objects)" 16
t_data 1001 50000 | cmp - "$dir/1-too" || fail "the other name of a deleted stub"
rm -rf "${dir:?}"/*
t_until 60 fewer_objects 0 || fail "objects stay"
ok "objects go with the last name"
t_check errors "$(t_status "$dir" .errors)" 0
t_ctl check -m "$dir" >"$T_TMP/check.log" 2>&1 || fail "check: $(cat "$T_TMP/check.log")"
t_umount "$dir"
