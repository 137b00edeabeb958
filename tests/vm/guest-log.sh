#!/bin/sh
# vm: --smp 1 --timeout 400 --gpu vfs=4,vram_mb=256,dirty_tracking=on,dma_log=on
# needs: iommufd kernel
# SPDX-License-Identifier: GPL-2.0
# A kernel with iommufd, a GPU with a DMA log: QEMU is told which memory the VF writes, and sends the
# guest's ahead as well.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

t "the host is ready" hosts
both() { bind_to gim-vfio-pci 0 && bind_to gim-vfio-pci 1; }
t "VFs are bound" both
# As QEMU has it by itself.
GUEST_VFIO=enable-migration=auto
job="chain --steps 1500 --spread $((8 << 20)) --rate $((512 << 10)) --patience 60 --stdin"
boots() {
	guest a 0 "$job"
	up a
}
t "a guest boots" boots
t "its client works" says a '^at ' 60
t "a QEMU waits with VF1" target b 1 "$job"
# All that is left when the guest stops has to fit: if its memory were taken to be dirty it never would.
t "it moves, live" moves_live a b migrate-set-parameters '{"downtime-limit":1000}' iterates
figures() {
	python3 - <<'PY'
import json
rows = [json.loads(line) for line in open("/tmp/moved") if line.startswith("{")]
done = next(r for r in rows if r.get("status") == "completed")
ram = done["ram"]
print(f"# downtime: {done['downtime']} ms; {ram['downtime-bytes'] >> 10} KiB of {ram['transferred'] >> 10} after the guest had stopped; {ram['dirty-sync-count']} rounds")
assert 0 < ram["downtime-bytes"] < ram["transferred"] / 4
PY
}
figures > /tmp/figures
rc=$?
cat /tmp/figures
t "its memory goes ahead" test $rc = 0
finishes() { hurry b && ends b 100; }
t "the job comes to its end with the right bytes" finishes
leaves() { qmp @a quit && wait_for 20 dead a; }
t "the first QEMU ends" leaves
t "VFs are free" wait_for 30 sh -c "grep -q available $PCI/$PF/sriov_admin/vf1/state && grep -q available $PCI/$PF/sriov_admin/vf2/state"
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 30 numvfs 0
t "modules unload" rmmod gim gim_vfio_pci gim_seam
kill_guests
plan
