#!/bin/bash
# SPDX-License-Identifier: MIT
# The tester itself: between two plain directories it finds nothing, and each planted difference it does find, with
# a trace short enough to read that shows the difference again.
# timeout: 300
# parallel: yes
. "$(dirname "$0")/../lib/lib.sh"
t_init
t_need_tool fsdiff
tool=$T_BUILD/tools/fsdiff
t_fs ext4 1G "$T_TMP/fs"
mkdir "$T_TMP/fs/a" "$T_TMP/fs/b"
mount --bind "$T_TMP/fs/b" "$T_TMP/fs/b"

"$tool" --seeds 40 "$T_TMP/fs/a" "$T_TMP/fs/b" || fail "false difference"
ok "no false difference"

for plant in errno mode data list xattr tree; do
	"$tool" --seeds 300 --plant $plant "$T_TMP/fs/a" "$T_TMP/fs/b" >"$T_TMP/out" 2>&1
	rc=$?
	((rc == 1)) || fail "planted difference '$plant': exit $rc: $(cat "$T_TMP/out")"
	n=$(sed -n 's/^trace of \([0-9]*\) operations:$/\1/p' "$T_TMP/out")
	((n >= 1 && n <= 12)) || fail "planted difference '$plant': a trace of '$n' operations"
	spec=$(sed -n 's/^replay with: --replay \([^ ]*\) .*/\1/p' "$T_TMP/out")
	"$tool" --plant $plant --replay "$spec" "$T_TMP/fs/a" "$T_TMP/fs/b" >"$T_TMP/out" 2>&1
	(($? == 1)) || fail "planted difference '$plant': the replay does not show it"
	"$tool" --replay "$spec" "$T_TMP/fs/a" "$T_TMP/fs/b" >"$T_TMP/out" 2>&1 ||
		fail "planted difference '$plant': the replay shows one without it: $(cat "$T_TMP/out")"
	ok "planted difference '$plant' is found, $n operations"
done

# A command that changes what it should not, and one that fails.
cat >"$T_TMP/touchy" <<'EOS'
#!/bin/sh
[ -f "$1" ] && touch "$1"
exit 0
EOS
chmod +x "$T_TMP/touchy"
"$tool" --seeds 20 --no-minimize --spill "$T_TMP/touchy %s" "$T_TMP/fs/a" "$T_TMP/fs/b" >"$T_TMP/out" 2>&1
(($? == 1)) && grep -q 'changes attributes' "$T_TMP/out" || fail "a command that changes mtime is not noticed"
"$tool" --seeds 20 --no-minimize --spill "false %s" "$T_TMP/fs/a" "$T_TMP/fs/b" >"$T_TMP/out" 2>&1
(($? == 1)) && grep -q 'exit code 1' "$T_TMP/out" || fail "a failing command is not noticed"
"$tool" --seeds 20 --spill "true %s" "$T_TMP/fs/a" "$T_TMP/fs/b" || fail "a harmless command is a difference"
ok "commands are watched"
