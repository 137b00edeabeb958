#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128,dirty_tracking=on,dma_log=on
# SPDX-License-Identifier: GPL-2.0
# VFIO migration: the modules in any order, every arc and rule of the uAPI.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

export GIM_PLANE=1
run_tests() {
	vfio-test --gpu "$PF" "$@" > /tmp/m.out 2>&1 || true
	sed -n 's/^\(not \)\{0,1\}ok [0-9]* /\1/p; /^#/p' /tmp/m.out > /tmp/m.txt
	grep -q '^vfio: \|^not ' /tmp/m.txt || cat /tmp/m.out
	while IFS= read -r line; do
		case $line in
		'not '*) t "${line#not }" false ;;
		'#'*) echo "$line" ;;
		*) t "$line" true ;;
		esac
	done < /tmp/m.txt
}

t "gim loads without the others" load guard=0
t "VFIO driver loads" load_vfio
aliases() {
	strings -a "${GIM%/*}/gim_vfio_pci.ko" | sed -n 's/^alias=//p' | tee /tmp/aliases
	grep -q '^vfio_pci:v00001002d0000692F' /tmp/aliases && ! grep -q '^pci:' /tmp/aliases
}
t "its alias is found for VFIO alone" aliases
numvfs 4
bind_both() { bind_to gim-vfio-pci 0 && bind_to gim-vfio-pci 1; }
t "VFs are bound" bind_both
run_tests
t "the registry stays while it is used" refused 'in use' rmmod gim_seam
run_tests --replaced "$GIM"
run_tests --absent
t "gim comes again" load guard=0
numvfs 4
t "VFs are bound again" bind_both
run_tests --only becomes
# Its driver has seen to that, not gim later.
t "no VF was left without a reset" sh -c "! dmesg | grep 'is reset: Abandoned'"
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "the others go first" rmmod gim_vfio_pci gim gim_seam
plan
