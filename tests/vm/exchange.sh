#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256,chip=vega10
# SPDX-License-Identifier: GPL-2.0
# What host and guest tell each other: pages in the framebuffer, good ones and bad ones, and the
# guest's word before a reset.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# Guests come and go here more often than the guard allows.
t "module loads" load guard=0
numvfs 4
for i in 0 1; do bind $i; done
guest() { cat "$PCI/$PF/sriov_admin/vf1/guest"; }
says() { guest > /tmp/guest; cat /tmp/guest; grep -qx "$1" /tmp/guest; }
t "a VF without a guest says nothing" says "report none"
# What is listed stays listed while the page is not read again.
settle() { sleep 0.6; }

# ended PID: a guest is stopped; whether it was content.
ended() {
	kill "$1"
	wait "$1" && return 0
	cat /tmp/tell
	return 1
}

# while_told SPOIL COMMAND...: while a guest keeps a page that is spoilt so.
while_told() {
	vf-client --pci "$(vf 0)" tell --spoil "$1" > /tmp/tell 2>&1 &
	c=$!
	shift
	wait_for 10 is_state vf1 active
	settle
	"$@"
	rc=$?
	ended $c || rc=1
	return $rc
}
good() {
	guest > /tmp/guest
	cat /tmp/guest
	for line in "report valid" "driver vf-client .*" "os other" "fb_used_mib 1" "gfx_usage_pct 50"; do
		grep -qx "$line" /tmp/guest || return 1
	done
	! grep -q health /tmp/guest
}
t "a guest reads the host's page and tells of itself" while_told nothing good
for kind in size-big size-zero; do
	t "$kind: is not believed" while_told $kind says "report bad-size"
done
t "version: is not believed" while_told version says "report bad-version"
t "checksum: is not believed" while_told checksum says "report bad-checksum"
# 64 line feeds.
t "text: is one line" while_told text says "driver ????????????????????????????????????????????????????????????????"
t "nothing is left of it" says "report none"

# A page that changes while it is read: whole or refused, and never half of each.
flicker() {
	vf-client --pci "$(vf 0)" tell --flicker > /tmp/tell 2>&1 &
	c=$!
	wait_for 10 is_state vf1 active
	rc=0
	for _ in 1 2; do
		settle
		guest > /tmp/guest
		head -n 1 /tmp/guest
		grep -qxE "report (valid|bad-checksum)" /tmp/guest || rc=1
		if grep -q valid /tmp/guest; then grep -qxE "fb_used_mib (1|257)" /tmp/guest || rc=1; fi
	done
	ended $c || rc=1
	return $rc
}
t "a page that changes all the time harms nobody" flicker

# The host's page heals: whoever damages it finds it whole at the next full access.
t "the framebuffer is clean but for the pages" vf-client --pci "$(vf 0)" scrub-check
asks() { vf-client --pci "$(vf 1)" raw-msg 6 --wait-ms 1000 --times "$1" | tee /tmp/asks; grep -q "answered by 7" /tmp/asks; }
t "who asks is answered" asks 1
t "who asks again and again is answered" asks 8

# What a guest says before it is reset, in the order of the trace.
events=/sys/kernel/tracing/events/gim
order() {
	echo > /sys/kernel/tracing/trace
	echo 1 > "$events/gim_mailbox/enable"
	vf-client --pci "$(vf 1)" run --seconds 4 > /tmp/other 2>&1 &
	other=$!
	wait_for 10 is_state vf2 active
	vf-client --pci "$(vf 0)" hang
	rc=$?
	wait $other || rc=1
	echo 0 > "$events/enable"
	# Direction and code of what host and guest of VF 0 said about its reset.
	sed -n 's/.*gim_mailbox: .* vf=0 dir=\([0-9]\) code=\([0-9]*\) .*/\1:\2/p' /sys/kernel/tracing/trace > /tmp/said
	tr '\n' ' ' < /tmp/said
	grep -xE '1:2|.:201|1:3' /tmp/said | tr '\n' ' ' | grep -qx '1:2 0:201 1:3 ' || rc=1
	return $rc
}
t "told of its reset, a guest answers, and is reset then" order

# One that does not look at its mailbox does not answer; the host resets it all the same.
silent() {
	vf-client --pci "$(vf 0)" tell > /tmp/tell 2>&1 &
	c=$!
	wait_for 10 is_state vf1 active
	echo reset > "$PCI/$PF/sriov_admin/vf1/control" || return 1
	is_state vf1 available || return 1
	says "report none" || return 1
	ended $c || true
}
t "a guest that does not answer is reset all the same" silent
t "both work at the end" sh -c "vf-client --pci $(vf 0) run --seconds 1 && vf-client --pci $(vf 1) run --seconds 1"
t "no protocol violation" test "$(referee get violations)" = 0
t "module unloads" rmmod gim
plan
