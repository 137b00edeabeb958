#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# Two VMs end at the same moment: vfio-pci resets one of their VFs, the other works on for nobody, until
# the driver notices.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
numvfs 4
for i in 0 1 2; do bind $i; done
gimctl events --json > /tmp/events &
watch=$!
client() {
	vf-client --pci "$(vf "$1")" run --seconds 0 --patience 60 --seed "$1" > "/tmp/c$1" 2>&1 &
}
client 2
neighbour=$!
t "a neighbour works" wait_for 20 is_state vf3 active
both_are() { is_state vf1 "$1" && is_state vf2 "$1"; }
abandoned() { dmesg | grep -c "is reset: Abandoned"; }
end_at_once() {
	client 0
	a=$!
	client 1
	b=$!
	wait_for 20 both_are active || return 1
	kill -KILL $a $b
	wait $a $b
	wait_for 5 both_are available
}
for i in 1 2 3; do t "both VFs are free again, $i" end_at_once; done
left=$(abandoned)
t "that was needed" test "$left" -gt 0
t "user space is told" wait_for 5 sh -c "[ \$(grep -c '\"reason\": *\"abandoned\"' /tmp/events) = $left ]"
kill $watch
# A VF that is paused does nothing that had to be ended, and is not forgotten.
end_paused() {
	client 0
	a=$!
	client 1
	b=$!
	wait_for 20 both_are active && gimctl pause --vf 0 && gimctl pause --vf 1 || return 1
	kill -KILL $a $b
	wait $a $b
	sleep 1
	gimctl resume --vf 0 && gimctl resume --vf 1 && wait_for 5 both_are available
}
t "also those that were paused when they ended" end_paused
kill $neighbour
quiet() {
	wait $neighbour
	rc=$?
	cat /tmp/c2
	[ $rc = 0 ] && grep -q ' ok: .* 0 recoveries' /tmp/c2
}
t "the neighbour has noticed nothing" quiet
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 5 numvfs 0
t "module unloads" rmmod gim
plan
