#!/bin/sh
# bench: vm=tonga --smp 1 --gpu vfs=4,vram_mb=256,rate=25,tick_ns=100000
# SPDX-License-Identifier: GPL-2.0
# What a guest VM that has the GPU for itself loses: the same work by a client in it and by one in the
# host, which has the VF by VFIO as QEMU does, as bytes that the engine has written by the referee's
# clock. The engine is slow (25 bytes/us), so that a CPU that is emulated twice keeps up with it.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

work="run --seconds 0 --seed 1 --workload fill --depth 4 --op-bytes 32768 --repeat 50 --patience 60"
{ hosts 1 && bind_to gim-vfio-pci 0; } || exit 1

# shellcheck disable=SC2086
vf-client --pci "$(vf 0)" $work > /tmp/host 2>&1 &
client=$!
active 1
sleep 2
window 20 /tmp/host.json
kill $client
wait $client || { cat /tmp/host; exit 1; }
wait_for 20 is_state vf1 available || exit 1

guest a 0 "$work --stdin"
{ up a && says a ' Running: [1-9]' 60; } || exit 1
sleep 2
window 20 /tmp/guest.json
echo end > /tmp/a.in
ends a 60 || { guest_state a; exit 1; }
no_violations
lost vm_1to1_loss bytes /tmp/guest.json /tmp/host.json
kill_guests
