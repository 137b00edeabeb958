# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# make demo-migrate: what both host VMs have in common.  Source it.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

fail() {
	echo "FAILED: $*"
	dmesg | tail -n 8
	tail -n 3 /tmp/tenant? /tmp/chain.out /tmp/report 2> /dev/null
	exit 1
}
# network ADDRESS PEER
network() {
	modprobe virtio_net
	wait_for 20 test -e /sys/class/net/eth0 || fail "no network card"
	ip addr add "$1/24" dev eth0
	ip link set eth0 up
	wait_for 300 sh -c "ping -c 1 -W 1 $2 > /dev/null 2>&1 || busybox ping -c 1 -W 1 $2 > /dev/null 2>&1" || fail "the other host does not answer"
}
# tenant N: a guest that works on VF N to the end. A VM that has to wait for the machine's CPUs is no
# GPU that hangs.
tenants=''
tenant() {
	vf-client --pci "$(vf "$1")" run --seconds 0 --patience 30 --seed "$1" --workload mix > "/tmp/tenant$1" 2>&1 &
	tenants="$tenants $!"
	wait_for 30 is_state "vf$(($1 + 1))" active || fail "VF$1 does not come up"
}
# tenants_end HOST: the tenants stop; each must have verified every byte.
tenants_end() {
	# shellcheck disable=SC2086
	kill $tenants
	for p in $tenants; do wait "$p" || fail "a tenant of $1"; done
	for f in /tmp/tenant?; do echo "$1: $(tail -n 1 "$f")"; done
	[ "$(referee get violations)" = 0 ] || fail "protocol violations on $1"
}
# A client's lines, one by one: they are kept, and those that answer an order are handed to whoever
# waits for them, who then need not look again and again.
hear() {
	while read -r line; do
		echo "$line" >> /tmp/chain.out
		case $line in
		frozen* | dumped* | ready*) echo "$line" > /tmp/said ;;
		esac
	done
}
# order WORD ANSWER: a shell command that gives the client an order and waits for its answer; not for
# ever, because a client that has ended reads nothing.
order() { printf "timeout 60 sh -c 'echo %s > /tmp/orders && read -r said < /tmp/said && [ \"\${said%%%% *}\" = %s ]'" "$1" "$2"; }
says() { grep -q "^$1" /tmp/chain.out; }
# share N: run time of VF N since the counters were reset, in ns
ran() { referee get run_ns --vf "$1"; }
