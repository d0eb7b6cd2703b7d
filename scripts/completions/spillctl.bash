# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# bash completion of spillctl(8): verbs, the options each takes, mount points, paths.

_spillctl()
{
	local cur prev verb="" word i
	local verbs='status ls info why spill premigrate recall pin unpin pins protect pause resume
		wait layers doctor check plan drain export unguard restart version help'
	local opts='--mount --json --quiet --help'
	local IFS=$' \t\n'
	COMPREPLY=()
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		-m | --mount | --store | --hot | --root | --for | --below | --timeout) ((i++)) ;;
		-*) ;;
		*)
			verb=$word
			break
			;;
		esac
	done

	case $prev in
	-m | --mount)
		mapfile -t COMPREPLY < <(compgen -W "$(awk '$0 ~ / - fuse\.spillfs / { print $5 }' \
			/proc/self/mountinfo 2>/dev/null)" -- "$cur")
		return
		;;
	--store | --hot | --root)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	esac
	case $verb in
	check) opts+=' --quick --store --hot' ;;
	unguard) opts+=' --expose' ;;
	pin) opts+=' --layer --image --no-recall' ;;
	unpin) opts+=' --layer --image' ;;
	protect) opts+=' --no-recall' ;;
	pause) opts+=' --for' ;;
	wait) opts+=' --below --timeout' ;;
	plan) opts+=' --store' ;;
	drain) opts+=' --yes' ;;
	export) opts+=' --store --hot' ;;
	doctor) opts+=' --probe --root' ;;
	'') opts+=' --version' ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$opts" -- "$cur")
		return
	fi
	case $verb in
	'' | help) mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur") ;;
	ls | info | why | spill | premigrate | recall | pin | unpin)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	status | doctor | check | plan | drain | export | unguard | restart)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	esac
}
complete -F _spillctl spillctl
