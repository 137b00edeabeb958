#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make demo-vm, host 1: a guest VM works with VF0 and leaves with it.
# shellcheck source=tests/demo/move.sh
. tests/demo/move.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

job=$1
hosts || fail "the host is not ready"
bind 1
bind_to gim-vfio-pci 0 || fail "VF0 is not bound"
echo "host 1: gim, 4 VFs; the guest's job would end like this without a guest and a move:"
# shellcheck disable=SC2086
vf-client --pci "$(vf 1)" $job > /tmp/stays || fail "it does not work at all"
tail -n 1 /tmp/stays
echo "host 1: $(qemu-system-x86_64 --version | head -n 1), unmodified: a guest VM starts with VF0"
guest a 0 "$job --rate $2 --patience 60 --stdin"
network 10.9.0.1 10.9.0.2
(up a && says a '^at ' 60) || fail "the guest does not work"
echo "host 1: $(grep '^guest up' /tmp/a.out); its client works"
wait_for 300 bash -c ": < /dev/tcp/10.9.0.2/7002" 2> /dev/null || fail "host 2 is not ready"
echo "host 1: QMP: migrate tcp:10.9.0.2:7000"
GUEST_WAIT=400 qmp @a precopy migrate '{"uri":"tcp:10.9.0.2:7000"}' iterates wait=completed > /tmp/moved || fail "it does not leave: $(cat /tmp/moved)"
referee when --vf 0 > /tmp/when
grep '^at .* steps$' /tmp/a.out | tail -n 1 | sed 's/^/host 1: the client was last seen here /'
qmp @a quit > /tmp/quit
wait_for 20 dead a && wait_for 10 is_state vf1 available || fail "VF0 is not free"
[ "$(referee get violations)" = 0 ] || fail "protocol violations on host 1"
echo "RESULT source $(cat /tmp/when)"
echo "RESULT qemu $(grep '"completed"' /tmp/moved)"
echo "RESULT digest $(sed -n 's/^done .* digest \([0-9a-f]*\),.*/\1/p' /tmp/stays)"
