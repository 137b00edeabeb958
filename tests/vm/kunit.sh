#!/bin/sh
# vm: --gpu none
# needs: debug kernel
# SPDX-License-Identifier: GPL-2.0
# The core's tests, as KUnit: each case is a test here.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

[ -d /sys/kernel/debug/kunit ] || skip "the kernel has no KUnit"
module=$(dirname "$GIM")/gim_kunit.ko
t "the suites are loaded" insmod "$module"
# The results are also in debugfs, but there a suite that did not run at all is "ok", too.
dmesg | sed 's/^\[[^]]*\] //' > /tmp/kunit.log
suites=$(sed -n 's/^ *# Subtest: \(gim_.*\)/\1/p' /tmp/kunit.log)
for suite in $suites; do
	# The lines of one suite; what a failed case said stands before it.
	sed -n "/# Subtest: $suite\$/,/^ *\(not \)\{0,1\}ok [0-9]* $suite\$/p" /tmp/kunit.log > /tmp/kunit.suite
	ran=0
	for case in $(sed -n 's/^ *\(not \)\{0,1\}ok [0-9]* \([a-z0-9_]*\)\( .*\)\{0,1\}$/\2/p' /tmp/kunit.suite); do
		[ "$case" != "$suite" ] || continue
		ran=$((ran + 1))
		passed() {
			grep -E "^ *ok [0-9]+ $case( |\$)" /tmp/kunit.suite | grep -qv '# SKIP' ||
				{ cat /tmp/kunit.suite; return 1; }
		}
		t "$suite: $case" passed
	done
	t "$suite: all its cases ran" grep -q "^ *1\.\.$ran\$" /tmp/kunit.suite
done
every_suite() {
	grep -rhA1 'cases! {' rust/core | sed -n 's/^ *\(gim_[a-z_]*\):$/\1/p' | sort > /tmp/listed
	echo "$suites" | sort | diff /tmp/listed -
}
t "every suite of the core ran" every_suite
t "module unloads" rmmod gim_kunit
plan
