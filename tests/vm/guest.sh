#!/bin/sh
# vm: --smp 1 --timeout 400 --gpu vfs=4,vram_mb=256,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# A guest VM of a stock QEMU with a VF of its own: the client in it works and verifies, over a reset; then
# it moves, live, to another QEMU: VF0 becomes VF1, and its job comes to its end with the right bytes.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

t "the host is ready" hosts
both() { bind_to gim-vfio-pci 0 && bind_to gim-vfio-pci 1; }
t "VFs are bound" both
[ ! -e /dev/kvm ] || t "gimctl finds that nothing is missing" gimctl precheck
# It lasts for minutes, until it is told to hurry: however busy the machine is.
job="chain --steps 1500 --spread $((8 << 20)) --rate $((512 << 10)) --patience 60 --stdin"
boots() {
	guest a 0 "$job" -action reboot=reset
	up a
}
t "a guest boots with it" boots
t "its client works" says a '^at ' 60
t "the host has it on the engine" is_state vf1 active
whose() { gimctl --json vfs list | tee /dev/stderr | python3 -c 'import json, sys; assert json.load(sys.stdin)["vfs"][0]["holder"]["vm"] == "a"'; }
t "gimctl knows the VM that has it" whose
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
worked() { tail -n 1 /tmp/a.out | grep -q '^at [1-9]'; }
t "the client works again" wait_for 60 worked
t "a QEMU waits with VF1" target b 1 "$job"
cleanly() {
	moves_live a b iterates || return 1
	cat /tmp/moved
	referee when --vf 0 > /tmp/when0
	referee when --vf 1 > /tmp/when1
}
t "it moves, live" cleanly
figures() {
	python3 - <<'PY'
import json
rows = [json.loads(line) for line in open("/tmp/moved") if line.startswith("{")]
ahead = next(r for r in rows if r.get("status") == "active")
done = next(r for r in rows if r.get("status") == "completed")
last, first = (json.load(open(f"/tmp/when{i}")) for i in (0, 1))
down = (first["first_run_start_ns"] - last["last_run_end_ns"]) / 1e6
print(f"# downtime: {done['downtime']} ms by QEMU, {down:.0f} ms by the referee; {done['total-time']} ms in all; {done['vfio']['transferred'] >> 10} KiB of the VF, {done['ram']['transferred'] >> 10} KiB of RAM")
assert down > 0 and done["vfio"]["transferred"] > ahead["vfio"]["transferred"] > 0
PY
}
figures > /tmp/figures
rc=$?
cat /tmp/figures
t "its framebuffer goes ahead, and VF1 runs after VF0 has stopped" test $rc = 0
leaves() { qmp @a quit && wait_for 20 dead a && wait_for 10 is_state vf1 available; }
t "VF0 is free" leaves
finishes() { hurry b && ends b 100; }
t "the job comes to its end with the right bytes" finishes
t "VF1 is free" wait_for 10 is_state vf2 available
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "modules unload" rmmod gim gim_vfio_pci gim_seam
kill_guests
plan
