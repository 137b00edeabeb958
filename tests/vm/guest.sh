#!/bin/sh
# vm: --smp 1 --timeout 400 --gpu vfs=4,vram_mb=256,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# A guest VM of a stock QEMU with a VF of its own: the client in it works and verifies.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

t "the host is ready" hosts
t "VF0 is bound" bind_to gim-vfio-pci 0
boots() {
	guest a 0 "run --seconds 0 --stdin --patience 60" -action reboot=reset
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
# QEMU resets the VF in the middle of its work; the guest boots anew and asks for it again.
# The reset may have cut a line in the middle.
ups() { grep -o 'guest up' /tmp/a.out | wc -l; }
again() { [ "$(ups)" = 2 ]; }
reboots() {
	resets=$(stat vf1 resets)
	qmp @a system_reset && wait_for 10 sh -c "[ $resets -lt \$(sed -n 's/^resets //p' $PCI/$PF/sriov_admin/vf1/stats) ]" &&
		wait_for 90 again || ! guest_state a
}
t "a guest that is reset in the middle of its work boots again" reboots
worked() { tail -n 1 /tmp/a.out | grep -q ' Running: [1-9]'; }
finishes() { wait_for 60 worked && echo end > /tmp/a.in && ends a 60 || ! guest_state a; }
t "the client works again, and has verified everything" finishes
t "the VF is free" wait_for 10 is_state vf1 available
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "modules unload" rmmod gim gim_vfio_pci gim_seam
kill_guests
plan
