#!/bin/sh
# vm: --smp 1 --timeout 240 --gpu vfs=4,vram_mb=256,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# A guest VM of a stock QEMU with a VF of its own: the client in it works and verifies.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

t "the host is ready" hosts
t "VF0 is bound" bind_to gim-vfio-pci 0
boots() {
	guest a 0 "run --seconds 8 --patience 30"
	up a
}
t "a guest boots with it" boots
t "its client works" says a ' Running: [1-9]' 60
t "the host has it on the engine" is_state vf1 active
may_move() {
	qmp @a query-migrate > /tmp/may
	cat /tmp/may
	! grep -q blocked /tmp/may
}
t "QEMU would migrate it" may_move
# QEMU takes the VF to STOP, by RUNNING_P2P: it has no turn meanwhile.
ran() { referee get run_ns --vf 0; }
stands() {
	qmp @a stop || return 1
	before=$(ran)
	sleep 2
	after=$(ran)
	qmp @a cont
	echo "$before ns before, $after after"
	[ "$before" = "$after" ] && [ "$before" -gt 0 ]
}
t "a guest that is stopped has no time on the engine" stands
t "the client has verified everything" ends a 60
t "the VF is free" wait_for 10 is_state vf1 available
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "modules unload" rmmod gim gim_vfio_pci gim_seam
kill_guests
plan
