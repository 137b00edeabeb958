# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For the tests that run in the host VM: TAP, and the usual steps.  Source it.

GIM=${GIM_KO:-/gim/gim.ko}
PCI=/sys/bus/pci/devices
tests=0
failures=0
# The debug kernel is several times slower: bounds on time are not held against it.
SLOW=
[ ! -e /sys/kernel/debug/kmemleak ] || SLOW=yes

# t NAME COMMAND...: one test; it passes if COMMAND succeeds.
t() {
	name=$1
	shift
	tests=$((tests + 1))
	if "$@" > /tmp/t.out 2>&1; then
		echo "ok $tests $name"
	else
		failures=$((failures + 1))
		sed 's/^/# /' /tmp/t.out
		echo "not ok $tests $name"
	fi
}
# skip WHY: there is nothing to test here.
skip() {
	echo "1..0 # SKIP $1"
	exit 0
}
# refused ERRNO-TEXT COMMAND...: COMMAND must fail, and say so.
refused() {
	text=$1
	shift
	if "$@" > /tmp/refused.out 2>&1; then
		echo "was not refused: $*"
		return 1
	fi
	cat /tmp/refused.out
	grep -q "$text" /tmp/refused.out
}
# told FILE: the TAP of a program, as tests of ours.
told() {
	grep -q '^\(not \)\{0,1\}ok ' "$1" || t "it said what it tested" sh -c "cat $1; exit 1"
	while IFS= read -r line; do
		case $line in
		'not ok '*) t "${line#not ok * }" false ;;
		'ok '*) t "${line#ok * }" true ;;
		*) echo "# ${line#\# }" ;;
		esac
	done < "$1"
}
# Leaks that kmemleak finds, of what passed through our modules: those that are there, and those that
# have gone, whose addresses have no name any more.  (The kernel itself leaves a few unreferenced
# objects behind.)  It tells of what two scans have found unchanged, 5 s old at least;
# the first scan fails if it has turned itself off.
no_leaks() {
	echo scan > /sys/kernel/debug/kmemleak || return 1
	sleep 5.5
	echo scan > /sys/kernel/debug/kmemleak || return 1
	cat /sys/kernel/debug/kmemleak
	! grep -qE '\[gim|^ *0xffffffff[a-f][0-9a-f]{7}$' /sys/kernel/debug/kmemleak
}
# lockdep turns itself off with its first report, and when it runs out of memory.
lockdep_on() {
	cat /proc/lockdep_stats
	grep -q 'debug_locks: *1$' /proc/lockdep_stats
}
plan() {
	if [ -n "$SLOW" ]; then
		t "no memory leaked" no_leaks
		t "lockdep was on to the end" lockdep_on
	fi
	echo "1..$tests"
	exit $((failures > 0))
}

# The chips of the emulated GPU: PF and VF device ids, and a word of the name that the driver gives.
chips=$(vf-client chips)
# The PFs, as PCI addresses.
pfs() { for c in $chips; do lspci -D -n -d "1002:${c%%:*}" | cut -d' ' -f1; done; }
# How many VFs there are.
vf_count() { for c in $chips; do c=${c#*:} && lspci -n -d "1002:${c%%:*}"; done | wc -l; }
# The name of the chip that PF is.
chip_word() {
	for c in $chips; do
		[ "$(cat "$PCI/$PF/device")" != "0x${c%%:*}" ] || echo "${c##*:}"
	done
}
PF=$(pfs | head -n 1)
# vf N: PCI address of VF N (from 0) of the first PF.
vf() { basename "$(readlink "$PCI/$PF/virtfn$1")"; }
numvfs() { echo "$1" > "$PCI/$PF/sriov_numvfs"; }
enabled() { [ "$(cat "$PCI/$PF/sriov_numvfs")" = "$1" ]; }
# stat vfN KEY: a counter of the driver.
stat() { sed -n "s/^$2 //p" "$PCI/$PF/sriov_admin/$1/stats"; }
state() { cat "$PCI/$PF/sriov_admin/$1/state"; }
# wait_for SECONDS COMMAND...
wait_for() {
	left=$(($1 * 10))
	shift
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || return 1
		sleep 0.1
	done
}
is_state() { [ "$(state "$1")" = "$2" ]; }
# What every load of the module is given.
GIM_LOAD=${GIM_LOAD:-}
# shellcheck disable=SC2086
load() { insmod "$GIM" $GIM_LOAD "$@"; }
# bind N: give VF N to vfio-pci.
bind() {
	# Built in on the debug kernel.
	[ -d /sys/bus/pci/drivers/vfio-pci ] || modprobe vfio-pci
	echo vfio-pci > "$PCI/$(vf "$1")/driver_override"
	echo "$(vf "$1")" > /sys/bus/pci/drivers_probe
}
# group NAME: the tests of migrate-test's group, as if they were written here.
group() {
	migrate-test --gpu "$PF" "$1" > /tmp/m.out 2>&1 || true
	sed -n 's/^\(not \)\{0,1\}ok [0-9]* /\1/p; /^#/p' /tmp/m.out > /tmp/m.txt
	[ -s /tmp/m.txt ] || cat /tmp/m.out
	t "migrate-test $1 has come to its end" grep -q '^# done' /tmp/m.txt
	while IFS= read -r line; do
		case $line in
		'not '*) t "${line#not }" false ;;
		'#'*) echo "$line" ;;
		*) t "$line" true ;;
		esac
	done < /tmp/m.txt
}
dmesg_has() { dmesg | grep -qE "$1"; }
# bind_to DRIVER N: give VF N to another driver than vfio-pci.
bind_to() {
	echo "$1" > "$PCI/$(vf "$2")/driver_override"
	echo "$(vf "$2")" > /sys/bus/pci/drivers_probe
	[ "$(basename "$(readlink "$PCI/$(vf "$2")/driver")")" = "$1" ]
}
# load_vfio PARAMETER...: VFIO with migration for the VFs; the parameters are its driver's.
load_vfio() {
	[ -d /sys/bus/pci/drivers/vfio-pci ] || modprobe vfio-pci
	insmod "${GIM%/*}/gim_seam.ko" && insmod "${GIM%/*}/gim_vfio_pci.ko" "$@"
}
