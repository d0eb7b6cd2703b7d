#!/bin/bash
# SPDX-License-Identifier: MIT
# Fuzz marker_decode for FUZZ_SECONDS (10) with libFuzzer.
# Inputs that once crashed live in tests/fuzz/assets/marker/ and are run first.
# timeout: 120
# parallel: yes
set -u
cd "$(dirname "$0")/../.." || exit 1
out=${BUILD:-build}/fuzz/marker
san=fuzzer,address,undefined

command -v clang >/dev/null || { echo "SKIP marker: clang is not installed"; exit 77; }
mkdir -p "$out/corpus"
if ! echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p && !n ? 0 : 0; }' |
	clang -x c -fsanitize=$san -o "$out/probe" - 2>/dev/null; then
	echo "SKIP marker: this clang has no libFuzzer (libclang-rt-dev)"
	exit 77
fi
clang -std=gnu17 -O1 -g -Iinclude -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread \
	-fsanitize=$san -fno-sanitize-recover=all -o "$out/fuzz" tests/fuzz/marker_fuzz.c \
	src/hot/*.c src/base/*.c -lcrypto -lxxhash || exit 1

# One well-formed input to start from: version 1, spilled, ctime valid, object 1, 5000 bytes.
printf '\1\3\1\0\20\0\0\0\1\0\0\0\0\0\0\0%016d\210\23\0\0\0\0\0\0%016d%4s' 0 0 sum >"$out/corpus/seed"
assets=(tests/fuzz/assets/marker/*)
if [[ -e ${assets[0]} ]]; then
	"$out/fuzz" "${assets[@]}" >"$out/log" 2>&1 || { tail -40 "$out/log"; exit 1; }
fi
"$out/fuzz" -max_len=256 -max_total_time="${FUZZ_SECONDS:-10}" -print_final_stats=1 -seed=1 \
	-artifact_prefix="$out/" "$out/corpus" >"$out/log" 2>&1 || { tail -40 "$out/log"; exit 1; }
echo "ok marker: $(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log") inputs"
