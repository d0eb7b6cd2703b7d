#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzz the parsers of src/store for FUZZ_SECONDS (20). With clang's libFuzzer where there is one, else the
# harness's own mutations with gcc and the sanitizers. Exit 0: nothing found; the input that crashes is
# left in FUZZ_KEEP (build/fuzz).
# parallel: yes
set -eu
cd "$(dirname "$0")/../.."
secs=${FUZZ_SECONDS:-20}
keep=${FUZZ_KEEP:-build/fuzz}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
flags="-std=gnu17 -g -O1 -Iinclude -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread -fno-omit-frame-pointer"
flags="$flags -fno-sanitize-recover=all"
src="tests/fuzz/store_pack_fuzz.c src/store/*.c src/base/*.c"
libs="-lzstd -lcrypto -lxxhash"
mkdir -p "$keep" "$tmp/corpus"

# Seeds from a build that does check sums.
# shellcheck disable=SC2086
${CC:-cc} $flags -fsanitize=address,undefined -DFUZZ_STANDALONE -o "$tmp/seed" $src $libs
"$tmp/seed" --seed "$tmp/corpus"

# shellcheck disable=SC2086
if clang $flags -fsanitize=fuzzer,address,undefined -DSPILL_FUZZ_NO_CHECKSUM -o "$tmp/fuzz" $src $libs \
	2>/dev/null; then
	"$tmp/fuzz" -max_total_time="$secs" -max_len=65536 -rss_limit_mb=1024 -malloc_limit_mb=256 \
		-timeout=10 -artifact_prefix="$keep/" -print_final_stats=1 -verbosity=0 "$tmp/corpus" \
		2>&1 | tail -15 >"$tmp/log" || true
	cat "$tmp/log"
	if ls "$keep"/crash-* "$keep"/oom-* "$keep"/timeout-* "$keep"/leak-* >/dev/null 2>&1; then
		echo "FAIL fuzz store_pack: see $keep"
		exit 1
	fi
else
	# shellcheck disable=SC2086
	${CC:-cc} $flags -fsanitize=address,undefined -DFUZZ_STANDALONE -DSPILL_FUZZ_NO_CHECKSUM \
		-o "$tmp/fuzz" $src $libs
	"$tmp/fuzz" "$secs" "$tmp"/corpus/*
fi
echo "ok fuzz store_pack"
