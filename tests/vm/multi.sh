#!/bin/sh
# vm: --gpu vfs=4,vram_mb=256 --gpu vfs=8,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# Two GPUs in one host, each with its own engine.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
t "two PFs are bound" test "$(pfs | wc -l)" = 2
for p in $(pfs); do
	PF=$p
	t "$p: two VFs are enabled" numvfs 2
	for i in 0 1; do bind $i; done
done
all() {
	pids=
	for p in $(pfs); do
		PF=$p
		for i in 0 1; do
			vf-client --pci "$(vf $i)" run --seconds 3 > "/tmp/$p-$i" 2>&1 &
			pids="$pids $!"
		done
	done
	rc=0
	for p in $pids; do wait "$p" || rc=1; done
	cat /tmp/0*
	return $rc
}
t "four tenants on two GPUs work and verify" all
t "gimctl lists both" sh -c "gimctl --json list | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d); sys.exit(len(d if isinstance(d, list) else d[\"gpus\"]) != 2)'"
t "one is unbound, the other stays" sh -c "echo $PF > /sys/bus/pci/drivers/gim/unbind; pfs=\$(ls /sys/bus/pci/drivers/gim | grep -c '^0'); [ \$pfs = 1 ]"
t "it is bound again" sh -c "echo $PF > /sys/bus/pci/drivers/gim/bind"
t "module unloads" rmmod gim
plan
