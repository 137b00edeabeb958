#!/bin/sh
# vm: --smp 1 --timeout 300 --gpu vfs=4,vram_mb=256,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# A stock QEMU moves a guest with its VF, live, to another: VF0 becomes VF1, and the guest's job comes
# to its end with the right bytes.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

t "the host is ready" hosts
bind_both() { bind_to gim-vfio-pci 0 && bind_to gim-vfio-pci 1; }
t "VFs are bound" bind_both

# It lasts for minutes, until it is told to hurry: however busy the machine is.
job="chain --steps 1500 --spread $((8 << 20)) --rate $((512 << 10)) --patience 60 --stdin"
boots() {
	guest a 0 "$job"
	target b 1 "$job" && up a && says a '^at ' 60
}
t "a guest works with VF0, and a QEMU waits with VF1" boots
moves() { departs a b iterates wait=completed query-status @b query-status > /tmp/moved 2>&1; }
cleanly() {
	moves || ! cat /tmp/moved || ! guest_state a || ! guest_state b || return 1
	cat /tmp/moved
	referee when --vf 0 > /tmp/when0
	referee when --vf 1 > /tmp/when1
	grep -q '"status": "postmigrate"' /tmp/moved && tail -n 1 /tmp/moved | grep -q '"status": "running"'
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
