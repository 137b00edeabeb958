#!/bin/sh
# vm: --steady --gpu none --expect 'BUG: KASAN: slab-out-of-bounds' --expect 'possible circular locking' --expect 'sleeping function called'
# needs: debug kernel
# SPDX-License-Identifier: GPL-2.0
# The checkers are alive: mistakes made on purpose are found, and scripts/vm sees the reports.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

[ -n "$SLOW" ] || skip "this is no debug kernel"
module=$(dirname "$GIM")/gim_kunit.ko
t "lockdep is on" lockdep_on
t "nothing is lost yet" no_leaks
t "mistakes are made" insmod "$module" provoke=1
t "KASAN saw a read behind an allocation" dmesg_has 'BUG: KASAN: slab-out-of-bounds in .*gim_kunit'
t "lockdep saw two locks in both orders" dmesg_has 'WARNING: possible circular locking'
t "a lock that sleeps under a spin lock was seen" dmesg_has 'BUG: sleeping function called from invalid context'
t "lockdep is off after that, and this is noticed" sh -c '! grep -q "debug_locks:  *1" /proc/lockdep_stats'
found() {
	! no_leaks || return 1
	grep -F '[gim_kunit]' /sys/kernel/debug/kmemleak
}
t "kmemleak found what was lost" found
t "module unloads" rmmod gim_kunit
# What every other test demands at its end is broken here on purpose.
SLOW=
plan
