#!/bin/sh
# vm: --steady --gpu vfs=16,vram_mb=512
# SPDX-License-Identifier: GPL-2.0
# Loading, what tools find in sysfs, counts of VFs, unloading.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
t "version for other tools" test -s /sys/module/gim/version
t "srcversion for other tools" test -s /sys/module/gim/srcversion
t "driver directory for other tools" test -d /sys/module/gim/drivers/pci:gim
t "the PF is bound" test "$(basename "$(readlink "$PCI/$PF/driver")")" = gim
t "chip is named" grep -q "$(chip_word)" "$PCI/$PF/gim/chip"
t "state is off" grep -qx off "$PCI/$PF/gim/state"

for n in 3 5 6 7 9 12 15; do
	t "$n VFs are refused" refused "Invalid argument" sh -c "echo $n | tee $PCI/$PF/sriov_numvfs"
done
t "the refusal says what is allowed" dmesg_has "only 1, 2, 4, 8 or 16 are allowed"
t "17 VFs are refused" refused "Numerical result" sh -c "echo 17 | tee $PCI/$PF/sriov_numvfs"

layout() {
	end=0
	for i in $(seq "$1"); do
		d=$PCI/$PF/sriov_admin/vf$i
		off=$(cat "$d/fb_offset_mib") size=$(cat "$d/fb_mib")
		echo "vf$i: $off + $size, previous end $end, state $(cat "$d/state")"
		[ "$off" -ge "$end" ] && [ "$size" -ge 16 ] || return 1
		[ "$(cat "$d/state")" = available ] || return 1
		[ "$(basename "$(readlink "$d/device")")" = "$(vf $((i - 1)))" ] || return 1
		end=$((off + size))
	done
	[ ! -e "$PCI/$PF/sriov_admin/vf$(($1 + 1))" ] && [ "$end" -le "$(cat "$PCI/$PF/gim/framebuffer_mib")" ]
}
for n in 1 2 4 8 16; do
	t "$n VFs are enabled" numvfs $n
	t "$n VFs are there" test "$(vf_count)" = $n
	t "$n VFs have their own framebuffer" layout $n
	t "$n VFs are disabled" numvfs 0
	t "no VF is left of $n" test "$(vf_count)" = 0
done

t "slice is shown" grep -qx 6000 "$PCI/$PF/gim/slice_us"
t "slice is set" sh -c "echo 2000 > $PCI/$PF/gim/slice_us"
t "slice is kept" grep -qx 2000 "$PCI/$PF/gim/slice_us"
t "slice of 99 us is refused" refused "Numerical result" sh -c "echo 99 | tee $PCI/$PF/gim/slice_us"
t "slice that is no number is refused" refused "Invalid argument" sh -c "echo fast | tee $PCI/$PF/gim/slice_us"
t "the refusal says the range" dmesg_has "is not in 100000..=1000000000"
t "mode is set" sh -c "echo strict > $PCI/$PF/gim/mode"
t "mode is kept" grep -q '\[strict\]' "$PCI/$PF/gim/mode"
t "unknown mode is refused" refused "Invalid argument" sh -c "echo fair | tee $PCI/$PF/gim/mode"

t "module unloads with VFs enabled" sh -c "echo 4 > $PCI/$PF/sriov_numvfs && rmmod gim"
t "the VFs are gone with it" test "$(vf_count)" = 0
t "loads with vf_num=8" load vf_num=8
t "the VFs are there from the start" enabled 8
t "unloads" rmmod gim
t "a bad slice_us does not bind" sh -c "insmod $GIM slice_us=1; ! test -e $PCI/$PF/driver"
t "unloads without a GPU" rmmod gim
t "loads with vf_num=5" load vf_num=5
t "but without VFs" enabled 0
t "unloads at last" rmmod gim
plan
