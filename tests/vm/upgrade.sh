#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128
# SPDX-License-Identifier: GPL-2.0
# gim is replaced under tenants that work: their bytes are right, nobody is reset, nobody waits long.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# What is in memory needs no disk, and as a distribution packs it.
strip --strip-debug -o /tmp/gim.ko "$GIM"
replace() { gimctl upgrade /tmp/gim.ko guard=0; }
handover() { echo "$1" | tee "$PCI/$PF/gim/handover"; }

t "module loads" load guard=0
t "without somebody to keep the record nothing is handed over" refused "No such device" handover 1
t "and gimctl says what is missing" refused "modprobe gim_seam" replace
t "VFIO loads" load_vfio
numvfs 4
bind 0
for i in 1 2 3; do bind_to gim-vfio-pci $i; done
# A slow kernel takes long to load a module.
patience=2
[ -z "$SLOW" ] || patience=60
pids=
tenants() {
	for i in 0 1 2; do
		vf-client --pci "$(vf $i)" run --seconds 0 --seed $((i + 1)) --workload mix --patience $patience > /tmp/c$i 2>&1 &
		pids="$pids $!"
		wait_for 20 is_state vf$((i + 1)) active || return 1
	done
}
t "three tenants work" tenants
echo 7000 > "$PCI/$PF/sriov_admin/vf2/slice_us"
echo qos > "$PCI/$PF/gim/policy"
gimctl pause --vf 3

resets() { for i in 1 2 3 4; do stat vf$i resets; done; }
before=$(resets)
referee reset
again() {
	replace && [ "$(resets)" = "$before" ] || return 1
	for i in 1 2 3; do is_state vf$i active || return 1; done
}
times="1 2 3 4 5"
[ -z "$SLOW" ] || times=1
for n in $times; do t "gim is replaced under them, $n" again; done
t "settings have come along" sh -c "grep -qx 7000 $PCI/$PF/sriov_admin/vf2/slice_us && grep -q '\[qos\]' $PCI/$PF/gim/policy"
t "a VF that was paused is" grep -qx paused "$PCI/$PF/sriov_admin/vf4/control"
gimctl resume --vf 3
work() { for i in 0 1 2; do referee get bytes --vf $i; done; }
goes_on() {
	a=$(work)
	sleep 1
	b=$(work)
	echo "$a"; echo "$b"
	# shellcheck disable=SC2086
	set -- $a $b
	[ "$4" -gt "$1" ] && [ "$5" -gt "$2" ] && [ "$6" -gt "$3" ]
}
t "all of them go on" goes_on
referee show > /tmp/window.json
pause() {
	python3 - <<'PY'
import json, sys
gaps = [f["max_gap_ns"] / 1e6 for f in json.load(open("/tmp/window.json"))["functions"][1:4]]
print("longest gaps:", gaps)
sys.exit(max(gaps) > 100)
PY
}
[ -n "$SLOW" ] || t "nobody waits longer than 100 ms" pause
cat /tmp/t.out

# The next one is refused: the GPU and its VFs stay as they are.
fails() { refused "has not taken over" gimctl upgrade /tmp/gim.ko slice_us=5 && [ ! -e "$PCI/$PF/gim" ]; }
t "one that does not start leaves the VFs alone" fails
t "the record keeps its keeper" refused "in use" rmmod gim_seam
t "and the kernel says why" dmesg_has "bad module parameter"
rmmod gim
t "the next one takes them over" load guard=0
t "all of them go on" goes_on
t "nobody was reset" sh -c "[ '$(resets)' = '$before' ]"
t "a file that is not there is refused before anything happens" refused "cannot read /none" gimctl upgrade /none
t "and one that is no module" refused "no kernel module" gimctl upgrade /etc/passwd
head -c 100000 /tmp/gim.ko > /tmp/cut.ko
back() { refused "the other one serves again" gimctl upgrade --back /tmp/gim.ko /tmp/cut.ko guard=0 && [ "$(resets)" = "$before" ]; }
t "gimctl goes back to the one that there was" back
t "all of them go on" goes_on

# Guests of some chips wait 500 ms for an acknowledgement.
loads() {
	handover 1 && rmmod gim || return 1
	vf-client --pci "$(vf 3)" handshake &
	sleep 0.2
	load guard=0
	wait $!
}
t "a guest that asks while nobody is there is heard" loads

ends() {
	rc=0
	for p in $pids; do kill "$p"; wait "$p" || rc=1; done
	cat /tmp/c?
	return $rc
}
t "every byte was right" ends
t "no protocol violation" test "$(referee get violations)" = 0
# What VFs had on a GPU that somebody has reset is gone: no record is true any more.
was_reset() {
	handover 1 && rmmod gim && echo 1 > "$PCI/$PF/reset" && load || return 1
	[ ! -e "$PCI/$PF/gim" ] && dmesg_has "cannot be taken: framebuffer table of the GPU"
}
t "a GPU that was reset meanwhile is refused" was_reset
rmmod gim
drops() { load handover=0 && dmesg_has "is dropped" && enabled 4 && numvfs 0 && enabled 0; }
t "who does not want them can do without" drops
t "VFs are enabled" numvfs 2
t "without a handover they go with the driver" rmmod gim
t "modules unload" rmmod gim_vfio_pci gim_seam
plan
