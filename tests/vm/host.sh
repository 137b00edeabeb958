#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256 --says 'gim [0-9a-f:.]*: the host goes down: no VF runs'
# SPDX-License-Identifier: GPL-2.0
# What the host does around the driver: resets of the GPU and of its bus by somebody else, bus errors,
# sleep, a GPU that is pulled out, and at last, when this test has ended, the host goes down.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
G=$PCI/$PF/gim
PORT=$(basename "$(dirname "$(readlink -f "$PCI/$PF")")")

vfs_on() {
	numvfs 2 || return 1
	for i in 0 1; do bind $i; done
}
# A client works on VF0.
tenant() {
	vf-client --pci "$(vf 0)" run --seconds 0 > /tmp/c0 2>&1 &
	client=$!
	wait_for 20 is_state vf1 active
}
# The client is told to end: all its work was right, and it has recovered so often.
tenant_ends() {
	kill $client
	wait $client
	rc=$?
	cat /tmp/c0
	[ $rc = 0 ] && grep -q "^[0-9a-f:.]* ok: .* $1 recoveries" /tmp/c0
}
is_on() { grep -qx on "$G/state"; }
resets() { dmesg | grep -c "the GPU was reset"; }
were_resets() { [ "$(resets)" = "$1" ]; }
# survives COMMAND...: VFs end in their states, and the engine serves them.
survives() {
	after=$(($(resets) + 1))
	"$@" || return 1
	wait_for 20 were_resets $after && is_on || return 1
	wait_for 20 is_state vf2 available && wait_for 20 is_state vf1 active
}
write() { echo "$1" > "$2"; }

t "VFs are enabled" vfs_on
tenant
t "somebody resets the PF: its tenant comes back" survives write 1 "$PCI/$PF/reset"
t "somebody resets the bus: its tenant comes back" survives write 1 "$PCI/$PORT/reset_subordinate"
t "a paused VF" gimctl pause --vf 0
reset_paused() {
	write 1 "$PCI/$PF/reset" && wait_for 5 is_on && wait_for 20 is_state vf2 available &&
		wait_for 20 is_state vf1 suspended
}
t "is paused after a reset too" reset_paused
t "and resumed" gimctl resume --vf 0
t "the tenant has recovered from all three" tenant_ends 3
parked() {
	gimctl pause && write 1 "$PCI/$PF/reset" && gimctl resume && wait_for 20 is_state vf1 available
}
t "the PF is reset while the scheduler is parked" parked

# inject BYTES: an uncorrectable error of the PF, by its status as four octal bytes.
inject() {
	zeroes='\000\000\000\000'
	# The bytes are escapes for printf.
	# shellcheck disable=SC2059
	printf "\\001\\000\\000\\000$1$zeroes$zeroes$zeroes$zeroes$zeroes$zeroes" > /dev/aer_inject
}
if modprobe -q aer_inject; then
	tenant
	not_fatal() {
		inject '\000\100\000\000' || return 1
		sleep 1
		dmesg | tail -n 20
		is_on && is_state vf1 active && dmesg_has 'device recovery successful'
	}
	t "a bus error that is not fatal changes nothing" not_fatal
	t "one that is: the bus is reset, and the tenant comes back" survives inject '\000\000\004\000'
	t "the tenant has recovered once" tenant_ends 1
fi
t "no protocol violation" test "$(referee get violations)" = 0

# The root file system of this host cannot sleep: its refusal comes late enough.
write devices /sys/power/pm_test
write 0 /sys/power/pm_async
tenant
t "the host cannot sleep while a guest works" refused "I/O error\|Device or resource busy" write mem /sys/power/state
t "the log says why" dmesg_has "cannot sleep: a guest uses VF0"
t "the tenant notices nothing" tenant_ends 0
wait_for 20 is_state vf1 available
sleeps() {
	after=$(($(resets) + 1))
	write mem /sys/power/state
	dmesg | tail -n 15
	were_resets $after || return 1
	wait_for 20 is_state vf1 available && wait_for 20 is_state vf2 available && is_on
}
t "without guests it does, and VFs are clean afterwards" sleeps
tenant
sleep 1
t "and work" tenant_ends 0
t "no protocol violation" test "$(referee get violations)" = 0

# Pulled out while a tenant works and somebody waits for a VF that will never come to rest.
tenant
vf-client --pci "$(vf 1)" raw-msg 1 --hold-ms 60000 > /tmp/c1 2>&1 &
hog=$!
wait_for 20 is_state vf2 full-access
gimctl pause --vf 1 > /tmp/pause 2>&1 &
pause=$!
referee fault pf-dead --pf
t "a GPU that reads all ones is gone" wait_for 5 grep -qx gone "$G/state"
t "the log says so" dmesg_has "the GPU has left the bus"
ended() { ! kill -0 "$1" 2> /dev/null; }
t "who waited for a VF waits no longer" wait_for 5 ended $pause
pulled_out() {
	# Their VMM would be asked to let go.
	(sleep 1 && kill -9 $client $hog) &
	timeout 60 sh -c "echo 1 > $PCI/$PF/remove" && [ ! -e "$PCI/$PF" ]
}
t "it is removed" pulled_out
wait $client $hog
t "and unplugged from its driver" sh -c "! ls /sys/bus/pci/drivers/gim | grep -q :"
referee clear
plugged_in() {
	echo 1 > /sys/bus/pci/rescan
	wait_for 20 grep -qx off "$G/state"
}
t "it comes back" plugged_in
t "VFs are enabled anew" vfs_on
tenant
sleep 1
t "and work" tenant_ends 0
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 20 numvfs 0
t "module unloads" rmmod gim
t "and loads again" load guard=0
t "VFs are enabled" vfs_on
# It works until the host goes down, which no test sees: what the kernel says then is looked at.
tenant
t "a tenant works" is_state vf1 active
plan
