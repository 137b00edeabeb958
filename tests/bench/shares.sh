#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the host VM, under deterministic time: shares, gaps and the cost of a switch for 2, 4, 8 and 16
# busy tenants, by the referee's clock.  Prints "BENCH name value unit".
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# CPU time of the whole machine that was not idle, in ms.
busy() { awk '/^cpu / { print ($2 + $3 + $4 + $7 + $8) * 10 }' /proc/stat; }
# spent SECONDS: what the machine spends in that time, in ms.
spent() {
	before=$(busy)
	sleep "$1"
	echo $(($(busy) - before))
}
# The same two VFs on the same engine, their guests stopped: switched by gim, then the legacy way.
legacy() {
	# shellcheck disable=SC2086
	kill -STOP $pids
	sleep 1
	commands=$(referee get commands)
	ours=$(spent 100)
	commands=$(($(referee get commands) - commands))
	echo pause > "$PCI/$PF/gim/control" || exit 1
	idle=$(spent 100)
	referee reset
	referee legacy "$PF" --count 60 > /tmp/legacy.json || exit 1
	referee switches > /tmp/legacy-switches.json || exit 1
	python3 - "$ours" "$idle" "$commands" <<'PY' || exit 1
import json, sys
ours, idle, commands = map(int, sys.argv[1:])
dead = json.load(open("/tmp/switches.json"))["dead_ns"]
legacy = json.load(open("/tmp/legacy-switches.json"))["dead_ns"]
spin = json.load(open("/tmp/legacy.json"))["cpu_ns"]
cpu = (ours - idle) * 1e6 / (commands / 4)
print(f"BENCH switch_dead_vs_legacy {dead / legacy:.6f} ratio")
print(f"BENCH switch_cpu_vs_legacy {cpu / spin:.6f} ratio")
print(f"BENCH switch_cpu_ns {cpu:.0f} ns")
print(f"BENCH legacy_dead_ns {legacy} ns")
print(f"BENCH legacy_cpu_ns {spin} ns")
PY
	echo resume > "$PCI/$PF/gim/control" || exit 1
	# shellcheck disable=SC2086
	kill -CONT $pids
}

load guard=0 || exit 1
for n in 2 4 8 16; do
	numvfs $n || exit 1
	echo strict > "$PCI/$PF/gim/mode"
	i=0
	pids=
	while [ $i -lt $n ]; do
		bind $i
		vf-client --pci "$(vf $i)" run --seconds 0 --seed $i --workload fill --depth 2 --op-bytes 4096 > "/tmp/c$i" 2>&1 &
		pids="$pids $!"
		i=$((i + 1))
		wait_for 30 is_state vf$i active || { cat "/tmp/c$((i - 1))"; exit 1; }
	done
	sleep 1
	referee reset
	sleep 10
	referee show > /tmp/show.json
	referee switches > /tmp/switches.json
	[ $n != 2 ] || legacy
	# shellcheck disable=SC2086
	kill $pids
	wait
	python3 - $n <<'PY' || exit 1
import json, sys
n = int(sys.argv[1])
fns = json.load(open("/tmp/show.json"))["functions"][1:n + 1]
sw = json.load(open("/tmp/switches.json"))
run = [f["run_ns"] for f in fns]
share = [r / sum(run) for r in run]
print(f"BENCH share_error_rr_{n} {max(abs(s * n - 1) for s in share):.6f} ratio")
print(f"BENCH switch_dead_ratio_{n} {sw['dead_ns'] / 6e6:.6f} ratio")
print(f"BENCH switch_dead_ns_{n} {sw['dead_ns']} ns")
print(f"BENCH switch_device_ns_{n} {sw['device_ns']} ns")
if n == 16:
    print(f"BENCH jain_16 {sum(run) ** 2 / (n * sum(r * r for r in run)):.6f} ratio")
    print(f"BENCH gap_max_16 {max(f['max_gap_ns'] for f in fns) / (16 * 6e6):.4f} ratio")
PY
	wait_for 10 numvfs 0 || exit 1
done
[ "$(referee get violations)" = 0 ] || { echo "protocol violations"; exit 1; }
