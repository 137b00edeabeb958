#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make demo-migrate, host 2: VF1 becomes what VF0 was on host 1, beside a tenant.
# shellcheck source=tests/demo/move.sh
. tests/demo/move.sh

load || fail "gim does not load"
numvfs 4 || fail "no VFs"
for i in 0 1; do bind $i; done
tenant 0
network 10.9.0.2 10.9.0.1
mkfifo /tmp/orders /tmp/said /tmp/line /tmp/arrived
: > /tmp/chain.out
hear < /tmp/line &
# Were its input at its end, it would say so to the other side, which then ends in the middle.
mkfifo /tmp/silence
exec 4<> /tmp/silence
(busybox nc -l -p 7001 <&4 > /tmp/checkpoint && echo yes > /tmp/arrived) &
vf-client --pci "$(vf 1)" resume --checkpoint /tmp/checkpoint --early --stdin < /tmp/orders > /tmp/line 2>&1 &
chain=$!
exec 3> /tmp/orders
wait_for 30 says open || fail "VF1 cannot be opened"
wait_for 10 is_state vf2 available || fail "VF1 is not free"
(echo ready | busybox nc -l -p 7002) &
gimctl --json migrate recv --vf 1 --on-restored "read -r yes < /tmp/arrived && $(order load ready)" \
	0.0.0.0:7000 2> /tmp/report || fail "it does not arrive"
echo go >&3
# The referee forgets it when the VF is reset at the end.
wait_for 10 sh -c 'referee when --vf 1 > /tmp/when; grep -q "\"first_run_start_ns\":[0-9]" /tmp/when' || fail "VF1 does not run"
wait $chain || fail "the chain does not end well"
echo "host 2: $(grep ^done /tmp/chain.out)"
tenants_end "host 2"
echo "RESULT target $(cat /tmp/when)"
echo "RESULT digest $(sed -n 's/^done .* digest \([0-9a-f]*\),.*/\1/p' /tmp/chain.out)"
