#!/bin/sh
# vm: --gpu vfs=4,vram_mb=256,completion_irq=off
# SPDX-License-Identifier: GPL-2.0
# A GPU without completion interrupts: the engine notices and polls.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
numvfs 2
for i in 0 1; do bind $i; done
both() {
	vf-client --pci "$(vf 0)" run --seconds 3 > /tmp/c0 2>&1 &
	p=$!
	vf-client --pci "$(vf 1)" run --seconds 3
	rc=$?
	wait $p || rc=1
	cat /tmp/c0
	return $rc
}
t "two tenants work and verify" both
t "the driver says that it polls" dmesg_has "commands are polled"
t "no protocol violation" test "$(referee get violations)" = 0
t "no time-out" sh -c "grep -qx 'failures 0' $PCI/$PF/gim/stats"
t "module unloads" rmmod gim
plan
