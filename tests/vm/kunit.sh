#!/bin/sh
# vm: --steady --gpu none --append kunit.enable=1 --append kunit.filter_glob=gim_*
# needs: debug kernel
# SPDX-License-Identifier: GPL-2.0
# The core's tests, as KUnit: each case is a test here.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

[ -d /sys/kernel/debug/kunit ] || skip "the kernel has no KUnit"
t "the suites are loaded" insmod "$(dirname "$GIM")/gim_kunit.ko"
# The lines of the cases: a suite of which none ran is "ok" for KUnit.
dmesg | awk '
	{ sub(/^\[[^]]*\] /, "") }
	/# Subtest: gim_/ { suite = $3; ran = 0; said = ""; next }
	suite == "" { next }
	/^ +1\.\.[0-9]+$/ { planned = substr($1, 4); next }
	/^ +(not )?ok [0-9]+ / {
		good = $1 == "ok" && !/# SKIP/
		name = $1 == "ok" ? $3 : $4
		if (!good) printf "%s", said
		print (good ? "ok" : "not ok") " 0 " suite ": " name
		ran++; said = ""; next
	}
	/^ +# / { said = said $0 "\n" }
	/^(not )?ok [0-9]+ gim_/ {
		print (ran == planned ? "ok" : "not ok") " 0 " suite ": all of " planned " cases ran"
		suites++; suite = ""
	}
' > /tmp/kunit.out
told /tmp/kunit.out
every_suite() {
	grep -rhA1 'cases! {' rust/core | sed -n 's/^ *\(gim_[a-z_]*\):$/\1/p' | sort > /tmp/listed
	sed -n 's/^ok 0 \(gim_[a-z_]*\): all of .*/\1/p' /tmp/kunit.out | sort | diff /tmp/listed -
}
t "every suite of the core ran" every_suite
t "module unloads" rmmod gim_kunit
plan
