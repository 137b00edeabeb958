#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# The kernel's own VFIO selftests, unmodified, against a VF that gim_vfio_pci drives: type1 on the stock
# kernel, iommufd too where the kernel has it.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

programs=/gim/build/vfio-kernel
t "gim loads" load guard=0
t "VFIO driver loads" load_vfio
t "VFs are enabled" numvfs 4
t "a VF is bound" bind_to gim-vfio-pci 0
# Some tests map huge pages.
echo 16 > /proc/sys/vm/nr_hugepages

# variants PROGRAM: arguments that leave out what needs iommufd, where there is none.
without_iommufd() {
	[ ! -e /dev/iommu ] || return 0
	"$programs/$1" -l "$(vf 0)" 2>&1 | grep -oE 'iommufd[a-z0-9_]*' | sort -u | sed 's/^/-V /'
}
# kernel_test PROGRAM: each of its cases as a test of ours.
kernel_test() {
	# shellcheck disable=SC2046
	timeout 120 "$programs/$1" $(without_iommufd "$1") "$(vf 0)" > /tmp/k.out 2>&1
	grep -vE '^(ok|not ok) ' /tmp/k.out | sed 's/^#* */# /' | head -n 20
	sed -n "s/^\(not \)\{0,1\}ok [0-9]* /\1ok 0 $1: /p" /tmp/k.out > /tmp/k.tap
	told /tmp/k.tap
	t "$1 came to its end" grep -q '^# Totals:' /tmp/k.out
}
kernel_test vfio_pci_device_test
kernel_test vfio_dma_mapping_test
kernel_test vfio_dma_mapping_mmio_test
if [ -e /dev/iommu ]; then
	kernel_test vfio_iommufd_setup_test
fi

t "a guest works afterwards" vf-client --pci "$(vf 0)" run --seconds 1
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "modules unload" rmmod gim_vfio_pci gim gim_seam
plan
