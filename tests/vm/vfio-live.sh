#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=256,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# A VF moves while its client works, by VFIO alone: VF0 becomes VF1, and a long chain of dependent
# steps comes to the same end as one that stayed.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

# In the other order: the registry is there when gim comes.
t "VFIO driver loads" load_vfio
t "gim loads" load guard=0
numvfs 4
for i in 0 1 2; do bind_to gim-vfio-pci $i; done

# The chain has to outlast its VF's first round, which takes many times as long there; then it is told to
# hurry.
steps=200 rate=$((4 << 20)) long=60
[ -z "$SLOW" ] || rate=$((128 << 10)) long=600
chain() { vf-client --pci "$(vf 0)" chain --steps $steps --spread $((8 << 20)) --rate $rate "$@"; }
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

begin() {
	rm -f /tmp/from /tmp/to /tmp/pipe /tmp/source /tmp/target /tmp/checkpoint
	mkfifo /tmp/from /tmp/to /tmp/pipe
	chain --checkpoint /tmp/checkpoint --stdin < /tmp/from > /tmp/source 2>&1 &
	source=$!
	exec 3> /tmp/from
	vf-client --pci "$(vf 1)" resume --checkpoint /tmp/checkpoint --early --stdin < /tmp/to > /tmp/target 2>&1 &
	target=$!
	exec 4> /tmp/to
	wait_for 20 says source working && wait_for 20 says target open && sleep 1
}
precopy() {
	echo 'fill /tmp/pipe' >&4
	echo 'precopy /tmp/pipe' >&3
	wait_for $long says source streamed && sleep 1 && echo freeze >&3 && wait_for 20 says source frozen
}
carry() {
	precopy || return 1
	echo stop >&3
	wait_for $long says source stopped && wait_for $long says target filled || return 1
	echo dump >&3
	wait_for 20 says source dumped || return 1
	echo load >&4
	wait_for 20 says target ready || return 1
	echo go >&4
	wait_for 20 says target working && echo hurry >&4 && echo exit >&3
}
moves() {
	rc=1
	begin && carry && rc=0
	[ $rc = 0 ] || kill -9 $source $target
	exec 3>&- 4>&-
	wait $target || rc=1
	wait $source || rc=1
	cat /tmp/source /tmp/target
	[ "$(digest /tmp/target)" = "$(digest /tmp/stays)" ] || rc=1
	return $rc
}
t "it moves" moves
free() { wait_for 10 is_state vf1 available && wait_for 10 is_state vf2 available; }
t "both VFs are free afterwards" free

# The target dies while it is being filled; the source goes on.
survives() {
	rc=1
	if begin; then
		echo 'fill /tmp/pipe' >&4
		echo 'precopy /tmp/pipe' >&3
		wait_for $long says source streamed && kill -9 $target && echo freeze >&3 &&
			wait_for 20 says source frozen && echo thaw >&3 && echo hurry >&3 && rc=0
	fi
	[ $rc = 0 ] || kill $source
	exec 4>&-
	wait $source || rc=1
	exec 3>&-
	wait $target
	cat /tmp/source /tmp/target
	[ "$(digest /tmp/source)" = "$(digest /tmp/stays)" ] || rc=1
	return $rc
}
t "a target that dies costs the source nothing" survives
t "both VFs are free after that" free

kill $good
wait $good
rc=$?
cat /tmp/good
t "the neighbour noticed nothing" test $rc = 0
t "no protocol violation" test "$(referee get violations)" = 0
t "VFs are disabled" wait_for 10 numvfs 0
t "modules unload" rmmod gim gim_vfio_pci gim_seam
plan
