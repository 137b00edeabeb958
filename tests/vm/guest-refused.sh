#!/bin/sh
# vm: --smp 1 --timeout 400 --gpu vfs=4,vram_mb=256,dirty_tracking=on --gpu vfs=4,vram_mb=128 --gpu chip=vega10,vfs=4,vram_mb=256
# SPDX-License-Identifier: GPL-2.0
# Moves of a guest by a stock QEMU that fail, in every phase: the source's guest works on, as if nobody
# had tried.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh

# shellcheck disable=SC2046
set -- $(pfs)
first=$1 small=$2 other=$3
ready() {
	for PF in "$small" "$other"; do numvfs 4 && bind_to gim-vfio-pci 1 || return 1; done
	PF=$first
	bind_to gim-vfio-pci 0 && bind_to gim-vfio-pci 1
}
vf_of() { (PF=$1 && vf "$2"); }
# A test without which the others say nothing.
must() {
	t "$@"
	[ $failures = 0 ] || { kill_guests; plan; }
}
must "the host is ready" hosts
must "VFs are bound" ready

job="run --seconds 0 --stdin --patience 60 --depth 2 --op-bytes 4096"
boots() {
	guest a 0 "$job"
	up a && says a ' Running: [1-9]' 60
}
must "a guest works with VF0" boots

reports() { grep -c ' Running: ' /tmp/a.out; }
more() { [ "$(reports)" -gt $((before + 1)) ]; }
# works_on: QEMU runs the guest, and its client has more done than before.
works_on() {
	before=$(reports)
	qmp @a query-status > /tmp/status
	cat /tmp/status
	grep -q '"status": "running"' /tmp/status && wait_for 30 more || ! guest_state a
}
# fails FROM TO: FROM's QEMU has said so; that of TO ends by itself.
fails() { qmp "@$1" wait=failed && wait_for 20 dead "$2" && cat "/tmp/$2.qemu"; }
# refused_by NAME VF REGEX: a target with this VF says why not.
refused_by() {
	target "$1" "$2" "$job" && departs a "$1" && fails a "$1" && works_on && grep -q "$3" "/tmp/$1.qemu"
}
must "a smaller VF is refused" refused_by small "$(vf_of "$small" 1)" 'nvalid argument'
must "a VF of another chip is refused" refused_by other "$(vf_of "$other" 1)" 'nvalid argument'

# Somebody else is filling the VF when the guest comes, and has not come to the end.
busy() {
	target b 1 "$job" && gimctl migrate save --gpu "$first" --vf 1 /tmp/stream || return 1
	rm -f /tmp/unread
	mkfifo /tmp/unread
	gimctl migrate restore --gpu "$first" --vf 1 - < /tmp/unread > /tmp/restore 2>&1 &
	restore=$!
	exec 4> /tmp/unread
	head -c 60 /tmp/stream >&4
	sleep 1
	departs a b && fails a b
	rc=$?
	exec 4>&-
	wait $restore
	cat /tmp/restore
	[ $rc = 0 ] && works_on && grep -q 'busy' /tmp/b.qemu
}
must "a VF that is being filled is refused" busy
free() { wait_for 10 is_state vf2 available || ! cat "$PCI/$PF/sriov_admin/vf2/"*; }
must "that VF is free" free

target_dies() {
	target b 1 "$job" && departs a b iterates || return 1
	kill -9 "$(cat /tmp/b.pid)"
	fails a b && works_on
}
must "a target that dies while the guest runs" target_dies
must "its VF is free" free

# To QEMU it makes no difference, where the target notices first.
no=cancelled,failed
cancelled() {
	target b 1 "$job" && departs a b iterates migrate_cancel wait=$no && wait_for 20 dead b && works_on
}
must "cancelled while the guest runs" cancelled
must "that VF is free, too" free

# The guest stands still, and the VF has stopped for good.
held='{"capabilities":[{"capability":"pause-before-switchover","state":true}]}'
at_the_end() {
	target b 1 "$job" && qmp @a migrate-set-capabilities "$held" && departs a b wait=pre-switchover
}
cancelled_at_the_end() { at_the_end && qmp @a migrate_cancel wait=$no && wait_for 20 dead b && works_on; }
must "cancelled once the guest has stopped" cancelled_at_the_end
target_dies_at_the_end() {
	at_the_end || return 1
	kill -9 "$(cat /tmp/b.pid)"
	qmp @a migrate-continue '{"state":"pre-switchover"}'
	fails a b && works_on
}
must "a target that dies once the guest has stopped" target_dies_at_the_end
must "its VF is free after that" free

# At last, since the guest goes with it: its client has verified all that it said.
source_dies() {
	target b 1 "$job" && departs a b iterates || return 1
	kill -9 "$(cat /tmp/a.pid)"
	wait_for 20 dead b && cat /tmp/b.qemu /tmp/a.out && ! grep -q FAILED /tmp/a.out
}
t "a source that dies takes the target along" source_dies
both_free() { wait_for 10 is_state vf1 available && free; }
t "both VFs are free" both_free
t "no protocol violation" test "$(referee get violations)" = 0
kill_guests
none() {
	for PF in "$first" "$small" "$other"; do wait_for 10 numvfs 0 || return 1; done
}
t "VFs are disabled" none
t "modules unload" rmmod gim gim_vfio_pci gim_seam
plan
