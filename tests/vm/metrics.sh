#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# What monitoring sees: metrics that say what the driver and the referee say, and whoever serves them
# while the driver comes and goes.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

gimctl metrics --listen 127.0.0.1:9842 2> /tmp/served &
server=$!
wait_for 10 grep -q 'http://127.0.0.1:9842/metrics' /tmp/served
scrape() {
	python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:9842/metrics", timeout=10).read().decode(), end="")' > /tmp/metrics
}
# says_that REGEX: in the metrics that are served now.
says_that() { scrape && { grep -Eq "$1" /tmp/metrics || ! grep '^[^#]' /tmp/metrics; }; }
t "without the driver it is down" says_that '^gim_up 0'
t "module loads" load guard=0
t "it is up" says_that '^gim_up 1'
t "the GPU has no VFs" says_that "^gim_gpu_vfs{gpu=\"$PF\"} 0"
vfs_on() { numvfs 2 && bind 0 && bind 1; }
t "VFs are enabled" vfs_on
t "VF1 is free" says_that '^gim_vf_state\{.*state="available",vf="1"\} 1'
vf-client --pci "$(vf 0)" run --seconds 0 --patience 60 --seed 0 > /tmp/c0 2>&1 &
c0=$!
vf-client --pci "$(vf 1)" run --seconds 0 --patience 60 --seed 1 > /tmp/c1 2>&1 &
c1=$!
both() { is_state vf1 active && is_state vf2 active; }
wait_for 20 both
sleep 2
t "VF0 has a guest" says_that '^gim_vf_state\{.*state="active",vf="0"\} 1'
t "and a process that has it open" says_that "^gim_vf_info\\{driver=\"vfio-pci\".*pci=\"$(vf 0)\",vf=\"0\",vm=\"vf-client\"\\} 1"
# While nobody runs all are to say the same.
t "the scheduler is parked" gimctl pause
same() {
	scrape || return 1
	gimctl metrics > /tmp/printed || return 1
	for i in 0 1; do
		echo "$i $(stat vf$((i + 1)) run_ns) $(stat vf$((i + 1)) switches) $(referee get run_ns --vf $i)"
	done > /tmp/counts
	python3 - "$PF" <<'PY'
import sys
def read(path):
    rows = (line.rsplit(" ", 1) for line in open(path) if not line.startswith("#"))
    return {name: float(value) for name, value in rows}
served, printed = read("/tmp/metrics"), read("/tmp/printed")
for line in open("/tmp/counts"):
    vf, run, switches, referee = map(int, line.split())
    of = '{gpu="%s",vf="%d"}' % (sys.argv[1], vf)
    seconds = served["gim_vf_run_seconds_total" + of]
    print(f"VF{vf}: {seconds} s served, {run} ns by the driver, {referee} ns by the referee")
    assert seconds == printed["gim_vf_run_seconds_total" + of] == run / 1e9 > 0.5
    assert served["gim_vf_switches_total" + of] == switches > 0
    assert abs(referee / run - 1) < 0.01
    assert served["gim_vf_paused" + of] == 0
PY
}
t "served, printed, the driver's and the referee's counts are the same" same
t "the scheduler goes on" gimctl resume
kill $c0 $c1
right() { wait $c0 && wait $c1; }
t "the clients' work was right" right
t "VFs are disabled" wait_for 20 numvfs 0
none_left() { scrape && ! grep '^gim_vf_' /tmp/metrics; }
t "no VF is left in the metrics" none_left
t "module unloads while they are served" rmmod gim
t "it is down" says_that '^gim_up 0'
t "module loads again" load guard=0
t "it is up" says_that '^gim_up 1'
kill $server
plan
