#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# A VF moves while its client works: VF0 becomes VF1, and a long chain of dependent steps comes to
# the same end as one that stayed, whatever source the changed pages are known from.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

t "module loads" load guard=0
numvfs 4
for i in 0 1 2; do bind $i; done

steps=400
# There the hash of the framebuffer takes many times as long, and the chain has to outlast it.
[ -z "$SLOW" ] || steps=2400
chain() { vf-client --pci "$(vf 0)" chain --steps $steps --spread $((8 << 20)) --rate $((4 << 20)) "$@"; }
digest() { sed -n 's/^done .* digest \([0-9a-f]*\),.*/\1/p' "$1"; }
says() { grep -q "^$2" "/tmp/$1"; }

stays() {
	vf-client --pci "$(vf 0)" chain --steps $steps --spread $((8 << 20)) > /tmp/stays
	rc=$?
	cat /tmp/stays
	return $rc
}
t "a chain that stays comes to its end" stays

# A neighbour, which is to notice nothing.
vf-client --pci "$(vf 2)" run --seconds 0 --workload mix > /tmp/good 2>&1 &
good=$!

# moves SOURCE
moves() {
	rm -f /tmp/from /tmp/to /tmp/source /tmp/target /tmp/checkpoint
	mkfifo /tmp/from /tmp/to
	chain --checkpoint /tmp/checkpoint --stdin < /tmp/from > /tmp/source 2>&1 &
	source=$!
	exec 3> /tmp/from
	vf-client --pci "$(vf 1)" resume --checkpoint /tmp/checkpoint --early --stdin < /tmp/to > /tmp/target 2>&1 &
	target=$!
	exec 4> /tmp/to
	rc=1
	wait_for 20 says source working && wait_for 20 says target open && sleep 1 && carry "$1" && rc=0
	exec 3>&- 4>&-
	wait $target || rc=1
	wait $source
	cat /tmp/source /tmp/target /tmp/report
	[ "$(digest /tmp/target)" = "$(digest /tmp/stays)" ] || rc=1
	return $rc
}
carry() {
	freeze='echo freeze > /tmp/from; for i in $(seq 500); do ! grep -q ^frozen /tmp/source || exit 0; sleep 0.02; done; exit 1'
	# The client writes its ring and page table by the CPU, and nothing else.
	case $1 in
	sw | exact) quiet='--quiet --touches 2097152:327680' ;;
	*) quiet= ;;
	esac
	# shellcheck disable=SC2086
	{ gimctl migrate save --vf 0 --dirty "$1" $quiet --keep-paused --on-pause "$freeze" - || echo failed >&2; } 2> /tmp/report |
		gimctl migrate restore --vf 1 --keep-paused - 2>> /tmp/report || return 1
	! grep failed /tmp/report || return 1
	echo dump >&3
	wait_for 20 says source dumped || return 1
	echo load >&4
	wait_for 20 says target ready || return 1
	gimctl resume --vf 1 || return 1
	echo go >&4
	wait_for 20 says target working || return 1
	gimctl reset --vf 0 && gimctl resume --vf 0 || return 1
	echo exit >&3
}
for source in none hw sw exact; do
	t "it moves, changes known by: $source" moves $source
	t "both VFs are free afterwards" wait_for 10 sh -c "grep -qx available $PCI/$PF/sriov_admin/vf1/state && grep -qx available $PCI/$PF/sriov_admin/vf2/state"
done

kill $good
wait $good
rc=$?
cat /tmp/good
t "the neighbour noticed nothing" test $rc = 0
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "module unloads" rmmod gim
plan
