#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make demo-vm, host 2: a QEMU waits with VF1 for the guest of host 1.
# shellcheck source=tests/demo/move.sh
. tests/demo/move.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

job=$1
hosts || fail "the host is not ready"
bind_to gim-vfio-pci 1 || fail "VF1 is not bound"
network 10.9.0.2 10.9.0.1
guest b 1 "$job --rate $2 --patience 60 --stdin" -incoming defer
qmp @b precopy migrate-incoming '{"uri":"tcp:10.9.0.2:7000"}' > /tmp/moved || fail "QEMU does not wait: $(cat /tmp/moved /tmp/b.qemu)"
echo "host 2: gim, 4 VFs; QEMU waits with VF1"
(echo ready | busybox nc -l -p 7002) &
wait_for 400 said b '^at ' || { guest_state b; fail "the guest does not arrive"; }
echo "host 2: the guest runs here, its client goes on $(grep '^at .* steps$' /tmp/b.out | head -n 1)"
referee when --vf 1 > /tmp/when
hurry b
ends b 200 > /tmp/ends || fail "the job does not end well: $(tail -n 30 /tmp/ends)"
echo "host 2: $(grep '^done' /tmp/b.out)"
wait_for 10 is_state vf2 available || fail "VF1 is not free"
[ "$(referee get violations)" = 0 ] || fail "protocol violations on host 2"
echo "RESULT target $(cat /tmp/when)"
echo "RESULT digest $(sed -n 's/^done .* digest \([0-9a-f]*\),.*/\1/p' /tmp/b.out)"
