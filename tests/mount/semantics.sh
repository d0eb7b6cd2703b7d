#!/bin/bash
# SPDX-License-Identifier: MIT
# Every feature of the file system that engines, package managers, databases and compilers use, one by one, on the
# plain hot file system and on the mount: the same facts come out.
# timeout: 600
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_tool semcheck treesum

for fs in ext4 xfs btrfs; do
	base=$T_TMP/$fs
	t_fs "$fs" 1G "$base"
	mkdir "$base/plain" "$base/dir"
	t_spillfs "$T_TMP/store.$fs" "$base/dir"
	mkdir "$base/dir/x"
	timeout -k 5 150 "$T_BUILD/tools/semcheck" "$base/plain" >"$T_TMP/$fs.plain" 2>&1 ||
		fail "semcheck on plain $fs: exit $?: $(tail -n 3 "$T_TMP/$fs.plain")"
	timeout -k 5 150 "$T_BUILD/tools/semcheck" "$base/dir/x" >"$T_TMP/$fs.mount" 2>&1 ||
		fail "semcheck on the mount over $fs: exit $?: $(tail -n 3 "$T_TMP/$fs.mount")"
	[[ $(wc -l <"$T_TMP/$fs.plain") -gt 200 ]] || fail "semcheck said too little"
	diff -u "$T_TMP/$fs.plain" "$T_TMP/$fs.mount" || fail "the mount differs from plain $fs"
	# What was left behind is the same too, and stays so when it is spilled.
	t_digest -M "$base/plain" >"$T_TMP/$fs.tree"
	t_same "$T_TMP/$fs.tree" "$base/dir/x" "after semcheck on $fs" -M
	t_spill_some "$base/dir/x"
	t_same "$T_TMP/$fs.tree" "$base/dir/x" "spilled, on $fs" -M
	ok "$(wc -l <"$T_TMP/$fs.plain") facts are the same on plain $fs and on the mount"
	t_umount "$base/dir"
done

# What semcheck cannot do from inside: ACLs by their own tools, with a default ACL inherited.
t_need setfacl getfacl
fs=ext4 base=$T_TMP/acl
t_fs $fs 300M "$base"
mkdir "$base/plain" "$base/dir"
t_spillfs "$T_TMP/store.acl" "$base/dir"
for d in plain dir; do
	(
		cd "$base/$d" || exit
		umask 027
		mkdir a
		setfacl -m u:1001:rwx,g:3000:r-x,d:u:1002:rw-,d:g:3000:---,d:o:--- a
		echo data >a/file
		mkdir a/sub
		chmod 0750 a/sub
		getfacl -nR a
		setfacl -b a
		getfacl -nR a
	) >"$T_TMP/acl.$d" 2>&1
done
grep -q default:user:1002:rw- "$T_TMP/acl.plain" || fail "no ACL on the plain side: $(cat "$T_TMP/acl.plain")"
diff -u "$T_TMP/acl.plain" "$T_TMP/acl.dir" || fail "ACLs differ"
ok "ACLs are the same"

# The kernel's own consumer of everything: overlayfs with upper, work and lower directory on the mount.
cd "$base/dir" || exit 1
mkdir lower upper work
mkdir lower/dir lower/gone
echo one >lower/dir/f
echo two >lower/g
if mount -t overlay none -o "lowerdir=lower,upperdir=upper,workdir=work" "$base/plain" 2>"$T_TMP/err"; then
	t_spill_some "$base/dir/lower"
	t_must rm -r "$base/plain/gone"
	t_must rm -r "$base/plain/dir"
	t_must mkdir "$base/plain/dir"
	t_check "an opaque directory" "$(ls "$base/plain/dir")" ""
	t_check "read through" "$(cat "$base/plain/g")" two
	echo three >>"$base/plain/g" || fail "copy up"
	t_check "copied up" "$(cat "$base/plain/g")" "two"$'\n'"three"
	t_must mv "$base/plain/g" "$base/plain/h"
	t_check "whiteout" "$(stat -c '%F %t:%T' upper/gone upper/g | sort -u)" "character special file 0:0"
	t_check "opaque" "$(getfattr --only-values -n trusted.overlay.opaque upper/dir 2>/dev/null)" y
	t_check "lower untouched" "$(cat lower/g lower/dir/f)" "two"$'\n'"one"
	umount "$base/plain"
	ok "overlayfs works on it"
else
	fail "overlayfs does not accept the mount: $(cat "$T_TMP/err")"
fi
cd /
