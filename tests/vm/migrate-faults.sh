#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# What can go wrong with a migration, at any moment of it; and several at once.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
t "VFs are enabled" numvfs 4
group arcs
group together
group spoil
group faults
group manners

# A tenant works while its VF is saved to where there is no room.
bind 0
vf-client --pci "$(vf 0)" run --seconds 0 --workload mix > /tmp/tenant 2>&1 &
tenant=$!
t "a tenant works" wait_for 10 is_state vf1 active
mkdir /tmp/full
no_room() {
	mount -t tmpfs -o size=64k tmpfs /tmp/full || return 1
	for dirty in none hw; do
		refused "No space left" gimctl migrate save --vf 0 --dirty $dirty /tmp/full/vf0 || return 1
		is_state vf1 active || return 1
	done
}
t "ENOSPC: the save fails and says so" no_room
cut() {
	[ -s /tmp/full/vf0 ] || head -c 60000 /dev/urandom > /tmp/full/vf0
	refused . gimctl migrate restore --vf 1 /tmp/full/vf0 && wait_for 5 is_state vf2 available
}
t "what was saved so far is refused elsewhere" cut
umount /tmp/full
works_on() {
	kill $tenant
	wait $tenant
	rc=$?
	cat /tmp/tenant
	return $rc
}
t "the tenant has noticed nothing" works_on

# The GPU leaves the bus, and the module the GPU.
lost() {
	referee fault pf-dead --pf
	refused "No such device" gimctl migrate save --vf 2 --dirty none /tmp/lost
}
t "who saves a VF of a GPU that is lost is told" lost
t "no half a stream is left as if it were one" refused . gimctl migrate restore --vf 1 /tmp/lost
t "the module leaves such a GPU" timeout 60 rmmod gim
referee clear
t "and loads again once it answers" load guard=0
t "VFs are enabled" numvfs 4
t "and clean" wait_for 20 is_state vf4 available
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "module unloads" rmmod gim
plan
