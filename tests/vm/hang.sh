#!/bin/sh
# vm: --steady --gpu vfs=16,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# A VF that hangs is reset and comes back; the others go on.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# Guests come and go here more often than the guard allows.
t "module loads" load guard=0
numvfs 4
for i in 0 1 2 3; do bind $i; done

hang_one() {
	pids=
	for i in 1 2 3; do
		vf-client --pci "$(vf $i)" run --seconds 0 --seed $i --workload mix > /tmp/c$i 2>&1 &
		pids="$pids $!"
		wait_for 30 is_state vf$((i + 1)) active || return 1
	done
	referee reset
	vf-client --pci "$(vf 0)" hang
	rc=$?
	# Only one that shares the GPU is ever asked to stop, and so found to hang.
	# shellcheck disable=SC2086
	kill $pids
	for p in $pids; do wait "$p" || rc=1; done
	cat /tmp/c?
	return $rc
}
t "one hangs and is recovered while three work" hang_one
t "it was reset" test "$(referee get flrs --vf 0)" -ge 1
t "the others were not" sh -c 'for i in 1 2 3; do [ "$(referee get flrs --vf $i)" -le 1 ] || exit 1; done'
t "what its guest says when it is told has its place" test "$(stat vf1 messages_dropped)" = 0
t "the hang was counted" test "$(stat vf1 hangs)" -ge 1
t "nobody else hung" sh -c "for i in 2 3 4; do grep -qx 'hangs 0' $PCI/$PF/sriov_admin/vf\$i/stats || exit 1; done"
gaps() {
	for i in 1 2 3; do
		gap=$(referee get max_gap_ns --vf $i)
		echo "VF$i: largest gap $((gap / 1000)) us"
		[ "$gap" -lt 500000000 ] || return 1
	done
}
[ -n "$SLOW" ] || t "the others lost little" gaps
t "no protocol violation" test "$(referee get violations)" = 0
t "the log says what happened" dmesg_has "timed out|ended with status"
t "it works again" vf-client --pci "$(vf 0)" run --seconds 1

# Long enough for both to be seen at work before the fault.
seconds=1.2
[ -z "$SLOW" ] || seconds=6
# Each way a command can fail; the GPU is told to misbehave once.
for fault in never-completes gfx-hang sdma-hang never-idles corrupt-context late lost-interrupt; do
	misbehave() {
		referee clear
		vf-client --pci "$(vf 1)" run --seconds $seconds > /tmp/other 2>&1 &
		other=$!
		vf-client --pci "$(vf 2)" run --seconds $seconds > /tmp/victim 2>&1 &
		victim=$!
		# Both work: a message that is lost is another matter.
		{ wait_for 10 is_state vf2 active && wait_for 10 is_state vf3 active; } || return 1
		sleep 0.2
		case $fault in
		late) referee fault late --vf 2 --arg 5000 --count 3 ;;
		lost-interrupt) referee fault lost-interrupt --pf --count 2 ;;
		*) referee fault $fault --vf 2 --count 1 ;;
		esac
		wait $victim
		rc=$?
		cat /tmp/victim
		wait $other || { cat /tmp/other; return 1; }
		return $rc
	}
	t "$fault: the victim recovers, the other goes on" misbehave
done
referee clear
t "all are usable at the end" wait_for 5 sh -c "for i in 1 2 3 4; do [ \"\$(cat $PCI/$PF/sriov_admin/vf\$i/state)\" = available ] || exit 1; done"
t "module unloads" rmmod gim
plan
