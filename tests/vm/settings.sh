#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128
# SPDX-License-Identifier: GPL-2.0
# What gimctl sets: all of it or nothing, whatever the order must be; a host that is brought to a file.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
numvfs 4
G=$PCI/$PF/gim
A=$PCI/$PF/sriov_admin
is() { [ "$(cat "$2")" = "$1" ]; }

t "settings are shown" sh -c "gimctl policy | grep -q '56 in 60 s'"
t "some are set" gimctl policy set --policy qos --mode strict --watchdog-ms 100 --limit hangs=7/30 \
	--enforce on --vf 0 --weight 300 --min 600 --cap 700
t "the policy" grep -q '\[qos\]' "$G/policy"
t "the mode" grep -q '\[strict\]' "$G/mode"
t "the watchdog" is 100 "$G/watchdog_ms"
t "a limit" is "7 30" "$G/limits/hangs"
t "that limits are enforced" is 1 "$G/limits/enforced"
t "what a VF is promised" sh -c "[ \$(cat $A/vf1/weight) = 300 ] && [ \$(cat $A/vf1/min_permille) = 600 ] && [ \$(cat $A/vf1/cap_permille) = 700 ]"
t "limits are only counted again" gimctl policy set --enforce off
t "a value that is out of its range is refused" refused "allowed are 1 to 10000" gimctl policy set --vf 1 --weight 0

# The driver refuses the bound: slices are longer.  The slice and the weight by themselves are in order.
gimctl policy --json > /tmp/before
t "what the driver refuses is named" refused "VF 0 latency_us: 0 -> 1000: refused" \
	gimctl policy set --mode work-conserving --vf 0 --weight 7 --slice-us 3000 --latency-us 1000
t "the log says why" dmesg_has "setting refused: "
same() { gimctl policy --json > /tmp/after && diff /tmp/before /tmp/after; }
t "nothing was changed" same
t "nor by a preset with a bound that leaves no room for it" refused "no setting was changed" \
	gimctl policy set --preset short --vf 0 --latency-us 1000
t "nothing was changed" same

# What VF0 was promised goes to VF1: one order of writes is accepted, most are not.
cat > /tmp/swap.toml <<EOF
version = 1
[gpu."$PF"]
preset = "own"
[gpu."$PF".vf]
0 = { min_permille = 50, cap_permille = 100, slice_us = 2000, latency_us = 40000 }
1 = { min_permille = 850, slice_us = 9000 }
EOF
t "a promise goes from one VF to another" gimctl config apply /tmp/swap.toml
t "the one" is 100 "$A/vf1/cap_permille"
t "the other" is 850 "$A/vf2/min_permille"
t "slices too" sh -c "[ \$(cat $A/vf1/slice_us) = 2000 ] && [ \$(cat $A/vf2/slice_us) = 9000 ]"
t "a second time nothing is changed" sh -c "gimctl config apply /tmp/swap.toml | grep 'nothing differs'"

gimctl config show > /tmp/gim.toml
t "the host is as is shown" sh -c "gimctl config apply /tmp/gim.toml | grep 'nothing differs'"
rmmod gim
t "another driver" load guard=0
t "would be brought there" sh -c "gimctl config apply --dry-run /tmp/gim.toml | grep 'would change vfs: 0 -> 4'"
t "not yet" enabled 0
t "it is brought there" gimctl config apply /tmp/gim.toml
is_shown() { gimctl config show > /tmp/now.toml && diff /tmp/gim.toml /tmp/now.toml; }
t "all is as it was" is_shown
sed 's/^policy/polizy/' /tmp/gim.toml > /tmp/bad.toml
t "an unknown key is named" refused "unknown field .polizy" gimctl config apply /tmp/bad.toml
sed "s/$PF/0000:7f:00.0/" /tmp/gim.toml > /tmp/bad.toml
t "a GPU that is not there too" refused "0000:7f:00.0, which gim does not drive" gimctl config apply /tmp/bad.toml
t "nothing was changed" is_shown

sed 's/^vfs = 4/vfs = 2/; /^[23] = /d' /tmp/gim.toml > /tmp/two.toml
gimctl policy set --vf 3 --min 90
gimctl policy set --policy rr --mode work-conserving
bind 0
vf-client --pci "$(vf 0)" run --seconds 0 > /tmp/c0 2>&1 &
c0=$!
wait_for 5 is_state vf1 active
t "a guest keeps its VF" refused "VF 0 .* is active" gimctl config apply /tmp/two.toml
t "all VFs are there" enabled 4
kill $c0
wait $c0
t "it noticed nothing" sh -c "cat /tmp/c0; exit $?"
wait_for 5 is_state vf1 available
t "without it they are taken away" gimctl config apply /tmp/two.toml
t "there are two" enabled 2
gimctl vfs set 4
t "what was promised to those that went is forgotten" is 0 "$A/vf4/min_permille"
t "not what was to the others" is 850 "$A/vf2/min_permille"
t "the policy is what the file says" grep -q '\[qos\]' "$G/policy"
t "no protocol violation" test "$(referee get violations)" = 0
t "module unloads" rmmod gim
plan
