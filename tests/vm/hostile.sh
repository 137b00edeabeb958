#!/bin/sh
# vm: --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# Messages in any order, unknown ones, silence; tenants that vanish.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# Guests come and go here more often than the guard allows.
t "module loads" load guard=0
numvfs 4
for i in 0 1 2 3; do bind $i; done
vf-client --pci "$(vf 3)" run --seconds 0 --workload mix > /tmp/good 2>&1 &
good=$!
wait_for 5 is_state vf4 active

for m in 0 2 4 6 7 200 201 255 300 4294967295; do
	t "message $m out of place is survived" sh -c "vf-client --pci $(vf 0) raw-msg $m --wait-ms 200; is=\$(cat $PCI/$PF/sriov_admin/vf1/state); echo \$is; [ \$is = available ]"
done
t "the guest still loads afterwards" vf-client --pci "$(vf 0)" handshake
t "dropped messages are counted" test "$(stat vf1 messages_dropped)" -ge 8

silent() {
	vf-client --pci "$(vf 1)" raw-msg 1 --wait-ms 3000 --hold-ms 2500
	wait_for 5 is_state vf2 available
}
t "full access that is never given back ends" silent
t "it is counted" test "$(stat vf2 full_access_timeouts)" -ge 1

vanish() {
	vf-client --pci "$(vf 1)" run --seconds 30 > /tmp/v 2>&1 &
	v=$!
	wait_for 5 is_state vf2 active
	kill -9 $v
	wait $v
	wait_for 5 is_state vf2 available
}
t "a tenant that is killed frees its VF" vanish
t "and leaves nothing to the next" vf-client --pci "$(vf 1)" scrub-check
# The command's number (gpu-iov-hardware.md, 2.3).
LOAD=3
# What is loaded is gone when its VF is reset meanwhile; nobody may run it then.
amid_load() {
	vf-client --pci "$(vf 1)" run --seconds 30 > /tmp/v 2>&1 &
	v=$!
	wait_for 5 is_state vf2 active || return 1
	# LOAD takes most of the time then.
	referee fault late --vf 1 --command $LOAD --arg 30000
	for _ in 1 2 3; do
		sleep 0.1
		echo 1 > "$PCI/$(vf 1)/reset"
	done
	referee clear
	kill -9 $v
	wait $v
	wait_for 5 is_state vf2 available && [ "$(referee get violations)" = 0 ]
}
for n in 1 2 3 4; do
	t "a VF that is reset while it is loaded, $n" amid_load
done
t "VFs in use are not disabled" refused "busy" sh -c "echo 0 | tee $PCI/$PF/sriov_numvfs"

kill $good
wait $good
rc=$?
cat /tmp/good
t "the good tenant noticed nothing" test $rc = 0
t "no protocol violation" sh -c "referee show | head -8; [ \$(referee get violations) = 0 ]"

busy_unload() {
	vf-client --pci "$(vf 2)" run --seconds 60 > /tmp/b 2>&1 &
	b=$!
	wait_for 5 is_state vf3 active
	rmmod gim &
	r=$!
	sleep 2
	kill -9 $b
	wait $b
	wait $r
}
t "the module unloads under a busy tenant" busy_unload
t "and loads again" load guard=0
t "with VFs" numvfs 2
t "and unloads" rmmod gim
plan
