#!/bin/sh
# bench: vm=tonga --smp 1 --gpu vfs=4,vram_mb=256,tick_ns=100000
# SPDX-License-Identifier: GPL-2.0
# QEMU is replaced under a guest that lives on interrupts, again and again: each of its jobs must be told
# of by one. Real time; figures of a busy machine are worse.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh
replaceable
interruptible

job="pulse --patience 20"
{ hosts && bind_to gim-vfio-pci 0 && guest q0 0 "$job" && up q0 && says q0 '^at ' 60; } || exit 1
before="$(stat vf1 resets) $(referee get flrs --vf 0)"
i=0
while [ $i -lt "${GIM_CPR_COUNT:-100}" ]; do
	from=q$i i=$((i + 1)) to=q$i
	heir $to 0 "$job" || exit 1
	begun=$(date +%s%N)
	hands_over $from $to wait=completed @$to running > /tmp/over || { cat /tmp/over; guest_state $to; exit 1; }
	figure qemu_upgrade_ms $((($(date +%s%N) - begun) / 1000000)) ms
	figure qemu_upgrade_downtime_ms "$(sed -n 's/.*"downtime": \([0-9]*\).*/\1/p' /tmp/over)" ms
	qmp @$from quit && wait_for 20 dead $from && says $to '^at ' 60 || exit 1
	rm -f /tmp/$from.*
done
[ "$before" = "$(stat vf1 resets) $(referee get flrs --vf 0)" ] || { echo "the VF was reset"; exit 1; }
echo end > /tmp/$to.in
ends $to 60 || { guest_state $to; exit 1; }
no_violations
# done N jobs, N interrupts, N lost, longest N ms
sed -n 's/^done [0-9]* jobs, \([0-9]*\) interrupts, \([0-9]*\) lost, longest \([0-9.]*\) ms$/irq_taken \1 interrupts\nirq_lost \2 interrupts\nqemu_upgrade_stall_ms \3 ms/p' /tmp/$to.out | figures
kill_guests
