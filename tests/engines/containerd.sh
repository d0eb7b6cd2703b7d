#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 900
# containerd (overlayfs snapshotter) with its root on a spillfs mount: import, run, exec, commit of snapshots,
# images made of them, prune and removal while everything cold is spilled; see ../lib/engines.sh.
. "$(dirname "$0")/../lib/lib.sh"
. "$T_TOP/tests/lib/engines.sh"
E_SUB=containerd

x_start() { eng_containerd_start "$1" "$2"; }
x_stop() { eng_containerd_stop; }
x_load() { ctrd image import "$1"; }
x_images() { ctrd image ls -q | sort; }

# An image of ours is a docker.io/ name; one made by x_commit or x_build is a committed snapshot, run by its
# chain as any image's.
x_run()
{
	local image=$1 id=run-$RANDOM
	shift
	if ctrd snapshot info "$image" >/dev/null 2>&1; then
		run_snapshot "$image" "$id" "$@"
	else
		eng_ctr_run "docker.io/$image" "$id" --mount "type=bind,src=$E_MNT,dst=/mnt,options=rbind:ro" -- "$@"
	fi
}
# ctr prints the mount command. mount(8) of Debian 13 uses the new mount API, which takes no option longer than
# 255 bytes, and lowerdir= of a few layers is; containerd itself uses mount(2).
mount_snapshot()
{
	local cmd
	cmd=$(ctrd snapshot mounts "$2" "$1") && LIBMOUNT_FORCE_MOUNT2=always eval "$cmd"
}
# Run on top of a committed snapshot: its mounts, by hand, as rootfs.
run_snapshot()
{
	local snap=$1 id=$2 dir=$T_TMP/rootfs-$2 rc
	shift 2
	mkdir -p "$dir"
	ctrd snapshot prepare "$id" "$snap" >/dev/null || return 1
	mount_snapshot "$id" "$dir" || return 1
	ctrd run --rm --cgroup "/$ENG_CGROUP/$id" --mount "type=bind,src=$E_MNT,dst=/mnt,options=rbind:ro" \
		--env PATH=/usr/sbin:/usr/bin:/sbin:/bin --rootfs "$dir" "$id" "$@"
	rc=$?
	umount "$dir" && rmdir "$dir" && ctrd snapshot rm "$id" >/dev/null || rc=1
	return $rc
}
x_up()
{
	ctrd run -d --cgroup "/$ENG_CGROUP/$2" --mount "type=bind,src=$E_MNT,dst=/mnt,options=rbind:ro" \
		"docker.io/$1" "$2" sleep 1000
}
x_exec()
{
	local id=$1
	shift
	ctrd task exec --exec-id "exec-$RANDOM" "$id" "$@"
}
x_down()
{
	ctrd task kill -s KILL "$1"
	eng_wait 10 $$ task_stopped "$1"
	ctrd task rm "$1" >/dev/null 2>&1
	ctrd container rm "$1"
}
task_stopped()
{
	! ctrd task ls | grep -q "^$1 .*RUNNING"
}
# The container goes on: its layer is copied through a diff, as nerdctl commit does.
x_commit()
{
	local id=$1 name=$2 parent
	parent=$(ctrd snapshot info "$id" | jq -r .Parent) || return 1
	ctrd snapshot prepare "new-$name" "$parent" >/dev/null &&
		ctrd snapshot diff --media-type application/vnd.oci.image.layer.v1.tar "$id" >"$T_TMP/diff.tar" &&
		in_snapshot "new-$name" apply_diff && ctrd snapshot commit "$name" "new-$name"
}
apply_diff()
{
	# Whiteouts of the diff are names of a layer archive: removals first, then the rest.
	local w base
	while IFS= read -r w; do
		base=${w##*/}
		if [[ $base == .wh..wh..opq ]]; then
			find "$1/${w%/*}" -mindepth 1 -delete
		else
			rm -rf -- "${1:?}/${w%/*}/${base#.wh.}"
		fi
	done < <(tar -tf "$T_TMP/diff.tar" | grep -E '(^|/)\.wh\.')
	tar -C "$1" --xattrs --xattrs-include='*' --numeric-owner --exclude='.wh.*' -xpf "$T_TMP/diff.tar"
}
in_snapshot()
{
	local dir rc
	dir=$(mktemp -d "$T_TMP/snap.XXXXXX")
	mount_snapshot "$1" "$dir" || return 1
	"$2" "$dir"
	rc=$?
	umount "$dir" && rmdir "$dir"
	return $rc
}
x_build()
{
	local parent
	parent=$(chain_of_odd) || return 1
	ctrd snapshot prepare "new-$1" "$parent" >/dev/null && in_snapshot "new-$1" build_steps &&
		ctrd snapshot commit "$1" "new-$1"
}
# The snapshot on which x_up's container stands: the whole chain of the image.
chain_of_odd()
{
	ctrd snapshot info worker | jq -r .Parent
}
build_steps()
{
	mkdir -p "$1/srv" && cp "$T_TMP/ctx/data" "$1/srv/data" && rm -r "$1/odd/replaced" &&
		chroot "$1" python3 -c "open('/srv/kept', 'w').write('made' * 50000)" &&
		echo appended >>"$1/odd/hardlink" && cp -a "$1/usr/lib/python3" "$1/srv/python3"
}
x_rmi()
{
	if ctrd snapshot info "$1" >/dev/null 2>&1; then
		ctrd snapshot rm "$1"
	else
		ctrd image rm --sync "docker.io/$1"
	fi
}
x_prune() { ctrd content prune references; }

e_init
t_need containerd ctr runc jq setcap setfattr
e_images
e_main
