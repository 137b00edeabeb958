#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make demo-upgrade: gim and QEMU are replaced, in turn, under a guest VM and a tenant of the host that work.
# shellcheck source=tests/demo/move.sh
. tests/demo/move.sh
# shellcheck source=tests/guest/lib.sh
. tests/guest/lib.sh
replaceable

job=$1
strip --strip-debug -o /tmp/gim.ko "$GIM"
hosts || fail "the host is not ready"
for i in 0 1; do bind_to gim-vfio-pci $i || fail "VF$i is not bound"; done
echo "gim, 4 VFs; the guest's job would end like this if nothing were replaced:"
# shellcheck disable=SC2086
vf-client --pci "$(vf 1)" $job > /tmp/stays || fail "it does not work at all"
tail -n 1 /tmp/stays
tenant 1
# One CPU has to do for it all: what a tenant verifies must not keep the guest from its work.
# shellcheck disable=SC2086
renice -n 19 $tenants > /tmp/renice
echo "$($GUEST_QEMU --version | head -n 1), unmodified: a guest VM starts with VF0"
work="$job --rate $2 --patience 60 --stdin"
guest a 0 "$work"
(up a && says a '^at ' 60) || fail "the guest does not work"
echo "$(grep '^guest up' /tmp/a.out); its client works"
resets=$(stat vf1 resets)
now=a
# By the GPU's own clock, in which an emulated CPU takes its time; "make bench" has figures that do not
# depend on the machine.
waited() {
	referee show | python3 -c '
import json, sys
gaps = [f["max_gap_ns"] / 1e6 for f in json.load(sys.stdin)["functions"][1:3]]
print("longest time without the engine, by the referee:", ", ".join(f"VF{n} {gap:.0f} ms" for n, gap in enumerate(gaps)))'
}
for next in b c; do
	referee reset
	gimctl upgrade /tmp/gim.ko guard=0 || fail "gim is not replaced"
	waited
	heir $next 0 "$work" || fail "no other QEMU comes up"
	referee reset
	hands_over $now $next wait=completed "@$next" running > /tmp/over || fail "QEMU is not replaced: $(cat /tmp/over)"
	qmp @$now quit > /tmp/quit
	wait_for 20 dead $now && says $next '^at ' 60 || fail "the guest does not go on"
	python3 - <<'PY'
import json
for line in open("/tmp/over"):
    if "downtime" in line:
        row = json.loads(line)
        print(f"QEMU was replaced in {row['total-time']} ms; the guest's CPU stood for {row['downtime']} ms")
PY
	waited
	now=$next
done
hurry $now
ends $now 200 > /tmp/ended || fail "the job does not end well: $(cat /tmp/ended)"
grep ^done /tmp/$now.out
digest() { sed -n 's/^done .* digest \([0-9a-f]*\),.*/\1/p' "$1"; }
[ "$(digest /tmp/$now.out)" = "$(digest /tmp/stays)" ] || fail "its result is wrong"
echo "the result is right to the byte, in the third QEMU, under the third gim"
# The guest itself has reset it when it ended.
[ "$(stat vf1 resets)" -le $((resets + 1)) ] || fail "VF0 was reset on the way"
tenants_end host
