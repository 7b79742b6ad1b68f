# SPDX-License-Identifier: Apache-2.0
# bash completion for pagepact(1); tests/docs/test-docs.py holds it against the verb table.

_pagepact_guests() {
	pagepact --timeout 2 "$@" status --names 2>/dev/null
}

_pagepact() {
	local verbs='status dup reclaim free balloon cache-limit hint explain attach detach version help'
	local global='--socket --json --bytes --noheadings --timeout --help --version'
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb='' options='' i arguments=0
	local -a socket=()

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case $verb:${COMP_WORDS[i]} in
		*:--socket)
			socket=(--socket "${COMP_WORDS[++i]}")
			;;
		*:--timeout | dup:--limit | reclaim:--bytes | balloon:--cache | balloon:--by | attach:--agent | attach:--domain)
			((i++))
			;;
		*:-*) ;;
		:*) verb=${COMP_WORDS[i]} ;;
		*) ((arguments++)) ;;
		esac
	done

	case $verb:$prev in
	*:--socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	*:--timeout | dup:--limit | reclaim:--bytes | attach:--domain)
		return
		;;
	balloon:--cache)
		mapfile -t COMPREPLY < <(compgen -W 'first only off' -- "$cur")
		return
		;;
	balloon:--by)
		mapfile -t COMPREPLY < <(compgen -W 'auto superpages pages' -- "$cur")
		return
		;;
	attach:--agent)
		mapfile -t COMPREPLY < <(compgen -W 'serial:' -- "$cur")
		return
		;;
	esac

	case $verb in
	status) options='--names' ;;
	dup) options='--files --limit --verbose' ;;
	reclaim) options='--bytes --dry-run --verbose' ;;
	free) options='--dry-run --verbose' ;;
	balloon) options='--stop --cache --by --dry-run --no-wait --timeout --verbose' ;;
	cache-limit) options='--dry-run' ;;
	hint) options='--dry-run' ;;
	attach) options='--agent --act --domain' ;;
	esac

	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options $global" -- "$cur")
		return
	fi
	case $verb:$arguments in
	:*) mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur") ;;
	dup:0 | reclaim:0 | free:0 | balloon:0 | cache-limit:0 | hint:0 | detach:0)
		mapfile -t COMPREPLY < <(compgen -W "$(_pagepact_guests "${socket[@]}")" -- "$cur")
		;;
	balloon:1) mapfile -t COMPREPLY < <(compgen -W 'max' -- "$cur") ;;
	cache-limit:1) mapfile -t COMPREPLY < <(compgen -W 'off default' -- "$cur") ;;
	hint:1) mapfile -t COMPREPLY < <(compgen -W 'cache none default' -- "$cur") ;;
	attach:1) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	help:0) mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur") ;;
	esac
}

complete -F _pagepact pagepact
