#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=512,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# A chain job that is frozen, saved and thawed; and what the referee says was written meanwhile.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
t "two VFs are enabled" numvfs 2
bind 0
bind 1
referee truth --vf 0 --clear
referee truth --vf 1 --clear

# 64 places of 64 KiB from 4 MiB on.
chain() { vf-client --pci "$(vf 0)" chain --spread $((4 << 20)) --steps "$@"; }
digest() { sed -n 's/^done .* digest \([0-9a-f]*\),.*/\1/p' "$1"; }
stays() {
	chain 400 > /tmp/stays
	rc=$?
	cat /tmp/stays
	return $rc
}
t "a chain comes to its end" stays

# By page: ring (by CPU) and page table lie in front of 1024, the chain from there to 2047. In page 16
# host and guest tell each other about themselves, on chips where they do.
written() {
	referee truth --vf 0 --mib 64 > /tmp/truth
	cat /tmp/truth
	grep -q '^512-' /tmp/truth && grep -q '^576' /tmp/truth && grep -qx '1024-2047' /tmp/truth &&
		grep -vx '16-16' /tmp/truth | awk -F- '$1 < 512 || $2 > 2047 { exit 1 }'
}
t "the referee saw what GPU and CPU wrote, and nothing else" written
t "and nothing of the neighbour's" test -z "$(referee truth --vf 1 --mib 64)"
t "it counts the same" test "$(referee get truth_pages --vf 0)" = "$(awk -F- '{ n += $2 - $1 + 1 } END { print n }' /tmp/truth)"
t "taking it clears it" sh -c 'referee truth --vf 0 --mib 64 --take > /dev/null && [ "$(referee get truth_pages --vf 0)" = 0 ]'

says() { grep -qs "^$1 " /tmp/moves; }
orders() {
	mkfifo /tmp/orders
	chain 400 --checkpoint /tmp/checkpoint --at-step 100 --stdin < /tmp/orders > /tmp/moves 2>&1 &
	client=$!
	exec 3> /tmp/orders
	rc=1
	if wait_for 20 says frozen; then
		echo dump >&3
		wait_for 20 says dumped && rc=0
	fi
	echo thaw >&3
	wait $client || rc=1
	exec 3>&-
	cat /tmp/moves
	ls -l /tmp/checkpoint
	return $rc
}
t "it can be frozen, dumped and thawed" orders
t "and comes to the same end" test "$(digest /tmp/moves)" = "$(digest /tmp/stays)"

signals() {
	rm /tmp/checkpoint /tmp/moves
	# Not by the function: the signals are for the client, not for a shell around it.
	vf-client --pci "$(vf 0)" chain --steps 1000000 --checkpoint /tmp/checkpoint > /tmp/moves 2>&1 &
	client=$!
	rc=0
	for word in working frozen dumped; do
		wait_for 20 says $word || rc=1
		kill -USR1 $client
	done
	wait $client || rc=1
	cat /tmp/moves
	[ -s /tmp/checkpoint ] && says left || rc=1
	return $rc
}
t "signals do the same, and then it leaves" signals
# Nobody restores it here: that it gets this far is all that is asked.
gets_ready() {
	echo exit | vf-client --pci "$(vf 1)" resume --checkpoint /tmp/checkpoint --stdin > /tmp/ready 2>&1
	cat /tmp/ready
	grep -q '^ready [1-9]' /tmp/ready && grep -q 'told to end before it went on' /tmp/ready
}
t "another VF gets ready for it" gets_ready
forsaken() {
	timeout 20 vf-client --pci "$(vf 1)" resume --checkpoint /tmp/checkpoint --early --stdin < /dev/null > /tmp/forsaken 2>&1
	rc=$?
	cat /tmp/forsaken
	[ $rc != 0 ] && [ $rc != 124 ] && grep -q 'standard input has ended' /tmp/forsaken
}
t "one that nobody can tell to load gives up" forsaken
t "a damaged checkpoint is refused" refused "no checkpoint" sh -c "
	head -c 100000 /tmp/checkpoint > /tmp/cut; vf-client --pci $(vf 1) resume --checkpoint /tmp/cut"

ran() {
	referee when --vf 0
	python3 -c '
import json, subprocess, sys
w = json.loads(subprocess.check_output(["referee", "when", "--vf", "0"]))
sys.exit(not w["last_run_start_ns"] < w["last_run_end_ns"])'
}
t "the referee says when it ran" ran
t "no protocol violation" test "$(referee get violations)" = 0
t "module unloads" rmmod gim
plan
