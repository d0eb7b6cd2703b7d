#!/bin/bash
# SPDX-License-Identifier: MIT
# Fuzz the readers of kubelet's and engines' configuration for FUZZ_SECONDS (15) with libFuzzer.
# Inputs that once crashed live in tests/fuzz/assets/conf/ and are run first.
# timeout: 240
# parallel: yes
set -u
cd "$(dirname "$0")/../.." || exit 1
out=${BUILD:-build}/fuzz/conf
san=fuzzer,address,undefined

command -v clang >/dev/null || { echo "SKIP conf: clang is not installed"; exit 77; }
mkdir -p "$out/corpus"
if ! echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p && !n ? 0 : 0; }' |
	clang -x c -fsanitize=$san -o "$out/probe" - 2>/dev/null; then
	echo "SKIP conf: this clang has no libFuzzer (libclang-rt-dev)"
	exit 77
fi
clang -std=gnu17 -O1 -g -Iinclude -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread \
	-fsanitize=$san -fno-sanitize-recover=all -o "$out/fuzz" tests/fuzz/conf_fuzz.c \
	src/doctor/{conf,toml,yaml,json,quantity}.c src/base/*.c -lyaml -ljansson -lcrypto -lxxhash || exit 1

printf '\0version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n a = "\\u00e4" # x\n' >"$out/corpus/toml1"
printf '\0[[t]]\na.b = [1, {c = \x27d\x27}, """\nx\\\n y"""]\n[[t]]\n' >"$out/corpus/toml2"
printf '\1kind: K\nevictionHard:\n  imagefs.available: "15%%"\nl:\n- a: 1h30m\n- [b, {c: 1Gi}]\n' >"$out/corpus/yaml"
printf '\2{"data-root": "/x", "features": {"a": true}, "l": [1, 2.5, null, "5%%"]}\n' >"$out/corpus/json"
assets=(tests/fuzz/assets/conf/*)
if [[ -e ${assets[0]} ]]; then
	"$out/fuzz" "${assets[@]}" >"$out/log" 2>&1 || { tail -40 "$out/log"; exit 1; }
fi
"$out/fuzz" -max_len=8192 -max_total_time="${FUZZ_SECONDS:-15}" -print_final_stats=1 -seed=1 \
	-artifact_prefix="$out/" "$out/corpus" >"$out/log" 2>&1 || { tail -40 "$out/log"; exit 1; }
echo "ok conf: $(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log") inputs"
