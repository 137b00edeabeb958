#!/bin/sh
# vm: --smp 1 --timeout 400 --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# A guest with an IOMMU takes the VF's interrupts and lives on them alone; QEMU is replaced under it
# three times, and every one that falls into the gap comes through.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh
replaceable
interruptible

t "the host is ready" hosts
t "VF0 is bound" bind_to gim-vfio-pci 0
job="pulse --patience 20"
boots() { guest a 0 "$job" && up a && says a '^at ' 60; }
t "a guest works with it, by interrupts" boots
# follows A B: B replaces A, and interrupts come to it.
follows() {
	heir "$2" 0 "$job" || return 1
	hands_over "$1" "$2" wait=completed "@$2" running > /tmp/over 2>&1 ||
		! cat /tmp/over || ! guest_state "$1" || ! guest_state "$2" || return 1
	qmp "@$1" quit && wait_for 20 dead "$1" && says "$2" '^at ' 60
}
t "a second QEMU takes it over" follows a b
t "a third" follows b c
t "a fourth" follows c d
finishes() { echo end > /tmp/d.in && ends d 60; }
t "the guest ends" finishes
last=$(grep '^done' /tmp/d.out)
echo "# $last"
t "no interrupt was lost" sh -c "echo '$last' | grep ' 0 lost'"
t "the VF is free" wait_for 10 is_state vf1 available
t "no protocol violation" test "$(referee get violations)" = 0
kill_guests
plan
