#!/bin/sh
# bench: vm-iommufd=tonga --smp 1 --gpu vfs=2,vram_mb=1040,large_bar=on,dirty_tracking=on,dma_log=on,tick_ns=100000
# SPDX-License-Identifier: GPL-2.0
# How long a guest VM with 512 MiB of framebuffer stands still while it moves, a hundredth of which changes
# each second: where all is copied meanwhile, and where it goes ahead.  Only a kernel with iommufd lets QEMU
# know which of the guest's memory the VF has written.  Real time; figures of a busy machine are worse.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

GUEST_VFIO=enable-migration=on
job="chain --steps 100000 --prefill --step-bytes $((64 << 10)) --per-job 32 --depth 2 --rate $((5 << 20)) --patience 300 --stdin"

# moves PRECOPY LIMIT: a guest moves from VF0 to VF1. QEMU stops it once it believes that what is left takes no
# more than LIMIT ms; without PRE_COPY that is never less than all of the framebuffer.
moves() {
	{ hosts 2 precopy="$1" && bind_to gim-vfio-pci 0 && bind_to gim-vfio-pci 1; } || return 1
	guest a 0 "$job"
	{ up a && says a '^at ' 300; } || return 1
	referee truth --vf 0 --mib 512 --take > /dev/null
	sleep 10
	referee truth --vf 0 --mib 512 --take > "/tmp/written$1"
	target b 1 "$job" && departs a b migrate-set-parameters "{\"downtime-limit\":$2}" wait=completed > "/tmp/moved$1" 2>&1 || { cat "/tmp/moved$1"; return 1; }
	referee when --vf 0 > "/tmp/when0.$1"
	wait_for 300 sh -c "referee get run_ns --vf 1 | grep -qv '^0$'" || return 1
	referee when --vf 1 > "/tmp/when1.$1"
	for g in b a; do qmp @$g quit > /dev/null && wait_for 60 dead $g || return 1; done
	for v in vf1 vf2; do wait_for 60 is_state $v available || { echo "$v is $(state $v)"; return 1; }; done
	no_violations
	numvfs 0 && rmmod gim gim_vfio_pci gim_seam
}
{ moves 0 100000 && moves 1 1000; } || { guest_state a; guest_state b; exit 1; }
python3 - <<'PY' | figures
import json
down = []
for way in 0, 1:
    rows = [json.loads(line) for line in open(f"/tmp/moved{way}") if line.startswith("{")]
    done = next(r for r in rows if r.get("status") == "completed")
    last, first = (json.load(open(f"/tmp/when{i}.{way}")) for i in (0, 1))
    referee = (first["first_run_start_ns"] - last["last_run_end_ns"]) / 1e6
    name = ("stopcopy", "precopy")[way]
    print(f"qemu_downtime_{name} {done['downtime']} ms")
    print(f"qemu_downtime_{name}_referee {referee:.0f} ms")
    print(f"qemu_downtime_{name}_ram {done['ram']['downtime-bytes'] / 2**20:.1f} MiB")
    down.append(done["downtime"])
    pages = [line.split("-") for line in open(f"/tmp/written{way}")]
    pages = sum(int(last) - int(first) + 1 for first, last in pages)
    print(f"qemu_downtime_{name}_dirty {pages / 10 / (512 * 256):.4f} ratio")
print(f"qemu_downtime_gain {down[0] / down[1]:.2f} ratio")
PY
