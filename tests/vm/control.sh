#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256,hang_us=0
# SPDX-License-Identifier: GPL-2.0
# What the operator orders and sets while VFs run: pause, resume, reset, presets, limits, watchdog (ours:
# the GPU does not tell of hangs itself).
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
numvfs 4
for i in 0 1 2; do bind $i; done
G=$PCI/$PF/gim
A=$PCI/$PF/sriov_admin
runs() { referee get run_ns --vf "$1"; }
# standstill N: VF N does not run for a while.
standstill() {
	a=$(runs "$1")
	sleep 0.5
	b=$(runs "$1")
	echo "VF$1 ran $((b - a)) ns"
	[ "$a" = "$b" ]
}
goes_on() { ! standstill "$1"; }

# They are held up for longer than a guest would bear on a slow kernel.
vf-client --pci "$(vf 0)" run --seconds 0 --patience 60 --seed 0 > /tmp/c0 2>&1 &
c0=$!
vf-client --pci "$(vf 1)" run --seconds 0 --patience 60 --seed 1 > /tmp/c1 2>&1 &
c1=$!
wait_for 5 is_state vf1 active
wait_for 5 is_state vf2 active
t "a VF is running" grep -qx running "$A/vf1/control"
t "it is paused" gimctl pause --vf 0
t "that is shown" grep -qx paused "$A/vf1/control"
t "its state is suspended" is_state vf1 suspended
t "it does not run" standstill 0
t "the other does" goes_on 1
t "it is resumed" gimctl resume --vf 0
t "and runs again" goes_on 0
t "the scheduler is parked" gimctl pause
t "that is shown" grep -qx paused "$G/control"
t "VF0 stands still" standstill 0
t "VF1 stands still" standstill 1
t "the scheduler goes on" gimctl --json resume
t "VF0 runs again" goes_on 0
t "VF1 runs again" goes_on 1
t "unknown orders are refused" refused "Invalid argument" sh -c "echo halt | tee $A/vf1/control"
t "and of the scheduler" refused "Invalid argument" sh -c "echo reset | tee $G/control"

# A free VF that is paused keeps nobody from taking the VFs away, and its guest waits.
t "a VF without a guest is paused" gimctl pause --vf 2
vf-client --pci "$(vf 2)" handshake > /tmp/c2 2>&1 &
c2=$!
sleep 1
t "its guest waits" sh -c "kill -0 $c2 && [ $(state vf3) = suspended ]"
t "and is served after the resume" sh -c "gimctl resume --vf 2"
wait $c2
t "in time" sh -c "cat /tmp/c2; exit $?"

wait_for 5 is_state vf3 available
before=$(referee get flrs --vf 2)
t "a VF is reset by order" gimctl reset --vf 2
t "by FLR" test "$(referee get flrs --vf 2)" -gt "$before"
t "and is available when the order returns" is_state vf3 available
kill "$c0" "$c1"
wait "$c0"
t "the first tenant noticed nothing" sh -c "cat /tmp/c0; exit $?"
wait "$c1"
t "nor did the second" sh -c "cat /tmp/c1; exit $?"

t "the preset is shown" grep -qx '\[long\] short own' "$G/slice_preset"
t "short slices are set" sh -c "echo short > $G/slice_preset"
t "they are 2 ms for 4 VFs" grep -qx 2000 "$A/vf1/slice_us"
t "a slice of its own ends the preset" sh -c "echo 3000 > $A/vf2/slice_us; grep -q '\[own\]' $G/slice_preset"
t "an unknown preset is refused" refused "Invalid argument" sh -c "echo tiny | tee $G/slice_preset"

t "limits are not enforced (guard=0)" grep -qx 0 "$G/limits/enforced"
t "they can be" sh -c "echo 1 > $G/limits/enforced; grep -qx 1 $G/limits/enforced"
t "AMD's limit of messages" grep -qx "56 60" "$G/limits/messages"
for l in messages requests timeouts resets hangs access-time; do
	t "the limit of $l is set" sh -c "echo 7 30 > $G/limits/$l; grep -qx '7 30' $G/limits/$l"
done
t "a limit of none is refused" refused "Numerical result" sh -c "echo 0 30 | tee $G/limits/hangs"
t "a limit without time is refused" refused "Invalid argument" sh -c "echo 7 | tee $G/limits/hangs"
t "a refused limit changes nothing" grep -qx "7 30" "$G/limits/hangs"
t "the new limit is in force" sh -c "for i in \$(seq 10); do vf-client --pci $(vf 2) raw-msg 300 --wait-ms 50; done; [ $(stat vf3 limits_exceeded) = 0 ] && [ \$(sed -n 's/^limits_exceeded //p' $A/vf3/stats) -ge 1 ]"
echo 0 > "$G/limits/enforced"

t "the watchdog is 50 ms" grep -qx 50 "$G/watchdog_ms"
for bad in 0 5001; do
	t "a watchdog of $bad ms is refused" refused "Numerical result" sh -c "echo $bad | tee $G/watchdog_ms"
done
# Long enough for both to be seen at work before the fault.
seconds=2
[ -z "$SLOW" ] || seconds=6
# A command that is 100 ms late is a hang for the usual watchdog, and not for one of a second.
late() {
	hangs=$(stat vf1 hangs)
	vf-client --pci "$(vf 0)" run --seconds $seconds > /tmp/c0 2>&1 &
	c=$!
	vf-client --pci "$(vf 1)" run --seconds $seconds > /tmp/c1 2>&1 &
	d=$!
	{ wait_for 5 is_state vf1 active && wait_for 5 is_state vf2 active; } || return 1
	referee fault late --vf 0 --arg 100000 --count 1
	wait $c
	wait $d
	echo "hangs: $hangs, then $(stat vf1 hangs)"
	[ $(($(stat vf1 hangs) - hangs)) = "$1" ]
}
t "a command is 100 ms late: a hang" late 1
t "the watchdog is set to a second" sh -c "echo 1000 > $G/watchdog_ms"
t "a command is 100 ms late: no hang" late 0

t "no protocol violation" test "$(referee get violations)" = 0
gimctl pause --vf 3
t "a paused VF without a guest does not keep VFs from being disabled" numvfs 0
echo short > "$G/slice_preset"
gimctl pause
t "VFs are not enabled while the scheduler is parked" refused "busy" sh -c "echo 2 | tee $PCI/$PF/sriov_numvfs"
gimctl resume
t "but later" numvfs 2
t "the preset follows" grep -qx 2000 "$A/vf1/slice_us"
t "module unloads" rmmod gim
plan
