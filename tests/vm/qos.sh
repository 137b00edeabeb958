#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# Shares by weight, guarantee and cap, by the referee's clock; settings that are refused.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# On one slow CPU, guests hold full access for longer than the guard likes.
t "module loads" load slice_us=2000 guard=0
numvfs 4
for i in 0 1 2 3; do bind $i; done
A=$PCI/$PF/sriov_admin

t "policy is round robin at first" grep -q '\[rr\]' "$PCI/$PF/gim/policy"
t "policy is set" sh -c "echo qos > $PCI/$PF/gim/policy"
t "policy is kept" grep -q '\[qos\]' "$PCI/$PF/gim/policy"
t "unknown policy is refused" refused "Invalid argument" sh -c "echo best | tee $PCI/$PF/gim/policy"
t "weight 0 is refused" refused "Numerical result" sh -c "echo 0 | tee $A/vf1/weight"
t "cap below the guarantee is refused" refused "Numerical result" sh -c "echo 300 > $A/vf1/min_permille; echo 200 | tee $A/vf1/cap_permille"
t "guarantees beyond the GPU are refused" refused "Numerical result" sh -c "echo 800 | tee $A/vf2/min_permille"
t "the log says why" dmesg_has "guarantees of all VFs are 1100/1000"
t "a refused setting changes nothing" sh -c "[ \$(cat $A/vf2/min_permille) = 0 ] && [ \$(cat $A/vf1/cap_permille) = 1000 ]"
echo 0 > "$A/vf1/min_permille"

# measure EXPECTED...: shares of four busy tenants over 2 s, within 1 % of the GPU.
measure() {
	pids=
	for i in 0 1 2 3; do
		vf-client --pci "$(vf $i)" run --seconds 0 --seed $i --workload fill > /tmp/c$i 2>&1 &
		pids="$pids $!"
	done
	for i in 1 2 3 4; do wait_for 5 is_state vf$i active; done
	sleep 1
	referee reset
	sleep 2
	referee show > /tmp/window.json
	rc=0
	# shellcheck disable=SC2086
	kill $pids
	for p in $pids; do wait "$p" || rc=1; done
	python3 - "$@" <<'PY' || rc=1
import json, sys
run = [f["run_ns"] for f in json.load(open("/tmp/window.json"))["functions"][1:5]]
shares = [r / sum(run) for r in run]
print(shares)
sys.exit(any(abs(s - float(e)) > 0.01 for s, e in zip(shares, sys.argv[1:])))
PY
	[ $rc = 0 ] || cat /tmp/c?
	return $rc
}
w=1
for weight in 400 200 100 100; do
	echo $weight > "$A/vf$w/weight"
	w=$((w + 1))
done
if [ -z "$SLOW" ]; then
	t "weights 4:2:1:1 are kept" measure 0.5 0.25 0.125 0.125
	echo 300 > "$A/vf4/min_permille"
	echo 200 > "$A/vf1/cap_permille"
	t "a guarantee of 30 % and a cap of 20 % are kept" measure 0.2 0.333 0.167 0.3
fi
t "no protocol violation" test "$(referee get violations)" = 0
t "module unloads" rmmod gim
plan
