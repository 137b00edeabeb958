#!/bin/sh
# vm: --gpu vfs=4,vram_mb=256,rate=1000
# SPDX-License-Identifier: GPL-2.0
# A foreign guest: the kernel's own amdgpu driver, unmodified, takes a VF as it would in a guest VM. It
# gets full access, finds its blocks, and ends where it looks for a VBIOS or for firmware (MI25), which
# are not there; its VF is as good as before then.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

[ -z "$SLOW" ] || skip "the debug kernel has no amdgpu"
t "module loads" load
t "VFs are enabled" numvfs 2
t "amdgpu loads" modprobe amdgpu
for i in 1 2; do
	t "VF$((i - 1)): it asked for full access and was answered" test "$(stat vf$i full_accesses)" -ge 1
	t "VF$((i - 1)): it said nothing that has no place" test "$(stat vf$i messages_dropped)" = 0
	t "VF$((i - 1)): it went on from there" dmesg_has "amdgpu $(vf $((i - 1))): detected ip block .*sdma"
	t "VF$((i - 1)): and ended for want of a VBIOS or firmware" dmesg_has "amdgpu $(vf $((i - 1))): (Unable to locate a BIOS ROM|Failed to get gpu_info firmware)"
done
t "the VFs are free" wait_for 10 sh -c "for i in 1 2; do grep -qx available $PCI/$PF/sriov_admin/vf\$i/state || exit 1; done"
t "amdgpu unloads" rmmod amdgpu
for i in 0 1; do bind $i; done
t "another guest works" vf-client --pci "$(vf 0)" run --seconds 1
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "module unloads" rmmod gim
plan
