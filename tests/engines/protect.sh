#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# Images by name, with real containerd: pin --image finds the snapshots in containerd's own databases while it
# runs, protect labels the image for kubelet, and says what to run where it cannot.
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/engines.sh"

e_init
t_need containerd ctr runc jq

dir=$T_TMP/mnt store=$T_TMP/store out=$T_TMP/out
t_fs ext4 300M "$dir"
t_spillfs "$store" "$dir"
mkdir "$dir/containerd"
eng_containerd_start "$dir/containerd" "$T_TMP/run" || fail "$ENG_WHY"
export CONTAINERD_ADDRESS=$ENG_CTD_RUN/containerd.sock

IMG_DIR=$T_TMP/images
mkdir -p "$IMG_DIR/archives"
# Two images with one layer in common, the second in Kubernetes' namespace (which has snapshots of its own), and
# one that is never unpacked.
for l in one two three; do
	mkdir -p "$T_TMP/tree/$l/srv"
	t_data "$l" 2000000 >"$T_TMP/tree/$l/srv/$l"
	img_layer "$T_TMP/tree/$l" "$T_TMP/$l.layer" || fail "layer"
done
img_archive "$T_TMP/a.tar" spill/a:1 '["/bin/sh"]' "$T_TMP"/{one,two}.layer &&
	img_archive "$T_TMP/b.tar" spill/b:1 '["/bin/sh"]' "$T_TMP"/{one,three}.layer &&
	img_archive "$T_TMP/c.tar" spill/c:1 '["/bin/sh"]' "$T_TMP"/{two,three}.layer || fail "archive"
ctrd -n default image import "$T_TMP/a.tar" >/dev/null || fail "import a"
ctrd -n k8s.io image import "$T_TMP/b.tar" >/dev/null || fail "import b"
ctrd -n default image import --no-unpack "$T_TMP/c.tar" >/dev/null || fail "import c"
sync -f "$dir"
sleep 0.2

keys()
{
	t_ctl pins --json -m "$dir" | jq -r '.[].path' | sort -u
}
# What is pinned, by the file of each layer.
pinned()
{
	local k f
	for k in $(keys); do
		for f in "$dir/$k"/srv/*; do basename "$f"; done
	done | sort | xargs
}
# A snapshot with this file.
with()
{
	(cd "$dir" && find containerd -path "*/fs/srv/$1" | sed "s,/srv/$1\$,," | head -n 1)
}
t_want 0 pin -m "$dir" --image spill/a:1
t_check "layers of a" "$(pinned)" "one two"
t_want 0 pin -m "$dir" --image docker.io/spill/b:1
t_check "layers of a and b" "$(pinned)" "one one three two"
t_want 0 unpin -m "$dir" --image docker.io/spill/a:1
t_check "layers of b" "$(pinned)" "one three"
t_want 0 pin -m "$dir" --image spill/c:1
t_check "blobs of c" "$(keys | grep blobs | sed 's,.*/,,')" \
	"$(sha256sum "$T_TMP"/{two,three}.layer | cut -d' ' -f1 | sort)"
t_want 0 unpin -m "$dir" --image docker.io/spill/c:1
t_want 24 pin -m "$dir" --image spill/nothing
t_says 'no engine there has an image of this name'
ok "snapshots of images"

# What is pinned stays when everything else goes.
t_spill_some "$dir"
t_want_state "$dir/$(with three)/srv/three" resident
t_want_state "$dir/$(with two)/srv/two" spilled
t_want 0 unpin -m "$dir" --image docker.io/spill/b:1
ok "pinned against a spill"

label()
{
	ctrd -n k8s.io image ls "name==docker.io/spill/b:1" | tail -n +2
}
[[ $(label) != *pinned=pinned* ]] || fail "labelled before"
t_want 0 protect -m "$dir" spill/b:1
t_says 'ran: ctr -n k8s.io images label docker.io/spill/b:1 io.cri-containerd.pinned=pinned'
[[ $(label) == *io.cri-containerd.pinned=pinned* ]] || fail "not labelled: $(label)"
t_check "pinned" "$(pinned)" "one three"
t_want 0 protect -m "$dir" spill/a:1
t_says 'not in the namespace k8s.io'
t_want 24 protect -m "$dir" spill/nothing
t_want 23 protect --json -m "$dir" spill/nothing spill/b:1
grep -v '^spillctl:' "$out" >"$out.json"
t_check "json" "$(jq -c '[.[] | [.code, .labelled]]' "$out.json")" '[[24,null],[0,true]]'
# containerd does not answer: the pin is made, and the command is said.
eng_containerd_stop
t_want 0 unpin -m "$dir" --image docker.io/spill/b:1
CONTAINERD_ADDRESS=$T_TMP/nobody t_want 23 protect -m "$dir" spill/b:1
t_says 'to do: ctr -n k8s.io images label'
t_says 'spill/b:1: pinned in the hot tier'
ok "protect"
t_recall "$dir"
t_umount "$dir"
