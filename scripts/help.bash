#!/usr/bin/env bash
# For scripts that source it: --help is answered before anything starts, and a wrong argument is refused.

# answer_help "[--fix]" ALLOWED "$@": ALLOWED is a regular expression that every argument has to match. The help
# is the comment at the top of the script.
answer_help() {
    local name allowed="$2" usage argument
    name="scripts/$(basename "$0")"
    usage="usage: $name${1:+ $1}"
    shift 2
    for argument in "$@"; do
        if [[ "$argument" == -h || "$argument" == --help ]]; then
            printf '%s\n\n' "$usage"
            sed -n '2,/^[^#]/s/^#\( \|$\)//p' "$0"
            exit 0
        fi
    done
    for argument in "$@"; do
        if [[ ! "$argument" =~ ^($allowed)$ ]]; then
            printf '%s: %s is not an argument of it\nTry: %s --help\n' "$name" "'$argument'" "$name" >&2
            exit 2
        fi
    done
}
