# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Files that are easy to get wrong when their data moves away and comes back.

AW_FRAME=131072

# t_awkward DIR [small]: fill DIR; "small" leaves out what takes long or much room.
t_awkward()
{
	local n d=$1
	mkdir -p "$d" && cd "$d" || fail "cd $d"
	: >empty
	printf x >one
	for n in $((AW_FRAME - 1)) $AW_FRAME $((AW_FRAME + 1)) $((2 * AW_FRAME)) 4095 4096 4097; do
		t_data "$n" "$n" >"size-$n"
	done
	head -c 300000 /dev/zero >zeros
	truncate -s 200000 all-hole
	head -c 500000 /dev/urandom >incompressible
	# holes at the beginning, in the middle, at the end, and all three with odd sizes
	t_data 1 70000 | dd of=hole-begin bs=65536 seek=4 status=none iflag=fullblock
	t_data 2 70000 >hole-middle
	t_data 3 70001 | dd of=hole-middle bs=65536 seek=9 conv=notrunc status=none iflag=fullblock
	t_data 4 70000 >hole-end
	truncate -s 1000003 hole-end
	for n in 1 5 6 11; do
		t_data "$n" 4096 | dd of=holes bs=4096 seek=$((n * 37)) conv=notrunc status=none
	done
	truncate -s 3333333 holes
	fallocate -l 400000 preallocated
	t_data 7 10000 | dd of=preallocated bs=10000 conv=notrunc status=none
	t_data 8 50000 >linked
	mkdir -p sub/deep
	ln linked sub/linked-too
	ln linked sub/deep/again
	t_data 9 40000 >setuid && chmod 4755 setuid
	t_data 10 40000 >setgid && chown 1001:3000 setgid && chmod 2711 setgid
	cp /bin/true program
	if command -v setcap >/dev/null; then
		t_data 11 30000 >capable
		setcap cap_net_raw+ep capable || fail "setcap"
	fi
	t_data 12 20000 >unreadable && chmod 0 unreadable
	t_data 13 20000 >xattrs
	setfattr -n user.one -v 1 xattrs && setfattr -n trusted.overlay.opaque -v y xattrs &&
		setfattr -n security.selftest -v 'a b' xattrs || fail "setfattr"
	t_data 14 20000 >acl
	setfacl -m u:1001:rw,g:3000:- acl || fail "setfacl"
	t_data 15 9000 >$'new\nline'
	t_data 16 9000 >'  blank "quote'\'' $x *'
	t_data 17 9000 >"$(printf 'n%.0s' {1..255})"
	printf 'not utf-8' >$'\xff\xfe'
	ln -s linked symlink
	ln -s /nowhere dangling
	mkfifo fifo
	mknod null c 1 3
	mknod whiteout c 0 0
	t_data 18 9000 >old && touch -d '1971-02-03 04:05:06.123456789 UTC' old
	t_data 19 9000 >future && touch -d '2090-01-01 UTC' future
	t_data 20 9000 >before-1970 && touch -d '1965-01-01 UTC' before-1970
	for n in {1..40}; do
		t_data "$n" $((n * 137)) >"sub/small-$n"
	done
	if [[ ${2:-} != small ]]; then
		t_data 21 9000000 >big
		truncate -s 5G sparse-5g
		t_data 22 100000 | dd of=sparse-5g bs=1M seek=4500 conv=notrunc status=none iflag=fullblock
		t_data 23 1000 | dd of=sparse-5g bs=1M seek=1 conv=notrunc status=none
	fi
	cd / || exit 1
}

# Everything else a user may look at: st_blocks, times to the nanosecond, and where the holes are.
t_looks()
{
	find "$1" -type f -printf '%P %s %T@ %C@ %b\0' | sort -z | tr '\0\n' '\n?'
}
