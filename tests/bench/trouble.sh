#!/bin/sh
# bench: vm --icount --gpu vfs=16,vram_mb=512
# SPDX-License-Identifier: GPL-2.0
# In the host VM, in deterministic time: what those who behave lose by one who hangs, floods the host,
# or does not give full access back.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh

# Four tenants, of which the last hangs. All have their slots in strict mode, so nobody gains by its
# absence: what the three get less than in a window of the same length without a hang is lost.
recovery() {
	setting mode strict
	mkfifo /tmp/orders
	numvfs 4 || exit 1
	bind_all 0 1 2 3
	for i in 0 1 2; do tenant $i; done
	vf-client --pci "$(vf 3)" run --seconds 0 --workload fill --depth 4 --op-bytes 32768 --repeat 50 --stdin \
		< /tmp/orders > /tmp/c3 2>&1 &
	pids="$pids $!"
	exec 3> /tmp/orders
	active 1 2 3 4
	for run in 1 2 3; do
		window 3 /tmp/calm.json
		echo hang >&3
		window 3 /tmp/hang.json
		[ "$(state vf4)" = active ] && [ "$(stat vf4 hangs)" = $run ] || { echo "no hang, or no way back"; exit 1; }
		lost
	done
	exec 3>&-
	no_tenants
	setting mode work-conserving
}
lost() {
	python3 - <<'PY' | figures
import json
def load(name):
    w = json.load(open(f"/tmp/{name}.json"))
    return w["functions"][1:4], w["now_ns"] - w["since_ns"]
(calm, t), (hang, u) = load("calm"), load("hang")
# The time in which the three would have run for what they have lost.
lost = sum(u - h["run_ns"] / (c["run_ns"] / t) for c, h in zip(calm, hang)) / 3
gap = max(h["max_gap_ns"] - c["max_gap_ns"] for c, h in zip(calm, hang))
print(f"recovery_others_lost {lost / 50e6:.6f} ratio")
print(f"recovery_others_gap {gap / 50e6:.6f} ratio")
PY
}

# Fifteen tenants, and one who takes full access again and again: twice to initialise and shut down as
# it should, then without ever giving it back.
full_access() {
	numvfs 16 || exit 1
	bind_all 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
	for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do tenant $i; done
	active 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
	before=$(stat vf16 full_access_timeouts)
	referee reset
	for _ in 1 2; do vf-client --pci "$(vf 15)" handshake || exit 1; done
	for _ in 1 2 3; do vf-client --pci "$(vf 15)" raw-msg 1 --wait-ms 20000 --hold-ms 1500 || exit 1; done
	referee show > /tmp/window.json || exit 1
	[ $(($(stat vf16 full_access_timeouts) - before)) = 3 ] || { echo "full access did not end by its bound"; exit 1; }
	no_tenants
	python3 - <<'PY' | figures
import json
fns = json.load(open("/tmp/window.json"))["functions"][1:16]
print(f"gap_max_fullaccess {max(f['max_gap_ns'] for f in fns) / 1e6:.3f} ms")
PY
}

# As many full accesses have exceeded their bound as the limits allow.
used_up() { [ "$(stat vf4 full_access_timeouts)" -ge 2 ]; }
# flood MESSAGE WAIT FIGURE: three tenants, and one who sends the message again and again and waits so
# many ms for each to be taken; how far their parts of the time are from those of a window in which it
# is silent.
flood() {
	numvfs 4 || exit 1
	bind_all 0 1 2 3
	for i in 0 1 2; do tenant $i; done
	active 1 2 3
	window 5 /tmp/calm.json
	vf-client --pci "$(vf 3)" raw-msg "$1" --wait-ms "$2" --times 100000000 > /tmp/flood &
	flooder=$!
	# Its own start, and what the limits allow at once, is not the matter.
	sleep 1
	[ "$1" != 1 ] || wait_for 60 used_up || exit 1
	wait_for 60 is_state vf4 available || exit 1
	window 5 /tmp/flood.json
	kill $flooder
	wait $flooder 2> /dev/null
	no_tenants
	python3 - "$3" <<'PY' | figures
import json, sys
def load(name):
    w = json.load(open(f"/tmp/{name}.json"))
    return [f["run_ns"] / (w["now_ns"] - w["since_ns"]) for f in w["functions"][1:4]], w
(calm, _), (flood, w) = load("calm"), load("flood")
print(f"{sys.argv[1]} {max(abs(f / c - 1) for c, f in zip(calm, flood)):.6f} ratio")
print(f"{sys.argv[1].replace('shift', 'messages')} {w['functions'][4]['messages']} messages")
PY
}

load guard=0 || exit 1
full_access
recovery
no_violations
rmmod gim
load guard=1 || exit 1
flood 200 0 flood_share_shift
flood 1 1 flood_requests_shift
no_violations
