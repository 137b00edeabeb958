#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make demo-migrate, host 1: a chain of dependent jobs runs on VF0 and leaves with it.
# shellcheck source=tests/demo/move.sh
. tests/demo/move.sh

load || fail "gim does not load"
numvfs 4 || fail "no VFs"
for i in 0 1 2; do bind $i; done
steps=$1 rate=$2 source=$3
echo "host 1: gim, 4 VFs; the chain would end like this if it stayed:"
vf-client --pci "$(vf 0)" chain --steps "$steps" --spread $((32 << 20)) > /tmp/stays || fail "the chain does not work at all"
tail -n 1 /tmp/stays
tenant 1
tenant 2
network 10.9.0.1 10.9.0.2
wait_for 100 bash -c ": < /dev/tcp/10.9.0.2/7002" 2> /dev/null || fail "host 2 is not ready"
mkfifo /tmp/orders /tmp/said /tmp/line /tmp/wire
: > /tmp/chain.out
hear < /tmp/line &
vf-client --pci "$(vf 0)" chain --steps "$steps" --spread $((32 << 20)) --rate "$rate" \
	--checkpoint /tmp/checkpoint --stdin < /tmp/orders > /tmp/line 2>&1 &
chain=$!
exec 3> /tmp/orders
wait_for 30 says working || fail "the chain does not start"
sleep 1
referee reset
echo "host 1: VF0 leaves while its chain runs and two tenants work (changes known by: $source)"
busybox nc 10.9.0.2 7001 < /tmp/wire > /dev/null 2>&1 &
# The client writes its ring and page table by the CPU, and nothing else; what is in its own memory
# travels beside the stream.
gimctl --json migrate send --vf 0 --dirty "$source" --quiet --touches 2097152:327680 --brownout-limit 1500 \
	--on-pause "$(order freeze frozen)" --on-paused "($(order dump dumped) && cat /tmp/checkpoint > /tmp/wire) &" \
	10.9.0.2:7000 2> /tmp/report || fail "it does not leave"
referee when --vf 0 > /tmp/when
echo exit >&3
wait $chain
python3 - /tmp/report <<'PY'
import json, sys
r = json.loads(open(sys.argv[1]).read().strip().splitlines()[-1])
print(f"host 1: {r['rounds']} rounds, {r['bytes'] / 2**20:.1f} MiB in {r['seconds']:.1f} s, {r['zero_pages']} pages were zero; held {r['brownout_ms']:.0f} ms, then paused {r['blackout_ms']:.0f} ms as gimctl saw it")
PY
one=$(ran 1) two=$(ran 2)
echo "host 1: the tenants had $((one / 1000000)) and $((two / 1000000)) ms of GPU time meanwhile"
off=$(((one - two) * 100 / (one + two)))
[ ${off#-} -le 2 ] || fail "their shares differ by $off %"
tenants_end "host 1"
echo "RESULT source $(cat /tmp/when)"
echo "RESULT digest $(sed -n 's/^done .* digest \([0-9a-f]*\),.*/\1/p' /tmp/stays)"
