#!/usr/bin/env bash
# bench: host
# SPDX-License-Identifier: GPL-2.0
# What runs natively and depends on the machine: a step of the engine, hashes and checksums.
set -euo pipefail
cd /gim
cargo bench --quiet --locked -p gim-core-sim --bench hash | grep '^BENCH'
# criterion prints "step_ns_16  time: [low median high]", each with its unit; the figure is in ns.
steps=$(cargo bench --quiet --locked -p gim-core-sim --bench step 2>&1 | tr '\n' ' ' |
	grep -oE 'step[a-z_0-9]+ +time: +\[[^]]*\]' |
	sed -E 's/^(step[a-z_0-9]+) +time: +\[[^ ]+ [^ ]+ ([0-9.]+) ([^ ]+).*/\1 \2 \3/' |
	awk 'BEGIN { ns["ps"] = 1e-3; ns["ns"] = 1; ns["µs"] = 1e3; ns["ms"] = 1e6; ns["s"] = 1e9 }
		!($3 in ns) { print "no unit of time: " $0 > "/dev/stderr"; exit 1 }
		{ printf "BENCH %s %.2f ns\n", $1, $2 * ns[$3] }')
echo "$steps"
echo "$steps" | awk '{ ns[$2] = $3 } END { printf "BENCH step_growth %.3f ratio\n", ns["step_ns_16"] / ns["step_ns_1"] }'
