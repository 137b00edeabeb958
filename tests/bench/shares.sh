#!/bin/sh
# bench: vm --icount --gpu vfs=16,vram_mb=512
# SPDX-License-Identifier: GPL-2.0
# In the host VM, in deterministic time: shares, gaps and the cost of a switch for 1 to 16 busy tenants.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh

# What one VF gets done, alone under gim and on an engine that nobody touches.
alone() {
	tenants 1
	window 10 /tmp/alone.json
	setting control pause
	referee hold "$PF" --seconds 12 &
	hold=$!
	sleep 1
	window 10 /tmp/bare.json
	wait $hold || exit 1
	setting control resume
	no_tenants
	lost loss_1to1 busy_ns /tmp/alone.json /tmp/bare.json
}

# The same two VFs on the same engine, their guests stopped: switched by gim, by nobody, and the
# legacy way.
legacy() {
	# shellcheck disable=SC2086
	kill -STOP $pids
	# Who has no work is not passed over.
	setting mode strict
	sleep 1
	referee spare --seconds 1 > /tmp/spare.json || exit 1
	referee switches > /tmp/switches.json || exit 1
	setting control pause
	referee spare --seconds 1 > /tmp/idle.json || exit 1
	referee legacy "$PF" --count 60 > /tmp/legacy.json || exit 1
	referee switches > /tmp/legacy-switches.json || exit 1
	setting control resume
	setting mode work-conserving
	# shellcheck disable=SC2086
	kill -CONT $pids
	python3 - <<'PY' | figures
import json
load = lambda name: json.load(open(f"/tmp/{name}.json"))
ours, idle, legacy = load("spare"), load("idle"), load("legacy")
rate = lambda s: s["pieces"] / s["ns"]
cpu = (1 - rate(ours) / rate(idle)) * ours["ns"] / (ours["commands"] / 4)
dead, legacy_dead = load("switches")["dead_ns"], load("legacy-switches")["dead_ns"]
print(f"switch_dead_vs_legacy {dead / legacy_dead:.6f} ratio")
print(f"switch_cpu_vs_legacy {cpu / legacy['cpu_ns']:.6f} ratio")
print(f"switch_cpu_ns {cpu:.0f} ns")
print(f"legacy_dead_ns {legacy_dead} ns")
print(f"legacy_cpu_ns {legacy['cpu_ns']} ns")
PY
}

# by_weight: four tenants, weights 4:2:1:1.
by_weight() {
	i=1
	for weight in 400 200 100 100; do
		echo $weight > "$PCI/$PF/sriov_admin/vf$i/weight"
		i=$((i + 1))
	done
	setting policy qos
	sleep 1
	window 10 /tmp/qos.json
	setting policy rr
	python3 - <<'PY' | figures
import json
run = [f["run_ns"] for f in json.load(open("/tmp/qos.json"))["functions"][1:5]]
error = max(abs(r / sum(run) / (w / 8) - 1) for r, w in zip(run, (4, 2, 1, 1)))
print(f"share_error_qos {error:.6f} ratio")
PY
}

# report N: figures of a window with N equal tenants.
report() {
	python3 - "$1" <<'PY' | figures
import json, sys
n = int(sys.argv[1])
w = json.load(open("/tmp/window.json"))
switch = json.load(open("/tmp/switches.json"))
run = [f["run_ns"] for f in w["functions"][1:n + 1]]
print(f"share_error_rr_{n} {max(abs(r / sum(run) * n - 1) for r in run):.6f} ratio")
print(f"switch_dead_ratio {switch['dead_ns'] / 6e6:.6f} ratio")
print(f"switch_dead_ns {switch['dead_ns']} ns")
print(f"switch_device_ns {switch['device_ns']} ns")
if n == 16:
    time = w["now_ns"] - w["since_ns"]
    gap = max(f["max_gap_ns"] for f in w["functions"][1:n + 1])
    print(f"jain_16 {sum(run) ** 2 / (n * sum(r * r for r in run)):.6f} ratio")
    print(f"gap_max_16 {gap / (16 * 6e6):.6f} ratio")
    print(f"aggregate_16 {sum(run) / (time - w['command_ns']):.6f} ratio")
    busy = sum(f["busy_ns"] for f in w["functions"][1:n + 1])
    print(f"busy_16 {busy / sum(run):.6f} ratio")
PY
}

load guard=0 || exit 1
alone
for n in 2 4 8 16; do
	tenants $n
	window 10 /tmp/window.json
	referee switches > /tmp/switches.json || exit 1
	report $n
	[ $n != 2 ] || legacy
	[ $n != 4 ] || by_weight
	no_tenants
done
no_violations
