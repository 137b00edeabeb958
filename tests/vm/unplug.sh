#!/bin/sh
# vm: --steady --pciehp --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# The GPU's slot is switched off (pciehp) while a guest works: the kernel waits until the guest has let go
# of its VF, nothing of the GPU is left, and the module can go.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# It is right, and of the kernel's own: for any device that has a driver.
[ -z "$SLOW" ] || skip "lockdep tells of pciehp's reset_lock under pci_rescan_remove_lock"

slot=$(grep -lx "${PF%.*}" /sys/bus/pci/slots/*/address)
slot=${slot%/address}
t "module loads" load guard=0
t "two VFs are enabled" numvfs 2
for i in 0 1; do bind $i; done
# It has its own opinion of a VFIO group that has gone when it closes it; that is not ours.
vf-client --pci "$(vf 0)" run --seconds 0 > /tmp/c0 2> /tmp/c0.err &
client=$!
t "a guest works" wait_for 10 is_state vf1 active
echo 0 > "$slot/power" &
switch=$!
t "its VFIO is asked for the VF" wait_for 10 dmesg_has 'vfio-pci .*blocked until released by user'
before=$(referee get packets --vf 0)
more_done() { [ "$(referee get packets --vf 0)" -gt "$before" ]; }
t "meanwhile it works on" wait_for 5 more_done
kill $client
wait $client
t "all it did was right" grep -q ' ok: [1-9]' /tmp/c0
gone() { [ ! -e "$PCI/$PF" ] && [ "$(vf_count)" = 0 ]; }
t "GPU and VFs are gone" wait_for 20 gone
t "the slot is off" wait_for 5 grep -qx 0 "$slot/power"
kill $switch 2> /dev/null
nothing() { [ ! -e "/dev/gim" ] || ! gimctl list 2>&1 | grep -q "$PF"; }
t "gim knows no GPU any more" nothing
t "the driver had nothing to complain of" sh -c "! dmesg | grep -E 'gim [0-9a-f:.]*: .*(failed|timed out|does not)'"
t "module unloads" rmmod gim
plan
