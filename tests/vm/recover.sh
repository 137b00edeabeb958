#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=512
# SPDX-License-Identifier: GPL-2.0
# The GPU itself does not answer; guests that exceed their limits.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
numvfs 2
for i in 0 1; do bind $i; done
gpu_hangs() {
	vf-client --pci "$(vf 0)" run --seconds 8 > /tmp/c0 2>&1 &
	c=$!
	wait_for 5 is_state vf1 active
	# The PF's copy engine zeroes what VF1's guest leaves behind, and hangs in it.
	referee fault never-completes --pf --count 1
	vf-client --pci "$(vf 1)" handshake
	echo "handshake: $?"
	wait $c
	rc=$?
	cat /tmp/c0
	dmesg | tail -n 12
	return $rc
}
t "the PF's command hangs: the GPU is reset, its tenant comes back" gpu_hangs
t "the log says so" dmesg_has "the GPU does not answer: it is reset"
t "the engine is on again" grep -qx on "$PCI/$PF/gim/state"
both_work() {
	for i in 0 1; do
		timeout -s KILL 40 vf-client --pci "$(vf $i)" run --seconds 1 && continue
		cat /sys/kernel/debug/gim/*/engine
		referee show
		dmesg | tail -n 12
		return 1
	done
}
t "both VFs work afterwards" both_work
unheard() {
	referee fault lost-interrupt --pf --count 100000 || return 1
	for i in 0 1; do
		timeout -s KILL 10 vf-client --pci "$(vf $i)" handshake || return 1
	done
	referee clear
}
t "guests are heard though all of the PF's interrupts are lost" unheard
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 5 numvfs 0

numvfs 2
for i in 0 1; do bind $i; done
too_often() {
	# Each handshake is two requests for full access; nine at once, and nine a minute, are allowed.
	for _ in $(seq 20); do
		timeout 3 vf-client --pci "$(vf 0)" handshake
		! dmesg | grep "exceeds requests" || return 0
	done
	return 1
}
t "a guest that asks too often has to wait" too_often
t "others do not" vf-client --pci "$(vf 1)" handshake
# A scrub by the copy engine may be going on, and must not be waited for.
t "module unloads, at once" timeout -s KILL 20 rmmod gim
plan
