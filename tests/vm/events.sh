#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=512
# SPDX-License-Identifier: GPL-2.0
# Uevents: each act of the guard, hang, quarantine, reset of the GPU; floods are cut and counted.
# There is framebuffer beyond the aperture, so that the PF has something to do in which it can hang.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
numvfs 4
for i in 0 1 2 3; do bind $i; done
G=$PCI/$PF/gim
gimctl events --json > /tmp/events &
listener=$!
gimctl events > /tmp/lines &
lines=$!
sleep 0.5
# told PATTERN: the listener has heard of it.
told() {
	wait_for 5 grep -qE "$1" /tmp/events || { cat /tmp/events; return 1; }
}
gpu_stat() { sed -n "s/^$1 //p" "$G/stats"; }

echo "4 3600" > "$G/limits/messages"
vf-client --pci "$(vf 3)" raw-msg 300 --times 6 --wait-ms 50
t "a guest that sends too much is told of" told '"event":"guard","vf":3,"limit":"messages","act":"drop"'
t "with the address of the GPU" told "\"gpu\":\"$PF\""
echo "1000 1" > "$G/limits/messages"

echo "1 3600" > "$G/limits/requests"
vf-client --pci "$(vf 2)" handshake > /dev/null
timeout 3 vf-client --pci "$(vf 2)" handshake
t "so is one whose request has to wait" told '"vf":2,"limit":"requests","act":"delay"'
echo "9 60" > "$G/limits/requests"

# Who hangs alone takes nothing from anybody and is left alone: VF1 makes it matter.
echo "2 3600" > "$G/limits/hangs"
echo "1000 1" > "$G/limits/resets"
vf-client --pci "$(vf 1)" run --seconds 0 > /tmp/c1 2>&1 &
worker=$!
wait_for 5 is_state vf2 active
for _ in 1 2 3; do timeout 10 vf-client --pci "$(vf 0)" hang > /dev/null 2>&1; done
t "a VF that hangs is told of" told '"event":"vf-reset","vf":0,"reason":"hang"'
t "too many hangs too" told '"vf":0,"limit":"hangs","act":"quarantine"'
t "and that it is quarantined" told '"event":"vf-quarantined","vf":0'
t "it is" wait_for 5 is_state vf1 quarantined
t "nothing is told of the one that works" sh -c '! grep "\"vf\":1" /tmp/events'
t "the host's reset brings it back" gimctl reset --vf 0
t "it is available" is_state vf1 available

gpu_hangs() {
	# The PF's copy engine zeroes what lies beyond its aperture, and hangs in it.
	referee fault never-completes --pf --count 1
	timeout 10 vf-client --pci "$(vf 3)" handshake
	told '"event":"gpu-reset"' && told '"event":"gpu-ready"'
}
t "a reset of the GPU, and its end" gpu_hangs
t "numbers have no gap so far" sh -c '! grep -v "\"missed\":0" /tmp/events'

# It would take most of the time of an emulated CPU.
kill $worker
wait $worker
# A guest that keeps offending: one act of the guard each second, of which 20 a minute are told.
echo "1 1" > "$G/limits/messages"
flood() {
	before=$(gpu_stat uevents)
	timeout 40 vf-client --pci "$(vf 3)" raw-msg 300 --times 1000 --wait-ms 50
	acts=$(($(gpu_stat uevents) - before))
	heard=$(grep -c '"vf":3,"limit":"messages"' /tmp/events)
	echo "$acts acts, heard of $heard, dropped $(gpu_stat uevents_dropped)"
	# 20 at once and 20 in a minute: 33 in these 40 s; and as many acts as seconds.
	[ "$acts" -ge 36 ] && [ "$heard" -le 35 ] && [ "$(gpu_stat uevents_dropped)" -ge 3 ]
}
t "a flood of them is cut" flood
echo "1000 1" > "$G/limits/messages"
echo "1 3600" > "$G/limits/hangs"
vf-client --pci "$(vf 1)" run --seconds 0 > /tmp/c1 2>&1 &
worker=$!
wait_for 5 is_state vf2 active
timeout 10 vf-client --pci "$(vf 2)" hang > /dev/null 2>&1
kill $worker 2> /dev/null
wait $worker

t "others are heard of all the same" told '"event":"vf-reset","vf":2'
sum() {
	sleep 0.5
	heard=$(wc -l < /tmp/events)
	echo "heard $heard, dropped $(gpu_stat uevents_dropped), told $(gpu_stat uevents)"
	[ $((heard + $(gpu_stat uevents_dropped))) = "$(gpu_stat uevents)" ]
}
t "nothing is lost silently" sum
t "the gap shows" sh -c 'grep -v "\"missed\":0" /tmp/events'
kill $listener $lines
t "as lines for people" grep -q "^$PF guard VF 3 limit=messages act=drop$" /tmp/lines
t "the listener stops when it shall" timeout 10 gimctl events --seconds 0.5
t "module unloads" rmmod gim
plan
