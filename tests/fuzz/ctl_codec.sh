#!/bin/bash
# SPDX-License-Identifier: MIT
# Fuzz the control protocol's codec for FUZZ_SECONDS (15) with libFuzzer.
# Inputs that once crashed live in tests/fuzz/assets/ctl_codec/ and are run first.
# timeout: 120
# parallel: yes
set -u
cd "$(dirname "$0")/../.." || exit 1
out=${BUILD:-build}/fuzz/ctl_codec
san=fuzzer,address,undefined

command -v clang >/dev/null || { echo "SKIP ctl_codec: clang is not installed"; exit 77; }
mkdir -p "$out/corpus"
if ! echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p && !n ? 0 : 0; }' |
	clang -x c -fsanitize=$san -o "$out/probe" - 2>/dev/null; then
	echo "SKIP ctl_codec: this clang has no libFuzzer (libclang-rt-dev)"
	exit 77
fi
clang -std=gnu17 -O1 -g -Iinclude -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread \
	-fsanitize=$san -fno-sanitize-recover=all -o "$out/fuzz" tests/fuzz/ctl_codec_fuzz.c \
	src/ctl/codec.c src/ctl/name.c src/base/*.c -ljansson -lcrypto -lxxhash || exit 1

printf '\7{"verb":"spill","path":"a/\\u00e4","path_hex":"612fff"}\n' >"$out/corpus/request"
printf '\100{"event":"progress","files_done":12,"x":[1,2.5,null,true,{}]}\n{"result":{}}\n' >"$out/corpus/answer"
printf '\1[[[[{"a":[[\n\n{}\r\n"\\ud800"\n{"a":1,"a":2}\n' >"$out/corpus/garbage"
printf '\1\377\303\244\342\200\256\033[2J' >"$out/corpus/name"
assets=(tests/fuzz/assets/ctl_codec/*)
if [[ -e ${assets[0]} ]]; then
	"$out/fuzz" "${assets[@]}" >"$out/log" 2>&1 || { tail -40 "$out/log"; exit 1; }
fi
"$out/fuzz" -max_len=8192 -max_total_time="${FUZZ_SECONDS:-15}" -print_final_stats=1 -seed=1 \
	-artifact_prefix="$out/" "$out/corpus" >"$out/log" 2>&1 || { tail -40 "$out/log"; exit 1; }
echo "ok ctl_codec: $(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log") inputs"
