#!/bin/sh
# vm: --steady --gpu vfs=4,vram_mb=128 --allow 'WARNING: .* at (remove_proc_entry|devlink_remove_symlinks)\+|Call Trace'
# needs: debug kernel
# SPDX-License-Identifier: GPL-2.0
# Allocations that fail, one after the other, from insmod to rmmod.  The kernel itself warns where it
# made the files of an interrupt in /proc without looking and misses them at the end, and where it
# cannot name the links of a device that it removes.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh

[ -d /sys/kernel/debug/failslab ] || skip "the kernel has no fault injection"
# Shown at once, too: should the kernel die of it, that is all there is.
inject --module "$GIM" --gpu "$PF" --vfs 2 --most 8 --storms 2 2>&1 | tee /tmp/inject.out | sed 's/^/# /'
told /tmp/inject.out
plan
