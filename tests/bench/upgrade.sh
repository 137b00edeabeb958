#!/bin/sh
# bench: vm --icount --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# In the host VM, in deterministic time: gim is replaced again and again under busy tenants, and under one
# that is alone.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh

count=${GIM_UPGRADE_COUNT:-20}
# As a distribution packs it.
strip --strip-debug -o /tmp/gim.ko "$GIM"
load || exit 1
load_vfio || exit 1

# replaced NAME: the longest time without the engine of any VF that is busy, while gim is replaced.
replaced() {
	referee reset
	sleep 0.5
	for _ in $(seq "$count"); do
		gimctl --json upgrade /tmp/gim.ko >> /tmp/upgrades || exit 1
		sleep 0.2
	done
	referee show > /tmp/gaps.json || exit 1
	python3 - "$1" "$2" <<'PY' | figures
import json, sys
gaps = [f["max_gap_ns"] for f in json.load(open("/tmp/gaps.json"))["functions"][1:1 + int(sys.argv[2])]]
print(f"{sys.argv[1]} {max(gaps) / 1e6:.2f} ms")
PY
}
tenants 4
replaced upgrade_pause_ms 4
no_tenants
tenants 1
replaced upgrade_pause_1to1_ms 1
no_tenants
python3 - <<'PY' | figures
import json, statistics
took = [json.loads(line)["took_ms"] for line in open("/tmp/upgrades")]
print(f"upgrade_took_ms {statistics.median(took):.2f} ms")
PY
no_violations
