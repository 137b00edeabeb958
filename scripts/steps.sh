# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# The steps of set-up and the machinery that runs them.  Sourced by setup.


# What each step depends on, beside the steps before it.
inputs_prerequisites=""
inputs_root="$SUITE $CACHE_LAYOUT $PACKAGES_BUILD $PACKAGES_RUN"
inputs_packages="$inputs_root $KERNEL_VERSION $RUSTC_VERSION"
inputs_kit="$inputs_packages $GCC_MAJOR 2"
inputs_qemu="$inputs_root $QEMU_SERIES"
inputs_qemu_next="$inputs_root $QEMU_NEXT_SERIES"
inputs_iommufd="$inputs_packages $(cat "$TOP/tests/kernels/iommufd")"
inputs_debug="$inputs_iommufd $(cat "$TOP/tests/kernels/debug")"

digest() { printf '%s' "$1" | sha256sum | cut -c1-16; }
stamp_of() { local v=inputs_$1; printf '%s/%s-%s' "$STAMPS" "$1" "$(digest "$CACHE_LAYOUT ${!v}")"; }

# step NAME TEXT FUNCTION: run FUNCTION once for these inputs, with its output in a log.
step() {
	local stamp log=$LOGS/$1.log t=$SECONDS
	stamp=$(stamp_of "$1")
	[ -e "$stamp" ] && return 0
	say "  SETUP   $2 ..."
	check_space
	# In the background, so that errexit holds inside (it does not in a condition).
	(set -e; trap - EXIT; "$3") > "$log" 2>&1 < /dev/null &
	if ! wait $!; then
		report_failure "$1" "$2" "$log"
		return 1
	fi
	rm -f "$STAMPS/$1"-*
	touch "$stamp"
	say "  SETUP   $2: $((SECONDS - t)) s"
}

children=()
step_bg() { step "$@" & children+=($!); }
step_wait() {
	local c rc=0
	for c in "${children[@]}"; do wait "$c" || rc=1; done
	children=()
	[ $rc = 0 ] || exit 1
}
stop_steps() {
	local group
	for group in $(jobs -p); do kill -- "-$group" 2> /dev/null || true; done
	wait
}

check_space() {
	local free
	free=$(df -Pk "$GIM_CACHE" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge 6 ] || die "only ${free} GiB are free for $GIM_CACHE; set-up needs 6" \
		"free some, or point GIM_CACHE at a larger file system"
}

# Turn the usual reasons of failure into a sentence; the log has the rest.
report_failure() {
	printf 'gim: error: set-up step "%s" failed; the last lines of %s:\n' "$2" "$3" >&2
	tail -n 15 "$3" | sed 's/^/  | /' >&2
	if grep -qiE 'could not resolve|temporary failure resolving|connection (refused|timed out)|network is unreachable' "$3"; then
		printf '  the package archive could not be reached: check the network, or name a mirror with GIM_MIRROR=URL\n' >&2
	elif grep -qi 'no space left' "$3"; then
		printf '  the disk is full: free some space, or point GIM_CACHE elsewhere\n' >&2
	fi
	printf '  what is done is kept: run the same command again to resume\n' >&2
}

PACKAGES_HOST="mmdebstrap util-linux debian-archive-keyring"
step_prerequisites() {
	local missing=() p
	for p in $PACKAGES_HOST; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get > /dev/null || { echo "no apt-get: install ${missing[*]} by hand"; return 1; }
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# The build root: an own Debian tree, so that the host's compilers do not matter.
step_root() {
	rm -rf --one-file-system "$ROOT" "$ROOT.new"
	local opts=() line
	# A host behind a proxy or a snapshot mirror has said so to its own apt.
	if command -v apt-config > /dev/null; then
		while read -r line; do opts+=(--aptopt="$line"); done < <(apt-config dump |
			grep -E '^Acquire::(http|https)::Proxy |^Acquire::Check-(Valid-Until|Date) |^Acquire::Retries ')
	fi
	# The other archive entries are derived from the one mmdebstrap wrote.
	# Mounts and processes of its own, so that nothing stays behind however this ends.
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
		mmdebstrap --variant=apt --mode=root --components=main "${opts[@]}" \
		--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
		--aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--setup-hook='L=$1/etc/apt/sources.list; D=$1/etc/apt/sources.list.d; mkdir -p "$D"
			sed -n "s/ trixie main/ trixie-backports main/p" "$L" > "$D/backports.list"
			sed "s/^deb /deb-src /" "$L" > "$D/src.list"' \
		--include="$(printf '%s' "$PACKAGES_BUILD $PACKAGES_RUN" | tr -s ' \n\t' ',' )" \
		"$SUITE" "$ROOT.new" ${GIM_MIRROR:+"$GIM_MIRROR"}
	# Certificates the host trusts (a company proxy's, say) hold inside too.
	if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
		mkdir -p "$ROOT.new/etc/ssl/certs"
		cat /etc/ssl/certs/ca-certificates.crt > "$ROOT.new/etc/ssl/certs/ca-certificates.crt"
	fi
	mv "$ROOT.new" "$ROOT"
}

in_root() { "$TOP/scripts/in-root" "$@"; }

# The stock kernel, its headers and its source, of one exact version.
step_packages() {
	in_root apt-get update
	local have
	have=$(in_root apt-cache madison linux-source-$KERNEL_SERIES | awk '{print $3}' | tr '\n' ' ')
	case " $have" in
	*" $KERNEL_VERSION "*) ;;
	*)
		echo "the archive no longer has kernel $KERNEL_VERSION (it has: ${have:-none of series $KERNEL_SERIES})"
		echo "set KERNEL_VERSION and KERNEL_RELEASE in scripts/versions.env to one it has, or GIM_MIRROR to an archive that keeps it"
		return 1
		;;
	esac
	in_root apt-get install -y --no-install-recommends \
		linux-headers-$KERNEL_RELEASE=$KERNEL_VERSION linux-source-$KERNEL_SERIES=$KERNEL_VERSION \
		linux-modules-$KERNEL_RELEASE=$KERNEL_VERSION linux-binary-$KERNEL_RELEASE=$KERNEL_VERSION
	local rustc
	rustc=$(in_root dpkg-query -W -f '${Version}' rustc)
	if [ "$rustc" != "$RUSTC_VERSION" ]; then
		echo "the build root has rustc $rustc, but the kernel's Rust symbols need exactly $RUSTC_VERSION"
		return 1
	fi
}
step_debug() { in_root /gim/scripts/make-kernel debug; }
step_iommufd() { in_root /gim/scripts/make-kernel iommufd; }
step_kit() { in_root /gim/scripts/make-kit; }
step_qemu() { in_root /gim/scripts/make-qemu-headers; }
step_qemu_next() { in_root /gim/scripts/unpack-qemu-next; }
