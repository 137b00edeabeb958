#!/bin/sh
# vm: --steady --gpu vfs=8,vram_mb=512,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# Two VFs that work move at once, to two others; three tenants work on, and have equal shares all the
# while.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load
t "eight VFs are enabled" numvfs 8
for i in 0 1 4 5 6; do bind $i; done

# Work that needs little of the CPU, which is busy with the moves.
begin() {
	pids=
	for i in 0 1 4 5 6; do
		vf-client --pci "$(vf $i)" run --seconds 0 --seed $((i + 1)) --workload fill --depth 4 \
			--op-bytes 32768 --repeat 50 > /tmp/c$i 2>&1 &
		pids="$pids $!"
	done
	for i in 1 2 5 6 7; do wait_for 20 is_state vf$i active || return 1; done
	sleep 0.5
}
now() { cut -d' ' -f1 /proc/uptime; }
# move FROM TO SOURCE
move() {
	now > /tmp/begin$1
	# The reader ends well only with a stream that is whole.
	gimctl migrate save --vf "$1" --dirty "$3" --keep-paused - 2> /tmp/save$1 |
		gimctl migrate restore --vf "$2" --keep-paused - 2> /tmp/restore$1
	echo $? > /tmp/rc$1
	now > /tmp/end$1
}
both() {
	referee reset
	move 0 2 sw &
	one=$!
	move 1 3 hw &
	two=$!
	wait $one $two
	referee show > /tmp/window.json
	cat /tmp/save? /tmp/restore?
	[ "$(cat /tmp/rc0 /tmp/rc1 | tr -d '\n')" = 00 ]
}
beside() {
	echo "$(cat /tmp/begin0) to $(cat /tmp/end0), $(cat /tmp/begin1) to $(cat /tmp/end1)"
	awk "BEGIN { exit !($(cat /tmp/begin1) < $(cat /tmp/end0) && $(cat /tmp/begin0) < $(cat /tmp/end1)) }"
}
# By the referee's clock, from the first byte of both moves to the last.
shares() {
	python3 - <<'PY'
import json, sys
fns = json.load(open("/tmp/window.json"))["functions"]
run = [fns[i + 1]["run_ns"] for i in (4, 5, 6)]
moved = [fns[i + 1]["run_ns"] for i in (0, 1)]
fair = sum(run) / 3
print("ms:", [r / 1e6 for r in run], "those that moved:", [r // 10**6 for r in moved])
# The window cuts a round off somewhere: a slice of 6 ms more or less is nobody's fault.
unfair = any(abs(r - fair) > 0.02 * fair + 6e6 for r in run)
# Those that moved must have run at first, or nothing was tried.
sys.exit(min(moved) == 0 or unfair or fair < 100e6)
PY
}
ends() {
	rc=0
	for i in 0 1; do gimctl reset --vf $i && gimctl resume --vf $i || rc=1; done
	for i in 2 3; do gimctl reset --vf $i || rc=1; done
	# shellcheck disable=SC2086
	kill $pids
	n=0
	for p in $pids; do
		n=$((n + 1))
		# The first two have lost their VFs.
		wait "$p" || [ $n -le 2 ] || rc=1
	done
	cat /tmp/c4 /tmp/c5 /tmp/c6
	return $rc
}
t "five tenants work" begin
t "two of them move at once" both
t "one beside the other" beside
t "the shares of those that stay are equal" shares
t "those have noticed nothing" ends
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 20 numvfs 0
t "module unloads" rmmod gim
plan
