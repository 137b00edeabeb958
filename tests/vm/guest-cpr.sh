#!/bin/sh
# vm: --smp 1 --timeout 400 --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# QEMU is replaced under a running guest, twice: the VF notices nothing, and every job of the guest's
# client is done and told of by its interrupt, for which alone it waits (the guest has an IOMMU). A
# successor that dies costs nothing.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh
replaceable
interruptible

t "the host is ready" hosts
t "VF0 is bound" bind_to gim-vfio-pci 0
job="pulse --patience 20"
boots() { guest a 0 "$job" && up a && says a '^at ' 60; }
t "a guest of a newer QEMU works with it" boots

# What would tell that the VF was reset, or taken off the engine; the referee counts from here on.
touched() { echo "$(stat vf1 resets) resets, $(referee get flrs --vf 0) FLRs, $(referee get nobody_ns) ns without it"; }
referee reset
before=$(touched)
untouched() {
	after=$(touched)
	echo "before: $before; after: $after"
	[ "$before" = "$after" ]
}
# follows A B: B replaces A.
follows() {
	heir "$2" 0 "$job" || return 1
	hands_over "$1" "$2" wait=completed "@$2" running > "/tmp/over.$2" 2>&1 ||
		! cat "/tmp/over.$2" || ! guest_state "$1" || ! guest_state "$2" || return 1
	qmp "@$1" quit && wait_for 20 dead "$1" && says "$2" '^at ' 30
}
t "a second QEMU takes it over" follows a b
echo "# downtime by QEMU: $(sed -n 's/.*"downtime": \([0-9]*\).*/\1/p' /tmp/over.b) ms"
t "the VF was neither reset nor off the engine" untouched

# works_on NAME: the client in it does, of a QEMU that is not to be told to.
works_on() {
	qmp "@$1" query-status | grep '"status": "running"' || return 1
	lines=$(wc -l < "/tmp/$1.out")
	wait_for 30 more_lines "$1" "$lines" || ! guest_state "$1"
}
more_lines() { [ "$(wc -l < "/tmp/$1.out")" -gt $(($2 + 2)) ]; }
kills() { kill -9 "$(cat "/tmp/$1.pid")" && wait_for 20 dead "$1"; }
dies_before() {
	heir e 0 "$job" && kills e || return 1
	refused "Failed to connect" hands_over b e wait=completed && works_on b
}
t "one that has died before it was given anything costs nothing" dies_before
# The guest stands, the descriptors are there, and QEMU waits for a word to go on.
dies_within() {
	qmp @b migrate-set-capabilities '{"capabilities":[{"capability":"pause-before-switchover","state":true}]}' || return 1
	heir f 0 "$job" && hands_over b f wait=pre-switchover query-status > /tmp/within || ! cat /tmp/within || return 1
	cat /tmp/within
	grep -q '"running": false' /tmp/within && kills f || return 1
	qmp @b migrate-continue '{"state":"pre-switchover"}' wait=failed || return 1
	qmp @b migrate-set-capabilities '{"capabilities":[{"capability":"pause-before-switchover","state":false}]}' && works_on b
}
t "one that dies while the guest stands for it costs nothing" dies_within
t "the next one takes over all the same" follows b g
t "the VF was not touched by all that" untouched
finishes() { echo end > /tmp/g.in && ends g 60; }
t "the client has verified every job" finishes
last=$(grep '^done' /tmp/g.out)
echo "# $last"
t "no interrupt was lost" sh -c "echo '$last' | grep ' 0 lost'"
t "the VF is free" wait_for 10 is_state vf1 available
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "modules unload" rmmod gim gim_vfio_pci gim_seam
kill_guests
plan
