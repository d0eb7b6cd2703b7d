#!/bin/bash
# SPDX-License-Identifier: MIT
# Overlapping asynchronous O_DIRECT writes end in the order they were submitted in, as on the hot file system: fio's
# verify sees the last one. (With FUSE_ASYNC_DIO it failed in most runs.)
# timeout: 120
. "$(dirname "$0")/../lib/lib.sh"
t_need fio
t_init
t_fs ext4 512M "$T_TMP/fs"
mkdir "$T_TMP/fs/dir" "$T_TMP/fs/plain"
t_spillfs "$T_TMP/store" "$T_TMP/fs/dir"
for run in 1 2 3 4 5 6; do
	for dir in "$T_TMP/fs/plain" "$T_TMP/fs/dir"; do # a job that fails on plain ext4 would prove nothing
		timeout 60 fio --name=overlap --directory="$dir" --ioengine=libaio --direct=1 --iodepth=4 --rw=randwrite \
			--bs=4k-64k --blockalign=4k --size=24m --nrfiles=3 --numjobs=2 --verify=crc32c --verify_fatal=1 \
			--verify_backlog=64 --do_verify=1 --loops=2 --randseed="$run" --group_reporting \
			--output="$T_TMP/fio.log" >"$T_TMP/fio.err" 2>&1 ||
			fail "run $run in $dir: $(grep -ahE 'verify|err=' "$T_TMP/fio.err" "$T_TMP/fio.log" | head -n 3)"
		rm -f "$dir"/overlap*
	done
done
ok "fio verified every run"
