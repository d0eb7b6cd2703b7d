#!/bin/bash
# SPDX-License-Identifier: MIT
# A file is mapped and written to through the mapping, which shows in no time stamp while its pages stay dirty; the file
# is closed, and the mapping goes, while a spill of it is under way: at each of the spill's durable steps. What was stored
# last is what is read afterwards, and after mounting again.
# timeout: 200
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
T_SUPERVISOR=off # the daemon itself is what is paused
t_need_daemon
t_need jq python3
t_fs ext4 256M "$T_TMP/fs"
dir=$T_TMP/fs/dir
mkdir "$dir"
trace=$T_TMP/trace

# mapper: stores at "dirty", then at "last", each when told to, and ends.
cat >"$T_TMP/mapper.py" <<'P'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True) # mmap.mmap() would keep a descriptor
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
fd = os.open(sys.argv[1], os.O_RDWR)
p = libc.mmap(None, 300000, 3, 1, fd, 0) # PROT_READ | PROT_WRITE, MAP_SHARED
os.close(fd)
for line in sys.stdin:
    ctypes.memmove(p + 5000, line.encode(), len(line))
    print(flush=True)
libc.munmap(p, 300000)
P

fresh()
{
	rm -f "$dir/f"
	t_data $((${1:-0} + 1)) 300000 >"$dir/f"
	sync -f "$dir/f"
}
fresh
SPILLFS_FAULT_TRACE=$trace t_spillfs "$T_TMP/store" "$dir" min-age=0
t_spill "$dir/f"
steps=$(wc -l <"$trace")
t_recall "$dir/f"
t_umount "$dir"
t_expose "$dir"
((steps > 5)) || fail "a spill has only $steps steps"
for ((n = 1; n <= steps; n++)); do
	fresh "$n" # bare: nothing is mounted, and what was spilled before goes with its name
	rm -f "$trace"
	SPILLFS_FAULT=$n:wait SPILLFS_FAULT_TRACE=$trace t_spillfs "$T_TMP/store" "$dir" min-age=0
	coproc map { python3 "$T_TMP/mapper.py" "$dir/f"; }
	echo dirty >&"${map[1]}" && read -r <&"${map[0]}" || fail "the mapper does not run"
	t_ctl spill "$dir/f" >"$T_TMP/ctl.out" 2>&1 &
	ctl=$!
	t_until 10 eval '{ [[ -s $trace ]] && (($(wc -l <"$trace") >= n)); } || ! kill -0 "$ctl" 2>/dev/null' ||
		fail "step $n is not reached"
	echo "last$n" >&"${map[1]}" && read -r <&"${map[0]}" || fail "the mapper has ended"
	pid=$map_PID
	exec {map[1]}>&-
	wait "$pid" || fail "the mapper failed"
	wait "$ctl"
	t_data $((n + 1)) 300000 >"$T_TMP/want"
	printf 'last%s\n' "$n" | dd of="$T_TMP/want" bs=1 seek=5000 conv=notrunc 2>/dev/null
	cmp "$T_TMP/want" "$dir/f" || fail "step $n ($(sed -n "${n}p" "$trace")): contents differ; $(<"$T_TMP/ctl.out")"
	t_umount "$dir"
	SPILLFS_FAULT='' t_spillfs "$T_TMP/store" "$dir" min-age=0
	cmp "$T_TMP/want" "$dir/f" || fail "step $n: contents differ after mounting again"
	t_recall "$dir/f"
	t_umount "$dir"
	t_expose "$dir"
done
ok "stores through a mapping that goes at one of $steps steps of a spill"
