# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For the benchmarks: figures; and for those in the host VM, which source tests/vm/lib.sh before, tenants
# and windows of time. Source it.

suffix=
[ "${BENCH_CHIP:-tonga}" = tonga ] || suffix=_mi25
# figure NAME VALUE UNIT: one figure of this chip.
figure() { echo "BENCH $1$suffix $2 $3"; }
# figures: the same for lines "NAME VALUE UNIT" of standard input.
figures() { while read -r name value unit; do figure "$name" "$value" "$unit"; done; }

# setting FILE VALUE: of the GPU.
setting() { echo "$2" > "$PCI/$PF/gim/$1" || exit 1; }
pids=
# tenant N: VF N gets a guest that always has more work for the engine than a slice, and verifies it.
tenant() {
	vf-client --pci "$(vf "$1")" run --seconds 0 --seed "$1" --workload fill --depth 4 --op-bytes 32768 --repeat 50 \
		> "/tmp/c$1" 2>&1 &
	pids="$pids $!"
}
# bind_all N...: gives these VFs, from 0, to vfio-pci.
bind_all() { for i; do bind "$i"; done; }
# active N...: waits until the guests of these VFs, from 1, have loaded, and a second more.
active() {
	for i; do wait_for 60 is_state "vf$i" active || { cat "/tmp/c$((i - 1))"; exit 1; }; done
	sleep 1
}
# tenants N: enables N VFs and gives each a tenant.
tenants() {
	numvfs "$1" || exit 1
	for i in $(seq 0 $(($1 - 1))); do
		bind "$i"
		tenant "$i"
	done
	# shellcheck disable=SC2046
	active $(seq "$1")
}
# no_tenants: lets them finish and checks that each got what it asked for; then there are no VFs.
no_tenants() {
	# shellcheck disable=SC2086
	kill $pids
	for p in $pids; do wait "$p" || { cat /tmp/c*; exit 1; }; done
	pids=
	wait_for 20 numvfs 0 || exit 1
}
# window SECONDS FILE: what the referee counts in that time.
window() {
	referee reset
	sleep "$1"
	referee show > "$2" || exit 1
}
# lost NAME COUNTER WITH WITHOUT: the part of what VF0 counts per time in the second window that it does
# not in the first.
lost() {
	python3 - "$@" <<'PY' | figures
import json, sys
name, counter, *paths = sys.argv[1:]
def rate(path):
    w = json.load(open(path))
    return w["functions"][1][counter] / (w["now_ns"] - w["since_ns"])
some, all = map(rate, paths)
print(f"{name} {round(1 - some / all, 6) + 0.0:.6f} ratio")
PY
}
# no_violations: fails the benchmark if the driver broke a rule of the GPU.
no_violations() { [ "$(referee get violations)" = 0 ] || { echo "protocol violations"; exit 1; }; }
