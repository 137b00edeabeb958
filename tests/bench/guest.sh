#!/usr/bin/env bash
# bench: host
# SPDX-License-Identifier: GPL-2.0
# A guest VM moves with its VF to another host, live, by a stock QEMU, again and again: every time the
# job must end with the right bytes. Two host VMs in real time: figures of a busy machine are worse.
set -euo pipefail
cd /gim
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh

moves=${GIM_MOVE_COUNT:-10} right=0
for i in $(seq "$moves"); do
	log=build/bench/guest-$i.txt
	if scripts/demo-vm > "$log" 2>&1; then right=$((right + 1)); else tail -n 15 "$log"; fi
	sed -n 's/^downtime by QEMU: \([0-9]*\) ms; by the referee.s clock \([0-9]*\) ms .*/\1 \2/p' "$log" |
		while read -r qemu referee; do
			figure qemu_downtime_ms "$qemu" ms
			figure qemu_downtime_referee_ms "$referee" ms
		done
done
figure qemu_moves "$(awk "BEGIN { print $right / $moves }")" ratio
