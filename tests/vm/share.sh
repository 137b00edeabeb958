#!/bin/sh
# vm: --steady --gpu vfs=16,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# Tenants do verified work, each strictly in its own slice.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
t "one VF is enabled" numvfs 1
t "it is given to vfio-pci" bind 0
t "its guest loads and unloads" vf-client --pci "$(vf 0)" handshake
t "its framebuffer was clean" vf-client --pci "$(vf 0)" scrub-check
referee reset
t "it works and verifies" vf-client --pci "$(vf 0)" run --seconds 2 --workload mix
# The last runs are those of loading and unloading: a lone VF is not switched in between.
t "a lone VF is not switched" sh -c "n=\$(referee get runs --vf 0); echo \$n runs; [ \$n -le 4 ]"
t "it is disabled when the guest is gone" wait_for 3 numvfs 0

t "four VFs are enabled" numvfs 4
for i in 0 1 2 3; do bind $i; done
run_four() {
	pids=
	set -- fill copy dma mix
	for i in 0 1 2 3; do
		vf-client --pci "$(vf $i)" run --seconds 0 --seed $((i + 1)) --workload "$1" > /tmp/c$i 2>&1 &
		pids="$pids $!"
		shift
	done
	# The last one may come late: one CPU, and full access one after the other.
	for i in 1 2 3 4; do wait_for 10 is_state vf$i active || return 1; done
	sleep 0.5
	referee reset
	sleep 2
	referee show > /tmp/window.json
	rc=0
	# shellcheck disable=SC2086
	kill $pids
	for p in $pids; do wait "$p" || rc=1; done
	cat /tmp/c?
	return $rc
}
t "four tenants work and verify at once" run_four
# Shares by the referee's clock, in the middle of the run, within 2 % of a quarter each.
shares() {
	python3 - <<'PY'
import json, sys
fns = json.load(open("/tmp/window.json"))["functions"][1:5]
run = [f["run_ns"] for f in fns]
shares = [r / sum(run) for r in run]
print(shares, [f["max_gap_ns"] for f in fns])
sys.exit(any(abs(s - 0.25) > 0.02 * 0.25 for s in shares))
PY
}
[ -n "$SLOW" ] || t "their shares are equal" shares
t "no protocol violation" test "$(referee get violations)" = 0
t "no failed DMA" sh -c 'for i in 0 1 2 3; do [ "$(referee get dma_faults --vf $i)" = 0 ] || exit 1; done'
t "the driver counted no time-out" test "$(stat vf1 hangs)" = 0
t "module unloads" rmmod gim
plan
