# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Shared by every script: paths, versions, messages.  Source it, do not run it.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/versions.env
. "$TOP/scripts/versions.env"

GIM_CACHE=${GIM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/gim}
ROOT=$GIM_CACHE/root
STAMPS=$GIM_CACHE/stamps
LOGS=$GIM_CACHE/logs

# say: progress a person can follow.  die: what is wrong, and what to do about it.
say() { printf '%s\n' "$*"; }
die() {
	printf 'gim: error: %s\n' "$1" >&2
	shift
	[ $# -eq 0 ] || printf '  %s\n' "$@" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "$1 needs root: it makes a private build root and mounts inside it" \
		"run it again as:  sudo make ${2:-demo}"
}
